"""SFID, simplified Fréchet distance: the squared distance of means, without classes and without covariances.

Origin: Couairon et al., "FlexIT: Towards Flexible Semantic Image Translation", arXiv 2203.04705; reference code:
facebookresearch/SemanticImageTranslation `eval.py`.

Definition: |m1 - m2|^2 with the mean features m of all edits and of all reference pictures. One edit is a mean of one.

A perfect sampler scores tr(S)/n, not 0, and an editor that changes nothing scores almost 0: SFID says whether edits look like the
data, and nothing about whether anything was edited. For FlexIT's own numbers: Inception with `resize: flexit`.

Fingerprint: the extractor's network, weights, resolution, resize and range.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metrics.base import FeatureSet
from metrics.toolbox.set_metric import ExtractorMetric

__all__ = ["SFID"]

Floats = NDArray[np.float64]


class SFID(ExtractorMetric):
    """Squared distance between the mean features of the edits and of the reference set; lower is better, >= 0.

    Args:
        features: the network to see through, see `metrics.networks.extractors`; for the literature's SFID Inception.
        resize: how pictures reach Inception, see `metrics.networks.inception`; "default" for all else.
        device: torch device of the extractor.
        batch_size: rows per forward pass.
        min_samples: samples in either set from which the value is trusted; at least 1, the default.
        small: what to do with fewer: "refuse" (NaN) or "warn".

    Raises:
        MetricError: no such extractor, or weights missing.
    """

    name: ClassVar[str] = "sfid"
    bounds = (0.0, None)
    definition: ClassVar[str] = "Squared L2 distance between the mean features of the edits and of the reference set."
    source: ClassVar[str] = "Couairon et al. 2022 (FlexIT), arXiv 2203.04705; facebookresearch/SemanticImageTranslation eval.py"

    def _scale(self) -> str:
        return "squared distance of means, no covariance term, float64"

    def _study(self, reference: FeatureSet) -> Any:
        return reference.features.mean(axis=0, dtype=np.float64)

    def _value(self, edits: FeatureSet, reference: FeatureSet) -> float:
        return float(self._values(edits, reference, np.ones((1, len(edits)), dtype=np.bool_))[0])

    def _values(self, edits: FeatureSet, reference: FeatureSet, subsets: NDArray[np.bool_]) -> Floats:
        rows = edits.features.astype(np.float64) - self._known(reference)
        means = (subsets @ rows) / subsets.sum(axis=1, keepdims=True)
        return np.asarray(np.square(means).sum(axis=1))
