"""Alignment and fidelity against the knob, the form of Figure 9 of the Imagic paper (arXiv 2210.09276)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from reports.data import Plane, ReportData
from reports.drawing import Drawing, mixed, styled
from reports.marks import area, band_note, draw_curve, draw_points, has_within, key, panels
from reports.names import metric_names
from reports.style import MUTED, SECOND, ZONE, Look, knob_name, legible, short

__all__ = ["knob_curves", "knob_zone", "zones"]

_NAME, _TITLE = "knob_curves", "Alignment and fidelity along the knob"
_DASHED = (0, (4, 1.6))


def knob_zone(values: Sequence[float], editability: Sequence[float], fidelity: Sequence[float]) -> list[tuple[float, float]]:
    """Knob intervals in which editability and fidelity are both high.

    Each curve is scaled so that its lowest mean over the grid is 0 and its highest is 1, and is linear between grid
    points; the zone is where both are at least 0.5. ``values`` ascend. A curve that is flat, shorter than two points
    or not finite has no zone.
    """
    knob = np.asarray(values, dtype=float)
    pair = [np.asarray(curve, dtype=float) for curve in (editability, fidelity)]
    if len(knob) < 2 or not all(np.isfinite(curve).all() and np.ptp(curve) > 0 for curve in pair):
        return []
    scaled = [(curve - curve.min()) / np.ptp(curve) for curve in pair]
    cuts = set(knob.tolist())
    for curve in scaled:
        for (a, b), (fa, fb) in zip(pairwise(knob), pairwise(curve - 0.5), strict=True):
            if fa * fb < 0:
                cuts.add(float(a + (b - a) * fa / (fa - fb)))
    zone: list[tuple[float, float]] = []
    for a, b in pairwise(sorted(cuts)):
        if all(np.interp((a + b) / 2, knob, curve) >= 0.5 for curve in scaled):
            zone = [*zone[:-1], (zone[-1][0], b)] if zone and zone[-1][1] == a else [*zone, (a, b)]
    return zone


def _tracks(curves: pd.DataFrame, plane: Plane) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """Editor to its rows of editability and fidelity in ascending order of the knob; only editors with at least one of them."""
    rows = curves[~curves["anchor"].astype(bool) & curves["mean"].notna()]
    tracks: dict[str, tuple[pd.DataFrame, pd.DataFrame]] = {}
    for editor, own in rows.groupby("editor", sort=False):
        editability, fidelity = (own[own["metric"] == column].sort_values("value") for column in plane.columns)
        if len(editability) or len(fidelity):
            tracks[str(editor)] = (editability, fidelity)
    return tracks


def zones(data: ReportData) -> pd.DataFrame:
    """The knob zone of each editor: editor, knob, low, high. An editor without a zone has no row."""
    found = []
    for editor, (editability, fidelity) in _tracks(data.curves, data.plane).items():
        both = editability.merge(fidelity, on="value", suffixes=("", "_f"))
        for low, high in knob_zone(*(both[name].tolist() for name in ("value", "mean", "mean_f"))):
            found.append({"editor": editor, "knob": both["knob"].iloc[0], "low": low, "high": high})
    return pd.DataFrame(found, columns=["editor", "knob", "low", "high"])


def _limits(tracks: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]], which: int) -> tuple[float, float]:
    """Between what the means and the bands that are shown lie, and a little more."""
    ends: list[float] = []
    for pair in tracks.values():
        rows = pair[which]
        shown = ["mean", "within_low", "within_high"] if has_within(rows) else ["mean", "low", "high"]
        ends += rows[shown].to_numpy(dtype=float).ravel().tolist()
    found = [end for end in ends if math.isfinite(end)]
    low, high = (min(found), max(found)) if found else (0.0, 1.0)
    pad = 0.06 * (high - low or 1.0)
    return low - pad, high + pad


def _panel(ax: Any, editor: str, pair: tuple[pd.DataFrame, pd.DataFrame], look: Look, zone: pd.DataFrame) -> Any:
    editability, fidelity = pair
    for low, high in zip(zone["low"], zone["high"], strict=True):
        ax.axvspan(low, high, color=ZONE, alpha=0.65, linewidth=0, zorder=0)
    twin = ax.twinx()
    twin.grid(visible=False)
    for side, (axis, rows) in enumerate(((ax, editability), (twin, fidelity))):
        area(axis, rows["value"], rows, look, panel=side, alone=True, colour=SECOND if side else "")
    draw_curve(ax, editability["value"], editability["mean"], editability.index, look, linestyle="solid")
    twin.plot(fidelity["value"], fidelity["mean"], color=SECOND, linestyle=_DASHED, linewidth=1.1, clip_on=False, zorder=3)
    draw_points(twin, fidelity["value"], fidelity["mean"], fidelity.index, look, color=SECOND, markerfacecolor="white",
                markersize=3.6, markeredgecolor=SECOND, markeredgewidth=0.9, zorder=3)  # fmt: skip
    ax.set_title(short(editor), loc="left", color=legible(look.colour), fontweight="bold")
    spans = ", ".join(f"{a:.2f}–{b:.2f}" for a, b in zip(zone["low"], zone["high"], strict=True))
    knobs = [k for k in (*editability["knob"], *fidelity["knob"]) if knob_name(k)]
    ax.set_xlabel((short(knob_name(knobs[0])) if knobs else "knob") + (f" (both high {spans})" if spans else ""))
    return twin


def knob_curves(data: ReportData, look: Mapping[str, Look]) -> Drawing:
    """One panel per editor: editability on the left axis, fidelity on the right, their bands, and the zone where both are high."""
    names, plane, curves = metric_names(data), data.plane, data.curves
    first, second = (names[column] for column in plane.columns)
    rows = curves[curves["metric"].isin(plane.columns) & ~curves["anchor"].astype(bool)].reset_index(drop=True)
    reason = mixed(rows, *plane.columns)
    tracks = {} if reason else _tracks(rows, plane)
    if not tracks:
        reason = reason or f"No editor with a knob has scores of {first.title} or {second.title} in this run."
        return Drawing(_NAME, _TITLE, "", rows, None, reason)
    zone = zones(data)
    with styled():
        figure, axes, columns = panels(len(tracks), data.width, least=2.2, shape=0.72)
        left, right = _limits(tracks, 0), _limits(tracks, 1)
        for i, (ax, (editor, pair)) in enumerate(zip(axes, tracks.items(), strict=True)):
            twin = _panel(ax, editor, pair, look[editor], zone[zone["editor"] == editor])
            ax.set_ylim(left)
            twin.set_ylim(right)
            if i % columns == 0:
                ax.set_ylabel(first.label)
            else:
                ax.tick_params(labelleft=False)
            if i % columns == columns - 1 or i == len(tracks) - 1:
                twin.set_ylabel(second.label, color=SECOND)
            else:
                twin.tick_params(labelright=False)
        handles = [
            Line2D([], [], color=MUTED, marker="o", markeredgecolor="white"),
            Line2D([], [], color=SECOND, linestyle=_DASHED, marker="o", markerfacecolor="white", linewidth=1.1),
        ]
        labels = [f"{first.noun} (left axis)", f"{second.noun} (right axis)"]
        key(figure, [*handles, Patch(color=ZONE)], [*labels, "both high"])
    counts = sorted(set(rows["n"].dropna().astype(int)))
    amount = "" if not counts else f" n = {counts[0]}" + (f" to {counts[-1]}" if len(counts) > 1 else "") + " edits per point."
    caption = (
        f"Left to right is more edit: {first.noun} (solid) should rise as the picture follows the text, and {second.noun} (dashed) "
        "falls as it departs from the source. All panels share both axes. The shaded zone is where both curves, min-max "
        "normalised between that editor's lowest and highest mean and joined by straight lines, are at least 0.5"
        f"{'' if len(zone) else '; no editor has one here'}. {band_note(data, [(e, r) for e, pair in tracks.items() for r in pair])}{amount}"
    )
    return Drawing(_NAME, _TITLE, caption, rows, figure)
