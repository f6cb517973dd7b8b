"""Ctrl-C and the signals that end a process, told apart from what a library or a plug-in raises."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

__all__ = ["Told", "exits_are_errors", "told_to_stop"]

STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
MAY_STOP = [getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name)]
"""With which schedulers tell of the end of their time; they stop whom a handler of theirs stops."""


class Told:
    """Whether this process was told to stop while a block ran; called, it says so. `error` is what the signal raised."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self._later = False
        self._waiting: Callable[[], None] | None = None

    def __call__(self) -> bool:
        return self.error is not None

    def on(self, signal_: Callable[[], None]) -> None:
        """Do what a signal asks, or let it wait for the end of `later`."""
        if self._later:
            self._waiting = signal_
            return
        try:
            signal_()
        except BaseException as error:
            self.error = error
            raise

    @contextlib.contextmanager
    def later(self) -> Iterator[None]:
        """A short block that no signal tears apart: it raises at the end."""
        self._later = True
        try:
            yield
        finally:
            self._later, waiting, self._waiting = False, self._waiting, None
            if waiting is not None:
                self.on(waiting)


@contextlib.contextmanager
def told_to_stop() -> Iterator[Told]:
    """While the block runs, SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt in it, and the yielded object tells of them.

    An exit or a KeyboardInterrupt of which it does not tell was raised by code, not by the user. One that code swallowed is told of all
    the same. Signals reach the main thread only: in another thread nobody is told anything. What is ignored stays ignored (`nohup`), and
    a handler that was there before is called first; what it raises is what the signal raised.
    """
    told = Told()
    before = {number: signal.getsignal(number) for number in [*STOPS, *MAY_STOP]}

    def stop(number: int, frame: FrameType | None) -> None:
        earlier = before[number]
        if callable(earlier):
            earlier(number, frame)
        if number in STOPS:
            raise KeyboardInterrupt

    def handle(number: int, frame: FrameType | None) -> None:
        told.on(lambda: stop(number, frame))

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


@contextlib.contextmanager
def exits_are_errors() -> Iterator[None]:
    """Code of others runs inside: where it would end the process, that is a RuntimeError; what a signal raised passes."""
    with told_to_stop() as told:
        try:
            yield
        except Exception:
            raise
        except BaseException as error:
            if told():
                raise
            text = f"it called for an exit ({type(error).__name__})"
            raise RuntimeError(text).with_traceback(error.__traceback__) from error
