"""KID, kernel inception distance: squared MMD under a cubic polynomial kernel.

Origin: Bińkowski et al., "Demystifying MMD GANs", arXiv 1801.01401; reference code: torch-fidelity `metric_kid.py`.

Definition: kernel k(x, y) = (x.y / d + 1)^3 over d features; the unbiased estimate with all pairs (`metrics.toolbox.mmd`). Its mean is the
true value at every n, so it may be negative where the sets agree.

`kid` uses every pair. `kid_subsets` is what torch-fidelity and most papers report: the mean over random subsets, with
torch-fidelity's generator and order of draws, so that the same features give the same number. Both estimate the same quantity; the
spread over the subsets, which overlap, is not an interval and is not reported.

Fingerprint: the extractor's network, weights, resolution, resize and range; for subsets their number, size and seed.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metrics.base import FeatureSet, MetricError
from metrics.networks.images import check_whole
from metrics.toolbox.mmd import mmd, own_mean, subset_mmd
from metrics.toolbox.set_metric import ExtractorMetric

__all__ = ["KID", "KIDSubsets", "cubic_kernel", "kid", "kid_subsets"]

Features = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]


def cubic_kernel(first: Floats, second: Floats) -> Floats:
    """(x.y / d + 1)^3 for all pairs of rows, (n, m)."""
    base = first @ second.T / first.shape[1] + 1
    return np.asarray(base * base * base)


def kid(edits: Features, reference: Features) -> float:
    """Unbiased squared MMD of (n >= 2, d) and (m >= 2, d) features over all pairs, float64; lower is closer, may be negative.

    Raises:
        MetricError: fewer than two rows in a set.
    """
    _check_rows(edits, reference, 2)
    return mmd(edits, reference, cubic_kernel, unbiased=True)


def kid_subsets(edits: Features, reference: Features, *, subsets: int = 100, size: int = 1000, seed: int = 2020) -> float:
    """Mean of `kid` over random subsets of `size` rows of each set, drawn as torch-fidelity draws them.

    Raises:
        MetricError: a set has fewer than `size` rows.
    """
    _check_rows(edits, reference, size)
    draws = np.random.RandomState(seed)
    found = []
    for _ in range(subsets):
        mine = edits[draws.choice(len(edits), size, replace=False)]
        found.append(kid(mine, reference[draws.choice(len(reference), size, replace=False)]))
    return float(np.mean(found))


def _check_rows(edits: Features, reference: Features, least: int) -> None:
    if min(len(edits), len(reference)) < least:
        raise MetricError(
            f"kid: expected at least {least} rows in each set, got {len(edits)} and {len(reference)}; score more samples"
        )


class KID(ExtractorMetric):
    """Unbiased KID over all pairs between the features of the edits and of a reference set; lower is better, may be negative.

    Args:
        features: the network to see through, see `metrics.networks.extractors`; for the literature's KID Inception.
        resize: how pictures reach Inception, see `metrics.networks.inception`; "default" for all else.
        device: torch device of the extractor.
        batch_size: rows per forward pass.
        min_samples: samples in either set from which the value is trusted, at least 2, which is the default: unbiased at any n.
        small: what to do with fewer: "refuse" (NaN) or "warn".

    Raises:
        MetricError: no such extractor, weights missing, or a parameter out of bounds.
    """

    name: ClassVar[str] = "kid"
    fewest: int = 2
    definition: ClassVar[str] = (
        "Unbiased squared MMD under a cubic polynomial kernel between features of the edits and of the reference."
    )
    source: ClassVar[str] = "Bińkowski et al. 2018, arXiv 1801.01401; torch-fidelity metric_kid.py"

    def _scale(self) -> str:
        return "squared MMD, kernel (x.y/d + 1)^3, U-statistic over all pairs, float64"

    def _value(self, edits: FeatureSet, reference: FeatureSet) -> float:
        return float(self._values(edits, reference, np.ones((1, len(edits)), dtype=np.bool_))[0])

    def _values(self, edits: FeatureSet, reference: FeatureSet, subsets: NDArray[np.bool_]) -> Floats:
        mean = self._known(reference)
        return subset_mmd(edits.features, reference.features, cubic_kernel, subsets, reference_mean=mean, unbiased=True)

    def _study(self, reference: FeatureSet) -> float:
        return own_mean(reference.features, cubic_kernel, unbiased=True)


class KIDSubsets(ExtractorMetric):
    """KID as torch-fidelity reports it: the mean over random subsets; lower is better, may be negative.

    Args:
        features: as for `KID`, and so are resize, device and batch_size.
        subsets: number of subsets.
        subset_size: rows of each subset, at least 2; both sets need as many.
        seed: of the draws; 2020 is torch-fidelity's.
        small: what to do with smaller sets: "refuse" (NaN), "warn" (subsets of the smaller set's size) or "substitute" (`kid`).

    Raises:
        MetricError: no such extractor, weights missing, or a parameter out of bounds.
    """

    name: ClassVar[str] = "kid_subsets"
    fewest: int = 2
    substitute: ClassVar[str] = "kid"
    definition: ClassVar[str] = "Mean over random subsets of the unbiased squared MMD under a cubic polynomial kernel."
    source: ClassVar[str] = KID.source

    def __init__(
        self, features: str = "", *, subsets: int = 100, subset_size: int = 1000, seed: int = 2020, **parameters: Any
    ) -> None:
        self._subsets = check_whole(subsets, "kid_subsets subsets", 1, "100 is usual")
        self._size = check_whole(subset_size, "kid_subsets subset_size", 2, "1000 is usual")
        self._seed = check_whole(seed, "kid_subsets seed", 0, "2020 is torch-fidelity's")
        parameters.setdefault("small", "refuse")
        parameters.setdefault("min_samples", self._size)
        super().__init__(features, **parameters)

    def _scale(self) -> str:
        return f"squared MMD, kernel (x.y/d + 1)^3, mean of {self._subsets} subsets of {self._size} (seed {self._seed}), float64"

    def _caution(self) -> str:
        return "subsets were made as small as the smaller set"

    def _value(self, edits: FeatureSet, reference: FeatureSet) -> float:
        size = min(self._size, len(edits), len(reference))
        return kid_subsets(edits.features, reference.features, subsets=self._subsets, size=size, seed=self._seed)

    def _instead(self, edits: FeatureSet, reference: FeatureSet) -> float:
        return kid(edits.features, reference.features)
