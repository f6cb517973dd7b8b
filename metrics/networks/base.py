"""What a network is to a metric: pictures or texts to rows of features, and all that identifies them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from metrics.base import Image, MetricError, fingerprint
from metrics.networks.images import check_batch_size, check_images, in_batches, open_device

__all__ = ["Extractor", "Identity", "Maps", "TextExtractor"]

Maps = list[torch.Tensor]
"""Features of n pictures: one tensor (n, ...) per layer."""


@dataclass(frozen=True)
class Identity:
    """The part of a card that an extractor determines; the fields are those of `metrics.base.Card`."""

    network: str
    weights: str
    resolution: str
    resize: str
    value_range: str

    @property
    def key(self) -> str:
        """12 hex digits; extractors with equal keys give equal features."""
        return fingerprint(asdict(self))


class Extractor(ABC):
    """Pictures to features, float32 (n, d); a row does not depend on its batch-mates (see `metrics.networks.images`).

    Attributes:
        identity: what determines the features.
        dimensions: d.
    """

    identity: Identity
    dimensions: int

    def __init__(self, device: str, batch_size: int) -> None:
        self._device = open_device(device)
        self._batch_size = check_batch_size(batch_size)

    def __call__(self, images: list[Image]) -> NDArray[np.float32]:
        """Features of n >= 1 pictures, in order.

        Raises:
            MetricError: no pictures, or one that is not uint8 (H, W, 3).
        """
        if not images:
            raise MetricError("images: expected at least one picture, got none; leave out editors that have no finished edits")
        return in_batches(self._features, check_images(images, "images"), batch_size=self._batch_size)

    @abstractmethod
    def _features(self, images: list[Image]) -> NDArray[np.float32]:
        """Features of one full batch of pictures of one size."""


class TextExtractor(ABC):
    """Texts to features, float32 (n, d); a row depends on its own text only."""

    identity: Identity

    @abstractmethod
    def __call__(self, texts: list[str]) -> NDArray[np.float32]:
        """Features of n >= 1 texts, in order.

        Raises:
            MetricError: a row is not a text, or is blank.
        """

    def over_context(self, texts: Sequence[str]) -> list[str]:
        """Those of `texts` that are read without their end, each once, in order; none, unless an extractor has a limit."""
        return []
