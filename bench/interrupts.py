"""Ctrl-C and the signals that end a process, told apart from what a library or a plug-in raises."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["Told", "told_to_stop"]

STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
MAY_STOP = [getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name)]
"""With which schedulers tell of the end of their time; they stop whom a handler of theirs stops."""


class Told:
    """Whether this process was told to stop while a block ran; called, it says so. `error` is what the signal raised."""

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def __call__(self) -> bool:
        return self.error is not None


@contextlib.contextmanager
def told_to_stop() -> Iterator[Told]:
    """While the block runs, SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt in it, and the yielded object tells of them.

    An exit or a KeyboardInterrupt of which it does not tell was raised by code, not by the user. One that code swallowed is told of all
    the same. Signals reach the main thread only: in another thread nobody is told anything. What is ignored stays ignored (`nohup`), and
    a handler that was there before is called first; what it raises is what the signal raised.
    """
    told = Told()
    before = {number: signal.getsignal(number) for number in [*STOPS, *MAY_STOP]}

    def handle(number: int, frame: FrameType | None) -> None:
        try:
            earlier = before[number]
            if callable(earlier):
                earlier(number, frame)
            if number in STOPS:
                raise KeyboardInterrupt
        except BaseException as error:
            told.error = error
            raise

    changed = [
        number for number, earlier in before.items() if callable(earlier) or (number in STOPS and earlier is signal.SIG_DFL)
    ]
    if threading.current_thread() is not threading.main_thread():
        changed = []
    try:
        for number in changed:
            signal.signal(number, handle)
        yield told
    finally:
        for number in changed:
            signal.signal(number, before[number])
