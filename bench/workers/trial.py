"""How long a unit of each editor takes, before a run has made any: a few steps of the real model, and the rest by arithmetic.

An editor's time is a part that does not depend on how many steps it takes (text, VAE, files) and, for each number of steps among its
parameters, one that is proportional to it. They come from short trials: one with few steps of each, and for each number one more with more of
it. Where a whole unit is short, it is made. Trials are made as workers make units, with as many samples at once, in a folder that is
thrown away.
"""

from __future__ import annotations

import gc
import math
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from bench import registry
from bench.devices import deterministic, pick_device
from bench.errors import EtabenchError, RunError, message_of
from bench.plan import Entry, Plan
from bench.store import Run
from bench.workers.worker import MOST_AT_ONCE, Interrupted, Worker

if TYPE_CHECKING:
    from bench.manifest import Manifest
    from bench.spec import Spec
    from editors.toolbox.diffusion import DiffusionModel

__all__ = ["Trial", "extrapolated", "try_editors"]

SECONDS_IN_ALL, MOST_SECONDS = 8.0, 2.0
"""What the trials of all editors should take together, and those of one editor at the most."""
NOTICEABLE = 6
PATIENCE = 5.0
"""A trial is stopped when it takes so many times what it should, and those before it have left it no more of so many times the whole."""
FEWEST = 4
"""Steps of a trial: a knob that executes a share of them has something to round."""


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
    """A trial for each plan entry in `indices`, and the seconds that opening the model takes. The device's memory is given back."""
    try:
        return _tried(spec, plan, manifest, indices, threads=threads, clock=clock)
    finally:
        gc.collect()
        if "torch" in sys.modules and sys.modules["torch"].cuda.is_initialized():
            sys.modules["torch"].cuda.empty_cache()


def _tried(
    spec: Spec, plan: Plan, manifest: Manifest, indices: Sequence[int], *, threads: int, clock: Callable[[], float]
) -> tuple[dict[int, Trial], float]:
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
        warm, stage.grace = False, clock() + PATIENCE * SECONDS_IN_ALL
        for index in sorted(indices, key=lambda index: (not plan.entries[index].needs_model, len(_steps(plan.entries[index])))):
            try:
                whole = _steps(plan.entries[index])
                if not warm:  # the first pays for kernels and caches
                    stage.measure(index, _few(whole))
                    warm = True
                seconds, made = extrapolated(partial(stage.measure, index), whole, budget)
                some = ", ".join(f"{number} of {whole[name]} {name.replace('_', ' ')}" for name, number in made.items())
                found[index] = Trial(seconds, f"{some if made != whole else 'a whole unit'} on {device}")
            except Interrupted:
                found[index] = Trial(math.nan, f"its trial, a few steps of one unit, did not end within {stage.allowed:.0f} s")
            except Exception as error:
                found[index] = Trial(math.nan, message_of(error))
    return found, start


def extrapolated(
    measure: Callable[[Mapping[str, int]], float], whole: Mapping[str, int], budget: float
) -> tuple[float, dict[str, int]]:
    """Seconds of a unit with the `whole` numbers of steps, and the most of each that was made to tell them.

    `measure` gives the seconds of a unit with other numbers. Each is raised by itself until that takes a noticeable part of the `budget`.
    """
    few = _few(whole)
    least = measure(few)
    if least * max((whole[name] / few[name] for name in whole), default=1.0) <= budget:
        return (measure(whole) if few != whole else least), dict(whole)
    total, made = least, dict(few)
    for name, number in whole.items():
        seconds, spent = least, 0.0
        while made[name] < number and seconds - least < budget / NOTICEABLE and spent < 2 * budget:
            made[name] = min(number, (4 if spent else 2) * made[name])
            seconds = measure(few | {name: made[name]})
            spent += seconds
        if number > few[name]:
            total += max(seconds - least, 0.0) / (made[name] - few[name]) * (number - few[name])
    return total, made


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
    grace: float = -math.inf
    deadline: float = math.inf
    allowed: float = math.inf
    model: DiffusionModel | None = None

    def open_model(self) -> None:
        """Load the model, as a worker does."""
        with tempfile.TemporaryDirectory(prefix="etabench-") as folder:
            self.model = self._worker(folder, replace(self.plan, samples=())).model

    def measure(self, index: int, steps: Mapping[str, int]) -> float:
        """Seconds of a unit of a plan entry with other numbers of steps. Raises RunError where it fails."""
        entry = self.plan.entries[index]
        entry = replace(entry, params=entry.params | dict(steps))
        units = [unit for unit in self.plan.units if unit.entry == index and not unit.missing and not unit.before]
        if not units:
            raise RunError("no sample has what it needs")
        with tempfile.TemporaryDirectory(prefix="etabench-") as folder:
            some = units[:MOST_AT_ONCE]
            samples = tuple(self.plan.samples[unit.sample] for unit in some)
            worker = self._worker(folder, replace(self.plan, entries=(entry,), samples=samples))
            batch = [replace(unit, entry=0, sample=place) for place, unit in enumerate(some)][: worker.at_once(0)]
            worker.editor(0)
            for sample in samples[: len(batch)]:
                worker.run.keep(sample)  # once a run, however many editors
            began = self.clock()
            self.deadline = max(began + self.patience, self.grace)
            self.allowed = self.deadline - began
            for record, files in worker.make(batch):
                worker.run.commit(record, files)
                if record.status == "failed":
                    raise RunError(f"the trial failed: {(record.reason or {}).get('message')}")
            return (self.clock() - began) / len(batch)

    def _worker(self, folder: str, plan: Plan) -> Worker:
        run = Run.create(folder)
        run.begin(self.spec, replace(plan, units=()), self.manifest)
        worker = Worker(run, self.device, self.threads, lambda: self.clock() > self.deadline)
        if self.model is not None:
            self.model.cancelled = worker.stop
            worker.model = self.model
        return worker


def _few(whole: Mapping[str, int]) -> dict[str, int]:
    return {name: min(number, FEWEST) for name, number in whole.items()}


def _steps(entry: Entry) -> dict[str, int]:
    """The numbers of steps by which the editor says that it is paced."""
    return {name: entry.params[name] for name in registry.load_editor(entry.target).paced_by if entry.params.get(name)}
