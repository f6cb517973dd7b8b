"""The judges judged: how far each metric goes with a truth that is known, as a figure, a table and a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd

from reports.cells import Cell, Column, finite
from reports.data import ReportData
from reports.drawing import Drawing, blank, styled
from reports.names import MetricName, metric_names
from reports.style import INK, MUTED, short
from reports.tables import Line, Table

__all__ = ["judges_figure", "judges_table", "verdicts"]

_LETTERS = 11.5
"""Of a heading that stand in an inch."""
_BEST, _REST = "#394eff", "#8a96a3"


def _matrix(frame: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Metrics by their largest correlation with any truth, best first, and truths in the order given."""
    order = frame.groupby("metric", sort=False)["rho"].max().sort_values(ascending=False, kind="stable", na_position="last")
    return [str(name) for name in order.index], [str(truth) for truth in dict.fromkeys(frame["truth"])]


def verdicts(frame: pd.DataFrame) -> list[tuple[str, list[str], list[str]]]:
    """For each truth: the metric with the highest correlation alone in a list, and those whose intervals reach into its own.

    Only metrics with an interval count, where there are any. A truth that no metric goes with, i.e. no interval lies above zero,
    has neither.
    """
    found: list[tuple[str, list[str], list[str]]] = []
    for truth, rows in frame.groupby("truth", sort=False):
        known = rows.dropna(subset=["rho"]).sort_values("rho", ascending=False, kind="stable")
        known = known.dropna(subset=["low", "high"]) if known["low"].notna().any() else known
        above = known[(known["low"] > 0) | (known["low"].isna() & (known["rho"] > 0))]
        if above.empty:
            found.append((str(truth), [], []))
            continue
        best = above.iloc[0]
        floor = best["low"] if np.isfinite(best["low"]) else best["rho"]
        near = above.iloc[1:]
        near = near[near["high"].fillna(near["rho"]) >= floor]
        found.append((str(truth), [str(best["metric"])], [str(name) for name in near["metric"]]))
    return found


def judges_figure(data: ReportData) -> Drawing:
    """One column per truth, one line per metric: rank correlation with its interval; the best of a column is coloured."""
    name, title, frame = "judges", "Which metric goes with the truth", data.judges.reset_index(drop=True)
    if frame.empty:
        return Drawing(name, title, "", frame, None, "No metric was judged.")
    names = metric_names(data)
    (metrics, truths), winners = _matrix(frame), {truth: best + near for truth, best, near in verdicts(frame)}
    with styled():
        figure = blank(data.width, 0.95 + 0.2 * len(metrics), gap=0.03)
        axes = figure.subplots(1, len(truths), squeeze=False, sharey=True).ravel()
        letters = max(8, int(_LETTERS * (data.width - 1.3) / len(truths)))
        places = {metric: -i for i, metric in enumerate(metrics)}
        for ax, truth in zip(axes, truths, strict=True):
            ax.axvline(0, color=MUTED, linewidth=0.9, zorder=1)
            for row in frame[frame["truth"] == truth].to_dict("records"):
                y, rho = places[str(row["metric"])], finite(row["rho"])
                if rho is None:
                    continue
                colour = _BEST if row["metric"] in winners[truth] else _REST
                low, high = finite(row["low"]), finite(row["high"])
                if low is not None and high is not None:
                    ax.plot([low, high], [y, y], color=colour, linewidth=1.8, alpha=0.45, solid_capstyle="butt", zorder=2)
                first = winners[truth][:1] == [row["metric"]]
                ax.plot([rho], [y], marker="D" if first else "o", markersize=5 if first else 4, color=colour,
                        markeredgecolor="white", markeredgewidth=0.6, zorder=3)  # fmt: skip
            ax.set_title(fill(truth, letters), loc="left", color=INK, fontweight="bold")
            ax.set_xlim(-1.03, 1.03)
            ax.set_xticks([-1, 0, 1])
            ax.set_xlabel("rank correlation ρ")
        axes[0].set_yticks(list(places.values()), [short(_title(metric, names)) for metric in metrics])
        axes[0].set_ylim(-len(metrics) + 0.4, 0.6)
    caption = (
        "Spearman's ρ between a metric, turned so that higher is better, and a truth that is known of every edit; right is better, zero "
        "is no relation, left is misleading. Bars: 95 % intervals. Blue: the best metric for that truth (diamond) and those that cannot "
        f"be told from it, their intervals reaching into its own. {data.judges_note}"
    ).strip()
    return Drawing(name, title, caption, frame, figure)


def judges_table(data: ReportData) -> Table:
    """One row per metric, a correlation and an agreement per truth."""
    frame, names = data.judges, metric_names(data)
    metrics, truths = _matrix(frame) if len(frame) else ([], [])
    cells = {(str(row["metric"]), str(row["truth"])): row for row in frame.to_dict("records")}
    winners = {truth: best + near for truth, best, near in verdicts(frame)} if len(frame) else {}
    lines = []
    for metric in metrics:
        line = [Cell(_title(metric, names), metric)]
        for truth in truths:
            row = cells.get((metric, truth), {})
            line += [_rho(row, metric in winners[truth]), _share(row)]
        counts = [int(n) for truth in truths if (n := finite(cells.get((metric, truth), {}).get("n"))) is not None]
        line.append(Cell(f"{max(counts)}" if counts else "–", f"{max(counts)}" if counts else ""))
        lines.append(Line(tuple(line)))
    columns = [Column("metric", "", numeric=False)]
    for truth in truths:
        columns.append(Column(truth, f"rank correlation with {truth}", "higher"))
        columns.append(Column("agrees", f"share of pairs of editors that the metric orders as {truth} does", "higher"))
    columns.append(Column("n", "edits; for a metric of sets, sets"))
    says = []
    for truth, best, near in verdicts(frame) if len(frame) else ():
        if not best:
            says.append(f"For {truth}, no metric here can be trusted: no interval lies above zero.")
            continue
        others = ", ".join(_title(name, names) for name in near)
        says.append(f"For {truth}, trust {_title(best[0], names)}" + (f"; not told apart from it: {others}." if near else "."))
    lead = " ".join([*says, data.judges_note]).strip()
    return Table("judges-table", "Which metric to trust for which question", lead, tuple(columns), tuple(lines), frame)


def _title(metric: str, names: Mapping[str, MetricName]) -> str:
    return names[metric].title if metric in names else metric.replace("_", " ")


def _rho(row: Mapping[Any, Any], best: bool) -> Cell:
    rho, low, high = (finite(row.get(key)) for key in ("rho", "low", "high"))
    if rho is None:
        return Cell("–", "")
    if low is None or high is None:
        return Cell(f"{rho:+.2f}".replace("-", "−"), repr(rho), best=best)
    bar = tuple(round(min(max((v + 1) * 50, 0.0), 100.0), 1) for v in (low, high, rho))
    text = f"[{low:+.2f}, {high:+.2f}]".replace("-", "−")
    return Cell(f"{rho:+.2f}".replace("-", "−"), repr(rho), text, (bar[0], round(bar[1] - bar[0], 1), bar[2]), best, centred=True)


def _share(row: Mapping[Any, Any]) -> Cell:
    share = finite(row.get("agreement"))
    return Cell("–", "") if share is None else Cell(f"{share:.0%}", repr(share))
