"""Intervals for benchmark tables: means and curves, resampled by source picture.

Edits of one source picture are not independent: they share the picture, often the object, sometimes the prompt. The cluster, not
the edit, is therefore what is resampled (Miller 2024, "Adding Error Bars to Evals", arXiv 2411.00640). With G clusters of sizes
n_g and sums s_g the mean is the ratio sum(s_g) / sum(n_g), and the interval is

    G >= 50    BCa bootstrap over clusters (Efron 1987, "Better Bootstrap Confidence Intervals"), acceleration by jackknife
    2..49      Student t with G - 1 degrees of freedom on the linearised (cluster-robust) standard error of the ratio
    G < 2      undefined: NaN

A number that is no mean, such as one read off a curve, is a function of the weights of the clusters: `weighted_interval` gives it BCa
from 50 clusters too, and below that Student t on the jackknife's standard error.

Missing scores (NaN) are dropped, never averaged, and every result carries the number of scores that went into it. What the mean over
all edits could be, had none been missing, is bounded by the range of the metric (Manski 1989, "Anatomy of the Selection Problem").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["Interval", "SeedSpread", "joint_intervals", "mean_interval", "missing_bounds", "seed_spread", "weighted_interval"]

FEWEST_CLUSTERS_FOR_BOOTSTRAP = 50
RESAMPLES = 2000
FEWEST_DEFINED = 0.95
"""Share of resamples in which a number must be defined for its interval to be."""
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
    draws = _draws(len(sizes), seed)
    resampled = (draws @ sums.T) / (draws @ sizes)[:, None]
    left_out = (sums.sum(axis=1, keepdims=True) - sums) / (sizes.sum() - sizes)
    ends = [_bca_ends(column, others, mean, level) for column, others, mean in zip(resampled.T, left_out, means, strict=True)]
    return np.array([low for low, _ in ends]), np.array([high for _, high in ends])


@lru_cache(maxsize=4)
def _draws(clusters: int, seed: int) -> Floats:
    """How often each cluster is in each resample, (RESAMPLES, clusters)."""
    drawn = np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=RESAMPLES)
    return drawn.astype(np.float64)


def _bca_ends(resampled: Floats, left_out: Floats, value: float, level: float) -> tuple[float, float]:
    from scipy.stats import norm

    gaps = left_out.mean() - left_out
    spread = float((gaps**2).sum())
    acceleration = float((gaps**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0
    below = (resampled < value).mean() + 0.5 * (resampled == value).mean()
    bias = norm.ppf(np.clip(below, 1 / len(resampled), 1 - 1 / len(resampled)))
    ends = []
    for tail in ((1 - level) / 2, (1 + level) / 2):
        z = bias + norm.ppf(tail)
        ends.append(float(np.quantile(resampled, norm.cdf(bias + z / (1 - acceleration * z)))))
    return ends[0], ends[1]


def weighted_interval(
    statistic: Callable[[Floats], Floats], clusters: int, *, level: float = 0.95, seed: int = 0
) -> tuple[float, float, float]:
    """Value of a statistic with its two-sided interval: (value, low, high), NaN where undefined.

    Args:
        statistic: weights of the clusters (r, clusters), whole numbers >= 0, to its value under each, (r,); NaN where it has none.
        clusters: how many there are.
    """
    from scipy.stats import t

    value = float(statistic(np.ones((1, clusters)))[0]) if clusters else np.nan
    if clusters < 2 or not np.isfinite(value):
        return value, np.nan, np.nan
    left_out = statistic(1.0 - np.eye(clusters))
    few = clusters < FEWEST_CLUSTERS_FOR_BOOTSTRAP
    tried = [left_out] if few else [left_out, statistic(_draws(clusters, seed))]
    if any(np.isfinite(values).mean() < FEWEST_DEFINED for values in tried):
        return value, np.nan, np.nan
    defined = [values[np.isfinite(values)] for values in tried]
    if few:
        error = np.sqrt((clusters - 1) * np.mean((defined[0] - defined[0].mean()) ** 2))
        half = float(t.ppf(0.5 + level / 2, clusters - 1) * error)
        return value, value - half, value + half
    return value, *_bca_ends(defined[1], defined[0], value, level)


def missing_bounds(
    mean: float, scored: int, missing: int, ends: tuple[float | None, float | None] = (None, None)
) -> tuple[float, float]:
    """Between what the mean over all edits lies, if `missing` ones could score anything from one end of the range to the other.

    An end that is None is infinitely far. With nothing missing both are the mean; with nothing scored they are the range.
    """
    if not missing:
        return mean, mean
    bounds = []
    for end, far in zip(ends, (-np.inf, np.inf), strict=True):
        known = mean * scored if scored else 0.0
        bounds.append(far if end is None else (known + end * missing) / (scored + missing))
    return bounds[0], bounds[1]


@dataclass(frozen=True)
class SeedSpread:
    """How much of the spread between edits is the seed's: components of variance with seeds nested in samples.

    seed_sd: standard deviation of a score over seeds of one sample.  sample_sd: of the samples' own means, the seeds' share taken
    away.  share: of the seed in the whole variance, 0..1.  shift: standard deviation of the mean over the samples when they are all
    edited again with another seed.  samples, seeds: samples with two seeds or more, and the mean number of seeds of these.
    """

    seed_sd: float
    sample_sd: float
    share: float
    shift: float
    samples: int
    seeds: float


def seed_spread(scores: Sequence[float] | Floats, samples: Sequence[str]) -> SeedSpread | None:
    """Components of variance of `scores` (n,), one per seed and sample; None where no sample has two finite scores.

    One-way random effects by the method of moments (analysis of variance for unequal numbers of seeds).
    """
    values, names = np.asarray(scores, dtype=np.float64), np.asarray(samples)
    finite = np.isfinite(values)
    values, groups = values[finite], np.unique(names[finite], return_inverse=True)[1]
    counts = np.bincount(groups).astype(np.float64)
    if not len(values) or counts.max() < 2:
        return None
    several = counts[groups] > 1
    values, groups = values[several], np.unique(groups[several], return_inverse=True)[1]
    counts = np.bincount(groups).astype(np.float64)
    means = np.bincount(groups, weights=values) / counts
    n, g = len(values), len(counts)
    within = float(((values - means[groups]) ** 2).sum()) / (n - g)
    between = 0.0
    if g > 1:
        squares = float((counts * (means - values.mean()) ** 2).sum()) / (g - 1)
        size = (n - float((counts**2).sum()) / n) / (g - 1)
        between = max((squares - within) / size, 0.0)
    total = within + between
    share = within / total if total else 0.0
    return SeedSpread(float(np.sqrt(within)), float(np.sqrt(between)), share, float(np.sqrt(within / g)), g, n / g)
