"""Text beside points, placed where it covers neither other text nor data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reports.style import MUTED

__all__ = ["Label", "place"]

_SIZE = 7.5
"""Of text, in points."""
_RADII = (7.0, 13.0, 21.0, 31.0)
_ANGLES = tuple(math.radians(a) for a in (0, 180, 45, 315, 135, 225, 90, 270, 20, 340, 160, 200))


@dataclass(frozen=True)
class Label:
    """A text that belongs to the point (x, y) in data coordinates."""

    x: float
    y: float
    text: str
    colour: str
    bold: bool = False


def _box(anchor: NDArray[np.float64], offset: NDArray[np.float64], size: tuple[float, float]) -> NDArray[np.float64]:
    """Pixel corners (left, bottom, right, top) of a text whose nearest side touches anchor + offset."""
    width, height = size
    x, y = anchor + offset
    left = x if offset[0] > 1 else x - width if offset[0] < -1 else x - width / 2
    bottom = y - height / 2 + np.sign(offset[1]) * height / 2 * min(1.0, abs(offset[1]) / (abs(offset[0]) + 1e-9))
    return np.array([left, bottom, left + width, bottom + height])


def _cost(box: NDArray[np.float64], taken: Sequence[NDArray[np.float64]], dots: NDArray[np.float64], frame: Any) -> float:
    grown = box + np.array([-2, -1, 2, 1])
    area = 0.0
    for other in taken:
        wide = min(grown[2], other[2]) - max(grown[0], other[0])
        high = min(grown[3], other[3]) - max(grown[1], other[1])
        area += max(wide, 0.0) * max(high, 0.0)
    inside = (dots >= grown[:2]).all(axis=1) & (dots <= grown[2:]).all(axis=1)
    outside = max(frame.x0 - box[0], 0) + max(box[2] - frame.x1, 0) + max(frame.y0 - box[1], 0) + max(box[3] - frame.y1, 0)
    return 0.5 * area + 6.0 * float(inside.sum()) + 20.0 * float(outside)


def place(ax: Any, labels: Sequence[Label], obstacles: NDArray[np.float64]) -> None:
    """Write each label at the cheapest of a ring of places round its point, in the order given.

    ``obstacles`` (n, 2) are data points that text should not cover. The figure's layout is fixed by this call.
    """
    figure = ax.figure
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    renderer = figure.canvas.get_renderer()
    scale = figure.dpi / 72
    dots = ax.transData.transform(obstacles) if len(obstacles) else np.zeros((0, 2))
    taken: list[NDArray[np.float64]] = []
    for label in labels:
        weight = "bold" if label.bold else "normal"
        probe = ax.text(0, 0, label.text, fontsize=_SIZE, fontweight=weight)
        extent = probe.get_window_extent(renderer)
        probe.remove()
        size = (float(extent.width), float(extent.height))
        anchor = ax.transData.transform((label.x, label.y))
        best: tuple[float, float, NDArray[np.float64]] | None = None
        for radius in _RADII:
            for angle in _ANGLES:
                offset = scale * radius * np.array([math.cos(angle), math.sin(angle)])
                box = _box(anchor, offset, size)
                cost = _cost(box, taken, dots, ax.bbox) + radius
                if best is None or cost < best[0] - 1e-6:
                    best = (cost, radius, box)
        assert best is not None
        _, radius, box = best
        taken.append(box)
        ax.annotate(
            label.text,
            (label.x, label.y),
            xytext=((box[0] - anchor[0]) / scale, (box[1] - anchor[1]) / scale),
            textcoords="offset points",
            fontsize=_SIZE,
            fontweight=weight,
            color=label.colour,
            ha="left",
            va="bottom",
            zorder=9,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 4} if radius > 15 else None,
        )
