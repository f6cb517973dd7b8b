"""Figures 2 and 3: planes in which an editor is a curve along its knob and an anchor is a point."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from numpy.typing import NDArray

from reports.data import ReportData
from reports.drawing import Drawing, blank, mixed, paired
from reports.labels import Label, place
from reports.names import metric_names
from reports.style import INK, RC, Look, knob_name, number

__all__ = ["distance_plane", "ribbon", "tradeoff_plane"]

_AXES = ["x_mean", "x_low", "x_high", "y_mean", "y_low", "y_high"]
_SIZE = {"*": 13.0}
"""Marker sizes in points of the anchors that look small at the common one."""
_COLUMNS = ["editor", "anchor", "knob", "value", *_AXES]


def _hull(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convex hull of (n, 2) points, counter-clockwise (Andrew's monotone chain)."""
    ordered = sorted(map(tuple, points))

    def chain(sequence: list[Any]) -> list[Any]:
        kept: list[Any] = []
        for p in sequence:
            while len(kept) > 1:
                a, b = kept[-2], kept[-1]
                if (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]) > 0:
                    break
                kept.pop()
            kept.append(p)
        return kept[:-1]

    return np.array(chain(ordered) + chain(ordered[::-1]))


def ribbon(points: NDArray[np.float64]) -> Outline | None:
    """The area swept by ellipses along a curve, as one outline to be filled by the non-zero rule.

    ``points`` (n, 6) holds x, its interval, y and its interval. Each quarter of an ellipse reaches from the mean to the
    matching end of the intervals. Neighbours are joined by their convex hull. None without a finite point.
    """
    points = points[np.isfinite(points).all(axis=1)]
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    cos, sin = np.cos(turn), np.sin(turn)
    ellipses = [
        np.column_stack([x + cos * np.where(cos > 0, x1 - x, x - x0), y + sin * np.where(sin > 0, y1 - y, y - y0)])
        for x, x0, x1, y, y0, y1 in points
    ]
    pairs = list(pairwise(ellipses)) or [(e, e) for e in ellipses]
    hulls = [_hull(np.vstack(pair)) for pair in pairs]
    closed = [np.vstack([h, h[:1]]) for h in hulls if len(h) > 2]
    if not closed:
        return None
    return Outline.make_compound_path(*(Outline(h, closed=True) for h in closed))


def _curve(ax: Any, rows: pd.DataFrame, look: Look) -> bool:
    """Draw one editor; whether its intervals are bars (one axis has none) instead of a ribbon."""
    points = rows[_AXES].to_numpy(dtype=float)
    area = ribbon(points)
    if area is not None:
        ax.add_patch(PathPatch(area, facecolor=look.colour, alpha=0.12, linewidth=0, zorder=1))
    else:
        _cross(ax, rows, look, zorder=2)
    ax.plot(points[:, 0], points[:, 3], color=look.colour, linestyle=look.dash, marker=look.marker,
            markeredgecolor="white", markeredgewidth=0.6, zorder=4)  # fmt: skip
    return area is None


def _bar(a: tuple[float, float], b: tuple[float, float]) -> NDArray[np.float64]:
    """Points strewn between two ends; none where an end is not finite."""
    return np.linspace(a, b, 24) if np.isfinite([a, b]).all() else np.zeros((0, 2))


def _cross(ax: Any, rows: pd.DataFrame, look: Look, zorder: float) -> None:
    for x, x0, x1, y, y0, y1 in rows[_AXES].to_numpy(dtype=float):
        for ends in (((x0, x1), (y, y)), ((x, x), (y0, y1))):
            if np.isfinite(ends).all():
                ax.plot(*ends, color=look.colour, linewidth=0.9, alpha=0.55, zorder=zorder)


def _obstacles(frame: pd.DataFrame, crossed: set[str]) -> NDArray[np.float64]:
    """Points strewn along the curves and along the interval bars of those in ``crossed``, which labels keep clear of."""
    parts = [np.zeros((0, 2))]
    for name, rows in frame.groupby("editor", sort=False):
        xy = rows[["x_mean", "y_mean"]].to_numpy(dtype=float)
        steps = np.linspace(0, len(xy) - 1, 12 * (len(xy) - 1) + 1)
        parts.append(np.column_stack([np.interp(steps, np.arange(len(xy)), column) for column in xy.T]))
        if name in crossed:
            for x, x0, x1, y, y0, y1 in rows[_AXES].to_numpy(dtype=float):
                parts += [_bar((x0, y), (x1, y)), _bar((x, y0), (x, y1))]
    return np.vstack(parts)


