"""Figures of small panels: every metric along the knob, and what share of the samples attains what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from reports.data import ReportData
from reports.drawing import Drawing, mixed, styled
from reports.marks import BAND, area, band_note, draw_curve, draw_points, entry, has_within, key, opacity, panels
from reports.names import metric_names
from reports.style import FAINT, INK, MUTED, Look, legible, short

__all__ = ["attainment_panels", "metric_panels"]

_ANCHOR_PLACE = 1.07
"""Where anchors stand, right of the largest knob value."""


def metric_panels(data: ReportData, look: Mapping[str, Look]) -> Drawing:
    """One panel per metric as it is scored, all editors in each, along their own knobs from smallest to largest value."""
    name, title, names, curves = "metric_curves", "Every metric along the knob", metric_names(data), data.curves
    kept = curves[~curves["metric"].isin(data.plane.made_of) & np.isfinite(curves["mean"].astype(float))]
    scored = set(kept["metric"])
    metrics = [str(each) for each in dict.fromkeys(curves["metric"]) if each in scored and not mixed(kept, str(each))]
    rows = kept[kept["metric"].isin(metrics)].reset_index(drop=True)
    if rows.empty:
        return Drawing(name, title, "", rows, None, "No metric of this run has a value.")
    grids = curves.groupby("editor")["value"]
    ends = {str(editor): (float(grid.min()), float(grid.max())) for editor, grid in grids}  # whatever is undefined between them
    of_sets, shown = set(data.sets["metric"]), []
    with styled():
        figure, axes, _ = panels(len(metrics), data.width, least=1.7, shape=0.85)
        for panel, (ax, metric) in enumerate(zip(axes, metrics, strict=True)):
            own, about = rows[rows["metric"] == metric], names[metric]
            shown += _panel(ax, own, look, ends, panel=panel, of_sets=metric in of_sets)
            ax.set_title(f"{short(about.title)} {about.arrow}", loc="left", fontweight="bold")
            ax.set_xticks([0, 0.5, 1], ["smallest", "knob", "largest"])
        present = [own for own in look if own in set(rows["editor"])]
        key(figure, [entry(look[own]) for own in present], present)
    sets = " Set metrics have none: the interval of each is in the table." if of_sets & set(metrics) else ""
    caption = (
        "From left to right each editor's own knob grows from its smallest to its largest value; anchors stand at the right edge. "
        f"↑ higher is better, ↓ lower is better. {band_note(data, shown)}{sets}"
    )
    return Drawing(name, title, caption, rows, figure)


def _panel(
    ax: Any, rows: pd.DataFrame, look: Mapping[str, Look], ends: Mapping[str, tuple[float, float]], *, panel: int, of_sets: bool
) -> list[tuple[str, pd.DataFrame]]:
    """Draw a metric; the editors whose bands are shown, with their rows."""
    editors = rows.loc[~rows["anchor"].astype(bool), "editor"].nunique()
    banded, alone = [], editors < 2
    for editor, own in rows.groupby("editor", sort=False):
        style, points = look[str(editor)], own.sort_values("value")
        if style.anchor:
            y = float(points["mean"].iloc[0])
            ax.axhline(y, color=MUTED, linewidth=0.6, linestyle=(0, (2, 3)), zorder=1)
            draw_points(ax, [_ANCHOR_PLACE], [y], points.index[:1], style, zorder=6)
            continue
        smallest, largest = ends[str(editor)]
        x = (points["value"] - smallest) / (largest - smallest) if largest > smallest else points["value"] * 0 + 0.5
        area(ax, x, points, style, panel=panel, alone=alone or not of_sets, alpha=opacity(editors))
        if alone or not of_sets:
            banded.append((str(editor), points))
        draw_curve(ax, x, points["mean"], points.index, style)
    ax.set_xlim(-0.04, _ANCHOR_PLACE)
    _fit(ax, rows, of_sets and not alone)
    return banded


def _fit(ax: Any, rows: pd.DataFrame, bare: bool) -> None:
    """Limits that hold what is shown; plain intervals that are there for a page only may reach out."""
    editors = [own for _, own in rows.groupby("editor", sort=False)]
    ends = [rows["mean"]]
    for own in editors if not bare else ():
        if not own["anchor"].astype(bool).any():
            ends += [own[f"within_{end}" if has_within(own) else end] for end in ("low", "high")]
    values = pd.concat(ends).astype(float)
    low, high = float(values.min()), float(values.max())
    pad = 0.06 * (high - low) or 0.02 * abs(high) or 1.0
    ax.set_ylim(low - pad, high + pad)


def attainment_panels(data: ReportData, look: Mapping[str, Look]) -> Drawing:
    """One panel per editor: what editability half of the samples reach at a fidelity, with the band between three and one quarter."""
    name, title, names, attainment = "attainment", "What share of the samples gets there", metric_names(data), data.attainment
    y, x = (names[column] for column in data.plane.columns)
    rows = attainment[attainment["median"].notna() | attainment["high"].notna()].reset_index(drop=True)
    editors = [str(editor) for editor in dict.fromkeys(rows["editor"])]
    if not editors:
        return Drawing(name, title, "", attainment, None, f"No editor has scores of {y.title} and {x.title} at every knob value.")
    with styled():
        figure, axes, columns = panels(len(editors), data.width, least=1.7, shape=0.8, sharex=True, sharey=True)
        for i, (ax, editor) in enumerate(zip(axes, editors, strict=True)):
            for other, points in rows.groupby("editor", sort=False):
                if other != editor:
                    ax.step(points["fidelity"], points["median"], where="post", color=FAINT, linewidth=0.7, zorder=1)
            own, style = rows[rows["editor"] == editor], look[editor]
            floor = own["low"].fillna(own[["low", "median", "high"]].min(axis=None))
            ax.fill_between(own["fidelity"], floor, own["high"], step="post", color=style.colour, alpha=BAND, linewidth=0)
            ax.step(own["fidelity"], own["median"], where="post", color=style.colour, linestyle=style.dash, zorder=4)
            ax.set_title(short(editor), loc="left", color=legible(style.colour), fontweight="bold")
            if i % columns == 0:
                ax.set_ylabel(f"{y.noun} →")
            if i >= len(editors) - columns:
                ax.set_xlabel(f"{x.noun} →")
                ax.tick_params(labelbottom=True)
        handles = [Line2D([], [], color=INK), Line2D([], [], color=INK, linewidth=8, alpha=BAND), Line2D([], [], color=FAINT)]
        key(figure, handles, ["half of the samples", "¾ to ¼ of the samples", "half, other editors"])
    caption = (
        f"The empirical attainment function: at each fidelity, the {y.noun} that a share of the samples reaches with some knob value "
        "that keeps at least this fidelity. The line is what half of the samples reach, the band spans what three quarters and what one "
        "quarter reach: it shows how much samples differ, not how sure a mean is. Where a line ends, fewer samples get that far."
    )
    return Drawing(name, title, caption, attainment, figure)
