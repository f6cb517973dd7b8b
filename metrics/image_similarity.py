"""CLIP-I and DINO-I: cosine of the embeddings of an edit and of the true edit, or of its source.

Origin: Ruiz et al., "DreamBooth", arXiv 2208.12242 (both names). `to` says what the edit is compared with, and is part of the card:

- `to: truth`: columns CLIP-I and DINO of Zhang et al., "MagicBrush", arXiv 2306.10012 (`eval_clip_i` of `evaluation/image_eval.py`), with
  CLIP ViT-B/32 of OpenAI, and DINO ViT-S/16 by its class token, short side to 256 (bicubic), centre 224.
- `to: source`: CLIPim and DINO of Sheynin et al., "Emu Edit", arXiv 2311.10089, whose backbones are not known here; and the CLIP image
  similarity of Brooks et al., "InstructPix2Pix", arXiv 2211.09800, with CLIP ViT-L/14.

Where it departs: MagicBrush's code shows the network an edit as it was delivered, a run brings it to the size of its source first; on a GPU
its CLIP runs in float16, this in float32. InstructPix2Pix's code resizes bicubically without antialiasing and hands pixels in -1..1 to a
function that expects 0..1; here a picture is seen by the network's own preprocessing.

Cosines are not scaled or clamped. Undefined, and NaN, where the true edit is unknown.

Fingerprint: that of the network, and what the edit is compared with.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from metrics.base import Bounds, Card, Embedded, Image, MetricError, PairBatch, PairMetric, sight_of
from metrics.networks.base import Extractor
from metrics.networks.clip_towers import cosines, open_image_tower
from metrics.networks.dinov2 import DINOV2_PREFIX, DINOv2Extractor
from metrics.networks.images import BATCH_SIZE, check_images
from metrics.networks.vit import ViTExtractor
from metrics.toolbox.features import distinct
from metrics.toolbox.truths import known_truths

__all__ = ["CLIPImage", "DINOImage"]

MASKING = {"truth": "whole picture, compared with the true edit", "source": "whole picture, compared with the source"}
NAN_RULE = {"truth": "true edit unknown", "source": "never"}


class _ImageSimilarity(PairMetric):
    """Cosine of the features of two pictures, -1..1; 1 for equal pictures, higher is better."""

    bounds: Bounds = (-1.0, 1.0)
    title: ClassVar[str]
    source: ClassVar[str]

    def __init__(self, to: str) -> None:
        if to not in MASKING:
            raise MetricError(f"{self.name} to: expected truth or source, got {to!r}; 'truth' is the default")
        self._to = to
        self.reads = frozenset({f"{to}s"})

    @property
    @abstractmethod
    def _extractor(self) -> Extractor: ...

    def _card(self) -> Card:
        return Card(
            name=self.name,
            version="1",
            **sight_of(self._extractor.identity),
            scale="cosine, not clamped",
            masking=MASKING[self._to],
            nan_rule=NAN_RULE[self._to],
            higher_is_better=True,
            definition=f"Cosine between the {self.title} embeddings of the edit and of the {'true edit' if self._to == 'truth' else 'source'}.",
            source=self.source,
        )

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        edits, others = check_images(batch.edits, "edits"), self._others(batch)
        scores = np.full(len(edits), np.nan, dtype=np.float64)
        if others:
            pictures = [*(edits[row] for row in others), *others.values()]
            scores[list(others)] = cosines(*np.split(distinct(pictures, id, self._extractor), 2))
        return scores

    def _others(self, batch: PairBatch) -> dict[int, Image]:
        """Row to what its edit is compared with, where that is known."""
        return known_truths(batch) if self._to == "truth" else dict(enumerate(check_images(batch.sources, "sources")))


class CLIPImage(_ImageSimilarity):
    """CLIP-I, cosine of the CLIP embeddings of edit and true edit (or source), -1..1; higher is better.

    Args:
        model: an open_clip model name, or "local-dir:/path"; ViT-B-32 for MagicBrush's column.
        pretrained: an open_clip tag (openai for MagicBrush's column) or a weight file; "" for local-dir.
        to: "truth" or "source", what the edit is compared with.
        quick_gelu: activation of the weights, where a weight file alone does not tell.
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: the model cannot be had, would be left without weights, or would run with the wrong activation; or another `to`.
    """

    name = "clip_image"
    title = "CLIP image"
    source = "Ruiz et al. 2022, arXiv 2208.12242; Zhang et al. 2023, arXiv 2306.10012; open_clip"
    embedded: ClassVar[Embedded] = {"model": "judge"}

    def __init__(
        self,
        model: str = "ViT-B-32",
        pretrained: str | None = None,
        *,
        to: str = "truth",
        quick_gelu: bool | None = None,
        device: str = "cpu",
        batch_size: int = BATCH_SIZE,
    ) -> None:
        super().__init__(to)
        self._images = open_image_tower(model, pretrained, quick_gelu, device, batch_size)
        self.card = self._card()

    @property
    def _extractor(self) -> Extractor:
        return self._images


class DINOImage(_ImageSimilarity):
    """DINO-I, cosine of the DINO embeddings of edit and true edit (or source), -1..1; higher is better.

    Args:
        net: "folder:/path" of a ViT in transformers' format, DINO ViT-S/16 for the published columns, or "dinov2:/path" of a DINOv2.
        to: "truth" or "source", what the edit is compared with.
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: the folder cannot be read, or another `to`.
    """

    name = "dino_image"
    title = "DINO class-token"
    source = "Ruiz et al. 2022, arXiv 2208.12242; Zhang et al. 2023, arXiv 2306.10012; Caron et al. 2021, arXiv 2104.14294"

    def __init__(self, net: str, *, to: str = "truth", device: str = "cpu", batch_size: int = BATCH_SIZE) -> None:
        super().__init__(to)
        if net.startswith(DINOV2_PREFIX):
            self._images: Extractor = DINOv2Extractor(net, device, batch_size)
        else:
            self._images = ViTExtractor(net, f"{self.name} net", device, batch_size)
        self.card = self._card()

    @property
    def _extractor(self) -> Extractor:
        return self._images
