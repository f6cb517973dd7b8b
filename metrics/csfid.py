"""CSFID, class-conditional simplified Fréchet distance: mean term only.

Origin: Couairon et al., "FlexIT: Towards Flexible Semantic Image Translation", arXiv 2203.04705; reference code:
facebookresearch/SemanticImageTranslation `eval.py`, whose reported number has no covariance term.

Definition: for each target class present among the edits, the squared L2 distance between the mean feature of the edits to that
class and the mean feature of the reference pictures of that class; then the unweighted mean over those classes. One edit is a
mean of one.

Fingerprint: the extractor's network, weights, resolution, resize and range.

A perfect sampler with n edits per class does not score 0 but the mean over classes of tr(S_c)/n: values are comparable only at
equal numbers per class. `csfid_debiased` takes that floor away.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from metrics.base import Card, FeatureSet, MetricError
from metrics.extractors import ExtractorMetric, open_extractor
from metrics.images import BATCH_SIZE

__all__ = ["CSFID", "csfid", "csfid_debiased"]

Rows = NDArray[np.float64]


def csfid(edits: FeatureSet, reference: FeatureSet) -> float:
    """Mean over the edits' classes of the squared distance between class means, float64; >= 0, lower is closer.

    Raises:
        MetricError: an edit without a class, a class without a reference, or differing dimensions.
    """
    return float(np.mean([_gap(mine, theirs) for mine, theirs in _by_class(edits, reference).values()]))


def csfid_debiased(edits: FeatureSet, reference: FeatureSet) -> float:
    """`csfid` less the share of each class's squared gap that sampling alone gives: unbiased, may be negative.

    From every class's gap tr(S)/n is taken away, for the edits and for the reference, S being the sample covariance (divisor n
    - 1).

    Raises:
        MetricError: as `csfid`, or a class with fewer than two edits or two references.
    """
    gaps = []
    for name, (mine, theirs) in _by_class(edits, reference).items():
        for kind, rows in (("edits", mine), ("reference pictures", theirs)):
            if len(rows) < 2:
                raise MetricError(f"csfid_debiased: class {name!r} has {len(rows)} of the {kind}, expected at least 2; use csfid")
        gaps.append(_gap(mine, theirs) - _variance_of_mean(mine) - _variance_of_mean(theirs))
    return float(np.mean(gaps))


def _by_class(edits: FeatureSet, reference: FeatureSet) -> dict[str, tuple[Rows, Rows]]:
    """Float64 rows of edits and reference for each class among the edits, classes in name order."""
    if edits.features.shape[1] != reference.features.shape[1]:
        raise MetricError(
            f"csfid: expected features of one dimension, got {edits.features.shape[1]} and {reference.features.shape[1]}; "
            "use one extractor for both sets"
        )
    unclassed = [row for row, name in enumerate(edits.classes) if name is None]
    if unclassed:
        raise MetricError(
            f"csfid: edits[{unclassed[0]}] has no target class; give every sample a target_class or leave csfid out"
        )
    mine, theirs = _rows_of(edits), _rows_of(reference)
    missing = sorted(mine.keys() - theirs.keys())
    if missing:
        raise MetricError(
            f"csfid: class {missing[0]!r} has no reference picture ({len(missing)} of {len(mine)} classes have none); "
            "add pictures of it to the reference set"
        )
    return {name: (mine[name], theirs[name]) for name in sorted(mine)}


def _rows_of(features: FeatureSet) -> dict[str, Rows]:
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(features.classes):
        if name is not None:
            rows.setdefault(name, []).append(row)
    return {name: features.features[chosen].astype(np.float64) for name, chosen in rows.items()}


def _gap(mine: Rows, theirs: Rows) -> float:
    gap = mine.mean(axis=0) - theirs.mean(axis=0)
    return float(gap @ gap)


def _variance_of_mean(rows: Rows) -> float:
    return float(rows.var(axis=0, ddof=1).sum() / len(rows))


class CSFID(ExtractorMetric):
    """Squared distance between class-mean features of the edits and of real pictures of the target class; lower is better.

    Args:
        features: "inception:/path/to/weights.pth" or "folder:/path", see `metrics.extractors`.
        device: torch device of the extractor.
        batch_size: rows per forward pass.

    Raises:
        MetricError: no such extractor, or weights missing.
    """

    name: ClassVar[str] = "csfid"
    min_samples: int = 1

    def __init__(self, features: str = "", *, device: str = "cpu", batch_size: int = BATCH_SIZE) -> None:
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
            scale="squared distance of class means, no covariance term, classes weighted equally, float64",
            masking="whole picture",
            nan_rule="never",
            higher_is_better=False,
            definition="Mean over target classes of the squared L2 distance between class-mean features of edits and reference.",
            source="Couairon et al. 2022 (FlexIT), arXiv 2203.04705; facebookresearch/SemanticImageTranslation eval.py",
        )

    def value(self, edits: FeatureSet, reference: FeatureSet) -> float:
        return csfid(edits, reference)
