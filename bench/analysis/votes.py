"""Votes on the edits of a run, in the two plain forms of `bench.scoring.votes`: scores of edits, or preferences between two.

A rater is any name that stays the same. `editor`, `first` and `second` are labels of the run, `value` the knob value, 0 for anchors. A score is
a number of which more is better, on one scale in one file. Other columns are kept and not read. A missing score or vote is none, and never a
tie.

Of the frame of a study its real trials are taken: preferences where it asked for any, else its ratings of SC.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bench.analysis.preferences import counted
from bench.errors import ScoreError
from bench.scoring.votes import PREFERENCE, RATINGS, is_frame, plain, read_table
from bench.suggest import did_you_mean

if TYPE_CHECKING:
    from bench.plan import Plan

__all__ = ["are_preferences", "names_of", "of_run", "read_votes"]


def are_preferences(votes: pd.DataFrame) -> bool:
    """Whether these are preferences; scores otherwise."""
    return "vote" in votes.columns


def read_votes(path: Path) -> pd.DataFrame:
    """The votes of a .parquet, .csv or .jsonl file in a plain form.

    Raises ScoreError that names file, row and column where it cannot be read, lacks a column, or holds what is no vote.
    """
    table = read_table(path)
    if not is_frame(table):
        return table
    real = counted(table)
    return plain(real, PREFERENCE if (real["question"] == PREFERENCE).any() else RATINGS[0])


def names_of(files: Sequence[Path]) -> list[str]:
    """What to call files of votes: each by its name without the ending, and by as many folders above it as tell them all apart.

    Raises ScoreError where two differ in nothing but the ending, as the Parquet and the CSV file of one study do.
    """
    whole = [file.absolute().with_suffix("").parts for file in files]
    twice = next((file for file, parts in zip(files, whole, strict=True) if whole.count(parts) > 1), None)
    if twice is not None:
        raise ScoreError(f"{twice} is given twice; files that differ in their ending alone are taken for the same votes")
    depth = next(depth for depth in count(1) if len({parts[-depth:] for parts in whole}) == len(whole))
    return ["/".join(parts[-depth:]) for parts in whole]


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
