"""Figure 1: alignment and fidelity against the knob, the form of Figure 9 of the Imagic paper (arXiv 2210.09276)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from reports.data import ReportData
from reports.drawing import Drawing, blank, mixed
from reports.names import metric_names
from reports.style import MUTED, RC, SECOND, ZONE, Look, knob_name

__all__ = ["knob_curves", "knob_zone", "zones"]

_NAME, _TITLE = "knob_curves", "Alignment and fidelity along the knob"


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


def _tracks(data: ReportData) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """Editor to its rows of editability and fidelity in ascending order of the knob; only editors with at least one of them."""
    rows = data.curves[~data.curves["anchor"].astype(bool) & data.curves["mean"].notna()]
    tracks: dict[str, tuple[pd.DataFrame, pd.DataFrame]] = {}
    for editor, own in rows.groupby("editor", sort=False):
        editability, fidelity = (own[own["metric"] == column].sort_values("value") for column in data.plane.columns)
        if len(editability) or len(fidelity):
            tracks[str(editor)] = (editability, fidelity)
    return tracks


def zones(data: ReportData) -> pd.DataFrame:
    """The knob zone of each editor: editor, knob, low, high. An editor without a zone has no row."""
    found = []
    for editor, (editability, fidelity) in _tracks(data).items():
        both = editability.merge(fidelity, on="value", suffixes=("", "_f"))
        for low, high in knob_zone(*(both[name].tolist() for name in ("value", "mean", "mean_f"))):
            found.append({"editor": editor, "knob": both["knob"].iloc[0], "low": low, "high": high})
    return pd.DataFrame(found, columns=["editor", "knob", "low", "high"])


def _track(ax: Any, rows: pd.DataFrame, colour: str, **line: Any) -> None:
    band = rows.dropna(subset=["low", "high"])
    if len(band):
        ax.fill_between(band["value"], band["low"], band["high"], color=colour, alpha=0.16, linewidth=0)
    ax.plot(rows["value"], rows["mean"], color=colour, clip_on=False, **line)


def _limits(tracks: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]], which: int) -> tuple[float, float]:
    ends = pd.concat([pair[which][["low", "high", "mean"]] for pair in tracks.values()]).to_numpy(dtype=float).ravel()
    ends = ends[np.isfinite(ends)]
    low, high = (float(ends.min()), float(ends.max())) if len(ends) else (0.0, 1.0)
    pad = 0.06 * (high - low or 1.0)
    return low - pad, high + pad


def _panel(ax: Any, editor: str, pair: tuple[pd.DataFrame, pd.DataFrame], look: Look, zone: pd.DataFrame) -> Any:
    editability, fidelity = pair
    for low, high in zip(zone["low"], zone["high"], strict=True):
        ax.axvspan(low, high, color=ZONE, alpha=0.65, linewidth=0, zorder=0)
    _track(ax, editability, look.colour, marker=look.marker, markeredgecolor="white", markeredgewidth=0.6, zorder=4)
    twin = ax.twinx()
    twin.grid(visible=False)
    _track(twin, fidelity, SECOND, linestyle=(0, (4, 1.6)), linewidth=1.4, marker=look.marker, markersize=4.5,
           markerfacecolor="white", markeredgewidth=1.1)  # fmt: skip
    spans = ", ".join(f"{a:.2f}–{b:.2f}" for a, b in zip(zone["low"], zone["high"], strict=True))
    above = 20 if len(editor) > 16 else 6
    ax.set_title(editor, loc="left", color=look.colour, fontweight="bold", pad=above)
    ax.set_title(f"zone {spans}" if spans else "no zone", loc="right", color=MUTED, fontsize=8.5)
    knobs = [k for k in (*editability["knob"], *fidelity["knob"]) if knob_name(k)]
    ax.set_xlabel(knob_name(knobs[0]) if knobs else "knob")
    ax.tick_params(axis="y", colors=look.colour)
    twin.tick_params(axis="y", colors=SECOND)
    return twin


def knob_curves(data: ReportData, look: Mapping[str, Look]) -> Drawing:
    """One panel per editor: editability on the left axis, fidelity on the right, their bands, and the zone where both are high."""
    names, plane, curves = metric_names(data), data.plane, data.curves
    first, second = (names[column] for column in plane.columns)
    rows = curves[curves["metric"].isin(plane.columns) & ~curves["anchor"].astype(bool)]
    reason = mixed(rows, *plane.columns)
    tracks = {} if reason else _tracks(data)
    if not tracks:
        reason = reason or f"No editor with a knob has scores of {first.title} or {second.title} in this run."
        return Drawing(_NAME, _TITLE, "", rows, None, reason)
    zone = zones(data)
    columns = min(len(tracks), 2 if len(tracks) in (2, 4) else 3)
    lines = math.ceil(len(tracks) / columns)
    with mpl.rc_context(RC):
        figure = blank(10.0 if columns > 1 else 6.4, 0.5 + lines * (2.75 if columns < 3 else 2.45), gap=0.05)
        axes = figure.subplots(lines, columns, squeeze=False).ravel()
        left, right = _limits(tracks, 0), _limits(tracks, 1)
        for i, (ax, (editor, pair)) in enumerate(zip(axes, tracks.items(), strict=False)):
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
        for ax in axes[len(tracks) :]:
            ax.set_visible(False)
        handles = [
            Line2D([], [], color=MUTED, marker="o", markeredgecolor="white"),
            Line2D([], [], color=SECOND, linestyle=(0, (4, 1.6)), marker="o", markerfacecolor="white", linewidth=1.4),
            Patch(color=ZONE),
        ]
        labels = [f"{first.noun} (left axis)", f"{second.noun} (right axis)", "both high"]
        figure.legend(handles, labels, loc="outside upper left", ncols=3, borderaxespad=0.2)
    counts = sorted(set(rows["n"].dropna().astype(int)))
    amount = "" if not counts else f" n = {counts[0]}" + (f" to {counts[-1]}" if len(counts) > 1 else "") + " edits per point."
    caption = (
        f"Left to right is more edit: {first.noun} (solid) should rise as the picture follows the text, and {second.noun} (dashed) "
        "falls as it departs from the source. All panels share both axes. The shaded zone is where both curves, min-max "
        "normalised between that editor's lowest and highest mean and joined by straight lines, are at least 0.5"
        f"{'' if len(zone) else '; no editor has one here'}. Bands: {data.interval}.{amount}"
    )
    return Drawing(_NAME, _TITLE, caption, rows, figure)
