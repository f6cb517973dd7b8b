"""CSFID, class-conditional simplified Fréchet distance: as published, debiased, and with a diagonal covariance.

Origin: Couairon et al., "FlexIT: Towards Flexible Semantic Image Translation", arXiv 2203.04705; reference code:
facebookresearch/SemanticImageTranslation `eval.py`, whose reported number has no covariance term.

Definition: for each target class among the edits, a distance between the features of the edits to that class and of the reference
pictures of that class; then the mean over those classes, each weighing the same. With means m, variances s^2 (divisor n - 1) of
each dimension and numbers n of pictures in the class, 1 the edits and 2 the reference, the distance is

    csfid            |m1 - m2|^2, as FlexIT's code reports it; a class may have one edit
    csfid_debiased   |m1 - m2|^2 - sum(s1^2) / n1 - sum(s2^2) / n2, whose mean is the true gap; may be negative
    csfid_diag       |m1 - m2|^2 + sum((s1 - s2)^2), the Fréchet distance of Gaussians with diagonal covariance; not in FlexIT

A perfect sampler with n edits per class scores not 0 but the mean of sum(s^2) / n in the first form (FlexIT's real images: 27.2
at n = 4): it compares at equal numbers per class only, and rewards edits that resemble each other.

`class_gaps` gives one value a class, for paired tests. Intervals of the mean take the classes as given: edits vary within them.

Fingerprint: the extractor's network, weights, resolution, resize and range, and the form. For FlexIT's own numbers: Inception with
`resize: flexit`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from metrics.base import Bounds, FeatureSet, MetricError, MetricWarning
from metrics.toolbox.set_metric import ExtractorMetric

__all__ = ["CSFID", "CSFIDDebiased", "CSFIDDiag", "Form", "class_gaps", "csfid", "csfid_debiased", "csfid_diag"]

Floats = NDArray[np.float64]
Form = Literal["plain", "debiased", "diag"]


@dataclass(frozen=True, eq=False)
class _Class:
    """Moments of one class, float64: mean (d,), variance (d,) with divisor n - 1 (NaN where n is 1)."""

    n: int
    mean: Floats
    variance: Floats


_Classes = dict[str, _Class]


def csfid(edits: FeatureSet, reference: FeatureSet) -> float:
    """Mean over the edits' classes of the squared distance between class means, float64; >= 0, lower is closer.

    Raises:
        MetricError: an edit without a class, a class without a reference, or differing dimensions.
    """
    return _mean(class_gaps(edits, reference, "plain"))


def csfid_debiased(edits: FeatureSet, reference: FeatureSet) -> float:
    """`csfid` less what sampling alone adds to it: unbiased, may be negative; NaN where a class has fewer than two pictures.

    Raises:
        MetricError: as `csfid`.
    """
    return _mean(class_gaps(edits, reference, "debiased"))


def csfid_diag(edits: FeatureSet, reference: FeatureSet) -> float:
    """`csfid` with the covariance term of diagonal Gaussians; >= 0, NaN where a class has fewer than two pictures.

    Raises:
        MetricError: as `csfid`.
    """
    return _mean(class_gaps(edits, reference, "diag"))


def class_gaps(edits: FeatureSet, reference: FeatureSet, form: Form = "plain") -> dict[str, float]:
    """The distance of each class among the edits, classes in name order; NaN where the form needs two pictures and there is one.

    Raises:
        MetricError: as `csfid`.
    """
    if edits.features.shape[1] != reference.features.shape[1]:
        raise MetricError(
            f"csfid: expected features of one dimension, got {edits.features.shape[1]} and {reference.features.shape[1]}; "
            "use one extractor for both sets"
        )
    return _gaps(edits, _moments(reference), form)


def _gaps(edits: FeatureSet, theirs: _Classes, form: Form) -> dict[str, float]:
    unclassed = [row for row, name in enumerate(edits.classes) if name is None]
    if unclassed:
        raise MetricError(
            f"csfid: edits[{unclassed[0]}] has no target class; give every sample a target_class or leave csfid out"
        )
    mine = _moments(edits)
    missing = sorted(mine.keys() - theirs.keys())
    if missing:
        raise MetricError(
            f"csfid: class {missing[0]!r} has no reference picture ({len(missing)} of {len(mine)} classes have none); "
            "add pictures of it to the reference set"
        )
    return {name: _gap(mine[name], theirs[name], form) for name in sorted(mine)}


def _gap(mine: _Class, theirs: _Class, form: Form) -> float:
    gap = mine.mean - theirs.mean
    plain = float(gap @ gap)
    if form == "debiased":
        return plain - float(mine.variance.sum()) / mine.n - float(theirs.variance.sum()) / theirs.n
    if form == "diag":
        return plain + float(np.square(np.sqrt(mine.variance) - np.sqrt(theirs.variance)).sum())
    return plain


def _gap_of_each(rows: Floats, marks: Floats, theirs: _Class, form: Form) -> Floats:
    """`_gap` of each marked subset of one class's rows (n, d), marks 0 or 1 (k, n) with a 1 in each; (k,)."""
    n = marks.sum(axis=1)
    centred = rows - rows.mean(axis=0)
    offset = marks @ centred / n[:, None]
    plain = np.square(offset + rows.mean(axis=0) - theirs.mean).sum(axis=1)
    if form == "plain":
        return plain
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = (marks @ np.square(centred) - n[:, None] * np.square(offset)) / (n - 1)[:, None]
    variance = np.where(n[:, None] > 1, np.maximum(variance, 0), np.nan)
    if form == "diag":
        return np.asarray(plain + np.square(np.sqrt(variance) - np.sqrt(theirs.variance)).sum(axis=1))
    return np.asarray(plain - variance.sum(axis=1) / n - float(theirs.variance.sum()) / theirs.n)


