"""Intervals for benchmark tables: means and curves, resampled by source picture.

Edits of one source picture are not independent: they share the picture, often the object, sometimes the prompt. The cluster, not
the edit, is therefore what is resampled (Miller 2024, "Adding Error Bars to Evals", arXiv 2411.00640). With G clusters of sizes
n_g and sums s_g the mean is the ratio sum(s_g) / sum(n_g), and the interval is

    G >= 50    BCa bootstrap over clusters (Efron 1987, "Better Bootstrap Confidence Intervals"), acceleration by jackknife
    2..49      Student t with G - 1 degrees of freedom on the linearised (cluster-robust) standard error of the ratio
    G < 2      undefined: NaN

Missing scores (NaN) are dropped, never averaged, and every result carries the number of scores that went into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Interval", "joint_intervals", "mean_interval"]

FEWEST_CLUSTERS_FOR_BOOTSTRAP = 50
RESAMPLES = 2000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean of `n` scores in `clusters` clusters with its two-sided interval; NaN where undefined."""

    mean: float
    low: float
    high: float
    n: int
    clusters: int


def mean_interval(scores: Sequence[float] | Floats, clusters: Sequence[str], *, level: float = 0.95, seed: int = 0) -> Interval:
    """Mean of `scores` (n,) with an interval at `level`; `clusters` (n,) names the source picture of each score."""
    return joint_intervals([scores], clusters, level=level, seed=seed)[0]


def joint_intervals(
    columns: Sequence[Sequence[float] | Floats], clusters: Sequence[str], *, level: float = 0.95, seed: int = 0
) -> list[Interval]:
    """One interval per column, all of them under the same resamples, as the points of a curve need.

    Only rows that are finite in every column count, so that the coordinates of a point, and the points of a curve, describe the
    same edits. `columns` are k sequences of length n.
    """
    table: Floats = np.asarray(columns, dtype=np.float64).reshape(len(columns), -1)
    names = np.asarray(clusters)
    if table.shape[1] != len(names):
        raise ValueError(f"{table.shape[1]} scores but {len(names)} cluster names")
    complete = np.isfinite(table).all(axis=0)
    table, names = table[:, complete], names[complete]
    if not len(names):
        return [Interval(np.nan, np.nan, np.nan, 0, 0) for _ in columns]
    groups = np.unique(names, return_inverse=True)[1]
    sizes = np.bincount(groups).astype(np.float64)
    sums: Floats = np.stack([np.bincount(groups, weights=row, minlength=len(sizes)) for row in table]).astype(np.float64)
    means = sums.sum(axis=1) / sizes.sum()
    if len(sizes) < 2:
        low = high = np.full(len(means), np.nan)
    elif len(sizes) < FEWEST_CLUSTERS_FOR_BOOTSTRAP:
        low, high = _student(sums, sizes, means, level)
    else:
        low, high = _bca(sums, sizes, means, level, seed)
    return [Interval(float(m), float(a), float(b), len(names), len(sizes)) for m, a, b in zip(means, low, high, strict=True)]


def _student(sums: Floats, sizes: Floats, means: Floats, level: float) -> tuple[Floats, Floats]:
    from scipy.stats import t

    g = len(sizes)
    residuals = sums - means[:, None] * sizes
    error = np.sqrt(g / (g - 1) * (residuals**2).sum(axis=1)) / sizes.sum()
    half = t.ppf(0.5 + level / 2, g - 1) * error
    return means - half, means + half


def _bca(sums: Floats, sizes: Floats, means: Floats, level: float, seed: int) -> tuple[Floats, Floats]:
    from scipy.stats import norm

    g = len(sizes)
    draws = np.random.default_rng(seed).multinomial(g, np.full(g, 1 / g), size=RESAMPLES).astype(np.float64)
    resampled = (draws @ sums.T) / (draws @ sizes)[:, None]
    left_out = (sums.sum(axis=1, keepdims=True) - sums) / (sizes.sum() - sizes)
    gaps = left_out.mean(axis=1, keepdims=True) - left_out
    spread = (gaps**2).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        acceleration = np.where(spread > 0, (gaps**3).sum(axis=1) / (6 * spread**1.5), 0.0)
    below = (resampled < means).mean(axis=0) + 0.5 * (resampled == means).mean(axis=0)
    bias = norm.ppf(np.clip(below, 1 / RESAMPLES, 1 - 1 / RESAMPLES))
    bounds = []
    for tail in ((1 - level) / 2, (1 + level) / 2):
        z = bias + norm.ppf(tail)
        rank = norm.cdf(bias + z / (1 - acceleration * z))
        bounds.append(np.array([np.quantile(column, r) for column, r in zip(resampled.T, rank, strict=True)]))
    return bounds[0], bounds[1]
