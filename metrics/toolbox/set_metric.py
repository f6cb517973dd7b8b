"""What set metrics share: an extractor, a policy for few samples, and work on the reference that is done once.

Few samples. A distance between sets is defined from a number of samples that its arithmetic sets, and means something only from a
larger one, `enough`. Between the two the parameter `small` decides:

    refuse      NaN and a MetricWarning that says why
    warn        the value and a MetricWarning
    substitute  the value of another metric that is sound there, and a MetricWarning that names it

Below what the arithmetic needs the value is NaN whatever the policy. A harness prints n beside every value.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Hashable
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from metrics.base import Card, Embedded, FeatureSet, Image, MetricError, MetricWarning, SetMetric, sight_of
from metrics.networks.base import Extractor
from metrics.networks.extractors import open_extractor
from metrics.networks.images import BATCH_SIZE, check_whole

__all__ = ["ExtractorMetric", "Remembered", "Small"]

Small = Literal["refuse", "warn", "substitute"]
T = TypeVar("T")


class Remembered(Generic[T]):
    """A function of a reference set that keeps its last result, and gives it again for a set of equal contents."""

    def __init__(self, function: Callable[[FeatureSet], T]) -> None:
        self._function = function
        self._last: tuple[NDArray[Any], list[str | None], T] | None = None

    def __call__(self, reference: FeatureSet) -> T:
        last = self._last
        if last is None or last[1] != reference.classes or not np.array_equal(last[0], reference.features):
            last = (reference.features.copy(), list(reference.classes), self._function(reference))
            self._last = last
        return last[2]


class ExtractorMetric(SetMetric):
    """A set metric over the features of an extractor.

    Args:
        features: the network to see through, see `metrics.networks.extractors`.
        resize: how pictures reach Inception, see `metrics.networks.inception`; "default" for all else.
        device: torch device of the extractor.
        batch_size: rows per forward pass.
        min_samples: number of samples in either set from which the value is trusted; None takes the metric's own.
        small: what to do with fewer: "refuse", "warn" or, where the metric names one, "substitute".

    Attributes:
        fewest: samples in either set that the arithmetic needs.
        substitute: name of the metric that can stand in, "" where there is none.
        enough: `min_samples` as given or by default.
        min_samples: below this the value is NaN: `enough` where the policy is to refuse, else `fewest`.

    Raises:
        MetricError: no such extractor, weights missing, or a parameter out of bounds.
    """

    version: ClassVar[str] = "1"
    fewest: int = 1
    substitute: ClassVar[str] = ""
    higher_is_better: ClassVar[bool] = False
    undefined: ClassVar[str] = ""
    definition: ClassVar[str]
    source: ClassVar[str]
    embedded: ClassVar[Embedded] = {"features": "features"}

    def __init__(
        self,
        features: str = "",
        *,
        resize: str = "default",
        device: str = "cpu",
        batch_size: int = BATCH_SIZE,
        min_samples: int | None = None,
        small: Small = "warn",
    ) -> None:
        choices = [choice for choice in get_args(Small) if choice != "substitute" or self.substitute]
        if small not in choices:
            raise MetricError(f"{self.name} small: expected one of {', '.join(choices)}, got {small!r}; 'warn' is the default")
        self._small: Small = small
        if small == "substitute":  # what stands in is unbiased, and may be negative where this metric is not
            self.bounds = (None, None)
        self._extract = self._open(features, device, batch_size, resize)
        self._known = Remembered(self._study)
        given = self._enough() if min_samples is None else min_samples
        self.enough = check_whole(given, f"{self.name} min_samples", self.fewest, "the arithmetic needs as many")
        self.min_samples = self.enough if small == "refuse" else self.fewest
        identity = self._extract.identity
        rules = [f"below {self.min_samples} samples in either set"] if self.min_samples > 1 else []
        instead = f"; below {self.enough} samples {self.substitute} instead" if small == "substitute" else ""
        self.card = Card(
            name=self.name,
            version=self.version,
            **sight_of(identity),
            scale=self._scale() + instead,
            masking="whole picture",
            nan_rule="; ".join([*rules, *([self.undefined] if self.undefined else [])]) or "never",
            higher_is_better=self.higher_is_better,
            definition=self.definition,
            source=self.source,
        )

    @property
    def extractor(self) -> Hashable:
        return self._extract.identity.key

    def features(self, images: list[Image]) -> NDArray[np.floating[Any]]:
        return self._extract(images)

    def value(self, edits: FeatureSet, reference: FeatureSet) -> float:
        """The metric of the edits against the reference, float64; NaN with a MetricWarning where it is undefined.

        Raises:
            MetricError: differing dimensions, or what the metric says beyond that.
        """
        self._check(edits, reference)
        if min(len(edits), len(reference)) >= self.enough:
            return self._value(edits, reference)
        got = f"{self.name}: {len(edits)} edits against {len(reference)} references, fewer than {self.enough}"
        if min(len(edits), len(reference)) < self.min_samples:
            warnings.warn(f"{got}: no value", MetricWarning, stacklevel=2)
            return float("nan")
        if self._small == "substitute":
            warnings.warn(f"{got}: this is {self.substitute} instead", MetricWarning, stacklevel=2)
            return self._instead(edits, reference)
        warnings.warn(f"{got}: {self._caution()}", MetricWarning, stacklevel=2)
        return self._value(edits, reference)

    def values(self, edits: FeatureSet, reference: FeatureSet, subsets: NDArray[np.bool_]) -> NDArray[np.float64]:
        """The metric itself for each subset of the edits that a row of bool (k, n) marks; float64 (k,).

        The policy for few samples does not apply; a subset, or a reference, below `fewest` gives NaN.

        Raises:
            MetricError: as `value`.
        """
        self._check(edits, reference)
        found = np.full(len(subsets), np.nan)
        sound = (subsets.sum(axis=1) >= self.fewest) & (len(reference) >= self.fewest)
        if sound.any():
            found[sound] = self._values(edits, reference, subsets[sound])
        return found

    @abstractmethod
    def _value(self, edits: FeatureSet, reference: FeatureSet) -> float:
        """The value of sets of `fewest` samples or more and of one dimension."""

    def _values(self, edits: FeatureSet, reference: FeatureSet, subsets: NDArray[np.bool_]) -> NDArray[np.float64]:
        """`_value` of each subset; overridden where subsets can share work."""
        return np.array([self._value(edits.subset(rows), reference) for rows in subsets], dtype=np.float64)

    @abstractmethod
    def _scale(self) -> str:
        """The scale in the words of a card, parameters of the metric included."""

    def _open(self, features: str, device: str, batch_size: int, resize: str) -> Extractor:
        return open_extractor(features, device, batch_size, resize)

    def _study(self, reference: FeatureSet) -> Any:
        """What of the reference is worth computing once; `_known(reference)` gives it."""
        return reference

    def _enough(self) -> int:
        return self.fewest

    def _caution(self) -> str:
        return "compare values at equal n only"

    def _instead(self, edits: FeatureSet, reference: FeatureSet) -> float:
        raise NotImplementedError(f"{self.name} names no substitute")

    def _check(self, edits: FeatureSet, reference: FeatureSet) -> None:
        if edits.features.shape[1] != reference.features.shape[1]:
            raise MetricError(
                f"{self.name}: expected features of one dimension, got {edits.features.shape[1]} and "
                f"{reference.features.shape[1]}; use one extractor for both sets"
            )
