"""The leaderboard as rows of cells that the page only has to lay out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from markupsafe import Markup

from reports.cells import Cell, Column, decimals, finite, whole_cell
from reports.data import ReportData
from reports.names import MetricName, metric_names
from reports.style import Look, knob_name, number, swatch

__all__ = ["Board", "BoardRow", "badges_of", "board"]

_COSTS = {
    "seconds_per_edit": ("s / edit", "wall-clock seconds per edit"),
    "unet_evaluations_per_edit": ("U-Net / edit", "samples sent through the U-Net per edit"),
    "peak_memory_mb": ("peak MB", "memory that a unit took beyond what its worker held before it, at most, in megabytes"),
}
_COUNTS = {
    "expected": "units planned",
    "done": "units finished",
    "failed": "units that ended in an error",
    "scored": "units with every score, as far as the metrics define one",
}
_RANK = (
    "by the mean of both axes, each on its scale, on the samples that all ranked editors have; between equals, who made more edits. "
    "Several ranks where paired tests, corrected for all pairs of editors, leave them open"
)
_AT_WORST = (
    "rank over all planned samples, where what an editor lacks counts as the worst that the metrics can be; where a metric has no worst, "
    "behind all that lack nothing"
)
_MADE = {"edits_percent": ("edits %", "share of the planned edits that were made, in per cent")}
_FLAGS = {
    "uses_mask": ("mask", "is given the manifest's mask"),
    "uses_source_text": ("source text", "is given a caption of the source"),
    "uses_truth": ("truth", "is given the ground-truth edit"),
    "clip_in_loop": ("CLIP inside", "uses CLIP while editing"),
    "fine_tunes": ("fine-tunes", "adapts weights or embeddings to each picture"),
}


@dataclass(frozen=True)
class BoardRow:
    """One editor or anchor."""

    editor: str
    swatch: Markup
    anchor: bool
    point: str
    """Operating point: the knob value whose edits the row scores."""
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Board:
    """Columns after the editor's name, and rows."""

    columns: tuple[Column, ...]
    rows: tuple[BoardRow, ...]


def _metric_cells(frame: pd.DataFrame, name: str, notes: Sequence[str]) -> list[Cell]:
    """Cells with interval and range bar; who is first is marked."""
    rows = [[finite(row.get(key)) for key in (name, f"{name}_low", f"{name}_high")] for row in frame.to_dict("records")]
    known = [v for row in rows for v in row if v is not None]
    digits, low, high = decimals(known), min(known, default=0.0), max(known, default=1.0)
    best = [value == True for value in frame[f"{name}_best"]] if f"{name}_best" in frame else [False] * len(rows)  # noqa: E712
    cells = []
    for (mean, lower, upper), first, note in zip(rows, best, notes, strict=True):
        if mean is None:
            cells.append(Cell("–", "", note=note))
            continue
        interval, bar = "", None
        if lower is not None and upper is not None:
            interval = f"[{lower:.{digits}f}, {upper:.{digits}f}]"
            left, right, dot = ((v - low) / (high - low or 1.0) * 100 for v in (lower, upper, mean))
            bar = (round(left, 1), round(right - left, 1), round(dot, 1))
        cells.append(Cell(f"{mean:.{digits}f}", repr(mean), interval, bar, first, note=note))
    return cells


def badges_of(row: Mapping[Any, Any]) -> tuple[tuple[str, str], ...]:
    """Title and meaning of each fair-play flag that a row of the leaderboard has set."""
    badges = [_FLAGS[key] for key in _FLAGS if key in row and row[key] == True]  # noqa: E712
    candidates, selector = finite(row.get("candidates")), row.get("selector")
    if candidates is not None and candidates > 1:
        by = f" by {selector}" if isinstance(selector, str) and selector else ""
        badges.append((f"best of {candidates:.0f}{by}", "makes several candidates and keeps one"))
    return tuple(badges)


def _flag_cells(frame: pd.DataFrame) -> list[Cell]:
    found = [badges_of(row) for row in frame.to_dict("records")]
    return [Cell("", str(len(badges)), badges=badges) for badges in found]


def _fair_play(frame: pd.DataFrame) -> str:
    """Meaning of the column, with that of each badge that occurs."""
    seen = [f"{title}: {meaning}" for key, (title, meaning) in _FLAGS.items() if key in frame and (frame[key] == True).any()]  # noqa: E712
    return "; ".join(["what is used beyond the picture and the target text", *seen])


def _plain_cells(values: list[object]) -> list[Cell]:
    numbers = [v for v in map(finite, values) if v is not None]
    digits = 0 if all(v == int(v) for v in numbers) else max(decimals(numbers) - 1, 0)
    cells = []
    for value in values:
        found = finite(value)
        if found is not None:
            cells.append(Cell(f"{found:,.{digits}f}", repr(found)))
        else:
            missing = value is None or isinstance(value, float) or value is pd.NA
            cells.append(Cell("–" if missing else str(value), "" if missing else str(value)))
    return cells


def _count_cells(frame: pd.DataFrame, name: str) -> list[Cell]:
    cells = []
    for row in frame.to_dict("records"):
        count, expected = finite(row.get(name)), finite(row.get("expected"))
        alarm = ""
        if count is not None:
            short = name in ("done", "scored") and expected is not None and count < expected
            alarm = "failed" if name == "failed" and count > 0 else "short" if short else ""
        cells.append(Cell("–" if count is None else f"{count:.0f}", "" if count is None else repr(count), alarm=alarm))
    return cells


