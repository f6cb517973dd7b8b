"""How long work shows itself: a bar with the time left on a terminal, plain lines elsewhere, nothing for library callers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from rich.console import Console
from rich.markup import escape

__all__ = ["Advance", "Progress", "duration", "shown", "silent"]

SECONDS_BETWEEN_LINES = 10.0


class Advance(Protocol):
    """Called with the number of steps done since the last call, and a line worth showing, if any."""

    def __call__(self, steps: int = 1, note: str = "") -> None: ...


class Progress(Protocol):
    """Opens a progress display: what is being done, in how many steps, of which `done` lie behind already."""

    def __call__(self, what: str, total: int, done: int = 0) -> AbstractContextManager[Advance]: ...


@contextlib.contextmanager
def silent(what: str, total: int, done: int = 0) -> Iterator[Advance]:
    """No display."""

    def advance(steps: int = 1, note: str = "") -> None:
        pass

    yield advance


def shown(console: Console) -> Progress:
    """A display on `console`."""

    def open_(what: str, total: int, done: int = 0) -> AbstractContextManager[Advance]:
        return (_bar if console.is_terminal else _lines)(console, what, total, done)

    return open_


def duration(seconds: float) -> str:
    """Seconds in words: 45 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


@contextlib.contextmanager
def _bar(console: Console, what: str, total: int, done: int) -> Iterator[Advance]:
    from rich import progress

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console) as bar:
        task = bar.add_task(escape(what), total=total, completed=done)

        def advance(steps: int = 1, note: str = "") -> None:
            bar.advance(task, steps)
            if note:
                bar.console.print(escape(note), highlight=False)

        yield advance


@contextlib.contextmanager
def _lines(console: Console, what: str, total: int, done: int) -> Iterator[Advance]:
    start = last = time.monotonic()
    first: tuple[float, int] | None = None

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    def advance(steps: int = 1, note: str = "") -> None:
        nonlocal done, last, first
        done += steps
        if note:
            say(note)
        now = time.monotonic()
        first = first or (now, done)
        if steps and done < total and now - last >= SECONDS_BETWEEN_LINES:
            last = now
            pace = (now - first[0]) / (done - first[1]) if done > first[1] else None
            left = "" if pace is None else f", about {duration(pace * (total - done))} left"
            say(f"{what}: {done}/{total}, {duration(now - start)}{left}")

    yield advance
    say(f"{what}: {done}/{total} in {duration(time.monotonic() - start)}")
