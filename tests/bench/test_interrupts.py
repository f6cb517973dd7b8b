from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

import pytest

from bench.errors import message_of
from bench.interrupts import STOPS, exits_are_errors, told_to_stop


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Python's own handlers, whoever started the tests (nohup ignores SIGHUP); they are after a test what they were before it."""
    own = dict.fromkeys([*STOPS, signal.SIGUSR1], signal.SIG_DFL) | {signal.SIGINT: signal.default_int_handler}
    given = {number: signal.signal(number, handler) for number, handler in own.items()}
    yield
    left = {number: signal.signal(number, handler) for number, handler in given.items()}
    assert left == own


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_interrupts_and_is_told_of(number: signal.Signals) -> None:
    with told_to_stop() as told, pytest.raises(KeyboardInterrupt):
        assert not told()
        signal.raise_signal(number)
    assert told()


def test_an_interrupt_that_code_raised_is_not_told_of() -> None:
    with told_to_stop() as told, pytest.raises(KeyboardInterrupt):
        raise KeyboardInterrupt
    assert not told()


def test_blocks_within_blocks_are_all_told() -> None:
    with told_to_stop() as outer:
        with told_to_stop() as inner, pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert (outer(), inner()) == (True, True)


@pytest.mark.parametrize("error", [SystemExit(0), KeyboardInterrupt(), GeneratorExit()])
def test_an_exit_that_code_of_others_raised_is_an_error(error: BaseException) -> None:
    with pytest.raises(RuntimeError, match=rf"it called for an exit \({type(error).__name__}\)"), exits_are_errors():
        raise error
    with pytest.raises(KeyboardInterrupt), exits_are_errors():
        signal.raise_signal(signal.SIGTERM)


def test_a_block_that_must_not_be_torn_apart_is_not() -> None:
    done = []
    with told_to_stop() as told:
        with pytest.raises(KeyboardInterrupt), told.later():
            signal.raise_signal(signal.SIGTERM)
            done.append("whole")
        assert told()
    assert done == ["whole"]


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with told_to_stop() as told:
            signal.raise_signal(signal.SIGHUP)
        assert not told()
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("error", [SystemExit(-1), None])
def test_a_scheduler_s_handler_stops_where_it_raises(error: BaseException | None) -> None:
    """As submitit's does when the job is taken away; one that returns did something else."""

    def handler(*_: object) -> None:
        if error is not None:
            raise error

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with told_to_stop() as told, contextlib.suppress(SystemExit):
            signal.raise_signal(signal.SIGUSR1)
        assert told.error is error
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_another_thread_is_told_nothing() -> None:
    seen = []

    def block() -> None:
        with told_to_stop() as told:
            seen.append((told(), signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert seen == [(False, signal.getsignal(signal.SIGTERM))]


def test_every_message_can_be_written_down() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise SystemExit(3)

    assert message_of(MuteError()) == "(its message cannot be read: SystemExit)"
    assert message_of(ValueError("two\n lines \ud800")) == "two lines \\ud800"
