"""A plane in which an editor is a curve along its knob and an anchor is a point: what all such figures share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from numpy.typing import NDArray

from reports.drawing import HIDDEN
from reports.labels import Label, place
from reports.marks import MARKER, draw_curve, draw_points, has_within, opacity
from reports.ribbon import ribbon
from reports.style import INK, Look, knob_name, legible, number, short

__all__ = ["NUMBERS", "draw_plane", "keys_of", "label_plane"]

NUMBERS = [f"{axis}_{name}" for axis in "xy" for name in ("mean", "low", "high", "within_low", "within_high")]
"""Columns of both coordinates."""
_CELLS = 64
"""Cells a side in which the area of a ribbon is counted."""
_LABELLED = 6
"""Of more editors than these the ends of the curves would hide each other's labels: their key tells the ends of the knob."""


def _columns(kinds: tuple[str, str]) -> list[str]:
    """The mean and the ends of x and of y, each of the given kind: "" or "within_"."""
    return [f"{axis}_{name}" for axis, kind in zip("xy", kinds, strict=True) for name in ("mean", f"{kind}low", f"{kind}high")]


def draw_plane(ax: Any, frame: pd.DataFrame, look: Mapping[str, Look], *, banded: bool = True) -> None:
    """Draw all curves and anchors of ``frame``: editor, anchor, knob, value and :data:`NUMBERS`, rows numbered from 0.

    The limits hold means and bands that are shown; what is hidden in the SVG may reach out of them.
    """
    shown = {n: frame[frame["editor"] == n].sort_values("value", kind="stable") for n in look if n in set(frame["editor"])}
    editors = [name for name in shown if not look[name].anchor]
    corners = [_corners(shown[name][_banded_columns(shown[name])]) for name in editors if banded]
    ends = np.vstack([frame[["x_mean", "y_mean"]].to_numpy(dtype=float), *corners])
    low, high = np.nanmin(ends, axis=0), np.nanmax(ends, axis=0)
    pad = np.where(high > low, 0.08 * (high - low), np.maximum(0.02 * np.abs(high), 0.01))
    ax.set(xlim=(low[0] - pad[0], high[0] + pad[0]), ylim=(low[1] - pad[1], high[1] + pad[1]))
    for name, rows in shown.items():
        own = look[name]
        if own.anchor:
            if banded:
                _cross(ax, rows, own, f"{HIDDEN}{own.number}", "xy")
            draw_points(ax, rows["x_mean"], rows["y_mean"], rows.index, own, zorder=6)
        else:
            if banded:
                _banded(ax, rows, own, opacity(len(editors)))
            draw_curve(ax, rows["x_mean"], rows["y_mean"], rows.index, own)


def _within(rows: pd.DataFrame) -> list[str]:
    return [axis for axis in "xy" if has_within(rows, f"{axis}_")]


def _banded_columns(rows: pd.DataFrame) -> list[str]:
    """Of the bands that are shown."""
    return _columns(("within_", "within_")) if _within(rows) else _columns(("", ""))


def _banded(ax: Any, rows: pd.DataFrame, own: Look, alpha: float) -> None:
    """The bands of one editor.

    Of two coordinates with within-sample bands a ribbon, of one of them, as where the other is a set metric, bars along it. A ribbon is
    drawn where it has no more ink than its curve; of few samples it is wide, and bars at both ends and in the middle stand for it.
    """
    within, plain = _within(rows), _columns(("", ""))
    if len(within) == 1:
        _cross(ax, rows, own, f"band-paired-{own.number}", within[0], kind="within_")
    else:
        name = f"band-paired-{own.number}" if within else f"band-only-{own.number}"
        outline = ribbon(rows[_banded_columns(rows)].to_numpy(dtype=float))
        if outline is not None and alpha * _area(ax, outline) <= _ink(ax, rows):
            _filled(ax, outline, own, alpha, name)
        else:
            few = rows.iloc[sorted({0, len(rows) // 2, len(rows) - 1})] if outline is not None else rows
            _cross(ax, few, own, name, "xy", kind="within_" if within else "")
    if within:
        outline = ribbon(rows[plain].to_numpy(dtype=float))
        if outline is None:
            _cross(ax, rows, own, f"{HIDDEN}{own.number}", "xy")
        else:
            _filled(ax, outline, own, alpha, f"{HIDDEN}{own.number}")


def _filled(ax: Any, outline: Outline, own: Look, alpha: float, name: str) -> None:
    ax.add_patch(PathPatch(outline, facecolor=own.colour, alpha=alpha, linewidth=0, zorder=1, gid=name))


def _area(ax: Any, outline: Outline) -> float:
    """What of the panel a ribbon covers, in square points, to a hundredth of the ribbon or so."""
    polygons = [Outline(polygon) for polygon in outline.transformed(ax.transData).to_polygons()]
    corners = np.vstack([polygon.vertices for polygon in polygons])
    low, high = corners.min(axis=0), corners.max(axis=0)
    sides = [np.linspace(a, b, _CELLS, endpoint=False) + (b - a) / _CELLS / 2 for a, b in zip(low, high, strict=True)]
    cells = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 2)
    inside = np.any([polygon.contains_points(cells) for polygon in polygons], axis=0)
    return float(inside.mean() * np.prod(high - low)) * (72 / ax.figure.dpi) ** 2


def _ink(ax: Any, rows: pd.DataFrame) -> float:
    """Of a curve and its markers, in square points."""
    points = ax.transData.transform(rows[["x_mean", "y_mean"]].to_numpy(dtype=float)) * 72 / ax.figure.dpi
    length = float(np.hypot(*np.diff(points, axis=0).T).sum())
    return length * float(mpl.rcParams["lines.linewidth"]) + len(points) * MARKER**2


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
