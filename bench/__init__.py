"""etabench in three calls: ``bench.run(spec, out=...)``, ``bench.score(run)``, ``bench.report(run)``.

The conductor, room by room: spec, manifest, plan, store, workers, scoring, analysis, commands, and the command line on top. Nothing heavy
is imported before a call needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.api import Options, Run, report, run, score

    __version__: str

__all__ = ["Options", "Run", "__version__", "report", "run", "score"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("etabench")
    if name in __all__:
        from bench import api

        return getattr(api, name)
    raise AttributeError(f"module 'bench' has no attribute {name!r}")
