"""The runs of a baseline: a spec with several draws of seeds, and with the first once more on what stands in for other machines."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api import default_folder, open_spec, run, score
from bench.progress import Progress, silent
from bench.store import Run
from bench.workers.crew import Options

if TYPE_CHECKING:
    from bench.analysis.baseline_file import Baseline

__all__ = ["REPEATS", "Repeat", "baseline"]


@dataclass(frozen=True)
class Repeat:
    """How a run is made once more with the same seeds: with something else that must not matter.

    environment: variables of the workers' processes, where the run has workers.
    """

    words: str
    overrides: tuple[str, ...] = ()
    threads: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


OLDER_CPU = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
REPEATS = (
    Repeat("batches of 4", overrides=("batch=4",)),
    Repeat("kernels of a CPU without AVX-512", environment=OLDER_CPU),
    Repeat("2 threads", threads=2),
)
"""What stands in for other machines when a baseline is made, in the order in which it is tried."""


def baseline(
    spec: str | Path,
    out: str | Path,
    folder: str | Path | None = None,
    *,
    seeds: int = 5,
    repeats: int = 2,
    overrides: Sequence[str] = (),
    options: Options | None = None,
    progress: Progress = silent,
    trust: bool = False,
) -> Baseline:
    """Run a spec with several draws of seeds and, with the first, once more for each of `repeats` `REPEATS`; write the baseline to `out`.

    The runs are made in `folder` (by default `runs/<name>-baseline`), `draw-1` and so on and `repeat-1` and so on, and continued
    where they are there. The first draw has the spec's own seeds, each other one as many new ones.
    Raises as `run` and `score` do, and BaselineError where a run is not complete.
    """
    from bench.analysis.baseline import write_baseline

    own = open_spec(spec, overrides, trust=trust)
    place, step = Path(folder) if folder is not None else _beside(default_folder(own)), max(own.seeds) - min(own.seeds) + 1
    options = options or Options()

    def made(name: str, drawn: int, repeat: Repeat) -> Run:
        shifted = f"seeds={[seed + drawn * step for seed in own.seeds]}"
        here = options if repeat.threads is None else replace(options, threads=repeat.threads)
        if repeat.environment and here.executor == "auto":
            here = replace(here, executor="local")
        settings = [*overrides, shifted, *repeat.overrides]
        with _environment(repeat.environment):
            finished = run(spec, place / name, overrides=settings, options=here, progress=progress, trust=trust)
        score(finished, progress=progress, trust=trust).whole()
        return finished

    draws = [made(f"draw-{number + 1}", number, Repeat("")) for number in range(seeds)]
    again = {each.words: made(f"repeat-{number}", 0, each) for number, each in enumerate(REPEATS[:repeats], 1)}
    return write_baseline(draws, again, Path(out))


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Variables of the environment, put back on leaving."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})


def _beside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-baseline")
