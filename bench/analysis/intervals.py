"""Intervals for benchmark tables: means, shares and numbers read off curves, clustered by source picture.

Edits of one source picture are not independent: they share the picture, often the object, sometimes the prompt. The cluster, not
the edit, is therefore what varies (Miller 2024, "Adding Error Bars to Evals", arXiv 2411.00640). With G clusters of sizes n_g and
sums s_g the mean is the ratio sum(s_g) / sum(n_g). Its standard error is CR2 (Bell and McCaffrey 2002, "Bias Reduction in Standard
Errors for Linear Regression with Multi-Stage Samples"), its quantiles are Student's with the degrees of freedom of the same paper,
as if the edits of a picture were copies of each other: G - 1 where all clusters are of one size, fewer the less equal they are.

    scores in general   Student's t on Hall's scale, which takes the skewness out of it (Hall 1992, "On the Removal of Skewness by
                        Transformation"): with k = skewness / sqrt(G) and t = (estimate - mean) / error,
                        g(t) = t + k t^2 / 3 + k^2 t^3 / 27 + k / 6. The skewness is that of the cluster means, adjusted for their
                        number (Fisher and Pearson); symmetric scores have the textbook interval. Where g is nearly flat it is
                        continued along its tangent, which keeps an interval within half again of the textbook's.
    one of two values   Wilson's score interval with the same quantile, and for n the number of independent edits that would have
                        the same error (Korn and Graubard 1998), N^2 / sum(n_g^2) where all edits agree: never of zero width.
    read off a curve    `weighted_interval`: Student's t on the jackknife's standard error over clusters, on the logit scale for a
                        number between two ends, such as a share of an area.
    one cluster         undefined: NaN

docs/coverage.md shows how often each covers. An interval ends where the metric's range does: no mean can lie beyond.

Missing scores (NaN) are dropped, never averaged, and every result carries the number of scores that went into it. What the mean over
all edits could be, had none been missing, is bounded by the range of the metric (Manski 1989, "Anatomy of the Selection Problem").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Interval",
    "Range",
    "SeedSpread",
    "joint_intervals",
    "mean_interval",
    "missing_bounds",
    "seed_spread",
    "weighted_interval",
]

FEWEST_DEFINED = 0.95
"""Share of resamples in which a number must be defined for its interval to be."""
FLATTEST = 0.25
"""Cubes below this are read off the tangent there: near 0 a cube is so flat that its root says little but noise."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean of `n` scores in `clusters` clusters with its two-sided interval; NaN where undefined."""

    mean: float
    low: float
    high: float
    n: int
    clusters: int


@dataclass(frozen=True)
class Range:
    """What is known of a metric's scores: the ends between which they lie, None for none, and whether they are one of the ends always."""

    low: float | None = None
    high: float | None = None
    binary: bool = False

    def clip(self, values: Floats) -> Floats:
        """Values brought into the range; NaN stays."""
        return np.clip(values, -np.inf if self.low is None else self.low, np.inf if self.high is None else self.high)


ANY = Range()


def mean_interval(
    scores: Sequence[float] | Floats, clusters: Sequence[str], *, level: float = 0.95, within: Range = ANY
) -> Interval:
    """Mean of `scores` (n,) with an interval at `level`; `clusters` (n,) names the source picture of each score."""
    return joint_intervals([scores], clusters, level=level, within=[within])[0]


