"""A crew: a set of workers on one run folder, how they are asked to work, and what happens when one dies."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Generic, TypeVar

from bench.errors import RunError
from bench.store import Run, claims
from bench.workers.overdue import Overdue

__all__ = ["Crew", "Died", "Options", "Task", "Work"]

FRUITLESS_DEATHS = 3
Worker = TypeVar("Worker")
"""How an executor knows one of its workers: a process, a task, a job."""


@dataclass(frozen=True)
class Options:
    """How to work on a run.

    `workers` 0 is one per GPU of this machine, or one per CPU core up to four; on Ray as many as the cluster has room for, and more as it
    grows; one under Slurm. Remote workers get a GPU each when `device` says cuda. `address` is that of a Ray cluster which is there.
    `threads` is per worker on a CPU; another number can change results in the last bits.
    """

    executor: str = "auto"
    workers: int = 0
    device: str = "auto"
    threads: int = 1
    address: str = ""


@dataclass(frozen=True)
class Died:
    """That a worker came to an end before the work did, and what is known of how; `lost` if its machine went, which no unit did."""

    cause: str
    lost: bool = False


@dataclass(frozen=True)
class Task:
    """What workers do with the folder, in words and as `module:function`, which takes what `Work.settings` gives.

    `divided` says that it is told its `share`, a seat and the number of seats; otherwise workers share by claims.
    """

    what: str
    target: str
    divided: bool = False


EDITING = Task("edit", "bench.workers.drain:drain")


@dataclass(frozen=True)
class Work:
    """What a worker is started with: the folder, and what its task takes, its name in claims included."""

    folder: str
    target: str
    device: str
    threads: int
    worker: str
    share: tuple[int, int] | None = None

    def settings(self) -> dict[str, Any]:
        """The arguments of `bench.workers.process.work` beside the folder."""
        return {name: value for name, value in vars(self).items() if name != "folder" and value is not None}


class Crew(ABC, Generic[Worker]):
    """A set of workers on one run folder, made once the plan is written there. Executors say how a worker starts, stops, and ended.

    - Workers run `bench.workers.process.work` on the folder and nothing else, which does the `task`. All that is known of the work lies
      there: a crew has no queue, hands out no units and collects no results, so that crews can be mixed, killed and started again.
    - Entering starts the workers and returns at once. Only the process and the thread that entered call `check` and leave.
    - A worker that dies is not an error of the run: its claims are voided, with word of how it died for whoever takes its units next, and it
      is replaced. One whose successors die too, and never over a unit, stops the run.
    - A worker that is lost with its machine is replaced too; its units are given back, and nobody counts it.
    - A worker that holds a unit far beyond the spec's `unit_seconds` is stuck where no signal of its own reaches it: it is killed, which is a
      death like any other.
    - Told that it is `enough`, workers end after the unit in hand and are not replaced; where an executor cannot tell them, they stop.
    - On leaving without an error workers end by themselves, because every unit has a record; on leaving with one, whether raised by
      `check` or thrown in from outside (KeyboardInterrupt), they are told to stop and none is left behind.

    `say` gets a line about what a user may wonder at. Every worker's name in claims begins with `name`.
    """

    def __init__(
        self,
        run: Run,
        devices: Sequence[str],
        options: Options,
        say: Callable[[str], None] = lambda line: None,
        task: Task = EDITING,
    ) -> None:
        self.run, self.devices, self.options, self.say, self.task = run, list(devices), options, say, task
        self.name = uuid.uuid4().hex[:12]
        self.workers: list[Worker | None] = []
        """One for each device; None where it ended because all was done."""
        self._names: list[str] = []
        self._fruitless: list[int] = []
        self._started = 0
        self._ending = self._over = False
        self.wanted = len(devices)
        """How many workers there is work for, as far as the executor says."""
        self._overdue = Overdue(run, self.name, run.spec.unit_seconds)
        self._killed: dict[str, str] = {}

    @abstractmethod
    def start(self, work: Work) -> Worker:
        """Start a worker and return at once."""

    @abstractmethod
    def outcome(self, worker: Worker) -> str | Died | None:
        """None while it works, what stopped it for good, "" where nothing did and the work is done, or that it died."""

    @abstractmethod
    def stop(self, workers: Sequence[Worker]) -> None:
        """Tell workers to stop, and wait a little."""

    @abstractmethod
    def kill(self, worker: Worker) -> None:
        """End a worker that hears nothing any more."""

    def room(self) -> int:
        """How many workers more could start now, where a crew grows with its cluster."""
        return 0

    def finish(self, workers: Sequence[Worker]) -> None:
        """Tell workers to end after the unit in hand."""
        self.stop(workers)

    def leave(self, workers: Sequence[Worker]) -> None:
        """Let go of workers that end by themselves."""

    def __enter__(self) -> Crew[Worker]:
        try:
            for seat in range(len(self.devices)):
                self._sit(seat)
        except BaseException:
            self.stop([worker for worker in self.workers if worker is not None])
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        left = [worker for worker in self.workers if worker is not None]
        (self.leave if error is None else self.stop)(left)

    def check(self) -> bool:
        """Whether anyone still works; called a few times a second. Raises RunError with what stopped a worker for good."""
        for name, cause in self._overdue.found().items():
            seat = self._names.index(name) if name in self._names else None
            if seat is not None and (worker := self.workers[seat]) is not None and name not in self._killed:
                self._killed[name] = cause
                self.kill(worker)
        for seat, worker in enumerate(self.workers):
            outcome = None if worker is None else self.outcome(worker)
            if outcome is None:
                continue
            self.workers[seat] = None
            if isinstance(outcome, Died):
                self._bury(seat, replace(outcome, cause=self._killed.get(self._names[seat], outcome.cause)))
            elif outcome:
                raise RunError(outcome)
            else:
                self._over = True
        at_work = sum(worker is not None for worker in self.workers)
        for _ in range(0 if self._ending or self._over else min(self.room(), self.wanted - at_work)):
            self.devices.append(self.devices[0])
            self._sit(len(self.devices) - 1)
        return any(worker is not None for worker in self.workers)

    def enough(self) -> None:
        """Let workers end after the unit in hand; to be said once."""
        self._ending = True
        self.finish([worker for worker in self.workers if worker is not None])

    def _sit(self, seat: int) -> None:
        """The first worker in a seat."""
        self._names.append("")
        self._fruitless.append(0)
        self.workers.append(None)
        self._begin(seat, self.devices[seat])

    def _begin(self, seat: int, device: str) -> None:
        self._started += 1
        self._names[seat] = f"{self.name}-{self._started}"
        options = self.options
        share = (seat, len(self.devices)) if self.task.divided else None
        self.workers[seat] = self.start(Work(self.run.place, self.task.target, device, options.threads, self._names[seat], share))

    def _bury(self, seat: int, died: Died) -> None:
        held, cause = claims.of_worker(self.run.claims, self._names[seat]), died.cause
        for path in held:
            claims.release(path, self._names[seat]) if died.lost else claims.bury(path, self._names[seat], cause)
        if self._ending:
            return
        if died.lost:
            self.say(f"a worker went with its machine ({cause}) and is replaced")
            self._begin(seat, self.devices[seat])
            return
        self._fruitless[seat] = 0 if held else self._fruitless[seat] + 1
        if self._fruitless[seat] > FRUITLESS_DEATHS:
            what = "over their share" if self.task.divided else "before they take a unit"
            raise RunError(f"worker processes keep dying {what} ({cause}); try --executor inline")
        over = f" over {len(held)} unit{'s' * (len(held) > 1)}" if held else ""
        self.say(f"a worker died{over} ({cause}) and is replaced")
        self._begin(seat, self.devices[seat])
