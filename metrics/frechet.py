"""Fréchet distance between two sets of features, and FID.

Origin: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", arXiv 1706.08500;
reference code: torch-fidelity `metric_fid.py`. The Gram form follows the idea of Mathiasen and Hvilshøj, "Backpropagating through
Fréchet Inception Distance", arXiv 2009.14075.

Definition: |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2), with means m and covariances S (divisor n - 1) of the features.

Fingerprint: the extractor's network, weights, resolution, resize and range, and the policy for few samples.

Precision: everything in float64. With A and B the centred features over the root of n - 1, S1 = A'A, S2 = B'B, and
tr (S1 S2)^(1/2) is the sum of the singular values of A B'. That needs no matrix square root and stays exact for the
rank-deficient covariances of small sets. Where both sets outnumber the dimensions, the same sum comes from the eigenvalues of
the symmetric S1^(1/2) S2 S1^(1/2).

The estimate is biased upward and the bias grows as n falls: compare values at equal n only, and print n beside them.
"""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from metrics.base import Card, FeatureSet, MetricError, MetricWarning
from metrics.extractors import ExtractorMetric, open_extractor
from metrics.images import BATCH_SIZE, check_whole

__all__ = ["FID", "frechet_distance", "mean_and_covariance"]

Policy = Literal["refuse", "warn", "nan"]
Features = NDArray[np.floating[Any]]


def mean_and_covariance(features: Features) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (d,) and covariance (d, d), divisor n - 1, in float64.

    Raises:
        MetricError: not (n, d), or fewer than two rows.
    """
    mean, centred = _centre(features, "features")
    return mean, centred.T @ centred


def frechet_distance(features: Features, other: Features) -> float:
    """Squared Fréchet distance of the Gaussians fitted to (n1, d) and (n2, d) features; symmetric, >= 0, lower is closer.

    Memory is n1 x n2 doubles where one set has fewer rows than dimensions, d x d otherwise.

    Raises:
        MetricError: not two-dimensional, other dimensions, or fewer than two rows in a set.
    """
    mean1, rows1 = _centre(features, "first features")
    mean2, rows2 = _centre(other, "second features")
    if mean1.shape != mean2.shape:
        raise MetricError(
            f"Fréchet distance: expected features of one dimension, got {len(mean1)} and {len(mean2)}; "
            "use one extractor for both sets"
        )
    gap = mean1 - mean2
    few = min(len(rows1), len(rows2)) < len(mean1)
    root_trace = _root_trace_gram(rows1, rows2) if few else _root_trace_symmetric(rows1.T @ rows1, rows2.T @ rows2)
    distance = float(gap @ gap + np.vdot(rows1, rows1) + np.vdot(rows2, rows2) - 2 * root_trace)
    return max(distance, 0.0)


def _centre(features: Features, what: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean, and rows whose Gram product is the covariance."""
    if features.ndim != 2 or len(features) < 2:
        raise MetricError(f"{what}: expected (n >= 2, d), got {features.shape}; a covariance needs two samples or more")
    rows = np.asarray(features, dtype=np.float64)
    mean = rows.mean(axis=0)
    return mean, (rows - mean) / np.sqrt(len(rows) - 1)


def _root_trace_gram(rows1: NDArray[np.float64], rows2: NDArray[np.float64]) -> float:
    return float(np.linalg.svd(rows1 @ rows2.T, compute_uv=False).sum())


def _root_trace_symmetric(covariance1: NDArray[np.float64], covariance2: NDArray[np.float64]) -> float:
    values, vectors = np.linalg.eigh(covariance1)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return float(np.sqrt(np.clip(np.linalg.eigvalsh(root @ covariance2 @ root), 0, None)).sum())


class FID(ExtractorMetric):
    """Fréchet distance between the features of the edits and of a reference set; lower is better.

    "FID" in the literature's sense only with the Inception features; the card names the network.

    Args:
        features: "inception:/path/to/weights.pth" or "folder:/path", see `metrics.extractors`.
        device: torch device of the extractor.
        batch_size: rows per forward pass.
        min_samples: smallest n of either set, at least 2.
        policy: what to do below `min_samples`: "refuse" (MetricError), "warn" (MetricWarning, value computed) or "nan".

    Raises:
        MetricError: no such extractor, weights missing, or a parameter out of bounds.
    """

    name: ClassVar[str] = "fid"

    def __init__(
        self,
        features: str = "",
        *,
        device: str = "cpu",
        batch_size: int = BATCH_SIZE,
        min_samples: int = 2,
        policy: Policy = "refuse",
    ) -> None:
        if policy not in get_args(Policy):
            raise MetricError(
                f"fid policy: expected one of {', '.join(get_args(Policy))}, got {policy!r}; 'refuse' is the default"
            )
        self.min_samples = check_whole(min_samples, "fid min_samples", 2, "a covariance needs two samples")
        self._policy = policy
        self._extract = open_extractor(features, device, batch_size)
        identity = self._extract.identity
        self.card = Card(
            name=self.name,
            version="1",
            network=identity.network,
            weights=identity.weights,
            resolution=identity.resolution,
            resize=identity.resize,
            value_range=identity.value_range,
            scale="squared distance, float64, covariance divisor n - 1",
            masking="whole picture",
            nan_rule=f"below {min_samples} samples: {policy}",
            higher_is_better=False,
            definition="Squared Fréchet distance between Gaussians fitted to the features of the edits and of the reference set.",
            source="Heusel et al. 2017, arXiv 1706.08500; torch-fidelity metric_fid.py",
        )

    def value(self, edits: FeatureSet, reference: FeatureSet) -> float:
        smallest = min(len(edits), len(reference))
        if smallest < self.min_samples:
            message = (
                f"fid: expected at least {self.min_samples} samples in each set, "
                f"got {len(edits)} edits and {len(reference)} references; "
                "score more samples or lower min_samples"
            )
            if self._policy == "nan":
                return float("nan")
            if self._policy == "refuse":
                raise MetricError(message)
            warnings.warn(message, MetricWarning, stacklevel=2)
        return frechet_distance(edits.features, reference.features)