def joint_intervals(
    columns: Sequence[Sequence[float] | Floats],
    clusters: Sequence[str],
    *,
    level: float = 0.95,
    within: Sequence[Range] | None = None,
) -> list[Interval]:
    """One interval per column, all of them of the same edits, as the coordinates of a point need.

    Only rows that are finite in every column count, so that the coordinates of a point describe the same edits. Where no row is
    dropped, the intervals are those that each column has alone. `columns` are k sequences of length n, `within` k ranges.
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
    ranges = within or [ANY] * len(columns)
    sums: Floats = np.stack([np.bincount(groups, weights=row, minlength=len(sizes)) for row in table]).astype(np.float64)
    means = sums.sum(axis=1) / sizes.sum()
    ends = np.full((2, len(means)), np.nan)
    if len(sizes) > 1:
        binary = np.array([each.binary for each in ranges])
        quantile = _quantile(sizes, level)
        ends[:, ~binary] = _hall(sums[~binary], sizes, quantile)
        for row in np.flatnonzero(binary).tolist():
            low, high = float(ranges[row].low or 0.0), float(ranges[row].high or 0.0)
            ends[:, row] = low + (high - low) * _wilson((sums[row] - low * sizes) / (high - low), sizes, quantile)
    clipped = np.stack([each.clip(column) for each, column in zip(ranges, ends.T, strict=True)])
    return [Interval(float(m), float(a), float(b), len(names), len(sizes)) for m, (a, b) in zip(means, clipped, strict=True)]


def _quantile(sizes: Floats, level: float) -> float:
    """Student's quantile with the degrees of freedom of the CR2 error of clusters of these sizes (G,), their edits being copies.

    The residuals' sums are then A (I - w 1') diag(sizes) z with independent z, w = sizes / sum(sizes), and A = diag(a),
    a^2 = 1 / (1 - w). With M the covariance of these the degrees of freedom are tr(M)^2 / tr(M M), by Satterthwaite; both traces
    are sums over clusters.
    """
    from scipy.stats import t

    share, squares = sizes / sizes.sum(), sizes**2
    total, adjust = squares.sum(), 1 / (1 - share)
    cross = share**2 * total - 2 * share * squares
    trace = (adjust * (squares + cross)).sum()
    first, second, third = ((adjust * each).sum() for each in (squares**2, share**2, share * squares))
    rest = (adjust**2 * squares * (squares + 2 * cross)).sum()
    twice = 2 * first * second + total**2 * second**2 + 2 * third**2 - 4 * total * second * third + rest
    return float(t.ppf(0.5 + level / 2, trace**2 / twice))


def _error(sums: Floats, sizes: Floats) -> Floats:
    """CR2 standard error of the ratios of `sums` (..., G) to `sizes` (G,); (...)."""
    total = sizes.sum()
    residuals = sums - sums.sum(axis=-1, keepdims=True) / total * sizes
    return np.sqrt((residuals**2 / (1 - sizes / total)).sum(axis=-1)) / total


def _hall(sums: Floats, sizes: Floats, quantile: float) -> Floats:
    """Both ends for columns of sums (k, G), (2, k)."""
    groups = len(sizes)
    gaps = sums / sizes
    gaps -= gaps.mean(axis=1, keepdims=True)
    spread = np.sqrt((gaps**2).mean(axis=1))
    skewness = np.zeros(len(sums))
    if groups > 2:
        adjusted = np.sqrt(groups * (groups - 1)) / (groups - 2)
        np.divide(
            (gaps**3).mean(axis=1) * adjusted, spread**3, out=skewness, where=spread > 1e-12 * np.abs(sums / sizes).max(axis=1)
        )
    means, errors = sums.sum(axis=1) / sizes.sum(), _error(sums, sizes)
    ends = [means - errors * _unskewed(tail, skewness / np.sqrt(groups)) for tail in (quantile, -quantile)]
    return np.stack(ends)


def _unskewed(value: float, skew: Floats) -> Floats:
    """The t at which Hall's g is `value`, (k,); g is a cube, (1 + k t / 3)^3, moved and scaled."""
    bent = np.where(np.abs(skew) > 1e-6, skew, 1.0)
    cube = 1 + bent * (value - bent / 6)
    edge = np.cbrt(FLATTEST)
    root = np.where(cube > FLATTEST, np.cbrt(cube), edge + (cube - FLATTEST) / (3 * edge**2))
    return np.where(bent == skew, 3 / bent * (root - 1), value)


def _wilson(sums: Floats, sizes: Floats, quantile: float) -> Floats:
    """Both ends for the share of ones among zeros and ones, of which clusters have `sums` (G,)."""
    total = sizes.sum()
    share = sums.sum() / total
    number = total**2 / (sizes**2).sum()
    if 0 < share < 1:
        error = float(_error(sums, sizes))
        alone = np.sqrt(share * (1 - share) / (total - 1))
        number = total * min(float(alone / error) ** 2, 1.0) if error else total
    extra = quantile**2 / number
    half = quantile * np.sqrt(share * (1 - share) / number + extra / (4 * number))
    return np.asarray([share + extra / 2 - half, share + extra / 2 + half]) / (1 + extra)


def weighted_interval(
    statistic: Callable[[Floats], Floats], clusters: int, *, level: float = 0.95, ends: tuple[float, float] | None = None
) -> tuple[float, float, float]:
    """Value of a statistic with its two-sided interval: (value, low, high), NaN where undefined.

    Args:
        statistic: weights of the clusters (r, clusters), whole numbers >= 0, to its value under each, (r,); NaN where it has none.
        clusters: how many there are.
        ends: between which the value lies, such as (0, 1) of a share; so does the interval.
    """
    from scipy.special import expit
    from scipy.stats import t

    value = float(statistic(np.ones((1, clusters)))[0]) if clusters else np.nan
    if clusters < 2 or not np.isfinite(value):
        return value, np.nan, np.nan
    left_out = statistic(1.0 - np.eye(clusters))
    defined = left_out[np.isfinite(left_out)]
    if len(defined) < FEWEST_DEFINED * clusters:
        return value, np.nan, np.nan
    error = np.sqrt((clusters - 1) * np.mean((defined - defined.mean()) ** 2))
    half = float(t.ppf(0.5 + level / 2, clusters - 1) * error)
    if ends is None or not ends[0] < value < ends[1]:
        low, high = Range(*(ends or (None, None))).clip(np.array([value - half, value + half]))
        return value, float(low), float(high)
    below, above = value - ends[0], ends[1] - value
    place, step = np.log(below / above), half * (1 / below + 1 / above)
    low, high = ends[0] + (ends[1] - ends[0]) * expit([place - step, place + step])
    return value, float(low), float(high)


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
