"""What the records of a run folder say of its plan: what is done, what failed, and the time that the rest would take."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import RunError

if TYPE_CHECKING:
    from bench.plan import Plan
    from bench.scoring import Scores
    from bench.store import Run

__all__ = ["Outlook", "failures", "outlooks", "unscored"]


@dataclass(frozen=True)
class Outlook:
    """What a run of the plan would do for one editor. `seconds` is the time still to spend, NaN where nothing was measured."""

    editor: str
    units: int
    edits: int
    done: int
    failed: int
    lacking: dict[str, int]
    seconds: float


def outlooks(plan: Plan, run: Run) -> list[Outlook]:
    """One per editor, from the records that `run` holds already (none, if it does not exist)."""
    found = []
    for index, entry in enumerate(plan.entries):
        units = [unit for unit in plan.units if unit.entry == index]
        records = list(run.records(unit.key for unit in units))
        times = [sum(record.seconds.values()) for record in records if record.status == "done"]
        todo = sum(not unit.missing for unit in units) - len(times)
        lacking = Counter(name for unit in units for name in unit.missing)
        seconds = 0.0 if todo <= 0 else math.fsum(times) / len(times) * todo if times else math.nan
        failed = len(records) - len(times)
        edits = len(units) * len(entry.values)
        found.append(Outlook(entry.label, len(units), edits, len(times), failed, dict(lacking), seconds))
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
