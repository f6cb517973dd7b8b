"""The two towers of an open_clip network as feature extractors, with the network's own preprocessing and tokenizer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray

from metrics.base import Image, MetricError
from metrics.networks.base import Extractor, Identity, TextExtractor
from metrics.networks.images import BATCH_SIZE, check_batch_size, check_images, in_batches, open_device
from metrics.networks.openclip import OpenClipNetwork, open_clip_network

__all__ = [
    "CLIP_PREFIX",
    "ClipImages",
    "ClipTexts",
    "check_text",
    "cosines",
    "open_clip_images",
    "open_image_tower",
    "open_towers",
    "unit",
]

CLIP_PREFIX = "clip:"


class ClipImages(Extractor):
    """Image embeddings, not normalised; one per picture.

    Pictures are preprocessed before they are batched, so pictures of many sizes (crops) still fill batches.
    """

    def __init__(self, network: OpenClipNetwork, device: str = "cpu", batch_size: int = BATCH_SIZE) -> None:
        super().__init__(device, batch_size)
        self.network = network
        self.identity = Identity(
            network=f"{network.network}, image embedding",
            weights=network.weights,
            resolution=network.resolution,
            resize=network.resize,
            value_range=network.value_range,
        )
        self.dimensions = int(self([np.zeros((8, 8, 3), dtype=np.uint8)]).shape[1])

    def __call__(self, images: list[Image]) -> NDArray[np.float32]:
        if not images:
            raise MetricError("images: expected at least one picture, got none; leave out editors that have no finished edits")
        pixels = [self._preprocess(image) for image in check_images(images, "images")]
        return in_batches(self._encode, pixels, batch_size=self._batch_size)

    def _features(self, images: list[Image]) -> NDArray[np.float32]:
        return self._encode([self._preprocess(image) for image in images])

    def _preprocess(self, image: Image) -> NDArray[np.float32]:
        pixels: NDArray[np.float32] = self.network.preprocess(PIL.Image.fromarray(image)).numpy()
        return pixels

    def _encode(self, pixels: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        rows = torch.from_numpy(np.stack(pixels)).to(self._device)
        features: NDArray[np.float32] = self.network.model.encode_image(rows).float().cpu().numpy()
        return features


class ClipTexts(TextExtractor):
    """Text embeddings, not normalised; each different text is computed once in the life of the extractor.

    Attributes:
        context_length: tokens the tower reads, start and end marks included.
    """

    def __init__(self, network: OpenClipNetwork, device: str = "cpu", batch_size: int = BATCH_SIZE) -> None:
        self._network = network
        self._device = open_device(device)
        self._batch_size = check_batch_size(batch_size)
        self._texts: dict[str, NDArray[np.float32]] = {}
        self._cut: set[str] = set()
        self.context_length = network.context_length
        self.identity = Identity(
            network=f"{network.network}, text embedding",
            weights=network.weights,
            resolution="",
            resize="",
            value_range="texts as given; what exceeds the context is cut, the end mark stays",
        )

    def __call__(self, texts: list[str]) -> NDArray[np.float32]:
        checked = [check_text(text, f"texts[{row}]") for row, text in enumerate(texts)]
        new = [text for text in dict.fromkeys(checked) if text not in self._texts]
        if new:
            tokens, over = self._network.tokenise(new)
            features = in_batches(self._encode, list(tokens), batch_size=self._batch_size)
            self._texts.update(zip(new, features, strict=True))
            self._cut.update(text for text, cut in zip(new, over, strict=True) if cut)
        return np.stack([self._texts[text] for text in checked])

    @property
    def cut(self) -> tuple[str, ...]:
        """Texts embedded so far that were longer than the context and lost their end, sorted."""
        return tuple(sorted(self._cut))

    def over_context(self, texts: Sequence[str]) -> list[str]:
        """Those of `texts` that the tower reads without their end, each once, in order; only the tokenizer runs."""
        asked = list(dict.fromkeys(texts))
        if not asked:
            return []
        return [text for text, cut in zip(asked, self._network.tokenise(asked)[1], strict=True) if cut]

    def _encode(self, tokens: list[NDArray[np.int64]]) -> NDArray[np.float32]:
        rows = torch.from_numpy(np.stack(tokens)).to(self._device)
        features: NDArray[np.float32] = self._network.model.encode_text(rows).float().cpu().numpy()
        return features


def open_towers(
    model: str, pretrained: str | None, quick_gelu: bool | None, device: str, batch_size: int
) -> tuple[OpenClipNetwork, ClipImages, ClipTexts]:
    """Network, image tower and text tower of an open_clip spec, see `metrics.networks.openclip.open_clip_network`.

    Raises:
        MetricError: the network cannot be opened as its weights need it, or device or batch size are none.
    """
    images = open_image_tower(model, pretrained, quick_gelu, device, batch_size)
    return images.network, images, ClipTexts(images.network, device, batch_size)


def open_image_tower(model: str, pretrained: str | None, quick_gelu: bool | None, device: str, batch_size: int) -> ClipImages:
    """The image tower alone, of the same."""
    return ClipImages(open_clip_network(model, pretrained, quick_gelu, open_device(device)), device, batch_size)


def check_text(text: object, where: str) -> str:
    """Return `text` if it is a text that says something.

    Raises:
        MetricError: it is not; the message begins with `where`.
    """
    if not isinstance(text, str) or not text.strip():
        raise MetricError(f"{where}: expected a text, got {text!r}; say what the edit should show")
    return text


def unit(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows (n, d) brought to length 1 in float64; a row of zeros or NaN becomes NaN."""
    wide = np.asarray(rows, dtype=np.float64)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.divide(wide, length, out=np.full_like(wide, np.nan), where=length > 0)


def cosines(one: NDArray[np.floating], two: NDArray[np.floating]) -> NDArray[np.float64]:
    """Cosine (n,) of each row of the one (n, d) with that of the other, in float64; NaN where a row is zeros or NaN."""
    return np.asarray(np.sum(unit(one) * unit(two), axis=1), dtype=np.float64)


def open_clip_images(spec: str, device: str, batch_size: int) -> Extractor:
    """Image embedding of an open_clip model by its own preprocessing; not normalised.

    Of a weight file whose architecture exists with two activations the name decides: "clip:ViT-B-32-quickgelu:/path" for OpenAI's and
    DFN's weights; for the others a folder with its open_clip_config.json.
    """

    named = spec.removeprefix(CLIP_PREFIX)
    model, _, pretrained = (named, "", "") if named.startswith("local-dir:") else named.partition(":")
    return open_image_tower(model, pretrained or None, None, device, batch_size)
