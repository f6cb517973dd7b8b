"""A plane in which an editor is a curve along its knob and an anchor is a point: what all such figures share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.patches import PathPatch
from numpy.typing import NDArray

from reports.drawing import HIDDEN
from reports.labels import Label, place
from reports.marks import draw_curve, draw_points, has_within, opacity
from reports.ribbon import ribbon
from reports.style import INK, Look, knob_name, legible, number, short

__all__ = ["NUMBERS", "draw_plane", "keys_of", "label_plane"]

NUMBERS = [f"{axis}_{name}" for axis in "xy" for name in ("mean", "low", "high", "within_low", "within_high")]
"""Columns of both coordinates."""
_LABELLED = 6
"""Of more editors than these the ends of the curves would hide each other's labels: their key tells the ends of the knob."""


def _columns(kinds: tuple[str, str]) -> list[str]:
    """The mean and the ends of x and of y, each of the given kind: "" or "within_"."""
    return [f"{axis}_{name}" for axis, kind in zip("xy", kinds, strict=True) for name in ("mean", f"{kind}low", f"{kind}high")]


def draw_plane(ax: Any, frame: pd.DataFrame, look: Mapping[str, Look], *, banded: bool = True) -> None:
    """Draw all curves and anchors of ``frame``: editor, anchor, knob, value and :data:`NUMBERS`, rows numbered from 0.

    The limits hold means and bands that are shown; what is hidden in the SVG may reach out of them.
    """
    editors = sum(not look[str(name)].anchor for name in set(frame["editor"]))
    corners = [frame[["x_mean", "y_mean"]].to_numpy(dtype=float)]
    for name in [n for n in look if n in set(frame["editor"])]:
        rows, own = frame[frame["editor"] == name].sort_values("value", kind="stable"), look[name]
        if banded:
            corners.append(_anchored(ax, rows, own) if own.anchor else _banded(ax, rows, own, opacity(editors)))
        if own.anchor:
            draw_points(ax, rows["x_mean"], rows["y_mean"], rows.index, own, zorder=6)
        else:
            draw_curve(ax, rows["x_mean"], rows["y_mean"], rows.index, own)
    ends = np.vstack(corners)
    low, high = np.nanmin(ends, axis=0), np.nanmax(ends, axis=0)
    pad = np.where(high > low, 0.08 * (high - low), np.maximum(0.02 * np.abs(high), 0.01))
    ax.set(xlim=(low[0] - pad[0], high[0] + pad[0]), ylim=(low[1] - pad[1], high[1] + pad[1]))


def _anchored(ax: Any, rows: pd.DataFrame, own: Look) -> NDArray[np.float64]:
    _cross(ax, rows, own, f"{HIDDEN}{own.number}", "xy")
    return np.zeros((0, 2))


def _banded(ax: Any, rows: pd.DataFrame, own: Look, alpha: float) -> NDArray[np.float64]:
    """The bands of one editor and the corners (n, 2) of those that are shown.

    Of two coordinates with within-sample bands a ribbon, of one of them, as where the other is a set metric, bars along it.
    """
    within = [axis for axis in "xy" if has_within(rows, f"{axis}_")]
    plain, inner = _columns(("", "")), _columns(("within_", "within_"))
    if not within:
        if not _filled(ax, rows[plain], own, alpha, f"band-only-{own.number}"):
            _cross(ax, rows, own, f"band-only-{own.number}", "xy")
        return _corners(rows[plain])
    if len(within) == 2:
        _filled(ax, rows[inner], own, alpha, f"band-paired-{own.number}")
    else:
        _cross(ax, rows, own, f"band-paired-{own.number}", within[0], kind="within_")
    if not _filled(ax, rows[plain], own, alpha, f"{HIDDEN}{own.number}"):
        _cross(ax, rows, own, f"{HIDDEN}{own.number}", "xy")
    return _corners(rows[inner])


def _filled(ax: Any, points: pd.DataFrame, own: Look, alpha: float, name: str) -> bool:
    outline = ribbon(points.to_numpy(dtype=float))
    if outline is not None:
        ax.add_patch(PathPatch(outline, facecolor=own.colour, alpha=alpha, linewidth=0, zorder=1, gid=name))
    return outline is not None


def _cross(ax: Any, rows: pd.DataFrame, own: Look, name: str, axes: str, *, kind: str = "") -> None:
    """Intervals as bars along the axes named."""
    bars = []
    for x, x0, x1, y, y0, y1 in rows[_columns((kind, kind))].to_numpy(dtype=float):
        both = {"x": ((x0, y), (x1, y)), "y": ((x, y0), (x, y1))}
        bars += [both[axis] for axis in axes if np.isfinite(both[axis]).all()]
    if bars:
        ax.add_collection(LineCollection(bars, colors=own.colour, linewidths=0.8, alpha=0.45, zorder=2, gid=name), autolim=False)


def _corners(points: pd.DataFrame) -> NDArray[np.float64]:
    x, x0, x1, y, y0, y1 = points.to_numpy(dtype=float).T
    return np.vstack([np.column_stack(pair) for pair in ((x0, y), (x1, y), (x, y0), (x, y1))])


def keys_of(frame: pd.DataFrame, look: Mapping[str, Look]) -> dict[str, str]:
    """What the key calls each editor and anchor of ``frame``: where there are many, the editors with the ends of their knobs."""
    labels = {name: name for name in look if name in set(frame["editor"])}
    if not _labelled(frame, look):
        for name in [each for each in labels if not look[each].anchor]:
            values = frame.loc[frame["editor"] == name, "value"]
            labels[name] = f"{short(name, 20)} {number(values.min())}–{number(values.max())}"
    return labels


def _labelled(frame: pd.DataFrame, look: Mapping[str, Look]) -> bool:
    return sum(not look[str(name)].anchor for name in set(frame["editor"])) <= _LABELLED


def label_plane(ax: Any, frame: pd.DataFrame, look: Mapping[str, Look]) -> None:
    """Write at each end of a curve the value of its knob and at each anchor its name; the layout is fixed by this."""
    anchors, ends, strewn = [], [], [np.zeros((0, 2))]
    for name in [n for n in look if n in set(frame["editor"])]:
        rows = frame[frame["editor"] == name].sort_values("value", kind="stable")
        strewn.append(_strewn(rows[["x_mean", "y_mean"]].to_numpy(dtype=float)))
        if look[name].anchor:
            anchors += [Label(x, y, short(name), INK, bold=True) for x, y in zip(rows["x_mean"], rows["y_mean"], strict=True)]
        elif _labelled(frame, look):
            for _, end in rows.iloc[[0, -1] if len(rows) > 1 else [0]].iterrows():
                text = f"{knob_name(end['knob'])} {number(end['value'])}".strip()
                ends.append(Label(end["x_mean"], end["y_mean"], short(text), legible(look[name].colour)))
    place(ax, [*anchors, *ends], np.vstack(strewn))


def _strewn(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points along a curve (n, 2), which labels keep clear of."""
    steps = np.linspace(0, len(points) - 1, 12 * (len(points) - 1) + 1)
    return np.column_stack([np.interp(steps, np.arange(len(points)), column) for column in points.T])