def _with_counts(data: ReportData) -> pd.DataFrame:
    lacking = [name for name in _COUNTS if name not in data.leaderboard and name in data.counts]
    if data.counts.empty or not lacking:
        return data.leaderboard
    return data.leaderboard.merge(data.counts.drop_duplicates("editor")[["editor", *lacking]], on="editor", how="left")


def _gaps(data: ReportData, frame: pd.DataFrame, name: str) -> list[str]:
    """How many scores a value stands on, as in 4 of 6, for each row that lacks some."""
    rows = data.curves[data.curves["metric"] == name] if len(data.curves) else data.curves
    counts = {(e, v): (n, of) for e, v, n, of in zip(rows["editor"], rows["value"], rows["n"], rows["expected"], strict=True)}
    values = frame["value"] if "value" in frame else [0.0] * len(frame)
    found = [counts.get(key, (0, 0)) for key in zip(frame["editor"], values, strict=True)]
    stands_on = frame[f"{name}_n"] if f"{name}_n" in frame else [n for n, _ in found]
    return [f"{n:.0f} of {of:.0f}" if n < of else "" for n, (_, of) in zip(stands_on, found, strict=True)]


def _rank_cells(frame: pd.DataFrame) -> list[Cell]:
    """Ranks, or what tests leave open of them, with what there is to say of them."""
    cells = []
    for row in frame.to_dict("records"):
        cell, said = whole_cell(row["rank"]), str(row.get("standing", ""))
        low, high = (finite(row.get(f"rank_{end}")) for end in ("low", "high"))
        open_ = low is not None and high is not None and low < high
        cells.append(replace(cell, text=f"{low:.0f}–{high:.0f}" if open_ else cell.text, note=said))
    return cells


def board(data: ReportData, look: Mapping[str, Look]) -> Board:
    """The leaderboard of ``data``: the rank, the axes, then the other metrics as they are given, then all else in a fixed order."""
    frame = _with_counts(data)
    names = [str(name) for name in frame["editor"]]
    anchors = [look[name].anchor for name in names]
    curves = data.curves
    known, scored = metric_names(data), set(curves["metric"])
    knobs = {str(e): knob_name(k) for e, k in zip(curves["editor"], curves["knob"], strict=True)} if len(curves) else {}
    columns: list[Column] = []
    cells: list[list[Cell]] = []
    texts = [""] * len(names)
    given = [str(c) for c in frame.columns]
    metrics = [n for n in given if n in known or n in scored or {f"{n}_low", f"{n}_high"} <= set(given) - {"rank_low"}]
    metrics.sort(key=lambda n: data.plane.columns.index(n) if n in data.plane.columns else len(data.plane.columns))
    used = {
        "editor",
        "anchor",
        "rank",
        "rank_low",
        "rank_high",
        "rank_at_worst",
        "standing",
        "knob",
        "value",
        "candidates",
        "selector",
        *_FLAGS,
        *_COSTS,
        *_MADE,
        *_COUNTS,
        *metrics,
    }
    used |= {f"{n}_{end}" for n in metrics for end in ("low", "high", "n", "best")}
    if "rank" in given:
        columns.append(Column("rank", _RANK))
        cells.append(_rank_cells(frame))
    if "rank_at_worst" in given and "edits_percent" in given and (frame["edits_percent"][~pd.Series(anchors)] < 100).any():
        columns.append(Column("at worst", _AT_WORST))
        cells.append([whole_cell(rank) for rank in frame["rank_at_worst"]])
    if "value" in given:
        points = [None if anchor else finite(v) for v, anchor in zip(frame["value"], anchors, strict=True)]
        texts = [f"{knobs.get(n, '')} {number(v)}".strip() if v is not None else "" for n, v in zip(names, points, strict=True)]
    for name in metrics:
        metric = known.get(name, MetricName(name.replace("_", " "), "", ""))
        columns.append(Column(metric.title, metric.meaning, metric.better))
        cells.append(_metric_cells(frame, name, _gaps(data, frame, name)))
    if any(name in given for name in (*_FLAGS, "candidates")):
        columns.append(Column("fair play", _fair_play(frame), numeric=False))
        cells.append(_flag_cells(frame))
    for name in (n for n in given if n not in used):
        columns.append(Column(name.replace("_", " "), "", numeric=all(finite(v) is not None for v in frame[name])))
        cells.append(_plain_cells(list(frame[name])))
    for name, (title, meaning) in _COSTS.items():
        if name in given:
            columns.append(Column(title, meaning, "lower"))
            cells.append(_plain_cells(list(frame[name])))
    for name, (title, meaning) in _MADE.items():
        if name in given:
            columns.append(Column(title, meaning, "higher"))
            shares = list(frame[name])
            marks = ["short" if (finite(share) or 0.0) < 100 else "" for share in shares]
            cells.append([replace(cell, alarm=mark) for cell, mark in zip(_plain_cells(shares), marks, strict=True)])
    for name, meaning in _COUNTS.items():
        if name in given:
            columns.append(Column(name, meaning))
            cells.append(_count_cells(frame, name))
    across = list(zip(*cells, strict=True)) if cells else [() for _ in names]
    rows = [BoardRow(n, swatch(look[n]), a, p, tuple(c)) for n, a, p, c in zip(names, anchors, texts, across, strict=True)]
    return Board(tuple(columns), tuple(rows))
