"""Ctrl-C and the signals that end a process, told apart from what a library or a plug-in raises."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

__all__ = ["TimeLimit", "Told", "exits_are_errors", "no_way_out", "time_limit", "told_to_stop"]

STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
MAY_STOP = [getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name)]
"""With which schedulers tell of the end of their time; they stop whom a handler of theirs stops."""


SECONDS_BETWEEN_ALARMS = 5.0


class TimeLimit(BaseException):
    """Code took longer than it may."""


class Told:
    """Whether this process was told to stop while a block ran; called, it says so. `error` is what the signal raised.

    `enough` says whether a patient block was told to end after what is in hand.
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.enough = False
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


_patient: list[tuple[Told, Callable[[], None]]] = []
"""The patient blocks of the main thread, the innermost last."""


@contextlib.contextmanager
def told_to_stop(first: Callable[[], None] | None = None) -> Iterator[Told]:
    """While the block runs, SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt in it, and the yielded object tells of them.

    An exit or a KeyboardInterrupt of which it does not tell was raised by code, not by the user. One that code swallowed is told of all
    the same. Signals reach the main thread only: in another thread nobody is told anything. What is ignored stays ignored (`nohup`), and
    a handler that was there before is called first; what it raises is what the signal raised.

    A block with `first` is patient: the first SIGINT, also in blocks within, raises nothing; `first` is called, in a thread of its own, and
    `enough` is told. The second is like any other.
    """
    told = Told()
    before = {number: signal.getsignal(number) for number in [*STOPS, *MAY_STOP]}

    def stop(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and _patient and not _patient[-1][0].enough:
            patient, say = _patient[-1]
            patient.enough = True
            threading.Thread(target=say, name="first", daemon=True).start()
            return
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
        changed, first = [], None
    mine = [(told, first)] if first is not None else []
    try:
        for number in changed:
            signal.signal(number, handle)
        _patient.extend(mine)
        yield told
    finally:
        del _patient[len(_patient) - len(mine) :]
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


@contextlib.contextmanager
def no_way_out() -> Iterator[None]:
    """Code of others runs inside: `os._exit`, which would end this process without a word, is a SystemExit. What it forks may leave."""
    leave, here = os._exit, os.getpid()

    def stay(status: int) -> NoReturn:
        if os.getpid() != here:
            leave(status)
        raise SystemExit(status)

    os._exit = stay
    try:
        yield
    finally:
        os._exit = leave


@contextlib.contextmanager
def time_limit(seconds: float | None) -> Iterator[bool]:
    """TimeLimit is raised in the block after so many seconds, and again a little later where it was swallowed; None is no limit.

    Yields whether the limit is kept: in another thread than the main one, and where the system has no timer (Windows), it is not. Code that
    hangs outside Python is not reached.
    """
    kept = threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer")
    if seconds is None or not kept:
        yield kept
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeLimit(f"not done after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds, SECONDS_BETWEEN_ALARMS)
            yield kept
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)
