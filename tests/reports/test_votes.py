from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from reports.votes import VotesData, votes_report

STRENGTHS = pd.DataFrame(
    {"editor": ["a", "b"], "strength": [0.4, np.nan], "low": [0.1, np.nan], "high": [0.7, np.nan]}
    | {"rank": [1.0, np.nan], "share": [0.6, np.nan], "votes": [9, 4]}
)


def test_only_what_there_is_has_a_table_and_a_file() -> None:
    files = votes_report(VotesData("made", {"votes": "9"}, strengths=STRENGTHS))
    assert list(files) == ["strengths.csv", "report.md", "strengths.svg", "strengths.png", "index.html"]
    page = files["index.html"].decode()
    assert 'id="strengths"' in page
    assert 'id="preferences"' not in page
    pd.testing.assert_frame_equal(pd.read_csv(io.BytesIO(files["strengths.csv"])), STRENGTHS)


def test_what_has_no_number_is_shown_without_one() -> None:
    lines = votes_report(VotesData("made", {}, strengths=STRENGTHS))["report.md"].decode().splitlines()
    assert "| b | – | – | – | 4 |" in lines
    assert not [line for line in lines if "nan" in line.lower()]


def test_without_strengths_there_is_no_figure() -> None:
    files = votes_report(VotesData("made", {}, strengths=STRENGTHS.iloc[1:]))
    assert "strengths.svg" not in files
    assert "<svg" not in files["index.html"].decode().split("<table", 1)[0]


@pytest.mark.parametrize("name", ["<script>x</script>", "a|b", "`a`", "line\nbreak", "\x00"])
def test_names_of_strangers_stay_names(name: str) -> None:
    files = votes_report(VotesData(name, {}, [name], strengths=STRENGTHS.assign(editor=[name, "b"])))
    page, markdown = files["index.html"].decode(), files["report.md"].decode()
    assert "<script>x" not in page
    row = next(line for line in markdown.splitlines() if "+0.40" in line)
    assert row.replace("\\|", "").count("|") == 6, "five cells"
    assert "<script>x" not in markdown
