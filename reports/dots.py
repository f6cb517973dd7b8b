"""Figures of one point per editor: what quality costs, and how good its masks are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from reports.data import ReportData
from reports.drawing import Drawing, blank, styled
from reports.marks import draw_points, entry, key, panels
from reports.style import Look, number, short

__all__ = ["cost_panels", "mask_dots"]

_COSTS = {"seconds_per_edit": "seconds per edit", "unet_evaluations_per_edit": "U-Net evaluations per edit"}


def cost_panels(data: ReportData, look: Mapping[str, Look]) -> Drawing:
    """Hypervolume against what an edit costs, a panel for each kind of cost. Up and left is better."""
    name, title = "cost", "What quality costs"
    known = [cost for cost in _COSTS if cost in data.leaderboard]
    table = data.hypervolumes.merge(data.leaderboard[["editor", *known]], on="editor", how="left")
    table = table.rename(columns={"hypervolume": "hypervolume_mean", "low": "hypervolume_low", "high": "hypervolume_high"})
    costs = [cost for cost in known if (table["hypervolume_mean"].notna() & (table[cost] > 0)).any()]
    if not costs:
        lacking = (
            "No editor's cost is recorded."
            if len(table)
            else "This run has no hypervolumes, for which copy and regenerate are needed."
        )
        return Drawing(name, title, "", table, None, lacking)
    with styled():
        figure, axes, _ = panels(len(costs), data.width, least=2.2, shape=0.75, sharey=True)
        for panel, (ax, cost) in enumerate(zip(axes, costs, strict=True)):
            there = table[(table[cost] > 0) & table["hypervolume_mean"].notna()]
            for row, point in zip(there.index, there.to_dict("records"), strict=True):
                own, ends = look[str(point["editor"])], [point["hypervolume_low"], point["hypervolume_high"]]
                if pd.notna(ends).all():
                    ax.plot([point[cost]] * 2, ends, color=own.colour, linewidth=0.9, alpha=0.5, zorder=2)
                # A row has a marker in every panel; that of the first is the one to point at.
                again = {"gid": f"point-{row}-{panel}"} if panel else {}
                draw_points(ax, [point[cost]], [point["hypervolume_mean"]], [row], own, markersize=6, **again)
            _scale(ax, there[cost])
            ax.set_xlabel(_COSTS[cost])
        axes[0].set_ylabel("hypervolume (better →)")
        axes[0].set_ylim(bottom=0)
        named = [str(editor) for editor in table["editor"]]
        key(figure, [entry(look[editor], linestyle="none", markersize=6) for editor in named], named)
    caption = (
        "Up and left is better, the costs on logarithmic axes: more of the square between copy and regenerate at less cost. Costs are "
        "means over the run's edits, preparation shared among the edits of a sample, on the machine and in the batches of this run; "
        "evaluations count every sample that goes through the U-Net, with guidance two. Bars: 95 % intervals (jackknife over source images)."
    )
    return Drawing(name, title, caption, table, figure)


def _scale(ax: Any, costs: pd.Series[float]) -> None:
    """A logarithmic axis with numbers as one reads them."""
    ax.set_xscale("log")
    ax.set_xlim(float(costs.min()) / 1.6, float(costs.max()) * 1.6)
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if costs.max() < 50 * costs.min() else (1.0,)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.tick_params(axis="x", which="minor", length=0)


def mask_dots(data: ReportData, look: Mapping[str, Look]) -> Drawing:
    """Intersection over union, precision and recall of the masks that editors make."""
    name, title = "masks", "The masks that editors make, against the manifest's"
    table = data.masks[data.masks["mean"].notna()].reset_index(drop=True)
    if table.empty:
        return Drawing(name, title, "", table, None, "No editor made a mask for a sample whose mask the manifest gives.")
    measures, editors = list(dict.fromkeys(table["metric"])), list(dict.fromkeys(table["editor"]))
    with styled():
        figure = blank(data.width, 0.7 + 0.25 * len(editors), gap=0.04)
        axes: Any = figure.subplots(1, len(measures), squeeze=False, sharey=True).ravel()
        for ax, measure in zip(axes, measures, strict=True):
            rows = table[table["metric"] == measure]
            for row, point in zip(rows.index, rows.to_dict("records"), strict=True):
                own, height = look[str(point["editor"])], -editors.index(point["editor"])
                if pd.notna(point["low"]) and pd.notna(point["high"]):
                    ax.plot([point["low"], point["high"]], [height] * 2, color=own.colour, linewidth=1.6, alpha=0.4, zorder=2)
                draw_points(ax, [point["mean"]], [height], [row], own, markersize=6)
            ax.set_title(measure, loc="left", fontweight="bold")
            ax.set(xlim=(-0.02, 1.02), xticks=[0, 0.5, 1])
        axes[0].set_yticks([-i for i in range(len(editors))], [short(str(editor)) for editor in editors])
        axes[0].set_ylim(0.6 - len(editors), 0.6)
    caption = (
        "Masks that editors find for themselves, compared with the manifest's pixel by pixel; right is better. Precision: share of the editor's "
        "mask that lies in the manifest's; recall: share of the manifest's that the editor's covers. A mask that is too large has recall and no "
        f"precision. Bars: {data.interval}."
    )
    return Drawing(name, title, caption, table, figure)
