"""The contract of a crew: a set of workers on one run folder, and how they are asked to work."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

__all__ = ["Crew", "Options"]


@dataclass(frozen=True)
class Options:
    """How to work on a run.

    `workers` 0 is one per GPU of this machine, or one per CPU core up to four, and one for remote executors. Remote workers get a
    GPU each when `device` says cuda. `threads` is per worker on a CPU; another number can change results in the last bits.
    """

    executor: str = "auto"
    workers: int = 0
    device: str = "auto"
    threads: int = 1
    fail_on_error: bool = False


class Crew(Protocol):
    """A set of workers on one run folder, made from (run, device of each worker, options) once the plan is written there.

    What a crew owes, whatever it runs on:

    - Its workers run `bench.workers.drain.drain` on the folder and nothing else. All that is known of the work lies there: a crew has no
      queue, hands out no units and collects no results, so that crews can be mixed, killed and started again.
    - `__enter__` starts the workers and returns at once. Only the process and the thread that entered it call `check` and `__exit__`.
    - A worker that dies is not an error of the run: where the crew can tell which unit it held, that unit gets a failed record, and the
      worker is replaced. It may write nothing else into the folder.
    - On leaving without an error workers end by themselves, because every unit has a record; on leaving with one, whether raised by
      `check` or thrown in from outside (KeyboardInterrupt), they are told to stop and none is left behind.
    """

    def __enter__(self) -> Crew: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def check(self) -> bool:
        """Whether anyone still works; called a few times a second. Raises RunError with what stopped a worker for good."""
        ...
