"""Squared maximum mean discrepancy (MMD) between sets of features under a kernel.

Origin: Gretton et al., "A Kernel Two-Sample Test", JMLR 13 (2012), lemma 6 and equation 5.

With a kernel k, samples x of n and y of m rows:

    unbiased (U-statistic)   mean of k(x_i, x_j), i != j   +  mean of k(y_i, y_j), i != j   -  2 mean of k(x_i, y_j)
    biased (V-statistic)     the same with i = j counted, n^2 and m^2 in the divisors; >= 0

The cross term counts all n m pairs in both. Everything in float64; kernels are computed in blocks of rows, never n x m at once
beyond `BLOCK` rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Kernel", "mmd", "own_mean", "subset_mmd"]

Floats = NDArray[np.float64]
Kernel = Callable[[Floats, Floats], Floats]
"""Rows (n, d) and (m, d), float64, to (n, m)."""

BLOCK = 2048


def mmd(edits: NDArray[np.floating[Any]], reference: NDArray[np.floating[Any]], kernel: Kernel, *, unbiased: bool) -> float:
    """Squared MMD of (n, d) and (m, d) features; n, m >= 2 where unbiased, else >= 1."""
    everything = np.ones((1, len(edits)), dtype=np.bool_)
    theirs = own_mean(reference, kernel, unbiased=unbiased)
    return float(subset_mmd(edits, reference, kernel, everything, reference_mean=theirs, unbiased=unbiased)[0])


def own_mean(rows: NDArray[np.floating[Any]], kernel: Kernel, *, unbiased: bool) -> float:
    """Mean of the kernel within one set, without the diagonal where unbiased."""
    return float(_within(np.asarray(rows, dtype=np.float64), kernel, np.ones((1, len(rows)), dtype=np.bool_), unbiased)[0])


def subset_mmd(
    pool: NDArray[np.floating[Any]],
    reference: NDArray[np.floating[Any]],
    kernel: Kernel,
    subsets: NDArray[np.bool_],
    *,
    reference_mean: float,
    unbiased: bool,
) -> Floats:
    """Squared MMD to the reference of each subset of the pool that a row of bool (k, n) marks, (k,); kernels are computed once.

    `reference_mean` is `own_mean` of the reference.
    """
    rows, theirs = np.asarray(pool, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    blocks = range(0, len(theirs), BLOCK)
    cross = np.sum([kernel(rows, theirs[start : start + BLOCK]).sum(axis=1) for start in blocks], axis=0) / len(theirs)
    crossed = (subsets @ cross) / subsets.sum(axis=1)
    return np.asarray(_within(rows, kernel, subsets, unbiased) + reference_mean - 2 * crossed)


def _within(rows: Floats, kernel: Kernel, subsets: NDArray[np.bool_], unbiased: bool) -> Floats:
    marks = subsets.astype(np.float64)
    sizes = marks.sum(axis=1)
    totals = np.zeros(len(marks))
    for start in range(0, len(rows), BLOCK):
        block = slice(start, start + BLOCK)
        values = kernel(rows[block], rows)
        if unbiased:
            values[np.arange(len(values)), np.arange(start, start + len(values))] = 0
        totals += ((marks[:, block] @ values) * marks).sum(axis=1)
    return np.asarray(totals / (sizes * (sizes - 1 if unbiased else sizes)))
