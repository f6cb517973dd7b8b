from __future__ import annotations

import io

import pytest
from rich.console import Console

from bench import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a test sets."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_lines_tell_the_time_left_from_the_pace_of_this_session(clock: list[float]) -> None:
    """The first step pays for loading the model, and what lay behind already says nothing about the pace."""
    stream = io.StringIO()
    with progress.shown(Console(file=stream, width=200))("edit", 100, 50) as advance:
        for second, note in ((100.0, ""), (110.0, "unit [bold]x[/bold] failed"), (120.0, "")):
            clock[0] = second
            advance(1, note)
    assert stream.getvalue().splitlines() == [
        "edit: 51/100, 1 min 40 s",
        "unit [bold]x[/bold] failed",
        "edit: 52/100, 1 min 50 s, about 8 min 00 s left",
        "edit: 53/100, 2 min 00 s, about 7 min 50 s left",
        "edit: 53/100 in 2 min 00 s",
    ]


def test_lines_are_not_printed_for_every_step(clock: list[float]) -> None:
    stream = io.StringIO()
    with progress.shown(Console(file=stream, width=200))("score", 1000) as advance:
        for step in range(999):
            clock[0] = step * 0.03
            advance()
    assert len(stream.getvalue().splitlines()) == 3, "two within thirty seconds, and the end"


def test_a_terminal_gets_a_bar_and_notes_as_they_are() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=120, force_terminal=True, color_system=None)
    with progress.shown(console)("edit", 4, 2) as advance:
        advance(1, "[/oops] failed")
    assert "[/oops] failed" in stream.getvalue()
    assert "3/4" in stream.getvalue()


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")])
def test_durations_read_like_speech(seconds: float, words: str) -> None:
    assert progress.duration(seconds) == words
