"""Votes on the edits of a run: of people, or of judges who were asked the same. One plain table for both, in one of two forms.

    scores          rater, sample_id, editor, value, score
    preferences     rater, sample_id, first, first_value, second, second_value, vote

A rater is any name that stays the same. `editor`, `first` and `second` are labels of the run, `value` the knob value, 0 for anchors. A score is
a number of which more is better, on one scale in one file. A vote is first, second, tie (equally good), both_bad (neither does what was
asked), or flip (a judge that named the same place in both orders, which is no preference). Other columns are kept and not read. A missing score
or vote is none, and never a tie.

The frame of a study (`bench.scoring.votes`) is read too: its real trials, preferences where it asked for any, else its ratings of SC.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bench.analysis.preferences import counted
from bench.errors import ScoreError
from bench.scoring import votes as studies
from bench.suggest import did_you_mean

if TYPE_CHECKING:
    from bench.plan import Plan

__all__ = ["PREFERENCES", "SCORES", "VOTES", "are_preferences", "of_run", "read_votes"]

SCORES: Mapping[str, str] = {
    "rater": "who voted",
    "sample_id": "manifest id of the sample",
    "editor": "label of the editor whose edit was rated",
    "value": "knob value of the edit; 0 for anchors",
    "score": "a number, more is better; empty where none was given",
}
PREFERENCES: Mapping[str, str] = {
    "rater": "who voted",
    "sample_id": "manifest id of the sample",
    "first": "label of the editor of one edit",
    "first_value": "its knob value",
    "second": "label of the editor of the other edit",
    "second_value": "its knob value",
    "vote": "first, second, tie, both_bad or flip; empty where none was given",
}
VOTES = ("first", "second", "tie", "both_bad", "flip")
NUMBERS = ("value", "first_value", "second_value", "score")


def are_preferences(votes: pd.DataFrame) -> bool:
    """Whether these are preferences; scores otherwise."""
    return "vote" in votes.columns


def read_votes(path: Path) -> pd.DataFrame:
    """The votes of a .parquet, .csv or .jsonl file.

    Raises ScoreError that names file, row and column where it cannot be read, lacks a column, or holds what is no vote.
    """
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        elif path.suffix == ".csv":
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
        elif path.suffix == ".jsonl":
            table = pd.read_json(path, lines=True, dtype=False)
        else:
            raise ScoreError(f"{path}: expected a .parquet, .csv or .jsonl file of votes")
    except (OSError, ValueError) as error:
        raise ScoreError(f"{path} cannot be read as votes: {error}") from error
    if "study" in table.columns:
        real = counted(studies.read_votes(path))
        compared = (real["question"] == studies.PREFERENCE).any()
        table = studies.plain(real, studies.PREFERENCE if compared else studies.RATINGS[0])
    return _checked(table, str(path))


def _checked(table: pd.DataFrame, where: str) -> pd.DataFrame:
    columns = PREFERENCES if are_preferences(table) else SCORES
    for name in columns:
        if name not in table.columns:
            raise ScoreError(f"{where}: no column {name} ({columns[name]}); votes have {', '.join(columns)}")
    found = table.copy()
    for name in columns:
        if name in NUMBERS:
            numbers = pd.to_numeric(found[name].replace("", np.nan), errors="coerce").astype(np.float64)
            wrong = found.index[~np.isfinite(numbers) & ~(found[name].isna() | (found[name] == "") if name == "score" else False)]
            if len(wrong):
                raise ScoreError(
                    f"{where}: row {_place(found, wrong[0])}: {name}: expected a number, got {found[name][wrong[0]]!r}"
                )
            found[name] = numbers
        elif name == "vote":
            found[name] = found[name].replace("", None)
            wrong = found.index[found[name].notna() & ~found[name].isin(VOTES)]
            if len(wrong):
                got = found[name][wrong[0]]
                raise ScoreError(
                    f"{where}: row {_place(found, wrong[0])}: vote: expected {', '.join(VOTES)} or nothing, got {got!r}"
                )
        else:
            found[name] = found[name].astype(str)
    return found.reset_index(drop=True)


def _place(table: pd.DataFrame, label: object) -> int:
    return int(np.flatnonzero(table.index == label)[0]) + 1


def of_run(votes: pd.DataFrame, plan: Plan, where: str = "votes") -> pd.DataFrame:
    """The votes with the `source_id` of each sample, by which all statistics are clustered.

    Raises ScoreError where a vote is on a sample, an editor or a knob value that the run does not have.
    """
    sources = {sample.id: sample.source_id for sample in plan.samples}
    values = {entry.label: entry.values for entry in plan.entries}
    sides = [("first", "first_value"), ("second", "second_value")] if are_preferences(votes) else [("editor", "value")]
    for row, sample in enumerate(votes["sample_id"], 1):
        if sample not in sources:
            raise ScoreError(f"{where}: row {row}: sample_id: the run has no {sample!r}; {did_you_mean(sample, sources)}")
    for side, number in sides:
        for row, (editor, value) in enumerate(zip(votes[side], votes[number], strict=True), 1):
            if editor not in values:
                raise ScoreError(f"{where}: row {row}: {side}: the run has no {editor!r}; {did_you_mean(editor, values)}")
            if not any(np.isclose(value, each) for each in values[editor]):
                grid = ", ".join(f"{each:g}" for each in values[editor])
                raise ScoreError(f"{where}: row {row}: {number}: {editor} has {grid}, got {value:g}")
    return votes.assign(source_id=[sources[sample] for sample in votes["sample_id"]])
