"""Intervals for metrics of sets, where a naive bootstrap is invalid.

Rows drawn twice make a set look more like itself than it is: the bootstrap distribution of FID or KID does not even contain the value
it is meant for. Everything here draws without replacement.

    split_half          standard error of one value: two disjoint halves share the bias of their size, so their difference shows
                        the sampling noise alone.
    subsample           the same from subsets of any size (delete-d jackknife).
    jackknife           the same from leaving out one unit at a time, each within its stratum: for a smooth metric of sets whose
                        classes are given, such as CSFID, where subsets across classes would add what classes differ by.

All take `values`, a function of bool masks (k, rows) that gives the metric of each marked subset against the reference, (k,);
`lambda masks: metric.values(edits, reference, masks)` is one, and shares the Gram matrices between all subsets. Rows of one unit
(edits of one source picture) stay together. The reference is taken as given. A subset without a value counts itself out and is
no more than that: an interval stands on the others as long as they are nearly all.

Sources: Shao and Wu 1989, "A General Theory for Jackknife Variance Estimation" (delete-d); Wolter, "Introduction to Variance Estimation",
section 4.5 (the jackknife in strata).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metrics.base import MetricError
from metrics.networks.images import check_whole

__all__ = ["Spread", "Values", "jackknife", "split_half", "subsample"]

Masks = NDArray[np.bool_]
Floats = NDArray[np.float64]
Values = Callable[[Masks], Floats]
"""Bool (k, rows) to the metric of each marked subset, (k,)."""

FEWEST_UNITS = 4
"""Below these an interval is undefined."""
FEWEST_DEFINED = 0.95
"""Share of the subsets that must have a value for the interval to be."""


@dataclass(frozen=True)
class Spread:
    """A value with its standard error and a two-sided interval, value -+ t x error; NaN where undefined.

    Attributes:
        value: the metric of all rows.
        error: standard error.
        low: lower end.
        high: upper end.
        units: number of units that may be drawn apart.
        defined: share of the subsets behind it that have a value, 0..1; 0 where there are none.
    """

    value: float
    error: float
    low: float
    high: float
    units: int
    defined: float


def split_half(
    values: Values,
    rows: int,
    *,
    units: Sequence[Hashable] | None = None,
    splits: int = 50,
    level: float = 0.95,
    seed: int = 0,
) -> Spread:
    """Interval from random halves.

    The variance of a half is half the mean squared difference of two disjoint halves; that of the whole is half of that, as for a
    mean. Where a value falls faster with n (KID of equal distributions does, as 1/n), the interval is wider than need be.

    Args:
        values: over `rows` rows.
        rows: number of edits.
        units: one name per row; rows of one unit stay in one half. None: each row by itself.
        splits: number of random splits.
        level: of the interval, with t on units - 1 degrees of freedom.
        seed: of the splits.

    Returns:
        NaN but for the value where there are fewer than four units, or where more than one split in twenty lacks a value.

    Raises:
        MetricError: a parameter out of bounds, or not one unit per row.
    """
    check_whole(splits, "split_half splits", 1, "50 is the default")
    groups, count, whole = _start(values, rows, units, "split_half")
    if count < FEWEST_UNITS:
        return _spread(whole, float("nan"), count, level)
    half = count // 2
    orders = _orders(count, splits, seed)
    first, second = orders < half, (orders >= half) & (orders < 2 * half)
    halves = np.split(_at_once(values, np.concatenate([first, second])[:, groups]), 2)
    apart, defined = _defined(halves[0] - halves[1])
    return _spread(whole, float(np.sqrt(np.mean(np.square(apart)) / 4)), count, level, defined=defined)


def subsample(
    values: Values,
    rows: int,
    *,
    size: int | None = None,
    units: Sequence[Hashable] | None = None,
    subsets: int = 100,
    level: float = 0.95,
    seed: int = 0,
) -> Spread:
    """Interval from random subsets without replacement: the delete-d jackknife, d = units - size.

    The variance of the whole is size / (units - size) times the variance over the subsets, around their own mean, so that the bias
    that goes with their size does not count.

    Args:
        values: over `rows` rows.
        rows: number of edits.
        size: units of each subset, from 2 to units - 1; None takes three quarters of them.
        units: one name per row; rows of one unit are drawn together. None: each row by itself.
        subsets: number of subsets, at least 2.
        level: of the interval, with t on units - 1 degrees of freedom.
        seed: of the subsets.

    Returns:
        NaN but for the value where there are fewer than four units, or where more than one subset in twenty lacks a value.

    Raises:
        MetricError: a parameter out of bounds, or not one unit per row.
    """
    check_whole(subsets, "subsample subsets", 2, "100 is the default")
    groups, count, whole = _start(values, rows, units, "subsample")
    if count < FEWEST_UNITS:
        return _spread(whole, float("nan"), count, level)
    drawn = check_whole(3 * count // 4 if size is None else size, "subsample size", 2, "three quarters is the default")
    if drawn >= count:
        raise MetricError(f"subsample size: expected fewer than the {count} units, got {drawn}; leave some out")
    found, defined = _defined(_at_once(values, (_orders(count, subsets, seed) < drawn)[:, groups]))
    return _spread(whole, float(np.sqrt(drawn / (count - drawn) * np.var(found, ddof=1))), count, level, defined=defined)


def jackknife(
    values: Values,
    rows: int,
    *,
    strata: Sequence[Hashable],
    units: Sequence[Hashable] | None = None,
    level: float = 0.95,
) -> Spread:
    """Interval from leaving out one unit at a time: the sum over strata of (n - 1) / n times the squares around the stratum's mean.

    Without bias for a mean of strata means, and too wide where the square of the noise counts: up to sqrt(2) for a squared distance
    that is nothing but noise.

    Args:
        values: over `rows` rows; smooth, i.e. of means and covariances rather than of neighbours.
        rows: number of edits.
        strata: one name per row, such as its class. A unit with rows in several is of the stratum of these together; strata of one
            unit are taken together, and one that stays alone with the largest.
        units: one name per row; rows of one unit are left out together. None: each row by itself.
        level: of the interval, with t on units - strata degrees of freedom.

    Returns:
        NaN but for the value where there are fewer than four units, or where more than one unit in twenty cannot be left out.

    Raises:
        MetricError: a parameter out of bounds, or not one unit and one stratum per row.
    """
    groups, count, whole = _start(values, rows, units, "jackknife")
    if len(strata) != rows:
        raise MetricError(f"strata: expected {rows} names, one per row, got {len(strata)}; name the class of each")
    if count < FEWEST_UNITS:
        return _spread(whole, float("nan"), count, level)
    layer = _layers(groups, count, strata)
    found = _at_once(values, groups[None, :] != np.arange(count)[:, None])
    _, defined = _defined(found)
    parts = [(found[layer == name], int((layer == name).sum())) for name in np.unique(layer)]
    squares = [(n - 1) * np.var(part[np.isfinite(part)]) for part, n in parts if np.isfinite(part).any()]
    return _spread(whole, float(np.sqrt(sum(squares))), count, level, strata=len(parts), defined=defined)


def _layers(groups: NDArray[np.intp], count: int, strata: Sequence[Hashable]) -> NDArray[np.intp]:
    """Number of the stratum of each unit, (units,)."""
    of_unit = [set[Hashable]() for _ in range(count)]
    for unit, name in zip(groups.tolist(), strata, strict=True):
        of_unit[unit].add(name)
    layer = _groups([frozenset(names) for names in of_unit], count)
    alone = np.bincount(layer)[layer] == 1
    if alone.sum() == 1 < count:
        layer[alone] = np.bincount(layer).argmax()
    else:
        layer[alone] = -1
    return layer


def _start(values: Values, rows: int, units: Sequence[Hashable] | None, what: str) -> tuple[NDArray[np.intp], int, float]:
    """The unit of each row, their number, and the value of all rows."""
    check_whole(rows, f"{what} rows", 1, "give the edits of an editor")
    groups = _groups(units, rows)
    return groups, int(groups.max()) + 1, float(values(np.ones((1, rows), dtype=np.bool_))[0])


def _groups(units: Sequence[Hashable] | None, rows: int) -> NDArray[np.intp]:
    """Number of the unit of each row, 0, 1, ... in order of appearance."""
    if units is None:
        return np.arange(rows)
    if len(units) != rows:
        raise MetricError(f"units: expected {rows} names, one per row, got {len(units)}; name the source picture of each")
    numbers = {name: number for number, name in enumerate(dict.fromkeys(units))}
    return np.array([numbers[name] for name in units], dtype=np.intp)


def _orders(count: int, draws: int, seed: int) -> NDArray[np.int64]:
    """Random ranks 0 .. count - 1, (draws, count)."""
    return np.random.default_rng(seed).permuted(np.tile(np.arange(count), (draws, 1)), axis=1)


def _at_once(values: Values, masks: Masks) -> Floats:
    """All in one call, so that what subsets share is computed once."""
    return np.asarray(values(masks), dtype=np.float64)


def _defined(found: Floats) -> tuple[Floats, float]:
    """What is finite, or all where too little is, and its share."""
    finite = np.isfinite(found)
    share = float(finite.mean())
    return (found[finite] if share >= FEWEST_DEFINED else np.full(2, np.nan)), share


def _spread(value: float, error: float, units: int, level: float, *, strata: int = 1, defined: float = 0.0) -> Spread:
    from scipy.stats import t

    if defined < FEWEST_DEFINED or units <= strata:
        error = float("nan")
    half = float(t.ppf(0.5 + level / 2, max(units - strata, 1))) * error
    return Spread(value, error, value - half, value + half, units, defined)
