"""The finished part of a run: its edits and the sets of them, and one walk over it in which every picture is decoded once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from bench.errors import RunError
from bench.plan import Entry, SampleInfo, Unit
from bench.progress import Progress
from bench.scoring.failed import Failed
from bench.store import Record, Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.manifest import Sample

__all__ = ["PICTURES_AT_A_TIME", "Edit", "EditSet", "Finished", "Job", "Share", "walk"]

PICTURES_AT_A_TIME = 64
SAMPLES_KEPT = 16


@dataclass(frozen=True, eq=False)
class Finished:
    """A run and its planned units that are done, in the plan's order: sample by sample. Of their records only the files are kept."""

    run: Run
    units: list[tuple[Unit, Record]]

    @classmethod
    def of(cls, run: Run) -> Finished:
        """The finished part of `run`."""
        records = {record.key: record.files_alone() for record in run.records(unit.key for unit in run.plan.units)}
        found = ((unit, records.get(unit.key)) for unit in run.plan.units)
        return cls(run, [(unit, record) for unit, record in found if record and record.status == "done"])

    def verify(self) -> None:
        """Read the files of all edits, decoding none. Raises RunError where some are gone or differ from their records."""
        self.run.bring(record for _, record in self.units)
        found = {record.key: file for _, record in self.units if (file := self.run.damaged(record))}
        if found:
            first, folder = next(iter(found.values())), self.run.name
            raise RunError(
                f"{first} is gone or differs from its record ({len(found)} of {len(self.units)} finished units have such pictures); "
                f"`etabench run {self.run.path / 'spec.yaml'} --out {folder}` makes them anew"
            )

    @cached_property
    def edits(self) -> list[Edit]:
        """All finished edits; a unit that lacks a knob value has none there."""
        return [Edit(self, unit, record, i) for unit, record in self.units for i in range(len(record.edits))]

    @cached_property
    def sets(self) -> list[EditSet]:
        """One set per editor and knob value, those without any edit included: of the smallest seed, one edit per sample."""
        found: dict[tuple[int, float], list[Edit]] = {}
        for edit in self.edits:
            if edit.first:
                found.setdefault((edit.unit.entry, edit.name[1]), []).append(edit)
        entries = enumerate(self.run.plan.entries)
        return [EditSet(entry, value, found.get((index, value), [])) for index, entry in entries for value in entry.values]

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

    @cached_property
    def name(self) -> tuple[str, float]:
        """Key of the unit and knob value: what a score belongs to."""
        return self.record.key, self.record.edits[self.index].value

    @property
    def content(self) -> str:
        """64 hex over the picture's file: what a feature belongs to."""
        return self.record.edits[self.index].sha256

    @cached_property
    def inputs(self) -> str:
        """16 hex over the picture and the classes of its sample, which are no part of a unit's key: what a score was computed from."""
        return _digest((self.content, self.info.source_class, self.info.target_class))

    @property
    def first(self) -> bool:
        """Whether it is of the run's smallest seed."""
        return self.unit.seed == self.of.run.plan.first_seed

    @property
    def entry(self) -> Entry:
        return self.of.run.plan.entries[self.unit.entry]

    @property
    def info(self) -> SampleInfo:
        return self.of.run.plan.samples[self.unit.sample]

    @property
    def alone(self) -> Edit:
        """The same edit, whose picture goes when it goes."""
        return Edit(self.of, self.unit, self.record, self.index)

    @cached_property
    def picture(self) -> NDArray[np.uint8]:
        """uint8 (H, W, 3); decoded on first use. RunError where the file is gone or differs from its record."""
        return self.of.run.read_edit(self.record, self.index)

    @property
    def sample(self) -> Sample:
        """Source, texts, mask and truth, decoded."""
        return self.of.load(self.info)


@dataclass(frozen=True)
class EditSet:
    """The edits of one editor at one knob value. `inputs` hashes them and their classes: what a score of the set belongs to."""

    entry: Entry
    value: float
    edits: list[Edit]

    @cached_property
    def classes(self) -> list[str | None]:
        return [edit.info.target_class for edit in self.edits]

    @cached_property
    def clusters(self) -> list[str]:
        return [edit.info.source_id for edit in self.edits]

    @cached_property
    def inputs(self) -> str:
        contents = [edit.content for edit in self.edits]
        return _digest((contents, self.classes))


@dataclass(frozen=True)
class Job:
    """Edits to be looked at for a metric, by name, and what is done with them, up to `PICTURES_AT_A_TIME` at once.

    `every` are those that it would look at if nothing were known. Which edits come together is settled by them and not by `todo`: a
    scoring that was interrupted, or shared out, calls networks with the same batches.
    """

    metric: str
    todo: Collection[tuple[str, float]]
    take: Callable[[Sequence[Edit]], None]
    every: Collection[tuple[str, float]]


@dataclass(frozen=True)
class Share:
    """Of the batches of every job those whose number leaves `seat` when divided by `seats`."""

    seat: int = 0
    seats: int = 1


def walk(
    finished: Finished,
    jobs: Sequence[Job],
    progress: Progress,
    failed: Failed,
    *,
    share: Share = Share(),
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Hand every edit of a share to the jobs that want it. A picture is decoded once, and forgotten when the last of them is done with it.

    The jobs of a metric that has `failed`, now or before, are left out. Raises KeyboardInterrupt where told to `stop`.
    """
    wanted = frozenset().union(*(job.todo for job in jobs))
    waiting: list[list[Edit]] = [[] for _ in jobs]
    passed = [0] * len(jobs)

    def take(job: Job, queue: list[Edit]) -> None:
        if stop():
            raise KeyboardInterrupt
        if queue and job.metric not in failed:
            with failed.alone(job.metric, f"edits of samples {queue[0].info.id} to {queue[-1].info.id}"):
                job.take(queue)
        queue.clear()

    with progress("score edits", len(wanted)) as advance:
        for edit in finished.edits:
            own, name = edit.alone, edit.name
            for number, (job, queue) in enumerate(zip(jobs, waiting, strict=True)):
                if name not in job.every:
                    continue
                batch, place = divmod(passed[number], PICTURES_AT_A_TIME)
                if place == 0:
                    take(job, queue)
                passed[number] += 1
                if name in job.todo and batch % share.seats == share.seat:
                    queue.append(own)
            if name in wanted:
                advance()
        for job, queue in zip(jobs, waiting, strict=True):
            take(job, queue)


def _digest(inputs: object) -> str:
    return hashlib.sha256(repr(inputs).encode()).hexdigest()[:16]
