"""Intervals for votes, which are clustered twice: by who voted, and by the source picture that was judged.

Votes of one rater share the rater, votes on one source picture share the picture, and the two are crossed. The variance of an estimate
is therefore the sum of both clusterings less that of their intersection (Cameron, Gelbach and Miller 2011, "Robust Inference With
Multiway Clustering"), each with the factor G / (G - 1); quantiles are Student's with the smaller number of clusters less one. Where
the subtraction leaves no covariance (a negative eigenvalue), nothing is subtracted, which is on the safe side. One cluster says nothing of
its kind: with a single rater, as a judge is, intervals are clustered by picture alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Crossed", "Estimate", "crossed_mean", "crossed_share", "wilson"]

SLACK = 1e-9
"""An eigenvalue that is zero, as that of the sum of all strengths, comes out a little beside it."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A number with its two-sided interval, of `n` votes; `error` is its standard error. NaN where undefined."""

    value: float
    low: float
    high: float
    error: float
    n: int


class Crossed:
    """Votes by rater and source picture: `raters` and `sources` (n,) name the clusters of each vote."""

    def __init__(self, raters: Iterable[Any], sources: Iterable[Any]) -> None:
        self.raters = np.unique([str(name) for name in raters], return_inverse=True)[1]
        self.sources = np.unique([str(name) for name in sources], return_inverse=True)[1]
        self.n = len(self.raters)
        self.groups = [group for group in (self.raters, self.sources) if self.n and group.max()]

    @property
    def freedom(self) -> int:
        """Degrees of freedom: the smaller number of clusters, of those kinds that have several, less one; 0 where none has."""
        return min((int(group.max()) for group in self.groups), default=0)

    def quantile(self, level: float = 0.95) -> float:
        """Student's quantile of a two-sided interval at `level`; NaN where there is no interval."""
        from scipy.stats import t

        return float(t.ppf(0.5 + level / 2, self.freedom)) if self.freedom else np.nan

    def covariance(self, parts: Floats) -> Floats:
        """Covariance (k, k) of an estimate that is a sum of `parts` (n, k), one a vote, each with mean zero; NaN where there is none."""
        if not self.groups:
            return np.full((parts.shape[1], parts.shape[1]), np.nan)
        own = [_meat(parts, group) for group in self.groups]
        if len(own) == 1:
            return own[0]
        both = np.unique(np.stack(self.groups), axis=1, return_inverse=True)[1].reshape(-1)
        crossed = own[0] + own[1] - _meat(parts, both)
        smallest = np.linalg.eigvalsh(crossed)[0]
        return crossed if smallest > -SLACK * np.trace(crossed) else own[0] + own[1]


def crossed_mean(values: Floats, clusters: Crossed, *, ends: tuple[float, float] | None = None) -> Estimate:
    """Mean of `values` (n,), one a vote, with a 95 % interval that ends where the range does."""
    if not clusters.n:
        return Estimate(np.nan, np.nan, np.nan, np.nan, 0)
    mean = float(values.mean())
    error = float(np.sqrt(clusters.covariance((values - mean)[:, None] / clusters.n)[0, 0]))
    half = clusters.quantile() * error
    low, high = (mean - half, mean + half) if ends is None else np.clip([mean - half, mean + half], *ends)
    return Estimate(mean, float(low), float(high), error, clusters.n)


def crossed_share(ones: Floats, clusters: Crossed) -> Estimate:
    """Share of ones among zeros and ones (n,), with Wilson's 95 % interval for the number of independent votes with the same error.

    That number is at most n. Where all votes agree it is what it would be if those of a cluster were copies of each other.
    """
    if not clusters.n:
        return Estimate(np.nan, np.nan, np.nan, np.nan, 0)
    plain = crossed_mean(ones, clusters)
    share, quantile = plain.value, clusters.quantile()
    if plain.error > 0:
        number = min(share * (1 - share) / plain.error**2, clusters.n)
    else:
        number = min((clusters.n**2 / float((np.bincount(group) ** 2).sum()) for group in clusters.groups), default=np.nan)
    low, high = wilson(share, number, quantile)
    return Estimate(share, low, high, plain.error, clusters.n)


def wilson(share: float, number: float, quantile: float) -> tuple[float, float]:
    """Both ends of Wilson's score interval for a share of `number` independent votes."""
    extra = quantile**2 / number
    half = quantile * np.sqrt(share * (1 - share) / number + extra / (4 * number))
    return float((share + extra / 2 - half) / (1 + extra)), float((share + extra / 2 + half) / (1 + extra))


def _meat(parts: Floats, group: NDArray[np.int64]) -> Floats:
    """Sum over clusters of the outer products of their sums, with the factor for few clusters."""
    count = int(group.max()) + 1
    sums = np.stack([np.bincount(group, weights=column, minlength=count) for column in parts.T], axis=1)
    return np.asarray(sums.T @ sums * count / (count - 1))
