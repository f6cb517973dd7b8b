"""Numbers read off whole curves in the plane of fidelity (x) and alignment (y), in which up and right is better.

hypervolume     share of the box between the anchors that lies below and left of the curve's step hull: what an editor attains
                when only its knob values, and nothing between them, count. Fonseca, Paquete and Lopez-Ibanez 2006.
matched_gain    how much higher one curve lies than another, on average over the fidelities that both reach; curves are joined by
                straight lines.
attainment      the alignment that an editor reaches at a fidelity or better on a given share of the samples (the empirical
                attainment function; Grunert da Fonseca, Fonseca and Hall 2001).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Box", "attainment", "hypervolume", "matched_gain", "spread_over"]

Floats = NDArray[np.float64]


def hypervolume(x: Floats, y: Floats) -> Floats:
    """Area of the union of the rectangles from (0, 0) to the points of each curve (..., k), cut off at 1; 0..1."""
    x, y = np.clip(x, 0.0, 1.0), np.clip(y, 0.0, 1.0)
    order = np.argsort(-x, axis=-1, kind="stable")
    right, best = np.take_along_axis(x, order, axis=-1), np.maximum.accumulate(np.take_along_axis(y, order, axis=-1), axis=-1)
    widths = -np.diff(right, axis=-1, append=0.0)
    return np.asarray((widths * best).sum(axis=-1))


@dataclass(frozen=True)
class Box:
    """The square that the anchors span, which depends on the pictures as the curves in it do.

    `sums` and `counts` (4, clusters) hold what clusters add to the means of its ends, and how many scores they are: fidelity at 0 and
    at 1, alignment at 0 and at 1.
    """

    sums: Floats
    counts: Floats

    def hypervolume(self, x: Floats, y: Floats, weights: Floats) -> Floats:
        """Of the curves x and y (r, k) in the squares under weights (r, clusters), (r,); NaN where these span none."""
        with np.errstate(divide="ignore", invalid="ignore"):
            left, right, bottom, top = ((weights @ self.sums.T) / (weights @ self.counts.T)).T[:, :, None]
            area = hypervolume((x - left) / (right - left), (y - bottom) / (top - bottom))
        return np.where(((left < right) & (bottom < top))[:, 0], area, np.nan)


def matched_gain(x: Floats, y: Floats, other_x: Floats, other_y: Floats) -> tuple[float, float, float]:
    """Mean of y - other_y over the x that both curves reach, and the ends of that range; NaN where it is no range.

    Curves are (k,) and (m,) points in any order; points of one x count as their mean.
    """
    first, second = _by_x(x, y), _by_x(other_x, other_y)
    low, high = max(first[0][0], second[0][0]), min(first[0][-1], second[0][-1])
    if not low < high:
        return np.nan, np.nan, np.nan
    knots = np.concatenate([[low, high], *(each[0][(each[0] > low) & (each[0] < high)] for each in (first, second))])
    knots.sort()
    gaps = np.interp(knots, *first) - np.interp(knots, *second)
    area = float(((gaps[1:] + gaps[:-1]) / 2 * np.diff(knots)).sum())
    return area / (high - low), float(low), float(high)


def attainment(x: Floats, y: Floats, levels: Floats, shares: tuple[float, ...]) -> Floats:
    """The y that a share of the samples attains at x >= level or better: (shares, levels), NaN where so many attain none.

    x and y are (n, k): the k points of n samples.
    """
    reached = np.where(x[:, None, :] >= levels[None, :, None], y[:, None, :], -np.inf).max(axis=2)
    ordered = -np.sort(-reached, axis=0)
    ranks = [max(int(np.ceil(share * len(x) - 1e-9)), 1) - 1 for share in shares]
    return np.where(np.isfinite(ordered[ranks]), ordered[ranks], np.nan)


def spread_over(available: int, wanted: int) -> list[int]:
    """At most `wanted` of `available` places, evenly spread, both ends among them."""
    return sorted({round(place) for place in np.linspace(0, available - 1, min(wanted, available))})


def _by_x(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    places, groups = np.unique(x, return_inverse=True)
    return places, np.bincount(groups, weights=y) / np.bincount(groups)