def _places(features: FeatureSet) -> dict[str, list[int]]:
    """The rows of each class."""
    places: dict[str, list[int]] = {}
    for row, name in enumerate(features.classes):
        if name is not None:
            places.setdefault(name, []).append(row)
    return places


def _moments(features: FeatureSet) -> _Classes:
    moments = {}
    for name, chosen in _places(features).items():
        rows = features.features[chosen].astype(np.float64)
        variance = rows.var(axis=0, ddof=1) if len(rows) > 1 else np.full(rows.shape[1], np.nan)
        moments[name] = _Class(len(rows), rows.mean(axis=0), variance)
    return moments


def _mean(gaps: dict[str, float]) -> float:
    return float(np.mean(list(gaps.values())))


class CSFID(ExtractorMetric):
    """Squared distance between class-mean features of the edits and of real pictures of the target class; lower is better.

    Args:
        features: the network to see through, see `metrics.networks.extractors`; for the literature's CSFID Inception.
        resize: how pictures reach Inception, see `metrics.networks.inception`; "default" for all else.
        device: torch device of the extractor.
        batch_size: rows per forward pass.
        min_samples: edits and references, of all classes together, from which the value is trusted; at least 1, the default.
        small: what to do with fewer: "refuse" (NaN) or "warn".

    Raises:
        MetricError: no such extractor, or weights missing.
    """

    name: ClassVar[str] = "csfid"
    bounds: Bounds = (0.0, None)
    uses_classes: ClassVar[bool] = True
    definition: ClassVar[str] = (
        "Mean over target classes of the squared L2 distance between class-mean features of edits and reference."
    )
    source: ClassVar[str] = "Couairon et al. 2022 (FlexIT), arXiv 2203.04705; facebookresearch/SemanticImageTranslation eval.py"
    _form: ClassVar[Form] = "plain"

    def _scale(self) -> str:
        return "squared distance of class means, no covariance term, classes weighted equally, float64"

    def _study(self, reference: FeatureSet) -> Any:
        return _moments(reference)

    def _value(self, edits: FeatureSet, reference: FeatureSet) -> float:
        gaps = _gaps(edits, self._known(reference), self._form)
        undefined = [name for name, gap in gaps.items() if np.isnan(gap)]
        if undefined:
            warnings.warn(
                f"{self.name}: class {undefined[0]!r} has one picture among the edits or the references "
                f"({len(undefined)} of {len(gaps)} classes do), it needs two: no value",
                MetricWarning,
                stacklevel=3,
            )
        return _mean(gaps)

    def _values(self, edits: FeatureSet, reference: FeatureSet, subsets: NDArray[np.bool_]) -> Floats:
        theirs = self._known(reference)
        _gaps(edits, theirs, self._form)  # refuses what it must
        total, classes = np.zeros(len(subsets)), np.zeros(len(subsets))
        for name, chosen in _places(edits).items():
            marks, which = np.unique(subsets[:, chosen], axis=0, return_inverse=True)  # most subsets have a class whole
            there: NDArray[np.bool_] = np.asarray(marks.any(axis=1))
            rows = edits.features[chosen].astype(np.float64)
            gaps = np.zeros(len(marks))
            gaps[there] = _gap_of_each(rows, marks[there].astype(np.float64), theirs[name], self._form)
            total += gaps[which.reshape(-1)]
            classes += there[which.reshape(-1)]
        return total / classes


class CSFIDDebiased(CSFID):
    """CSFID less what sampling adds to it: unbiased at any n per class from two; lower is better, may be negative."""

    name: ClassVar[str] = "csfid_debiased"
    bounds = (None, None)
    undefined: ClassVar[str] = "a class with fewer than two edits or references"
    definition: ClassVar[str] = (
        "CSFID less tr(S)/n of edits and of reference in each class: an unbiased estimate of the class gaps."
    )
    source: ClassVar[str] = "the unbiased estimate of " + CSFID.source
    _form: ClassVar[Form] = "debiased"

    def _scale(self) -> str:
        return "squared distance of class means less tr(S)/n of both sets, classes weighted equally, float64"


class CSFIDDiag(CSFID):
    """CSFID with the covariance term of diagonal Gaussians; not what FlexIT reports; lower is better."""

    name: ClassVar[str] = "csfid_diag"
    undefined: ClassVar[str] = CSFIDDebiased.undefined
    definition: ClassVar[str] = "Mean over target classes of the Fréchet distance between Gaussians with diagonal covariance."
    source: ClassVar[str] = "the distance that the name suggests; not the number of " + CSFID.source
    _form: ClassVar[Form] = "diag"

    def _scale(self) -> str:
        return "squared distance of class means plus squared distance of deviations, classes weighted equally, float64"
