"""The area that intervals sweep along a curve in the plane."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.path import Path as Outline
from numpy.typing import NDArray

__all__ = ["ribbon"]


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
