"""How long a unit of each editor takes, before a run has made any: a few steps of the real model, and the rest by arithmetic.

An editor's time is a part that does not depend on how many steps it takes (text, VAE, files) and one that is proportional to them. Both come
from two short trials that differ in steps alone; where a whole unit is short, it is made. Trials are made as workers make units, with as
many samples at once, in a folder that is thrown away.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.devices import deterministic, pick_device
from bench.errors import EtabenchError, RunError, message_of
from bench.plan import Entry, Plan
from bench.store import Run
from bench.workers.worker import Interrupted, Worker

if TYPE_CHECKING:
    from bench.manifest import Manifest
    from bench.spec import Spec
    from editors.toolbox.diffusion import DiffusionModel

__all__ = ["Trial", "extrapolated", "try_editors"]

SECONDS_IN_ALL, MOST_SECONDS = 12.0, 2.5
"""What the trials of all editors should take together, and those of one editor at the most."""
PATIENCE = 4.0
"""A trial is stopped when it takes so many times what it should."""
SMALLEST = 1 / 64


@dataclass(frozen=True)
class Trial:
    """Of one editor: seconds of a unit, NaN where that could not be found out, and in words what it rests on or why not."""

    seconds: float
    basis: str


def try_editors(
    spec: Spec,
    plan: Plan,
    manifest: Manifest,
    indices: Sequence[int],
    *,
    threads: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[dict[int, Trial], float]:
    """A trial for each plan entry in `indices`, and the seconds that opening the model takes."""
    budget = min(SECONDS_IN_ALL / max(len(indices), 1), MOST_SECONDS)
    found: dict[int, Trial] = {}
    start = 0.0
    try:
        device = pick_device(spec.device)
        stage = _Stage(spec, plan, manifest, device, threads, clock, PATIENCE * budget)
        if any(plan.entries[index].needs_model for index in indices):
            began = clock()
            stage.open_model()
            start = clock() - began
    except EtabenchError as error:
        return {index: Trial(math.nan, message_of(error)) for index in indices}, 0.0
    with deterministic(threads):
        for index in indices:
            try:
                seconds, share = extrapolated(partial(stage.measure, index), budget)
                basis = "a whole unit" if share == 1.0 else f"{100 * share:.2g} % of a unit's steps"
                found[index] = Trial(seconds, f"{basis} on {device}")
            except Interrupted:
                found[index] = Trial(math.nan, f"a unit takes more than {PATIENCE * budget:.0f} s")
            except Exception as error:
                found[index] = Trial(math.nan, message_of(error))
    return found, start


def extrapolated(measure: Callable[[float], tuple[float, float]], budget: float) -> tuple[float, float]:
    """Seconds of a whole unit, and the largest share of its steps that was made to tell them.

    `measure(share)` gives the seconds of a unit with that share of its steps, and the share that it could really make. The share grows until
    a trial takes a good part of the `budget`, or is the whole unit; the last two trials make the straight line.
    """
    share, trials = SMALLEST, list[tuple[float, float]]()
    measure(share)  # the first pays for kernels and caches
    while True:
        seconds, real = measure(share)
        if real >= 1.0:
            return seconds, 1.0
        trials.append((seconds, real))
        if seconds >= budget / 4 and len(trials) > 1:
            break
        share = min(1.0, real * max(2.0, budget / 2 / seconds))
    (low, less), (high, more) = trials[-2:]
    return max(high + (high - low) / (more - less) * (1.0 - more), high), more


@dataclass
class _Stage:
    """A model that is opened once, and workers that make units of altered entries with it."""

    spec: Spec
    plan: Plan
    manifest: Manifest
    device: str
    threads: int
    clock: Callable[[], float]
    patience: float
    deadline: float = math.inf
    model: DiffusionModel | None = None

    def open_model(self) -> None:
        """Load the model, as a worker does."""
        with tempfile.TemporaryDirectory(prefix="etabench-") as folder:
            self.model = self._worker(folder, replace(self.plan, samples=())).model

    def measure(self, index: int, share: float) -> tuple[float, float]:
        """Seconds of a unit of a plan entry with a share of its steps, and the share of steps that it had. Raises RunError where it fails."""
        entry, real = _with_share(self.plan.entries[index], share)
        units = [unit for unit in self.plan.units if unit.entry == index and not unit.missing]
        if not units:
            raise RunError("no sample has what it needs")
        with tempfile.TemporaryDirectory(prefix="etabench-") as folder:
            some = units[: self.spec.batch]
            samples = tuple(self.plan.samples[unit.sample] for unit in some)
            worker = self._worker(folder, replace(self.plan, entries=(entry,), samples=samples))
            batch = [replace(unit, entry=0, sample=place) for place, unit in enumerate(some)][: worker.at_once(0)]
            worker.editor(0)
            for sample in samples:
                worker.run.keep(sample)  # once a run, however many editors
            began = self.clock()
            self.deadline = began + self.patience
            for record, files in worker.make(batch):
                worker.run.commit(record, files)
                if record.status == "failed":
                    raise RunError(f"the trial failed: {(record.reason or {}).get('message')}")
            return (self.clock() - began) / len(batch), real

    def _worker(self, folder: str, plan: Plan) -> Worker:
        run = Run.create(folder)
        run.begin(self.spec, replace(plan, units=()), self.manifest)
        worker = Worker(run, self.device, self.threads, lambda: self.clock() > self.deadline)
        if self.model is not None:
            self.model.cancelled = worker.stop
            worker.model = self.model
        return worker


def _with_share(entry: Entry, share: float) -> tuple[Entry, float]:
    """The entry with a share of the steps by which its editor says that it is paced, at least one of each; and the share that it became."""
    names = registry.load_editor(entry.target).paced_by
    whole: dict[str, Any] = {name: entry.params[name] for name in names if entry.params.get(name)}
    less = {name: max(1, round(number * share)) for name, number in whole.items()}
    if not whole:
        return entry, 1.0
    return replace(entry, params=entry.params | less), sum(less.values()) / sum(whole.values())
