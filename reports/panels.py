"""Figures of small panels: every metric along the knob, and what share of the samples attains what."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.lines import Line2D

from reports.data import ReportData
from reports.drawing import Drawing, blank, mixed
from reports.names import metric_names
from reports.style import INK, MUTED, RC, Look

__all__ = ["attainment_panels", "metric_panels"]

_ANCHOR_PLACE = 1.07
"""Where anchors stand, right of the largest knob value."""


def metric_panels(data: ReportData, look: Mapping[str, Look]) -> Drawing:
    """One panel per metric as it is scored, all editors in each, along their own knobs from smallest to largest value."""
    name, title, names, curves = "metric_curves", "Every metric along the knob", metric_names(data), data.curves
    kept = curves[~curves["metric"].isin(data.plane.made_of) & curves["mean"].notna()]
    scored = set(kept["metric"])
    metrics = [str(each) for each in dict.fromkeys(curves["metric"]) if each in scored and not mixed(kept, str(each))]
    rows = kept[kept["metric"].isin(metrics)]
    if rows.empty:
        return Drawing(name, title, "", rows, None, "No metric of this run has a value.")
    grids = curves.groupby("editor")["value"]
    ends = {str(editor): (float(grid.min()), float(grid.max())) for editor, grid in grids}  # whatever is undefined between them
    columns = min(len(metrics), 2 if len(metrics) in (2, 4) else 3)
    lines = math.ceil(len(metrics) / columns)
    with mpl.rc_context(RC):
        figure = blank(10.0 if columns > 1 else 6.4, 0.9 + 2.35 * lines, gap=0.05)
        axes = figure.subplots(lines, columns, squeeze=False).ravel()
        for ax, metric in zip(axes, metrics, strict=False):
            own, about = rows[rows["metric"] == metric], names[metric]
            _panel(ax, own, look, ends)
            ax.set_title(f"{about.title} {about.arrow}", loc="left", fontweight="bold")
            ax.set_xticks([0, 0.5, 1], ["smallest", "knob", "largest"])
            ax.tick_params(axis="x", labelsize=8)
        for ax in axes[len(metrics) :]:
            ax.set_visible(False)
        _legend(figure, look, rows)
    bands = "; ".join(part for part in (data.interval, data.set_interval) if part)
    caption = (
        "From left to right each editor's own knob grows from its smallest to its largest value; anchors stand at the right edge. "
        f"↑ higher is better, ↓ lower is better. Bands: {bands}."
    )
    return Drawing(name, title, caption, rows, figure)


def _panel(ax: Any, rows: pd.DataFrame, look: Mapping[str, Look], ends: Mapping[str, tuple[float, float]]) -> None:
    for editor, own in rows.groupby("editor", sort=False):
        style, points = look[str(editor)], own.sort_values("value")
        if style.anchor:
            y = float(points["mean"].iloc[0])
            ax.axhline(y, color=MUTED, linewidth=0.6, linestyle=(0, (2, 3)), zorder=1)
            ax.plot([_ANCHOR_PLACE], [y], linestyle="none", color=style.colour, marker=style.marker, markersize=_size(style),
                    markeredgecolor="white", markeredgewidth=0.6, clip_on=False, zorder=6)  # fmt: skip
            continue
        smallest, largest = ends[str(editor)]
        x = (points["value"] - smallest) / (largest - smallest) if largest > smallest else points["value"] * 0 + 0.5
        if points[["low", "high"]].notna().all(axis=None):
            ax.fill_between(x, points["low"], points["high"], color=style.colour, alpha=0.1, linewidth=0)
        ax.plot(x, points["mean"], color=style.colour, linestyle=style.dash, marker=style.marker, markersize=4.5,
                markeredgecolor="white", markeredgewidth=0.5, clip_on=False, zorder=4)  # fmt: skip
    ax.set_xlim(-0.04, _ANCHOR_PLACE)


def _size(style: Look) -> float:
    return 11.0 if style.marker == "*" else 7.5


def _legend(figure: Any, look: Mapping[str, Look], rows: pd.DataFrame) -> None:
    shown = [name for name in look if name in set(rows["editor"])]
    handles = [
        Line2D([], [], color=own.colour, linestyle=own.dash, marker=own.marker, markeredgecolor="white", markeredgewidth=0.6,
               markersize=_size(own) if own.anchor else 5.5)
        for own in (look[name] for name in shown)
    ]  # fmt: skip
    figure.legend(handles, shown, loc="outside upper left", ncols=min(len(shown), 6), borderaxespad=0.2)


def attainment_panels(data: ReportData, look: Mapping[str, Look]) -> Drawing:
    """One panel per editor: what editability half of the samples reach at a fidelity, with the band between three and one quarter."""
    name, title, names, attainment = "attainment", "What share of the samples gets there", metric_names(data), data.attainment
    y, x = (names[column] for column in data.plane.columns)
    rows = attainment[attainment["median"].notna() | attainment["high"].notna()]
    editors = [str(editor) for editor in dict.fromkeys(rows["editor"])]
    if not editors:
        return Drawing(name, title, "", attainment, None, f"No editor has scores of {y.title} and {x.title} at every knob value.")
    columns = min(len(editors), 2 if len(editors) in (2, 4) else 3)
    lines = math.ceil(len(editors) / columns)
    with mpl.rc_context(RC):
        figure = blank(10.0 if columns > 1 else 6.4, 0.4 + 2.5 * lines, gap=0.05)
        axes = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for i, (ax, editor) in enumerate(zip(axes, editors, strict=False)):
            for other, points in rows.groupby("editor", sort=False):
                if other != editor:
                    ax.step(points["fidelity"], points["median"], where="post", color="#c3cad1", linewidth=0.9, zorder=1)
            own, style = rows[rows["editor"] == editor], look[editor]
            floor = own["low"].fillna(own[["low", "median", "high"]].min(axis=None))
            ax.fill_between(own["fidelity"], floor, own["high"], step="post", color=style.colour, alpha=0.16, linewidth=0)
            ax.step(own["fidelity"], own["median"], where="post", color=style.colour, linestyle=style.dash, zorder=4)
            ax.set_title(editor, loc="left", color=style.colour, fontweight="bold")
            if i % columns == 0:
                ax.set_ylabel(f"{y.noun} (better aligned →)")
            if i >= len(editors) - columns:
                ax.set_xlabel(f"{x.noun} (more faithful →)")
                ax.tick_params(labelbottom=True)
        for ax in axes[len(editors) :]:
            ax.set_visible(False)
        handles = [Line2D([], [], color=INK), Line2D([], [], color=INK, linewidth=8, alpha=0.16), Line2D([], [], color="#c3cad1")]
        labels = ["half of the samples", "three quarters to one quarter", "half of the samples, the other editors"]
        figure.legend(handles, labels, loc="outside upper left", ncols=3, borderaxespad=0.2)
    caption = (
        f"The empirical attainment function: at each fidelity, the {y.noun} that a share of the samples reaches with some knob value "
        "that keeps at least this fidelity. The line is what half of the samples reach, the band spans what three quarters and what one "
        "quarter reach: it shows how much samples differ, not how sure a mean is. Where a line ends, fewer samples get that far."
    )
    return Drawing(name, title, caption, attainment, figure)
