"""The tables beside the leaderboard, as rows of cells that the page only has to lay out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from reports.cells import Cell, Column, decimals, finite, interval_cell, p_cell, plain_cell, whole_cell
from reports.data import ReportData
from reports.names import MetricName, metric_names
from reports.style import Look, number, swatch

__all__ = ["Line", "Table", "editor_cell", "nothing", "tables"]

_SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Line:
    """One row. ``category`` is what the page filters by."""

    cells: tuple[Cell, ...]
    category: str = ""


@dataclass(frozen=True)
class Table:
    """A sortable table with the sentences that say what it means."""

    name: str
    title: str
    lead: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    frame: pd.DataFrame
    """What its CSV file holds."""
    categories: tuple[str, ...] = field(default=())


def tables(data: ReportData, look: Mapping[str, Look]) -> list[Table]:
    """The tables that have rows, in the order of the page."""
    names = metric_names(data)
    made = (
        _differences(data, look, names),
        _hypervolumes(data, look, names),
        _gains(data, look, names),
        _seeds(data, look, names),
        _coverage(data, look, names),
    )
    return [table for table in made if table.lines or table.lead]


def _differences(data: ReportData, look: Mapping[str, Look], names: Mapping[str, MetricName]) -> Table:
    frame = data.differences
    lines = []
    for metric, rows in frame.groupby("metric", sort=False):
        ends = [
            v for row in rows.to_dict("records") for key in ("low", "high", "difference") if (v := finite(row[key])) is not None
        ]
        reach = max((abs(v) for v in ends), default=1.0) or 1.0
        digits = decimals(ends)
        for row in rows.to_dict("records"):
            holm = finite(row["p_holm"])
            proven = holm is not None and holm < _SIGNIFICANT
            better = str(row["better"]) if proven else ""
            title = names[str(metric)].title if metric in names else str(metric)
            cells = (
                Cell(title, title),
                editor_cell(row["first"], row["first_value"], look),
                editor_cell(row["second"], row["second_value"], look),
                interval_cell(row["difference"], row["low"], row["high"], digits, (-reach, reach), signed=True),
                p_cell(row["p"]),
                p_cell(row["p_holm"]),
                Cell(_verdict(row, better), better, best=proven, swatch=_mark(better, look)),
                Cell(f"{int(row['n'])}", str(int(row["n"]))),
            )
            lines.append(Line(cells, title))
    titles = tuple(dict.fromkeys(line.category for line in lines))
    if not lines:
        return nothing("differences")
    columns = (
        Column("metric", "", numeric=False),
        Column("A", "an editor at its operating point", numeric=False),
        Column("B", "another editor at its operating point", numeric=False),
        Column("A − B", "mean difference over the samples that both have, in the metric's units"),
        Column("p", "share of swaps that set A and B at least as far apart as they are"),
        Column("p (Holm)", "p corrected for all pairs of editors of this metric"),
        Column("verdict", f"which is better, where Holm's p is below {_SIGNIFICANT}", numeric=False),
        Column("n", "samples that both have"),
    )
    lead = (
        "Every pair of editors, each at its operating point, on the samples that both have; several seeds of a sample count as one, "
        "their mean. The tests ask how often chance alone would set the two this far apart: they swap the two editors' edits of each source "
        "picture, over the whole range of the knob, and choose both operating points anew after every swap. Held fixed, the points would make "
        "an editor differ from itself, since they were chosen on the same samples. Where several knob values are nearly as good, such "
        "a comparison is a blunt one, and the sharper question is the gain at equal fidelity below. The hypervolume's difference is that of "
        "whole curves in a square that is held fixed. Brackets: the differences that the test does not reject at 5 %; set metrics have none. "
        "Nothing is tested where a score is undefined for one of the two and not for the other, since leaving it out would decide."
        + "".join(f" {sentence}" for sentence in data.powerless)
    )
    return Table("differences", "Editor against editor", lead, columns, tuple(lines), frame, titles)


def _hypervolumes(data: ReportData, look: Mapping[str, Look], names: Mapping[str, MetricName]) -> Table:
    frame = data.hypervolumes
    rows = frame.to_dict("records")
    if not rows:
        return nothing("hypervolumes")
    comparable = len(rows) > 1 and all(row["n"] == len(data.samples) for row in rows)
    best = max((v for row in rows if (v := finite(row["hypervolume"])) is not None), default=math.nan) if comparable else math.nan
    lines = [
        Line((
            editor_cell(row["editor"], None, look),
            interval_cell(row["hypervolume"], row["low"], row["high"], 3, (0.0, 1.0), best=row["hypervolume"] == best),
            whole_cell(row["knob_values"]),
            whole_cell(row["n"]),
        ))
        for row in rows
    ]  # fmt: skip
    columns = (
        Column("editor", "", numeric=False),
        Column("hypervolume", "share of the box between copy and regenerate that the curve covers", "higher"),
        Column("knob values", "how many points of the curve count, the same for all where they have as many"),
        Column("n", "samples with a score at every knob value"),
    )
    y, x = (names[column].noun for column in data.plane.columns)
    lead = (
        f"Hypervolume: put {x} on a scale from 0 (regenerate, which keeps nothing of the source) to 1 (copy), and {y} "
        "from 0 (copy, which edits nothing) to 1 (regenerate); it is the share of that square in which some knob value is at least as "
        "faithful and at least as well aligned. Only knob values that were run count, nothing between them, and the same number for "
        "every editor, since more points alone would cover more. Brackets: 95 % interval of the jackknife over source images, without each "
        "of which in turn the square and the curves are made anew."
    )
    return Table("hypervolumes", "The whole curve as one number", lead, columns, tuple(lines), frame)


def _gains(data: ReportData, look: Mapping[str, Look], names: Mapping[str, MetricName]) -> Table:
    frame = data.gains
    rows = frame.to_dict("records")
    if not rows:
        return nothing("gains")
    ends = [v for row in rows for key in ("low", "high", "gain") if (v := finite(row[key])) is not None]
    reach = max((abs(v) for v in ends), default=1.0) or 1.0
    lines = []
    for row in rows:
        low, high = finite(row["fidelity_low"]), finite(row["fidelity_high"])
        overlap = "curves do not overlap" if low is None or high is None else f"{low:.3f} – {high:.3f}"
        cells = (
            editor_cell(row["first"], None, look),
            editor_cell(row["second"], None, look),
            interval_cell(row["gain"], row["low"], row["high"], decimals(ends), (-reach, reach), signed=True),
            p_cell(row["p"]),
            p_cell(row["p_holm"]),
            Cell(overlap, "" if low is None else repr(low)),
            whole_cell(row["n"]),
        )
        lines.append(Line(cells))
    y, x = (names[column].noun for column in data.plane.columns)
    columns = (
        Column("A", "", numeric=False),
        Column("B", "", numeric=False),
        Column("gain of A over B", f"{y} of A less that of B at equal {x}"),
        Column("p", "share of sign patterns that set A and B at least as far apart as they are"),
        Column("p (Holm)", "p corrected for all pairs of editors"),
        Column(x, "range of fidelity that both curves reach"),
        Column("n", "samples that both have at every knob value"),
    )
    lead = (
        f"Matched-fidelity gain: how much higher A's {y} is than B's when both are set so that they keep as much of the source "
        f"(equal {x}), averaged over all fidelities that both curves reach; above zero A edits better at no cost in fidelity. "
        f"Points of a curve are joined by straight lines. Brackets: 95 % interval of the jackknife over "
        "source images, without each of which in turn the curves are made anew. No knob value is chosen, so nothing is chosen on the "
        "samples that are tested: p is by sign flips of what each source picture adds to the gain (its jackknife pseudo-value)."
    )
    return Table("gains", "At equal fidelity", lead, columns, tuple(lines), frame)


def _seeds(data: ReportData, look: Mapping[str, Look], names: Mapping[str, MetricName]) -> Table:
    frame = data.seeds
    lines = []
    for metric, rows in frame.groupby("metric", sort=False):
        known = [v for row in rows.to_dict("records") for key in ("seed_sd", "sample_sd") if (v := finite(row[key])) is not None]
        digits = decimals(known) + 1
        title = names[str(metric)].title if metric in names else str(metric)
        for row in rows.to_dict("records"):
            share = finite(row["share"])
            cells = (
                Cell(title, title),
                editor_cell(row["editor"], row["value"], look),
                *(Cell(f"{row[key]:.{digits}f}", repr(float(row[key]))) for key in ("seed_sd", "sample_sd")),
                Cell("–" if share is None else f"{share:.0%}", "" if share is None else repr(share)),
                Cell(f"{row['shift']:.{digits}f}", repr(float(row["shift"]))),
                Cell(f"{int(row['samples'])} × {row['seeds']:.3g}", repr(float(row["samples"]))),
            )
            lines.append(Line(cells, title))
    if not lines:
        return nothing("seeds")
    columns = (
        Column("metric", "", numeric=False),
        Column("editor", "", numeric=False),
        Column("SD of seeds", "standard deviation of a score over seeds of one sample"),
        Column("SD of samples", "standard deviation between samples, the seeds' part taken away"),
        Column("seeds' share", "of the seeds in the whole variance"),
        Column("shift", "standard deviation of the mean over the samples if all were edited again with another seed"),
        Column("n", "samples × seeds"),
    )
    lead = (
        "What another seed would change. Seeds are nested in samples: the variance of a score is split into what differs between seeds "
        "of one sample and what differs between samples. A difference between two editors that is smaller than the shift may be the "
        "seed's."
    )
    return Table(
        "seeds", "What the seed adds", lead, columns, tuple(lines), frame, tuple(dict.fromkeys(n.category for n in lines))
    )


def _coverage(data: ReportData, look: Mapping[str, Look], names: Mapping[str, MetricName]) -> Table:
    """Points that miss edits or have undefined scores; of a metric that an axis turns round, the axis's points."""
    frame = data.curves
    if not len(frame):
        return nothing("coverage")
    short = (frame["coverage"] < 1) | (frame["undefined"] > 0)
    frame = frame[short & ~frame["metric"].isin(data.plane.made_of.values())]
    kept = ["editor", "knob", "value", "metric", "n", "expected", "undefined", "coverage", "bound_low", "bound_high", "mean"]
    lines = []
    for row in frame.to_dict("records"):
        title = names[row["metric"]].title
        digits = decimals([v for key in ("mean", "bound_low", "bound_high") if (v := finite(row[key])) is not None])
        share = finite(row["coverage"]) or 0.0
        cells = (
            editor_cell(row["editor"], row["value"], look),
            Cell(title, title),
            Cell(f"{share:.0%}", repr(share), alarm="short" if share < 1 else ""),
            Cell(f"{int(row['n'])} of {int(row['expected'])}", repr(float(row["n"]))),
            whole_cell(row["undefined"]),
            plain_cell(row["mean"], digits),
            Cell(_bounds(row, share, digits), repr(row["bound_low"])),
        )
        lines.append(Line(cells, title))
    columns = (
        Column("editor", "", numeric=False),
        Column("metric", "", numeric=False),
        Column("coverage", "share of the planned edits that were made and scored", "higher"),
        Column("scored", "edits with a score, of those planned"),
        Column("undefined", "edits made whose score the metric leaves undefined by its own rule"),
        Column("mean", "over the edits with a score"),
        Column("bounds", "between what the mean over all planned edits lies, whatever the missing ones would have scored"),
    )
    complete = "Every planned edit was made and every score is defined: nothing is missing from any mean."
    lead = (
        complete
        if not lines
        else (
            "Points of the curves with edits missing or scores undefined; all others cover every planned edit. The bounds assume nothing "
            "about missing edits but the range of the metric (Manski); a metric without an end of its range is not bounded on that side, and "
            "sets are not bounded at all."
        )
    )
    return Table("coverage", "What is missing", lead, columns, tuple(lines), frame[kept], ())


def _verdict(row: Mapping[Any, Any], better: str) -> str:
    if better:
        return f"{better} is better"
    return f"not tested: undefined for one of them ({int(row['undefined'])} of the samples)" if row["undefined"] else "no proof"


def nothing(name: str) -> Table:
    """A table that the page leaves out."""
    return Table(name, "", "", (), (), pd.DataFrame())


def editor_cell(name: object, value: object, look: Mapping[str, Look]) -> Cell:
    """An editor with its mark, and its knob value where it has one."""
    found, text = finite(value), str(name)
    own = look.get(text)
    point = "" if found is None or (own is not None and own.anchor) else number(found)
    return Cell(text, f"{text} {point}", interval=point and f"at {point}", swatch=_mark(text, look))


def _mark(name: str, look: Mapping[str, Look]) -> Any:
    return swatch(look[name]) if name in look else ""


def _bounds(row: Mapping[Any, Any], share: float, digits: int) -> str:
    low, high = finite(row["bound_low"]), finite(row["bound_high"])
    if share >= 1:
        return "–"
    if low is None and high is None:
        return "none"
    return f"{'−∞' if low is None else f'{low:.{digits}f}'} to {'∞' if high is None else f'{high:.{digits}f}'}"
