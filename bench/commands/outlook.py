"""What the records of a run folder say of its plan: what is done, what failed, and the time that the rest would take."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.commands.fetch import in_words
from bench.errors import RunError
from bench.progress import duration
from bench.toybox import embedded
from bench.workers.trial import Trial, try_editors

if TYPE_CHECKING:
    from bench.manifest import Manifest
    from bench.plan import Plan
    from bench.scoring import Scores
    from bench.spec import Spec
    from bench.store import Run

__all__ = ["WORTH_A_TRIAL", "Forecast", "Outlook", "ahead", "failures", "forecast", "outlooks", "room", "unscored"]

WORTH_A_TRIAL = 100
"""Edits still to make from which a run begins with the seconds that its time takes to be told."""


@dataclass(frozen=True)
class Outlook:
    """What a run of the plan would do for one editor. `seconds` is the time still to spend, NaN where nobody knows; `basis` says what it
    rests on, or why it is unknown.
    """

    editor: str
    units: int
    edits: int
    done: int
    failed: int
    lacking: dict[str, int]
    seconds: float
    basis: str


@dataclass(frozen=True)
class Forecast:
    """The outlook of each editor, and the seconds that a worker takes before its first unit."""

    looks: Sequence[Outlook]
    start: float

    @property
    def seconds(self) -> float:
        """Of one worker, over all editors whose time is known; 0 where nothing is to do."""
        known = math.fsum(look.seconds for look in self.looks if not math.isnan(look.seconds))
        return known + self.start if known else 0.0

    @property
    def unknown(self) -> list[Outlook]:
        """The editors of whose time nothing is known."""
        return [look for look in self.looks if math.isnan(look.seconds)]

    def __str__(self) -> str:
        if len(self.unknown) == len(self.looks):
            return "estimate: unknown"
        least = "at least " if self.unknown else ""
        return f"estimate: {least}{duration(self.seconds)} of one worker's time, for the edits"


def forecast(spec: Spec, plan: Plan, manifest: Manifest, run: Run, threads: int) -> Forecast:
    """The outlook of each editor, after a short trial of those of which `run` tells no time."""
    left = {unit.entry for unit in plan.units if not unit.missing}
    done = {record.key for record in run.records(unit.key for unit in plan.units) if record.status == "done"}
    known = {unit.entry for unit in plan.units if unit.key in done}
    trials, start = try_editors(spec, plan, manifest, sorted(left - known), threads=threads)
    return Forecast(outlooks(plan, run, trials), start)


def room(plan: Plan, folder: Path) -> str:
    """How much of the disk the edits of a plan take at the most, and what of it is free, in words; "" where their size is not known."""
    if plan.resolution is None:
        return ""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.is_dir())
    most, free = plan.edits * 3 * plan.resolution**2, shutil.disk_usage(there).free
    return f"disk: at most {in_words(most)} for the edits in {folder}, {in_words(free)} are free"


def ahead(spec: Spec, plan: Plan, manifest: Manifest, run: Run, threads: int) -> list[str]:
    """What stands before a run in hours and gigabytes, each in a line; nothing for one of few edits, and no time where it is known after
    seconds: on the embedded model, which is small."""
    records = {record.key for record in run.records(unit.key for unit in plan.units) if record.status == "done"}
    left = sum(len(plan.entries[unit.entry].values) for unit in plan.units if not unit.missing and unit.key not in records)
    if left < WORTH_A_TRIAL or embedded.on_toybox(spec):
        return []
    return [line for line in (room(plan, run.path), str(forecast(spec, plan, manifest, run, threads))) if line]


def outlooks(plan: Plan, run: Run, trials: Mapping[int, Trial]) -> list[Outlook]:
    """One per editor, from the records that `run` holds already (none, if it does not exist), else from the `trials` of plan entries."""
    found = []
    for index, entry in enumerate(plan.entries):
        units = [unit for unit in plan.units if unit.entry == index]
        records = list(run.records(unit.key for unit in units))
        times = [sum(record.seconds.values()) for record in records if record.status == "done"]
        todo = sum(not unit.missing for unit in units) - len(times)
        lacking = Counter(name for unit in units for name in unit.missing)
        trial = trials.get(index, Trial(math.nan, "nothing is measured yet"))
        unit, basis = (math.fsum(times) / len(times), f"{len(times)} made already") if times else (trial.seconds, trial.basis)
        seconds, basis = (unit * todo, basis) if todo > 0 else (0.0, "nothing is to do")
        failed = len(records) - len(times)
        edits = len(units) * len(entry.values)
        found.append(Outlook(entry.label, len(units), edits, len(times), failed, dict(lacking), seconds, basis))
    return found


def failures(run: Run) -> str:
    """How many units failed, and the first of them, in one line; "" where none did. Raises RunError where none is done."""
    from bench.workers.drain import failure_line

    plan, done, failed = run.plan, 0, list[str]()
    for unit in plan.units:
        record = run.record(unit.key)
        if record is not None and record.status == "done":
            done += 1
        elif record is not None:
            failed.append(failure_line(unit, plan, record))
    if not done:
        raise RunError(f"all {len(plan.units)} units failed; the first: {failed[0] if failed else 'none was run'}")
    return f"{len(failed)} of {len(plan.units)} units failed; the first: {failed[0]}" if failed else ""


def unscored(scores: Scores) -> str:
    """Which metrics failed and why, in one line; "" where none did."""
    metrics = "; ".join(f"{name} ({reason})" for name, reason in scores.failed.items())
    return f"metrics that failed and have no column: {metrics}" if metrics else ""
