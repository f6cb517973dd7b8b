"""Many raters at once, and a server that is killed under them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.benchmarks.raters import Outcome, crowd, made_study


@pytest.mark.slow
def test_no_vote_is_lost_or_doubled_though_the_server_is_killed(tmp_path: Path) -> None:
    """What a rater was told is stored is on the disk, once; everybody comes to the end; no item is ahead by more than one."""
    folder = made_study(tmp_path / "study", sources=10, editors=3, votes=100, trials=8, side=16)
    outcome = crowd(folder, 30, at_once=15, kills=2)
    assert outcome.sound, outcome.lines()
    assert outcome.kills == 2
    assert outcome.votes == 30 * 10


@pytest.mark.parametrize("fault", ["lost", "doubled", "changed", "unfinished"])
def test_any_fault_is_one(fault: str) -> None:
    assert Outcome(1, spread=1).sound
    assert not Outcome(1, **{fault: 1}).sound
    assert not Outcome(1, spread=2).sound
