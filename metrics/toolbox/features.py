"""Pair metrics that look at features alone: what a conductor may extract once, keep, and share between metrics.

A metric that reads embeddings of edit, source and texts has no need of the pictures. It names its extractors, and whoever holds the
features (a store on disk, or `FeatureMetric.score` for a batch in memory) hands them over as `PairFeatures`. Metrics whose
extractors have equal keys thus share one pass over the pictures.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrics.base import Image, MetricError, PairBatch, PairMetric
from metrics.networks.base import Extractor, TextExtractor
from metrics.networks.images import check_images

__all__ = ["FeatureMetric", "PairFeatures", "distinct"]

Rows = NDArray[np.floating[Any]]

SIDES = ("sources", "target_texts", "source_texts")
"""What a metric may read beside the edits."""


@dataclass(frozen=True, eq=False)
class PairFeatures:
    """Features of n edits and of what they are compared with, float32 or float64 (n, d), as the extractors gave them.

    Attributes:
        edits: features of the edited pictures.
        sources: of the pictures that were edited; None where the metric does not read them.
        target_texts: of what was asked for; None where the metric does not read them.
        source_texts: of the captions of the sources, a row of NaN where the caption is unknown; None where not read.

    Raises:
        MetricError: a member is not two-dimensional, or the members differ in length.
    """

    edits: Rows
    sources: Rows | None = None
    target_texts: Rows | None = None
    source_texts: Rows | None = None

    def __post_init__(self) -> None:
        shapes = {name: rows.shape for name, rows in vars(self).items() if rows is not None}
        if any(len(shape) != 2 for shape in shapes.values()) or len({shape[0] for shape in shapes.values()}) > 1:
            raise MetricError(f"PairFeatures: expected arrays (n, d) of one length n, got {shapes}; give one row per edit")

    def __len__(self) -> int:
        return len(self.edits)


class FeatureMetric(PairMetric):
    """A pair metric that is a function of features.

    Attributes:
        reads: what it compares the edits with, of "sources", "target_texts" and "source_texts".
        image_extractor: pictures to features, for edits and sources alike.
        text_extractor: texts to features; None for a metric that reads no text.
    """

    reads: frozenset[str]
    image_extractor: Extractor
    text_extractor: TextExtractor | None = None

    @abstractmethod
    def score_features(self, features: PairFeatures) -> NDArray[np.float64]:
        """One float64 per row, shape (n,); NaN where the card's NaN rule says that the value is undefined.

        Args:
            features: the members that `reads` names, and the edits.
        """

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        """As `PairMetric.score`; a picture or text that occurs more than once in the batch is extracted once."""
        if not len(batch):
            return np.empty((0,), dtype=np.float64)
        pictures = {"edits": batch.edits} | ({"sources": batch.sources} if "sources" in self.reads else {})
        for name, images in pictures.items():
            check_images(images, name)
        members = {name: distinct(images, id, self.image_extractor) for name, images in pictures.items()}
        texts = {name: list(getattr(batch, name)) for name in SIDES if name in self.reads - {"sources"}}
        if texts:
            if self.text_extractor is None:
                raise MetricError(f"{self.name}: it reads {' and '.join(texts)} and has no text extractor; give it one")
            rows = distinct([text for column in texts.values() for text in column], str, self.text_extractor)
            members |= dict(zip(texts, np.split(rows, len(texts)), strict=True))
        return self.score_features(PairFeatures(**members))


def distinct(
    items: Sequence[Image | None] | Sequence[str | None],
    key: Callable[[Any], Any],
    extract: Callable[[list[Any]], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Rows (n, d) of `items`, of which those with equal `key` are extracted once; None gives a row of NaN.

    Where all items are None the rows are (n, 1).
    """
    first = {key(item): row for row, item in reversed(list(enumerate(items))) if item is not None}
    order = sorted(first.values())
    if not order:
        return np.full((len(items), 1), np.nan, dtype=np.float32)
    found = extract([items[row] for row in order])
    place = {key(items[row]): number for number, row in enumerate(order)}
    rows = [np.full(found.shape[1], np.nan, dtype=found.dtype) if item is None else found[place[key(item)]] for item in items]
    return np.stack(rows)
