"""CMMD: squared MMD between CLIP image embeddings under a Gaussian kernel.

Origin: Jayasumana et al., "Rethinking FID: Towards a Better Evaluation Metric for Image Generation", arXiv 2401.09603; reference
code: google-research `cmmd/distance.py`.

Definition: embeddings scaled to unit length; k(x, y) = exp(-|x - y|^2 / (2 * 10^2)); squared MMD x 1000. `cmmd` is the form that the
reference code ships, the biased V-statistic, though the paper calls the metric unbiased; `cmmd_unbiased` leaves the pairs of a
picture with itself out (`metrics.toolbox.mmd`). The biased form is at least 0 and grows as n falls; the other may be negative.

The paper's network is OpenAI's CLIP ViT-L/14 at 336: features "clip:ViT-L-14-336-quickgelu:openai". Of a picture that is not square
the reference code (`io_util.py`) cuts out the centre and then resizes it, Pillow bicubic; open_clip resizes first and then cuts the same
centre, to within a pixel. Other extractors may squash; the card says what was done.

Fingerprint: the extractor's network, weights, resolution, resize and range, and the estimate.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metrics.base import Bounds, FeatureSet, MetricError
from metrics.toolbox.mmd import mmd, own_mean, subset_mmd
from metrics.toolbox.set_metric import ExtractorMetric

__all__ = ["CMMD", "CMMDUnbiased", "cmmd", "gaussian_kernel"]

Features = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]

SIGMA, SCALE = 10.0, 1000.0


def gaussian_kernel(first: Floats, second: Floats) -> Floats:
    """exp(-|x - y|^2 / 200) for all pairs of rows of unit length, (n, m)."""
    return np.asarray(np.exp((first @ second.T - 1) / SIGMA**2))


def cmmd(edits: Features, reference: Features, *, unbiased: bool = False) -> float:
    """1000 x squared MMD of (n, d) and (m, d) features, brought to unit length; lower is closer.

    Raises:
        MetricError: a row of zeros.
    """
    return SCALE * mmd(_unit(edits), _unit(reference), gaussian_kernel, unbiased=unbiased)


def _unit(rows: Features) -> Floats:
    wide = np.asarray(rows, dtype=np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    if not lengths.all():
        row = int(np.flatnonzero(lengths[:, 0] == 0)[0])
        raise MetricError(
            f"cmmd: feature row {row} is zero and has no direction; look at that picture and at the extractor's weights"
        )
    return np.asarray(wide / lengths)


class CMMD(ExtractorMetric):
    """CMMD as its reference code computes it (biased V-statistic); lower is better, >= 0.

    Args:
        features: the network to see through, see `metrics.networks.extractors`; for the paper's CMMD "clip:...".
        resize: how pictures reach Inception, see `metrics.networks.inception`; "default" for all else.
        device: torch device of the extractor.
        batch_size: rows per forward pass.
        min_samples: samples in either set from which the value is trusted; the default is 1000, where the bias of the
            estimate is at most 0.02 for each set (20 / n).
        small: what to do with fewer: "refuse" (NaN), "warn" or "substitute" (`cmmd_unbiased`).

    Raises:
        MetricError: no such extractor, weights missing, or a parameter out of bounds.
    """

    name: ClassVar[str] = "cmmd"
    bounds: Bounds = (0.0, None)
    substitute: ClassVar[str] = "cmmd_unbiased"
    definition: ClassVar[str] = (
        "Squared MMD x 1000 under a Gaussian kernel (sigma 10) between unit embeddings of edits and reference."
    )
    source: ClassVar[str] = "Jayasumana et al. 2024, arXiv 2401.09603; google-research cmmd/distance.py"
    _unbiased: ClassVar[bool] = False

    def _scale(self) -> str:
        estimate = "U-statistic without pairs of a picture with itself" if self._unbiased else "biased V-statistic"
        return f"1000 x squared MMD, unit embeddings, Gaussian kernel sigma 10, {estimate}, float64"

    def _enough(self) -> int:
        return 1000

    def _caution(self) -> str:
        return "biased upward at this n, so compare values at equal n only"

    def _value(self, edits: FeatureSet, reference: FeatureSet) -> float:
        return float(self._values(edits, reference, np.ones((1, len(edits)), dtype=np.bool_))[0])

    def _values(self, edits: FeatureSet, reference: FeatureSet, subsets: NDArray[np.bool_]) -> Floats:
        rows, theirs = _unit(edits.features), _unit(reference.features)
        mean = self._known(reference)
        return SCALE * subset_mmd(rows, theirs, gaussian_kernel, subsets, reference_mean=mean, unbiased=self._unbiased)

    def _study(self, reference: FeatureSet) -> float:
        return own_mean(_unit(reference.features), gaussian_kernel, unbiased=self._unbiased)

    def _instead(self, edits: FeatureSet, reference: FeatureSet) -> float:
        if min(len(edits), len(reference)) < CMMDUnbiased.fewest:
            return float("nan")
        return cmmd(edits.features, reference.features, unbiased=True)


class CMMDUnbiased(CMMD):
    """CMMD with the unbiased estimate; lower is better, may be negative. Two samples in each set are enough."""

    name: ClassVar[str] = "cmmd_unbiased"
    bounds = (None, None)
    fewest: int = 2
    substitute: ClassVar[str] = ""
    _unbiased: ClassVar[bool] = True

    def _enough(self) -> int:
        return self.fewest
