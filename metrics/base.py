"""The metric contract: what a metric is given and what it answers. What the number is says its card (`metrics.card`, offered here too)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from metrics.card import PIXELS, Card, fingerprint, sight_of

__all__ = [
    "PIXELS",
    "Bounds",
    "Card",
    "Embedded",
    "FeatureSet",
    "Image",
    "MetricError",
    "MetricWarning",
    "PairBatch",
    "PairMetric",
    "ScoreMap",
    "SetMetric",
    "SpatialMetric",
    "fingerprint",
    "sight_of",
]

Image = NDArray[np.uint8]
"""One picture: uint8 (H, W, 3), RGB, 0..255."""

ScoreMap = NDArray[np.float32]
"""Where the score of an edit comes from: float32 (h, w) >= 0, coarser than the picture; its mean is the score."""

Bounds = tuple[float | None, float | None]
"""Smallest and largest value that a metric can take, whatever the pictures are; None where there is no such end."""

Embedded = Mapping[str, Literal["judge", "features"]]
"""Parameter of a metric to the kind of network it takes: an open_clip model ("judge") or a ResNet folder ("features"). A harness with
networks of its own fills such a parameter where the user leaves it out."""


class MetricError(Exception):
    """A metric cannot be built or cannot score what it was given; the message is one line that says what to do."""


class MetricWarning(UserWarning):
    """A value was computed as asked, but should not be trusted without reading the message."""


@dataclass(frozen=True, eq=False)
class PairBatch:
    """Edits with all that a pair metric may compare them with; one row per edit, all lists of one length.

    Attributes:
        edits: edited pictures, uint8 (H, W, 3).
        sources: the pictures that were edited.
        target_texts: what was asked for.
        source_texts: captions of the sources, None where unknown.
        masks: bool (H, W), True where the edit belongs, None where unknown.
        truths: ground-truth edits, None where unknown.
        source_classes: classes of the sources, None where unknown; left out, all are unknown.
        target_classes: classes that the edits should have, likewise.
        categories: kinds of edits, likewise.

    Raises:
        MetricError: the lists differ in length.
    """

    edits: list[Image]
    sources: list[Image]
    target_texts: list[str]
    source_texts: list[str | None]
    masks: list[NDArray[np.bool_] | None]
    truths: list[Image | None]
    source_classes: list[str | None] = field(default_factory=list)
    target_classes: list[str | None] = field(default_factory=list)
    categories: list[str | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("source_classes", "target_classes", "categories"):
            if not getattr(self, name):
                object.__setattr__(self, name, [None] * len(self.edits))
        lengths = {name: len(rows) for name, rows in vars(self).items()}
        if len(set(lengths.values())) > 1:
            raise MetricError(f"PairBatch: expected lists of one length, got {lengths}; give one entry (or None) per edit")

    def __len__(self) -> int:
        return len(self.edits)


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Features of a set of pictures and the class of each.

    Attributes:
        features: float32 or float64 (n, d), finite, n >= 1.
        classes: one class name per row; None where a picture has none.

    Raises:
        MetricError: another shape or dtype, a value that is not finite, or lengths that differ.
    """

    features: NDArray[np.floating[Any]]
    classes: list[str | None]

    def __post_init__(self) -> None:
        features: object = self.features
        if not isinstance(features, np.ndarray) or features.ndim != 2 or not len(features) or features.dtype.kind != "f":
            got = f"{features.dtype} {features.shape}" if isinstance(features, np.ndarray) else type(features).__name__
            raise MetricError(f"FeatureSet.features: expected a floating array (n >= 1, d), got {got}; extract features first")
        if len(self.classes) != len(features):
            raise MetricError(
                f"FeatureSet.classes: expected {len(features)} entries, one per feature row, got {len(self.classes)}; "
                "use None for a picture without a class"
            )
        finite = np.isfinite(features).all(axis=1)
        if not finite.all():
            raise MetricError(
                f"FeatureSet.features: row {int(np.flatnonzero(~finite)[0])} is not finite; "
                "look at that picture and at the extractor's weights"
            )

    def __len__(self) -> int:
        return len(self.features)

    def subset(self, chosen: NDArray[np.bool_]) -> FeatureSet:
        """The rows that a bool mask (n,) marks, at least one."""
        return FeatureSet(self.features[chosen], [name for name, here in zip(self.classes, chosen, strict=True) if here])


