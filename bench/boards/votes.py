"""What people say, beside what metrics say: the strengths of a study (`etabench study report`) as a column of the board."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from bench.errors import BoardError, RunError
from bench.store.shapes import read_as
from reports.boards import DivisionData

__all__ = ["COLUMN", "with_votes"]

COLUMN = "preferred"
"""What the board calls the strength."""
_ADVICE = "give the study.json that `etabench study report` wrote, or the folder it lies in"


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


class _Editor(_Lenient):
    editor: str
    strength: float | None
    low: float | None
    high: float | None


class _Results(_Lenient):
    study: str
    rule: str
    votes: int
    raters: int
    editors: list[_Editor]


def with_votes(tables: Sequence[DivisionData], path: Path) -> tuple[list[DivisionData], list[str]]:
    """The divisions with a column of strengths, 95 % intervals beside them, and what a reader must know of it.

    A strength is a logit against the mean editor of the study, over all divisions: people were asked about pictures, not about what a
    method was shown. Editors are known by their names on the board; one without votes has none. Raises BoardError where `path` holds no
    results, or those of other editors.
    """
    file = path / "study.json" if path.is_dir() else path
    try:
        results = read_as(file, _Results, _ADVICE)
    except RunError as error:
        raise BoardError(str(error)) from error
    known = {each.editor: each for each in results.editors}
    labels = [
        str(label)
        for each in tables
        for label in each.data.leaderboard.loc[~each.data.leaderboard["anchor"].astype(bool), "editor"]
    ]
    shared = [label for label in labels if label in known]
    if not shared:
        raise BoardError(f"{file} has votes on {', '.join(sorted(known)) or 'nobody'}, and the board ranks {', '.join(labels)}")
    notes = [f"{COLUMN} is of study {results.study}: {results.votes} votes of {results.raters} raters (rule: {results.rule})"]
    if without := [label for label in labels if label not in known]:
        notes.append(f"nobody voted on {', '.join(without)}")
    if others := sorted(known.keys() - set(labels)):
        notes.append(f"votes on {', '.join(others)} are left out, who are not on the board")

    def column(labels: Sequence[str], end: str) -> list[float]:
        found = (getattr(known[label], end) if label in known else None for label in labels)
        return [math.nan if value is None else float(value) for value in found]

    shown = []
    for table in tables:
        board = table.data.leaderboard
        own = [str(label) for label in board["editor"]]
        ends = {COLUMN: "strength", f"{COLUMN}_low": "low", f"{COLUMN}_high": "high"}
        board = board.assign(**{name: column(own, end) for name, end in ends.items()})
        shown.append(replace(table, data=replace(table.data, leaderboard=board)))
    return shown, notes
