"""The finished part of a run: what there is to score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.plan import Plan, Unit
from bench.runner import open_planned_manifest
from bench.store import Record, Run

if TYPE_CHECKING:
    from bench.manifest import Manifest
    from bench.spec import Spec

__all__ = ["Finished"]


@dataclass(frozen=True)
class Finished:
    """A run with its plan, its manifest, and the planned units that are done, in the plan's order."""

    run: Run
    plan: Plan
    manifest: Manifest
    units: list[tuple[Unit, Record]]

    @classmethod
    def of(cls, run: Run, spec: Spec) -> Finished:
        """The finished part of `run`. Raises RunError where its manifest is no longer what was planned."""
        plan = Plan.from_dict(run.read_json("plan.json"))
        done = [(unit, record) for unit in plan.units if (record := run.record(unit.key)) and record.status == "done"]
        return cls(run, plan, open_planned_manifest(spec, plan), done)
