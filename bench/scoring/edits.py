"""The finished part of a run: what there is to score, and one walk over it in which every picture is decoded once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from bench.plan import Entry, SampleInfo, Unit
from bench.progress import Progress
from bench.store import Record, Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.manifest import Sample

__all__ = ["PICTURES_AT_A_TIME", "Edit", "Finished", "Job", "walk"]

PICTURES_AT_A_TIME = 64
SAMPLES_KEPT = 16


@dataclass(frozen=True, eq=False)
class Finished:
    """A run and its planned units that are done, in the plan's order: sample by sample."""

    run: Run
    units: list[tuple[Unit, Record]]

    @classmethod
    def of(cls, run: Run) -> Finished:
        """The finished part of `run`."""
        records = ((unit, run.record(unit.key)) for unit in run.plan.units)
        return cls(run, [(unit, record) for unit, record in records if record and record.status == "done"])

    @cached_property
    def edits(self) -> list[Edit]:
        """All finished edits; a unit that lacks a knob value has none there."""
        return [Edit(self, unit, record, i) for unit, record in self.units for i in range(len(record.edits))]

    @cached_property
    def load(self) -> Callable[[SampleInfo], Sample]:
        """Decode a planned sample; the last few are kept, so that neighbours in a batch share their pictures."""
        return lru_cache(maxsize=SAMPLES_KEPT)(self.run.sample)


@dataclass(frozen=True, eq=False)
class Edit:
    """One finished edit: the `index`-th of its record."""

    of: Finished
    unit: Unit
    record: Record
    index: int

    @property
    def name(self) -> tuple[str, float]:
        """Key of the unit and knob value: what a score belongs to."""
        return self.record.key, self.record.edits[self.index].value

    @property
    def content(self) -> str:
        """64 hex over the picture's file: what a feature belongs to."""
        return self.record.edits[self.index].sha256

    @property
    def entry(self) -> Entry:
        return self.of.run.plan.entries[self.unit.entry]

    @property
    def info(self) -> SampleInfo:
        return self.of.run.plan.samples[self.unit.sample]

    @cached_property
    def picture(self) -> NDArray[np.uint8]:
        """uint8 (H, W, 3); decoded on first use. RunError where the file is gone or differs from its record."""
        return self.of.run.read_edit(self.record, self.index)

    @property
    def sample(self) -> Sample:
        """Source, texts, mask and truth, decoded."""
        return self.of.load(self.info)


@dataclass(frozen=True)
class Job:
    """Edits to be looked at, by name, and what is done with them, up to `PICTURES_AT_A_TIME` at once."""

    todo: Collection[tuple[str, float]]
    take: Callable[[Sequence[Edit]], None]


def walk(finished: Finished, jobs: Sequence[Job], progress: Progress) -> None:
    """Hand every edit to the jobs that want it. A picture is decoded once, and forgotten when the last of them is done with it."""
    wanted = frozenset().union(*(job.todo for job in jobs))
    waiting: list[list[Edit]] = [[] for _ in jobs]
    with progress("score edits", len(wanted)) as advance:
        for edit in finished.edits:
            if edit.name not in wanted:
                continue
            own = Edit(edit.of, edit.unit, edit.record, edit.index)
            for job, queue in zip(jobs, waiting, strict=True):
                if own.name in job.todo:
                    queue.append(own)
                if len(queue) == PICTURES_AT_A_TIME:
                    job.take(queue)
                    queue.clear()
            advance()
        for job, queue in zip(jobs, waiting, strict=True):
            if queue:
                job.take(queue)
