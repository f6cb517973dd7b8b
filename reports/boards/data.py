"""What a board is made of. As of a report, statistics are made by the caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from reports.data import ReportData

__all__ = ["CATEGORY_COLUMNS", "TEST_COLUMNS", "BoardData", "DivisionData", "RunRow", "VersionNote"]

CATEGORY_COLUMNS = ("category", "editor", "metric", "mean", "low", "high", "n")
TEST_COLUMNS = ("first", "second", "difference", "low", "high", "p", "p_holm", "p_least", "n")


@dataclass(frozen=True)
class DivisionData:
    """Editors that are ranked among each other, and the anchors."""

    name: str
    """What they have in common, a phrase."""
    data: ReportData
    """Leaderboard, curves, counts and cards; the rest is not shown."""
    tests: pd.DataFrame
    """One row per pair of ranked editors, columns TEST_COLUMNS: the mean of both axes of the first less that of the second."""
    categories: pd.DataFrame
    """One row per category, editor and axis, columns CATEGORY_COLUMNS; empty where there are not several categories."""


@dataclass(frozen=True)
class RunRow:
    """A run that is on the board."""

    name: str
    model: str
    device: str
    digest: str
    """Over its scores."""
    href: str = ""
    """Its report, seen from the page; empty where there is none beside it."""


@dataclass(frozen=True)
class VersionNote:
    """A version of the board and why there is one."""

    version: int
    date: str
    made_by: str
    why: Sequence[str]


@dataclass(frozen=True)
class BoardData:
    """All that a board shows."""

    title: str
    about: Mapping[str, str]
    """Header lines in order."""
    divisions: Sequence[DivisionData]
    runs: Sequence[RunRow]
    owners: Mapping[str, str] = field(default_factory=dict)
    """Editor or anchor to the name of its run."""
    notes: Sequence[str] = ()
    """What the reader must know before the tables, a sentence each."""
    versions: Sequence[VersionNote] = ()
    """The latest first."""