def _plane(frame: pd.DataFrame, look: Mapping[str, Look], x_label: str, y_label: str) -> Any:
    """A figure of all curves and anchors in ``frame`` (editor, anchor, knob, value, x and y with intervals)."""
    with mpl.rc_context(RC):
        figure = blank(10.0, 5.6)
        ax = figure.subplots()
        labels: list[Label] = []
        handles: list[Line2D] = []
        crossed: set[str] = set()
        frame = frame.sort_values("value", kind="stable")
        for name in [n for n in look if n in set(frame["editor"])]:
            rows, own = frame[frame["editor"] == name], look[name]
            if own.anchor:
                crossed.add(name)
                _cross(ax, rows, own, zorder=5)
                ax.plot(rows["x_mean"], rows["y_mean"], linestyle="none", color=own.colour, marker=own.marker,
                        markersize=_SIZE.get(own.marker, 9), markeredgecolor="white", markeredgewidth=0.7, zorder=6)  # fmt: skip
                labels += [Label(x, y, name, INK, bold=True) for x, y in zip(rows["x_mean"], rows["y_mean"], strict=True)]
            else:
                if _curve(ax, rows, own):
                    crossed.add(name)
                for _, end in rows.iloc[[0, -1] if len(rows) > 1 else [0]].iterrows():
                    text = f"{knob_name(end['knob'])} {number(end['value'])}".strip()
                    labels.append(Label(end["x_mean"], end["y_mean"], text, own.colour))
            handles.append(Line2D([], [], color=own.colour, linestyle=own.dash, marker=own.marker, label=name,
                                  markersize=_SIZE.get(own.marker, 8) if own.anchor else 6, markeredgecolor="white",
                                  markeredgewidth=0.6))  # fmt: skip
        ax.margins(0.09, 0.1)
        ax.set_xlabel(x_label)
        ax.set_ylabel(y_label)
        figure.legend(handles, [str(h.get_label()) for h in handles], loc="outside right upper", labelspacing=0.75)
        place(ax, sorted(labels, key=lambda label: not label.bold), _obstacles(frame, crossed))
    return figure


def tradeoff_plane(data: ReportData, look: Mapping[str, Look]) -> Drawing:
    """Editability against fidelity: one curve per editor with its joint band, anchors as points. Up and right is better."""
    name, title, names, tradeoff = "tradeoff", "Editability against fidelity", metric_names(data), data.tradeoff
    y, x = (names[column] for column in data.plane.columns)
    points = paired(data.curves, data.plane.fidelity, data.plane.editability)
    own = tradeoff.assign(anchor=False).dropna(subset=["x_mean", "y_mean"])
    own = own[~own["editor"].isin(set(points.loc[points["anchor"].astype(bool), "editor"]))]
    parts = [part[_COLUMNS] for part in (own, points[points["anchor"].astype(bool)]) if len(part)]
    frame = pd.concat(parts, ignore_index=True) if parts else tradeoff.reindex(columns=_COLUMNS)
    reason = mixed(data.curves, data.plane.fidelity, data.plane.editability)
    if reason or not parts:
        reason = reason or f"No edit of this run has scores of both {y.title} and {x.title}."
        return Drawing(name, title, "", frame, None, reason)
    figure = _plane(frame, look, f"{x.label}   (more faithful →)", f"{y.label}   (better aligned →)")
    caption = (
        "Each curve is one editor swept over its knob, the ends marked with their values; up and right is better, and a curve "
        "that lies above another gives more edit at the same fidelity. Black markers are anchors: controls that show what the "
        "axes mean. Ribbons join ellipses whose half-axes are the two intervals at each dot, crosses show them at anchors: "
        f"{data.interval}."
    )
    return Drawing(name, title, caption, frame, figure)


def distance_plane(data: ReportData, look: Mapping[str, Look]) -> Drawing:
    """The metric of fidelity, as it is scored, against CSFID: with LPIPS the plane of the DiffEdit paper (arXiv 2210.11427)."""
    names, curves, metric = metric_names(data), data.curves, data.plane.made_of.get(data.plane.fidelity, data.plane.fidelity)
    own, word = names[metric], re.sub(r"\W+", "_", metric).strip("_")
    name, likeness = f"{word}_csfid", own.better == "higher"
    title = f"{'Likeness' if likeness else 'Distance'} to the source against distance to the target class"
    frame = paired(curves, metric, "csfid")[_COLUMNS]
    table = frame.rename(columns=lambda c: c.replace("x_", f"{word}_").replace("y_", "csfid_"))
    reason = mixed(curves, metric, "csfid")
    if reason or frame.empty:
        scored = set(curves["metric"])
        lacking = " or ".join(names[key].title for key in (metric, "csfid") if key not in scored)
        reason = reason or (
            f"This run has no scores of {lacking}."
            if lacking
            else f"No edit of this run has scores of both {own.title} and CSFID."
        )
        return Drawing(name, title, "", table, None, reason)
    x_label = f"{own.label}   ({'more faithful →' if likeness else '← more faithful'})"
    figure = _plane(frame, look, x_label, "CSFID to the target class   (↓ closer)")
    shares = data.sets.loc[data.sets["metric"] == "csfid", "per_class"].dropna()
    each = f"{shares.mean():.3g}" if len(shares) else ""
    share = f" (here {each} edit{'s' * (each != '1')} per class on average)" if each else ""
    band = f"Bands: of {own.title}, {data.interval}; of CSFID, {data.set_interval or data.interval}."
    if frame["y_low"].isna().all():
        band = f"Horizontal bars: {data.interval} of {own.title}; CSFID is one number per set and has none."
    caption = (
        f"Down and {'right' if likeness else 'left'} is better: close to the source, yet close to real pictures of the target class. "
        "CSFID compares feature means only, and a small class inflates it in proportion to one over its size"
        f"{share}: compare points of this figure with each other, not with other tables. {band}"
    )
    return Drawing(name, title, caption, table, figure)
