"""Fréchet distance between two sets of features: FD over any network, FID over Inception's.

Origin: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", arXiv 1706.08500;
reference code: torch-fidelity `metric_fid.py`. The Gram form follows the idea of Mathiasen and Hvilshøj, "Backpropagating through
Fréchet Inception Distance", arXiv 2009.14075.

Definition: |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2), with means m and covariances S (divisor n - 1) of the features.

Fingerprint: the extractor's network, weights, resolution, resize and range, and the policy for few samples.

Precision: everything in float64. A covariance is kept as a factor F with S = F'F: the centred features over the root of n - 1
where a set has no more rows than dimensions, a Cholesky factor (d, d) otherwise. tr (S1 S2)^(1/2) is then the sum of the singular
values of F1 F2', which needs no root of the product S1 S2, a matrix that is not symmetric. Where the smaller side of F1 F2' is below
`SINGULAR` the singular values are computed as such (Gram form, exact to rounding, also for rank-deficient covariances); above, as
roots of the eigenvalues of the symmetric (F1 F2')(F1 F2')', whose rounding of 1e-16 of the largest costs 1e-8 of the largest
singular value in each direction that ought to be zero.

The estimate is biased upward and the bias grows as n falls: compare values at equal n only, and print n beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metrics.base import FeatureSet, MetricError
from metrics.kid import kid
from metrics.networks.base import Extractor
from metrics.networks.clip_towers import CLIP_PREFIX
from metrics.networks.dinov2 import DINOV2_PREFIX
from metrics.toolbox.set_metric import ExtractorMetric

__all__ = ["FID", "FrechetDistance", "Gaussian", "frechet_distance"]

Features = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]

SINGULAR = 512
"""Up to this many singular values are computed directly."""


@dataclass(frozen=True, eq=False)
class Gaussian:
    """The Gaussian fitted to features, float64.

    Attributes:
        mean: (d,).
        factor: (r, d) with factor' factor = covariance (divisor n - 1) and r = min(n, d).
        trace: of the covariance.
    """

    mean: Floats
    factor: Floats
    trace: float

    @classmethod
    def of(cls, features: Features, what: str = "features") -> Gaussian:
        """Fit features (n >= 2, d).

        Raises:
            MetricError: another shape.
        """
        if features.ndim != 2 or len(features) < 2:
            raise MetricError(f"{what}: expected (n >= 2, d), got {features.shape}; a covariance needs two samples or more")
        rows = np.array(features, dtype=np.float64)
        mean = rows.mean(axis=0)
        rows -= mean
        rows /= np.sqrt(len(rows) - 1)
        trace = float(np.vdot(rows, rows))
        if len(rows) > len(mean):
            rows = rows.T @ rows  # the features are not held beside the factor
            rows = _factor(rows)
        return cls(mean, rows, trace)

    def distance(self, other: Gaussian) -> float:
        """Squared Fréchet distance, >= 0; symmetric."""
        gap = self.mean - other.mean
        return max(float(gap @ gap) + self.trace + other.trace - 2 * _nuclear(self.factor @ other.factor.T), 0.0)


def frechet_distance(features: Features, other: Features) -> float:
    """Squared Fréchet distance of the Gaussians fitted to (n1, d) and (n2, d) features; symmetric, >= 0, lower is closer.

    Raises:
        MetricError: not two-dimensional, other dimensions, or fewer than two rows in a set.
    """
    first, second = Gaussian.of(features, "first features"), Gaussian.of(other, "second features")
    if first.mean.shape != second.mean.shape:
        raise MetricError(
            f"Fréchet distance: expected features of one dimension, got {len(first.mean)} and {len(second.mean)}; "
            "use one extractor for both sets"
        )
    return first.distance(second)


def _factor(covariance: Floats) -> Floats:
    """F with F'F = covariance; by eigenvalues where the covariance is singular to working precision."""
    try:
        return np.asarray(np.linalg.cholesky(covariance).T)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        return np.sqrt(np.clip(values, 0, None))[:, None] * vectors.T


