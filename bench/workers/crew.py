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
    """A set of workers; a context manager that lets them end when the work is done, and ends them on an error."""

    def __enter__(self) -> Crew: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def check(self) -> bool:
        """Whether anyone still works; raises what stopped a worker for good, replaces those that merely died."""
        ...
