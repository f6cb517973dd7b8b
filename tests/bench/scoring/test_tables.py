"""Tables that grow by files of their own until a scoring is through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.errors import ScoreError
from bench.scoring.tables import PAIR_COLUMNS, PAIR_KEY, append_table, frame, merged, read_table, write_table
from bench.store import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run.create(tmp_path / "run")
    made.scores.mkdir()
    return made


def rows(*units: str, score: float = 0.5) -> Any:
    texts = dict.fromkeys(("sample_id", "source_id", "editor", "knob", "metric", "fingerprint", "inputs"), "x")
    return frame([{"unit": unit, "value": 1.0, "seed": 0, "score": score, **texts} for unit in units], PAIR_COLUMNS)


def test_what_is_appended_is_read_after_what_was_there(run: Run) -> None:
    append_table(run, "pairs", rows("a", "b"))
    first = run.scores / "pairs.000001.parquet"
    written = first.stat().st_mtime_ns
    append_table(run, "pairs", rows("b", "c", score=0.75))
    assert first.stat().st_mtime_ns == written, "nothing is written again"
    found = read_table(run, "pairs")
    assert list(found["unit"]) == ["a", "b", "b", "c"]
    whole = merged(found, rows(), PAIR_KEY)
    assert list(zip(whole["unit"], whole["score"], strict=True)) == [("a", 0.5), ("b", 0.75), ("c", 0.75)], "the later stands"
    write_table(run, "pairs", whole)
    assert [path.name for path in run.scores.iterdir()] == ["pairs.parquet"]
    append_table(run, "pairs", rows("d"))
    assert list(read_table(run, "pairs")["unit"]) == ["a", "b", "c", "d"]


def test_a_damaged_part_is_named_or_made_anew(run: Run) -> None:
    write_table(run, "pairs", rows("a"))
    append_table(run, "pairs", rows("b"))
    append_table(run, "pairs", rows("c"))
    (run.scores / "pairs.000001.parquet").write_bytes(b"PAR1")
    with pytest.raises(ScoreError, match=r"pairs\.000001\.parquet is damaged .*makes it anew"):
        read_table(run, "pairs")
    assert list(read_table(run, "pairs", anew=True)["unit"]) == ["a", "c"]
