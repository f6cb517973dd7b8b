from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_votes import rating, vote

from bench.errors import ScoreError
from bench.scoring.votes import COLUMNS, plain, read_votes, votes_frame, write_votes


def test_votes_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [vote(), vote(answer="", failure="refused"), rating(score=0.5), vote(category='a, "b"\nc', answer="both_bad")]
    table = votes_frame(rows)
    assert list(table.columns) == list(COLUMNS)
    write_votes(tmp_path, table)
    for name in ("votes.parquet", "votes.csv"):
        pd.testing.assert_frame_equal(read_votes(tmp_path / name), table)


def test_no_votes_are_a_frame_too() -> None:
    assert list(votes_frame([]).columns) == list(COLUMNS)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (vote(answer="maybe"), "row 1: answer is 'maybe'"),
        (vote(answer=""), "an answer or a failure"),
        (vote(failure="timed out"), "neither answer nor score"),
        (vote(second="a"), "two editors"),
        (vote(first_side="up"), "first_side is 'up'"),
        (vote(kind="test"), "kind is 'test'"),
        (rating(score=2.0), "score from 0 to 1"),
        (rating(second="b"), "has no second"),
        (rating(score=np.nan), "score from 0 to 1"),
        (vote(seconds="soon"), "column seconds"),
    ],
)
def test_what_is_no_vote_is_refused_by_row_and_rule(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ScoreError, match=said):
        votes_frame([vote(), wrong])


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    with pytest.raises(ScoreError, match="cannot be read as votes"):
        read_votes(path)
    path.write_text("rater\nr1\n")
    with pytest.raises(ScoreError, match=r"votes\.csv: votes lack the column sample_id, editor, value, score"):
        read_votes(path)
    (tmp_path / "votes.parquet").write_bytes(b"no")
    with pytest.raises(ScoreError, match="cannot be read as votes"):
        read_votes(tmp_path / "votes.parquet")


def test_the_page_says_what_every_column_is() -> None:
    page = (Path(__file__).parents[3] / "docs" / "studies.md").read_text(encoding="utf-8")
    for name, meaning in COLUMNS.items():
        assert f"| `{name}` | {meaning} |" in page


def test_plain_votes_are_written_and_read(tmp_path: Path) -> None:
    votes = votes_frame(
        [vote(), vote(answer="both_bad", rater="r2", first_side="right"), rating(), rating(question="PQ", score=0.5)]
    )
    for question, columns in (
        ("preference", ["rater", "sample_id", "first", "first_value", "second", "second_value", "vote"]),
        ("PQ", ["rater", "sample_id", "editor", "value", "score"]),
    ):
        table = plain(votes, question)
        assert set(columns) <= set(table.columns)
        write_votes(tmp_path, table, "plain")
        for name in ("plain.parquet", "plain.csv"):
            again = read_votes(tmp_path / name)
            own = votes[votes["question"] == question].reset_index(drop=True)
            same = [
                "rater",
                "sample_id",
                "source_id",
                "question",
                "first",
                "first_value",
                "second",
                "second_value",
                "answer",
                "score",
            ]
            pd.testing.assert_frame_equal(again[same], own[same])


def test_a_flip_and_a_missing_vote_are_failures_and_no_ties(tmp_path: Path) -> None:
    path = tmp_path / "judge.csv"
    head = "rater,sample_id,first,first_value,second,second_value,vote,failure"
    path.write_text(f"{head}\nj,s1,a,0.5,b,0.5,first,\nj,s2,a,0.5,b,0.5,flip,\nj,s3,a,0.5,b,0.5,,refused\nj,s4,a,0.5,b,0.5,,\n")
    table = read_votes(path)
    assert table["answer"].tolist() == ["first", "", "", ""]
    assert table["failure"].tolist() == ["", "flip", "refused", "no answer"]
    assert table["source_id"].tolist() == ["s1", "s2", "s3", "s4"]
    assert table["item"].is_unique


def test_ids_that_a_spreadsheet_would_compute_come_back_as_they_were(tmp_path: Path) -> None:
    """A CSV file has them behind an apostrophe, under which no run knows them."""
    table = votes_frame([vote(sample_id="-1", first="=a", second="@b", category="'x"), vote(sample_id=" +2")])
    write_votes(tmp_path, table)
    assert "'=a" in (tmp_path / "votes.csv").read_text()
    pd.testing.assert_frame_equal(read_votes(tmp_path / "votes.csv"), table)


def test_lines_of_json_are_read_as_every_other_file(tmp_path: Path) -> None:
    votes = votes_frame([vote(), rating(), vote(answer="", failure="refused")])
    votes.to_json(tmp_path / "votes.jsonl", orient="records", lines=True)
    pd.testing.assert_frame_equal(read_votes(tmp_path / "votes.jsonl"), votes)
