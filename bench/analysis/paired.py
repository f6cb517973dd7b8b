"""Tests between editors on the same samples: sign-flip permutation over source pictures, and Holm's correction.

If two editors are exchangeable, every difference between them might as well have had the other sign. Differences of one source picture
share one sign, as they share the picture. The p value is the share of sign patterns under which the mean difference is at least as
far from zero as it is: of all patterns where there are few, else of random ones and the observed one (Phipson and Smyth 2010, arXiv
1603.05766).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["cluster_sums", "holm", "sign_flip"]

Floats = NDArray[np.float64]

MOST_CLUSTERS_FOR_ALL = 14
PATTERNS = 9999
TIE = 1e-9
"""Means within this share of the observed one count as equal to it: rounding must not decide a tie."""


def cluster_sums(differences: Sequence[float] | Floats, clusters: Sequence[str], names: Sequence[str]) -> Floats:
    """Sum of the differences (n,) of each cluster of `names`, zero for one without any."""
    place = {name: number for number, name in enumerate(names)}
    groups = [place[name] for name in clusters]
    sums = np.zeros(len(names))
    np.add.at(sums, groups, np.asarray(differences, dtype=np.float64))
    return sums


def sign_flip(sums: Floats, *, seed: int = 0) -> Floats:
    """Two-sided p values (k,) of k sets of cluster sums (k, clusters), all under the same sign patterns.

    A cluster with sum zero has no say in a test. NaN for a set without any other.
    """
    count = sums.shape[1]
    if count <= MOST_CLUSTERS_FOR_ALL:
        # Turning all signs turns the mean's, so one of them may stay.
        signs = 1.0 - 2.0 * (np.arange(2 ** max(count - 1, 0))[:, None] >> np.arange(count)[None, :] & 1)
    else:
        signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(PATTERNS + 1, count))
        signs[0] = 1.0
    observed = np.abs(sums.sum(axis=1))
    far = np.abs(signs @ sums.T) >= observed * (1 - TIE) - TIE * np.abs(sums).sum(axis=1)
    return np.where((sums != 0).any(axis=1), far.mean(axis=0), np.nan)


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Holm's step-down adjusted p values (1979); NaN stays NaN and does not count as a test."""
    given = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(len(given), np.nan)
    tested = np.flatnonzero(np.isfinite(given))
    order = tested[np.argsort(given[tested], kind="stable")]
    scaled = given[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted
