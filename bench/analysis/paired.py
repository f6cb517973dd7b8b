"""Tests between editors on the same samples: sign-flip permutation over source pictures, and Holm's correction.

If two editors are exchangeable, every difference between them might as well have had the other sign. Differences of one source picture
share one sign, as they share the picture. The p value is the share of sign patterns under which the mean difference is at least as
far from zero as it is: of all patterns where there are few, else of random ones and the observed one (Phipson and Smyth 2010, arXiv
1603.05766).

A difference that is no mean, such as one read off two curves, is tested by the sign flips of its jackknife pseudo-values (Tukey 1958),
one per source picture: how far the difference would be from what it is without the picture. They hold where it is smooth in the means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bench.scoring.swaps import TIE, signs

__all__ = ["holm", "pseudo_values", "sign_flip"]

Floats = NDArray[np.float64]


def sign_flip(sums: Floats, *, seed: int = 0) -> Floats:
    """Two-sided p values (k,) of k sets of cluster sums (k, clusters), all under the same sign patterns.

    A cluster with sum zero has no say in a test. NaN for a set without any other, and where a sum is not finite.
    """
    observed = np.abs(sums.sum(axis=1))
    far = np.abs(signs(sums.shape[1], seed=seed) @ sums.T) >= observed * (1 - TIE) - TIE * np.abs(sums).sum(axis=1)
    return np.where((sums != 0).any(axis=1) & np.isfinite(sums).all(axis=1), far.mean(axis=0), np.nan)


def pseudo_values(statistic: Callable[[Floats], Floats], clusters: int) -> Floats:
    """Pseudo-values (clusters,) of a statistic of weights (r, clusters) of the clusters; NaN where it is not defined without one.

    That is always so of a single cluster.
    """
    if clusters < 2:
        return np.full(clusters, np.nan)
    whole = statistic(np.ones((1, clusters)))
    return np.asarray(clusters * whole - (clusters - 1) * statistic(1.0 - np.eye(clusters)))


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Holm's step-down adjusted p values (1979); NaN stays NaN and does not count as a test."""
    given = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(len(given), np.nan)
    tested = np.flatnonzero(np.isfinite(given))
    order = tested[np.argsort(given[tested], kind="stable")]
    scaled = given[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted
