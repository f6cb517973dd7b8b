"""CLIP score: cosine between an edit and the text it should show.

Origin: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", arXiv 2103.00020, and Hessel et
al., "CLIPScore", arXiv 2104.08718; reference code: open_clip, which runs here with its own preprocessing and tokenizer.

Definition: scale x cosine of image embedding and target-text embedding; no prompt prefix, no clamping, one value per edit.

Fingerprint: architecture with activation, tokenizer and context length, weights, resolution, resize and crop, input
normalisation, scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray

from metrics.base import Card, Image, MetricError, PairBatch, PairMetric
from metrics.images import BATCH_SIZE, check_batch_size, check_images, check_number, in_batches, open_device
from metrics.openclip import open_clip_network

__all__ = ["CLIPScore"]


class CLIPScore(PairMetric):
    """Scaled cosine of edit and target text; higher is better.

    Args:
        model: an open_clip model name, or "local-dir:/path" (open_clip_config.json, weights, tokenizer files).
        pretrained: an open_clip tag (open_clip fetches it from its hub if it is not cached) or a weight file; "" for local-dir,
            which holds its own weights.
        quick_gelu: activation the weights were trained with; needed only for a weight file of an architecture that exists with
            both.
        scale: factor on the cosine, positive.
        device: torch device.
        batch_size: rows per forward pass.

    Attributes:
        context_length: tokens the text tower reads, start and end marks included.

    Raises:
        MetricError: the model cannot be had, would be left without weights, or would run with the wrong activation or tokenizer.
    """

    name: ClassVar[str] = "clip"

    def __init__(
        self,
        model: str = "ViT-B-32",
        pretrained: str | None = None,
        *,
        quick_gelu: bool | None = None,
        scale: float = 100.0,
        device: str = "cpu",
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self._device = open_device(device)
        self._batch_size = check_batch_size(batch_size)
        self._scale = check_number(scale, "clip scale", "100 is the default")
        self._network = open_clip_network(model, pretrained, quick_gelu, self._device)
        self._texts: dict[str, NDArray[np.float32]] = {}
        self._over_context: set[str] = set()
        self.context_length = self._network.context_length
        self.card = Card(
            name=self.name,
            version="1",
            network=self._network.description,
            weights=self._network.weights,
            resolution=self._network.resolution,
            resize=self._network.resize,
            value_range=self._network.value_range,
            scale=f"{self._scale:.17g} x cosine, not clamped",
            masking="whole picture",
            nan_rule="never",
            higher_is_better=True,
            definition="Scaled cosine between the image embedding of the edit and the text embedding of the target text.",
            source="Radford et al. 2021, arXiv 2103.00020; Hessel et al. 2021, arXiv 2104.08718; open_clip",
        )

    @property
    def texts_over_context(self) -> int:
        """How many different texts so far were longer than the context and scored without their end."""
        return len(self._over_context)

    @property
    def over_context(self) -> tuple[str, ...]:
        """Those texts, sorted."""
        return tuple(sorted(self._over_context))

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        if not len(batch):
            return np.empty((0,), dtype=np.float64)
        images = self.image_features(check_images(batch.edits, "edits")).astype(np.float64)
        texts = self.text_features(batch.target_texts).astype(np.float64)
        return np.asarray(self._scale * np.sum(_unit(images) * _unit(texts), axis=1))

    def image_features(self, images: list[Image]) -> NDArray[np.float32]:
        """Embeddings (n, d) of uint8 (H, W, 3) pictures, not normalised; computed anew on each call.

        Raises:
            MetricError: a row is not a picture.
        """
        return in_batches(self._encode_images, check_images(images, "images"), batch_size=self._batch_size)

    def text_features(self, texts: Sequence[object]) -> NDArray[np.float32]:
        """Embeddings (n, d) of texts, not normalised; each different text is computed once in the life of the metric.

        Raises:
            MetricError: a row is not a text, or is blank.
        """
        checked = [_check_text(text, row) for row, text in enumerate(texts)]
        new = [text for text in dict.fromkeys(checked) if text not in self._texts]
        if new:
            tokens, over = self._network.tokenise(new)
            features = in_batches(self._encode_texts, list(tokens), batch_size=self._batch_size)
            self._texts.update(zip(new, features, strict=True))
            self._over_context.update(text for text, cut in zip(new, over, strict=True) if cut)
        return np.stack([self._texts[text] for text in checked])

    def _encode_images(self, images: list[Image]) -> NDArray[np.float32]:
        pixels = torch.stack([self._network.preprocess(PIL.Image.fromarray(image)) for image in images])
        features: NDArray[np.float32] = self._network.model.encode_image(pixels.to(self._device)).float().cpu().numpy()
        return features

    def _encode_texts(self, tokens: list[NDArray[np.int64]]) -> NDArray[np.float32]:
        rows = torch.from_numpy(np.stack(tokens)).to(self._device)
        features: NDArray[np.float32] = self._network.model.encode_text(rows).float().cpu().numpy()
        return features


def _check_text(text: object, row: int) -> str:
    if not isinstance(text, str) or not text.strip():
        raise MetricError(f"target_texts[{row}]: expected a text, got {text!r}; say what the edit should show")
    return text


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))