def _nuclear(matrix: Floats) -> float:
    """Sum of the singular values."""
    if min(matrix.shape) <= SINGULAR:
        return float(np.linalg.svd(matrix, compute_uv=False).sum())
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    return _root_trace(wide @ wide.T)


def _root_trace(symmetric: Floats) -> float:
    return float(np.sqrt(np.clip(np.linalg.eigvalsh(symmetric), 0, None)).sum())


def _subset_distances(pool: Features, reference: Gaussian, subsets: NDArray[np.bool_]) -> Floats:
    """Distance of each subset of the pool to the reference, from products that all subsets share; float64 (k,)."""
    rows = np.asarray(pool, dtype=np.float64) - reference.mean
    cross, gram = rows @ reference.factor.T, rows @ rows.T
    inner = cross @ cross.T
    distances = []
    for chosen in subsets:
        n = int(chosen.sum())
        mine = gram[np.ix_(chosen, chosen)]
        gap = float(mine.mean())
        trace = (float(np.trace(mine)) - n * gap) / (n - 1)
        if n <= cross.shape[1]:
            small = inner[np.ix_(chosen, chosen)]
            edge = small.mean(axis=0)
            covariance = small - edge - edge[:, None] + edge.mean()
        else:
            centred = cross[chosen] - cross[chosen].mean(axis=0)
            covariance = centred.T @ centred
        distances.append(max(gap + trace + reference.trace - 2 * _root_trace(covariance / (n - 1)), 0.0))
    return np.array(distances)


class FrechetDistance(ExtractorMetric):
    """Fréchet distance ("FD") between the features of the edits and of a reference set; lower is better.

    The card names the network: FD over DINOv2 and over CLIP are other numbers than FID.

    Args:
        features: any network, see `metrics.networks.extractors`.
        resize: how pictures reach Inception, see `metrics.networks.inception`; "default" for all else.
        device: torch device of the extractor.
        batch_size: rows per forward pass.
        min_samples: samples in either set from which the value is trusted; None: one more than dimensions, from which on the
            covariances can have full rank. At least 2.
        small: what to do with fewer: "refuse" (NaN), "warn", or "substitute" (unbiased KID, which is on another scale).

    Raises:
        MetricError: no such extractor, weights missing, or a parameter out of bounds.
    """

    name: ClassVar[str] = "fd"
    version: ClassVar[str] = "2"
    bounds = (0.0, None)
    fewest: int = 2
    substitute: ClassVar[str] = "kid"
    definition: ClassVar[str] = (
        "Squared Fréchet distance between Gaussians fitted to the features of the edits and of the reference set."
    )
    source: ClassVar[str] = "Heusel et al. 2017, arXiv 1706.08500; torch-fidelity metric_fid.py"

    def _scale(self) -> str:
        return "squared distance, float64, covariance divisor n - 1"

    def _study(self, reference: FeatureSet) -> Gaussian:
        return Gaussian.of(reference.features)

    def _enough(self) -> int:
        return self._extract.dimensions + 1

    def _caution(self) -> str:
        return "biased upward at this n, so compare values at equal n only"

    def _value(self, edits: FeatureSet, reference: FeatureSet) -> float:
        return Gaussian.of(edits.features).distance(self._known(reference))

    def _values(self, edits: FeatureSet, reference: FeatureSet, subsets: NDArray[np.bool_]) -> Floats:
        return _subset_distances(edits.features, self._known(reference), subsets)

    def _instead(self, edits: FeatureSet, reference: FeatureSet) -> float:
        return kid(edits.features, reference.features)


class FID(FrechetDistance):
    """`FrechetDistance` over Inception, or over a ResNet folder that stands in for it; the name that the literature knows.

    "FID" in the literature's sense only with the Inception features; the card names the network. Over DINOv2 or CLIP use `fd`.
    """

    name: ClassVar[str] = "fid"

    def _open(self, features: str, device: str, batch_size: int, resize: str) -> Extractor:
        if features.startswith((DINOV2_PREFIX, CLIP_PREFIX)):
            raise MetricError(f"fid features: expected inception: or folder:, got {features!r}; over other networks use fd")
        return super()._open(features, device, batch_size, resize)
