"""The tables of a division as columns and rows of cells, which page, Markdown and LaTeX lay out alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reports.boards.data import BoardData, DivisionData
from reports.cells import Cell, Column, decimals, finite, interval_cell, p_cell, whole_cell
from reports.leaderboard import BoardRow, board
from reports.names import metric_names
from reports.style import Look, looks, swatch

__all__ = ["Grid", "categories", "looks_of", "ranking", "told_apart"]


_LEFT_OUT = ("fair play", "peak MB", "expected", "done", "scored")
"""Columns for which there is no room."""


@dataclass(frozen=True)
class Grid:
    """A table whose rows are editors, or pairs of them."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[BoardRow, ...]
    lead: tuple[str, ...] = ()
    """What a reader must know of ranks, a sentence each."""


def looks_of(data: BoardData) -> dict[str, Look]:
    """One look per editor and anchor, the same in all divisions."""
    rows = [row for division in data.divisions for row in division.data.leaderboard.to_dict("records")]
    anchors = dict.fromkeys(str(row["editor"]) for row in rows if row["anchor"])
    return looks((name for name in dict.fromkeys(str(row["editor"]) for row in rows) if name not in anchors), anchors)


def ranking(division: DivisionData, look: Mapping[str, Look]) -> Grid:
    """The leaderboard of a division, without the flags that its name tells and the counts that a table file has."""
    found = board(division.data, look)
    shown = [place for place, column in enumerate(found.columns) if column.title not in _LEFT_OUT]
    rank = next(place for place, column in enumerate(found.columns) if column.title == "rank")
    said: dict[str, list[str]] = {}
    for row in found.rows:
        if row.cells[rank].note:
            said.setdefault(row.cells[rank].note, []).append(row.editor)
    rows = []
    for row in found.rows:
        cells = [replace(cell, note="") if place == rank else cell for place, cell in enumerate(row.cells)]
        rows.append(replace(row, cells=tuple(cells[place] for place in shown)))
    ranked = sum(row.cells[rank].sort != "" for row in found.rows)
    lead = tuple(f"Ranked {note}." if len(who) == ranked else f"{', '.join(who)}: {note}." for note, who in said.items())
    return Grid(division.name, tuple(found.columns[place] for place in shown), tuple(rows), lead)


def categories(division: DivisionData, look: Mapping[str, Look]) -> list[Grid]:
    """One table per axis: editors by categories of the edit."""
    names, grids = metric_names(division.data), []
    for metric in division.data.plane.columns:
        rows = division.categories[division.categories["metric"] == metric]
        if not len(rows):
            continue
        shown = list(dict.fromkeys(rows["category"]))
        at = {(row["editor"], row["category"]): row for row in rows.to_dict("records")}
        known = [v for row in at.values() for key in ("mean", "low", "high") if (v := finite(row[key])) is not None]
        digits, span = decimals(known), (min(known, default=0.0), max(known, default=1.0))
        span = span if span[0] < span[1] else (span[0], span[0] + 1)
        better = names[metric].better
        columns = tuple(Column(str(category), "", better) for category in shown)
        lines = []
        known_editors = set(rows["editor"])
        for editor in (name for name in division.data.leaderboard["editor"] if name in known_editors):
            cells = tuple(_category_cell(at.get((editor, category)), digits, span) for category in shown)
            lines.append(BoardRow(str(editor), swatch(look[str(editor)]), look[str(editor)].anchor, "", cells))
        grids.append(Grid(names[metric].title, columns, tuple(lines)))
    return grids


def _category_cell(row: Mapping[Any, Any] | None, digits: int, span: tuple[float, float]) -> Cell:
    return interval_cell(row["mean"], row["low"], row["high"], digits, span) if row else Cell("–", "")


def told_apart(division: DivisionData, look: Mapping[str, Look]) -> Grid:
    """Pairs of editors with the test that their ranks stand on."""
    columns = (
        Column("against", "", numeric=False),
        Column("difference", "mean of both axes, each on its scale: the first less the second, 95 % interval"),
        Column("p", "swap test, operating points chosen anew under every swap"),
        Column("p, corrected", "by Holm for all pairs of the division; below 0.05 the two are told apart"),
        Column("samples", "that both have at every knob value"),
    )
    ends = [v for row in division.tests.to_dict("records") for key in ("difference", "low", "high") if (v := finite(row[key]))]
    reach = max(map(abs, ends), default=1.0)
    rows: Sequence[BoardRow] = [
        BoardRow(
            str(row["first"]),
            swatch(look[str(row["first"])]),
            False,
            "",
            (
                Cell(str(row["second"]), str(row["second"]), swatch=swatch(look[str(row["second"])])),
                interval_cell(row["difference"], row["low"], row["high"], 3, (-reach, reach), signed=True),
                p_cell(row["p"]),
                p_cell(row["p_holm"]),
                whole_cell(row["n"]),
            ),
        )
        for row in division.tests.to_dict("records")
    ]
    return Grid("Who is told apart", columns, tuple(rows))
