from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from made_scores import entry, plan_of

from bench.analysis.votes import are_preferences, names_of, of_run, read_votes
from bench.errors import ScoreError
from bench.scoring.votes import COLUMNS, votes_frame, write_votes

PLAN = plan_of(entry("a"), entry("b"))
SCORES = "rater,sample_id,editor,value,score\nann,s0,a,0.5,1\nbob,s1,b,1,\n"
CHOICES = "rater,sample_id,first,first_value,second,second_value,vote,seconds\nann,s0,a,0.5,b,1,tie,3.1\nbob,s1,b,1,a,0,,2\n"


def write(tmp_path: Path, text: str, name: str = "votes.csv") -> Path:
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_both_forms_are_read_from_every_kind_of_file(tmp_path: Path) -> None:
    for text in (SCORES, CHOICES):
        table = read_votes(write(tmp_path, text))
        assert are_preferences(table) == (text == CHOICES)
        table.to_parquet(tmp_path / "votes.parquet")
        table.to_json(tmp_path / "votes.jsonl", orient="records", lines=True)
        for other in ("votes.parquet", "votes.jsonl"):
            pd.testing.assert_frame_equal(read_votes(tmp_path / other), table, check_dtype=False)


def test_a_vote_that_was_not_given_is_missing_and_no_tie(tmp_path: Path) -> None:
    assert read_votes(write(tmp_path, SCORES))["score"].isna().tolist() == [False, True]
    assert read_votes(write(tmp_path, CHOICES))["vote"].isna().tolist() == [False, True]


def test_a_study_gives_its_real_trials(tmp_path: Path) -> None:
    """Duplicates, gold trials and failures are no votes on the edits."""
    row = dict.fromkeys(COLUMNS, "") | {
        "position": 0,
        "kind": "trial",
        "question": "preference",
        "answer": "second",
        "score": None,
    }
    row |= {"rater": "r1", "sample_id": "s0", "source_id": "p0", "item": "i", "study": "mine", "seconds": 1.0}
    row |= {"first": "a", "first_value": 0.5, "second": "b", "second_value": 1.0, "first_side": "left"}
    rows = [
        row,
        row | {"kind": "duplicate"},
        row | {"kind": "gold", "expected": "first"},
        row | {"answer": "", "failure": "refused"},
    ]
    write_votes(tmp_path, votes_frame(rows))
    for name in ("votes.parquet", "votes.csv"):
        found = read_votes(tmp_path / name)
        assert found["vote"].tolist() == ["second"]
        assert of_run(found, PLAN)["first"].tolist() == ["a"]


def test_sources_come_from_the_run(tmp_path: Path) -> None:
    assert of_run(read_votes(write(tmp_path, SCORES)), PLAN)["source_id"].tolist() == ["p0", "p0"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SCORES.replace("score", "scoer"), "no column score"),
        (CHOICES.replace("second_value,", "x,"), "no column second_value"),
        (SCORES.replace("0.5,1", "0.5,good"), "row 1: score: expected a number, got 'good'"),
        (SCORES.replace(",1,\n", ",much,\n"), "row 2: value: expected a number, got 'much'"),
        (SCORES.replace(",0.5,", ",,"), "row 1: value: expected a number, got ''"),
        (CHOICES.replace("tie", "left"), "row 1: vote: expected first, second, tie, both_bad, flip or nothing, got 'left'"),
        (SCORES.replace("s0", "s99"), "row 1: sample_id: the run has no 's99'"),
        (SCORES.replace(",b,", ",c,"), "row 2: editor: the run has no 'c'"),
        (CHOICES.replace("0.5", "0.4"), "row 1: first_value: a has 0, 0.5, 1, got 0.4"),
    ],
)
def test_what_is_no_vote_names_row_and_column(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ScoreError) as error:
        of_run(read_votes(write(tmp_path, text)), PLAN)
    assert said in str(error.value)


@pytest.mark.parametrize("name", ["votes.parquet", "votes.jsonl", "votes.txt", "gone.csv"])
def test_a_file_that_holds_no_table_is_refused(tmp_path: Path, name: str) -> None:
    if name != "gone.csv":
        write(tmp_path, "neither {", name)
    with pytest.raises(ScoreError, match=name):
        read_votes(tmp_path / name)


def test_files_are_told_apart_by_the_folders_above_them(tmp_path: Path) -> None:
    """Every study calls its votes the same."""
    first, second = tmp_path / "one" / "report" / "votes.csv", tmp_path / "two" / "report" / "votes.csv"
    assert names_of([first]) == ["votes"]
    assert names_of([first, second]) == ["one/report/votes", "two/report/votes"]
    assert names_of([]) == []
    with pytest.raises(ScoreError, match="given twice"):
        names_of([first, second, first.with_suffix(".parquet")])