class PairMetric(ABC):
    """Scores each edit by itself.

    What a metric owes, whoever wrote it:

    - It is made from keyword arguments, those of a spec's `params`; a harness adds `device` (a torch device's name) and, on a GPU,
      `batch_size` (rows per forward pass), each only where the constructor has a parameter of that name. All that can be wrong with the
      parameters or the weights is a MetricError there, before an edit is scored.
    - `card` is fixed from then on and holds everything that changes a score; its fingerprint is how scores are known again.
    - `score` may be called any number of times, with any batches in any order, in one thread of one process at a time. A score depends on
      its own row only: not on the rest of the batch, beyond the rounding that `metrics.networks.images` states, nor on calls before.
    - The arrays of a batch are read and never written to; no global random generator is used; nothing is downloaded unasked.
    - NaN means that the card's rule leaves the value undefined there, which counts as an answer. What cannot be read is a MetricError.

    Attributes:
        name: registered name.
        card: identity of its numbers.
        bounds: ends of the metric's range; where some edits are missing, they bound the mean over all.
        binary: whether a score is one of these two ends and never between them: its mean is a share, and has the interval of one.
        reads: members of the batch that it reads beside the edits, such as "sources" or "masks"; of the others it knows nothing, and
            whoever builds a batch may put anything there. May depend on the parameters.
        embedded: parameters that name a network, see `Embedded`.
    """

    name: ClassVar[str]
    card: Card
    reads: frozenset[str] = frozenset()
    bounds: Bounds = (None, None)
    binary: ClassVar[bool] = False
    embedded: ClassVar[Embedded] = {}

    @abstractmethod
    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        """One float64 per row, shape (n,); NaN where the card's NaN rule says that the value is undefined.

        Raises:
            MetricError: a row is not what the metric can read; the message names list and row.
        """


class SpatialMetric(PairMetric):
    """A pair metric whose score is the mean of what it finds at each place of the picture. Who overrides `score` overrides `score_maps`.

    Attributes:
        spatial: whether it is one with its parameters.
    """

    spatial: bool = True

    @abstractmethod
    def score_maps(self, batch: PairBatch) -> tuple[NDArray[np.float64], list[ScoreMap]]:
        """What `score` answers, and of each row where that comes from.

        Raises:
            MetricError: as `score` does, or `spatial` is False.
        """


class SetMetric(ABC):
    """Scores all edits of one editor at one knob value against a reference set.

    `features` and `value` are apart so that features can be kept, shared between metrics with equal `extractor`, and so that
    statistics are always derived from them.

    What it owes beside what a PairMetric owes (parameters, card, calls, arrays):

    - `features` of a picture depends on that picture and on what `extractor` names, so that a row may come from a store that another
      metric with an equal `extractor` filled; `value` gets such rows and nothing else, and may not ask for pictures.
    - `value` is a function of its two sets alone and has no memory that shows: the same sets give the same number, whatever was asked in
      between. The order of the rows means nothing.
    - What is merely doubtful (few samples, say) is a MetricWarning and a value; what is undefined is NaN, with a warning that says why.

    Attributes:
        name: registered name.
        card: identity of its numbers.
        min_samples: smallest number of edits it scores.
        bounds: ends of its range, beyond which no interval reaches; None where there is none, as below an unbiased estimate of a
            squared distance, which may be negative.
        uses_classes: whether the classes of pictures matter.
        embedded: parameters that name a network, see `Embedded`.
    """

    name: ClassVar[str]
    card: Card
    min_samples: int
    bounds: Bounds = (None, None)
    uses_classes: ClassVar[bool] = False
    embedded: ClassVar[Embedded] = {}

    @property
    @abstractmethod
    def extractor(self) -> Hashable:
        """Key of the feature extractor: metrics with equal keys give equal features for equal pictures."""

    @abstractmethod
    def features(self, images: list[Image]) -> NDArray[np.floating[Any]]:
        """Features (n, d) of n pictures, in order.

        Raises:
            MetricError: a picture is not uint8 (H, W, 3), or there is none; the message names the row.
        """

    @abstractmethod
    def value(self, edits: FeatureSet, reference: FeatureSet) -> float:
        """The metric of the edits against the reference; NaN where the card's NaN rule says so.

        Raises:
            MetricError: too few samples, differing dimensions, or a class without a reference.
        """

    def values(self, edits: FeatureSet, reference: FeatureSet, subsets: NDArray[np.bool_]) -> NDArray[np.float64]:
        """`value` for each of the subsets of the edits that the rows of bool (k, n) mark; float64 (k,).

        Intervals by subsampling need many; a metric that can share work between subsets overrides this.
        """
        return np.array([self.value(edits.subset(rows), reference) for rows in subsets], dtype=np.float64)
