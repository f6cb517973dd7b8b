"""Precision and recall for generative models, density and coverage: sets compared by their nearest neighbours.

Origin: Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models", arXiv 1904.06991 (equations
1 and 2), reference code torch-fidelity `metric_prc.py`; Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative
Models", arXiv 2002.09797 (equations 5 and 6), reference code: the prdc package.

Definition: the ball of a picture reaches to its k-th nearest neighbour within its own set, itself not counted. The border of a ball
belongs to it for precision and recall, as in torch-fidelity, and does not for density and coverage, as in prdc; with it the density of a
set against itself would be (k + 1) / k instead of 1.

    precision  share of edits within the ball of some reference picture: are the edits like real pictures?
    recall     share of reference pictures within the ball of some edit: do the edits reach all kinds of real pictures?
    density    number of reference balls that an edit lies in, mean over edits, over k; may exceed 1
    coverage   share of reference pictures whose ball holds some edit

Equal pictures, that is equal rows of features, count once in either set. A reference that holds a picture more than k times (one source
with many prompts) would have balls of radius 0 there, which no other picture lies in. Euclidean distances in float64 from differences,
not from products, so that equal pictures are at 0.

Fingerprint: the extractor's network, weights, resolution, resize and range, and k. Values depend on both n: compare at equal n only.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metrics.base import Bounds, FeatureSet, MetricError, MetricWarning
from metrics.networks.images import BATCH_SIZE, check_whole
from metrics.toolbox.set_metric import ExtractorMetric, Small

__all__ = ["Coverage", "Density", "NeighbourMetric", "Neighbourhood", "Precision", "Recall", "prdc"]

Features = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]

BLOCK = 1024


@dataclass(frozen=True)
class Neighbourhood:
    """All four values of one pair of sets, each in 0..1 but density, which is >= 0."""

    precision: float
    recall: float
    density: float
    coverage: float


def prdc(edits: Features, reference: Features, neighbours: int = 3) -> Neighbourhood:
    """The four values of (n, d) edits and (m, d) references, equal rows merged; higher is better.

    Raises:
        MetricError: a set with no more different rows than `neighbours`.
    """
    edits, reference = (rows[_firsts(rows)] for rows in (edits, reference))
    return _compare(edits, _radii(edits, neighbours), reference, _radii(reference, neighbours), neighbours)


def _firsts(rows: Features) -> NDArray[np.bool_]:
    """Bool (n,), True where a row of (n, d) is none that came before."""
    positive = rows + rows.dtype.type(0)  # -0.0 becomes 0.0, so that equal rows have equal bytes
    first = {row.tobytes(): place for place, row in reversed(list(enumerate(positive)))}
    chosen = np.zeros(len(rows), dtype=np.bool_)
    chosen[list(first.values())] = True
    return chosen


def _compare(edits: Features, edit_radii: Floats, reference: Features, radii: Floats, neighbours: int) -> Neighbourhood:
    precise, dense = 0, 0
    recalled, covered = np.zeros(len(reference), dtype=np.bool_), np.zeros(len(reference), dtype=np.bool_)
    for block, distances in _distances(edits, reference):
        within = distances < radii
        precise += int((distances <= radii).any(axis=1).sum())
        dense += int(within.sum())
        covered |= within.any(axis=0)
        recalled |= (distances <= edit_radii[block, None]).any(axis=0)
    n = len(edits)
    return Neighbourhood(precise / n, float(recalled.mean()), dense / (neighbours * n), float(covered.mean()))


def _radii(rows: Features, neighbours: int) -> Floats:
    """Distance (n,) of each row to its k-th nearest neighbour, itself not counted."""
    if len(rows) <= neighbours:
        raise MetricError(
            f"prdc: expected more than {neighbours} different rows in each set, got {len(rows)}; score more samples"
        )
    return np.concatenate([np.partition(distances, neighbours, axis=1)[:, neighbours] for _, distances in _distances(rows, rows)])


def _distances(first: Features, second: Features) -> Iterator[tuple[slice, Floats]]:
    from scipy.spatial.distance import cdist

    wide = np.asarray(second, dtype=np.float64)
    for start in range(0, len(first), BLOCK):
        block = slice(start, start + BLOCK)
        yield block, np.asarray(cdist(np.asarray(first[block], dtype=np.float64), wide))


class NeighbourMetric(ExtractorMetric):
    """One of the four values of `prdc`.

    Args:
        features: the network to see through, see `metrics.networks.extractors`.
        neighbours: k.
        resize: how pictures reach Inception, see `metrics.networks.inception`; "default" for all else.
        device: torch device of the extractor.
        batch_size: rows per forward pass.
        min_samples: samples in either set from which the value is trusted; None: k + 1, which the definition needs.
        small: what to do with fewer: "refuse" (NaN) or "warn".

    Raises:
        MetricError: no such extractor, weights missing, or a parameter out of bounds.
    """

    version: ClassVar[str] = "2"
    bounds: Bounds = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True
    border: ClassVar[str] = "included"
    usual: ClassVar[int] = 3

    def __init__(
        self,
        features: str = "",
        *,
        neighbours: int | None = None,
        resize: str = "default",
        device: str = "cpu",
        batch_size: int = BATCH_SIZE,
        min_samples: int | None = None,
        small: Small = "warn",
    ) -> None:
        given = self.usual if neighbours is None else neighbours
        self._neighbours = check_whole(given, f"{self.name} neighbours", 1, f"{self.usual} is usual")
        self.fewest = self._neighbours + 1
        super().__init__(features, resize=resize, device=device, batch_size=batch_size, min_samples=min_samples, small=small)

    def _scale(self) -> str:
        ball = f"{self.name} over balls to the neighbour k = {self._neighbours}, itself not counted, border {self.border}"
        return f"{ball}, equal pictures counted once, float64"

    def value(self, edits: FeatureSet, reference: FeatureSet) -> float:
        """As `ExtractorMetric.value`, of the different pictures of either set; a MetricWarning says how many were merged."""
        self._check(edits, reference)
        different = [rows.subset(_firsts(rows.features)) for rows in (edits, reference)]
        more = [len(rows) - len(kept) for rows, kept in zip((edits, reference), different, strict=True)]
        if any(more):
            warnings.warn(
                f"{self.name}: {more[0]} of {len(edits)} edits and {more[1]} of {len(reference)} references are equal to another "
                "one; they count once",
                MetricWarning,
                stacklevel=2,
            )
        return super().value(*different)

    def _values(self, edits: FeatureSet, reference: FeatureSet, subsets: NDArray[np.bool_]) -> Floats:
        reference = reference.subset(_firsts(reference.features))
        parts = [part.subset(_firsts(part.features)) for part in map(edits.subset, subsets)]
        sound = [min(len(part), len(reference)) >= self.fewest for part in parts]
        return np.array([self._value(part, reference) if here else np.nan for part, here in zip(parts, sound, strict=True)])

    def _study(self, reference: FeatureSet) -> Any:
        return _radii(reference.features, self._neighbours)

    def _value(self, edits: FeatureSet, reference: FeatureSet) -> float:
        own = _radii(edits.features, self._neighbours)
        found = _compare(edits.features, own, reference.features, self._known(reference), self._neighbours)
        return float(getattr(found, self.name))


class Precision(NeighbourMetric):
    """Share of edits that lie among the reference pictures; higher is better. Parameters as `NeighbourMetric`."""

    name: ClassVar[str] = "precision"
    definition: ClassVar[str] = "Share of edits within the k-nearest-neighbour ball of some reference picture."
    source: ClassVar[str] = "Kynkäänniemi et al. 2019, arXiv 1904.06991; torch-fidelity metric_prc.py"


class Recall(NeighbourMetric):
    """Share of reference pictures that lie among the edits; higher is better. Parameters as `NeighbourMetric`."""

    name: ClassVar[str] = "recall"
    definition: ClassVar[str] = "Share of reference pictures within the k-nearest-neighbour ball of some edit."
    source: ClassVar[str] = Precision.source


class Density(NeighbourMetric):
    """How densely the reference lies around the edits; higher is better. Parameters as `NeighbourMetric`."""

    name: ClassVar[str] = "density"
    bounds = (0.0, None)
    border = "excluded"
    usual: ClassVar[int] = 5
    definition: ClassVar[str] = "Mean number of reference k-nearest-neighbour balls that an edit lies in, over k."
    source: ClassVar[str] = "Naeem et al. 2020, arXiv 2002.09797"


class Coverage(NeighbourMetric):
    """Share of reference pictures with an edit nearby; higher is better. Parameters as `NeighbourMetric`."""

    name: ClassVar[str] = "coverage"
    border = "excluded"
    usual: ClassVar[int] = 5
    definition: ClassVar[str] = "Share of reference pictures whose k-nearest-neighbour ball holds some edit."
    source: ClassVar[str] = Density.source
