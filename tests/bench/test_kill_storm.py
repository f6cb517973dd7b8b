"""A few kills of the storm; `python -P tests/helpers/kill_storm.py --kills 1000` is the whole."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from kill_storm import Storm


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for orphans in /proc")
def test_what_is_killed_at_any_instant_loses_nothing_and_leaves_nobody(tmp_path: Path) -> None:
    storm = Storm(tmp_path / "storm", seed=3, seeds_of_run=2)
    storm.blow(3)
    assert storm.killed.total() == 3
