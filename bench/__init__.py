"""etabench in three calls: ``bench.run(spec, out=...)``, ``bench.score(run)``, ``bench.report(run)``.

The conductor's modules: spec, manifest, plan, runner, store, scoring, aggregate, gate and the command line. Nothing heavy is
imported before a call needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.api import report, run, score

__all__ = ["report", "run", "score"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from bench import api

        return getattr(api, name)
    raise AttributeError(f"module 'bench' has no attribute {name!r}")
