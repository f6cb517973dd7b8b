"""The printed columns of a protocol, and what becomes of sessions turn by turn, as tables of the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.cells import Cell, Column, decimals, finite, minus, whole_cell
from reports.data import ReportData
from reports.names import MetricName
from reports.style import Look
from reports.tables import Line, Table, editor_cell, nothing

__all__ = ["protocol_table", "turns_table"]


def protocol_table(data: ReportData, look: Mapping[str, Look]) -> Table:
    """A row a printed column, editor and knob value: as published, and in the corrected form."""
    frame = data.protocol
    lines, both = [], bool(len(frame)) and bool(frame["corrected_metric"].astype(bool).any())
    for column, rows in frame.groupby("column", sort=False):
        known = [
            v for row in rows.to_dict("records") for key in ("mean", "corrected_mean") if (v := finite(row[key])) is not None
        ]
        digits = decimals(known)
        if not known:  # one line says for all editors why there is nothing
            reason = str(rows["reason"].iloc[0])
            blank = [Cell("–", "")] * (3 if both else 2)
            lines.append(Line((Cell(str(column), str(column)), Cell("all", ""), *blank, Cell(reason, reason)), str(column)))
            continue
        for row in rows.to_dict("records"):
            cells = (
                Cell(str(column), str(column)),
                editor_cell(row["editor"], row["value"], look),
                _valued(row, "", digits),
                *([_valued(row, "corrected_", digits)] if both else []),
                whole_cell(row["n"]) if row["metric"] else Cell("–", ""),
                Cell(str(row["reason"]), str(row["reason"])),
            )
            lines.append(Line(cells, str(column)))
    if not lines:
        return nothing("protocol")
    columns = (
        Column("printed column", "as the benchmark's tables call it, in their units", numeric=False),
        Column("editor", "", numeric=False),
        Column("as published", "by the published scorer's arithmetic, averaged as published"),
        *([Column("corrected", "the same quantity without the scorer's defects; empty where it has none")] if both else []),
        Column("n", "edits in the published mean"),
        Column("remark", "why there is no value, or what the mean lacks", numeric=False),
    )
    lead = f"{data.protocol_note[:1].upper()}{data.protocol_note[1:]}. Brackets: {data.interval}."
    categories = tuple(dict.fromkeys(line.category for line in lines))
    return Table("protocol", "By the printed columns", lead, columns, tuple(lines), frame, categories)


def turns_table(data: ReportData, look: Mapping[str, Look], names: Mapping[str, MetricName]) -> Table:
    """A row a metric and editor, a column a turn."""
    frame = data.turns
    if not len(frame):
        return nothing("turns")
    every = sorted({int(turn) for turn in frame["turn"]})
    lines = []
    for metric, rows in frame.groupby("metric", sort=False):
        title = names[str(metric)].title if metric in names else str(metric)
        digits = decimals([v for v in rows["mean"] if finite(v) is not None])
        for editor, cells in rows.groupby("editor", sort=False):
            by_turn = {int(row["turn"]): row for row in cells.to_dict("records")}
            values = [_valued(by_turn[turn], "", digits) if turn in by_turn else Cell("–", "") for turn in every]
            first = editor_cell(editor, cells["value"].iloc[0], look)
            counts = " / ".join(str(int(by_turn[turn]["n"])) if turn in by_turn else "0" for turn in every)
            lines.append(Line((Cell(title, title), first, *values, Cell(counts, counts)), title))
    columns = (
        Column("metric", "", numeric=False),
        Column("editor", "each at its operating point", numeric=False),
        *(Column(f"turn {turn}", "mean over the sessions that reach this turn") for turn in every),
        Column("n", "edits of each turn"),
    )
    own = "the editor's own picture of the turn before" if data.own_chain else "the true picture of the turn before"
    lead = (
        f"Sessions of several turns, each turn made from {own}. Metrics that compare with a source compare with the true picture of the turn "
        "before. Later turns are those of longer sessions, so that n says how many are compared. Brackets: " + data.interval + "."
    )
    titles = tuple(dict.fromkeys(line.category for line in lines))
    return Table("turns", "Turn by turn", lead, columns, tuple(lines), frame, titles)


def _valued(row: Mapping[Any, Any], prefix: str, digits: int) -> Cell:
    """A mean with its interval as text."""
    mean, low, high = (finite(row[f"{prefix}{key}"]) for key in ("mean", "low", "high"))
    if mean is None:
        return Cell("–", "")
    ends = "" if low is None or high is None else minus(f"[{low:.{digits}f}, {high:.{digits}f}]")
    return Cell(minus(f"{mean:.{digits}f}"), repr(mean), ends)
