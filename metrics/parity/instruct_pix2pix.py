"""InstructPix2Pix's CLIP similarities (Brooks et al., arXiv 2211.09800; `metrics/clip_similarity.py` of its repository), per edit.

What they do and `clip_image` and `clip_directional` do not:

- pixels stay in -1..1, as the editor's VAE has them, and go through a normalisation that is for 0..1 (`compute_metrics.py` hands them over so);
- pictures are brought to the network by torch's bicubic filter without antialiasing, squashed, in floating point;
- where a picture or a text does not change there is no direction, and the similarity of directions is 0 instead of undefined.

Where this departs: the authors score the decoder's output before it is rounded and cut to 0..255, a run scores the picture that was written.
What is shorter than 1e-4 counts as no change, since pictures that are equal agree to rounding only once they are in different batches.

Fingerprint: that of the CLIP network, and the two ways of seeing above.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from metrics.base import Bounds, Card, Embedded, Image, sight_of
from metrics.directional import SHORTEST, DirectionalCLIP
from metrics.networks.clip_towers import ClipImages, ClipTexts, cosines
from metrics.networks.images import BATCH_SIZE, open_device
from metrics.networks.openclip import open_clip_network
from metrics.toolbox.features import FeatureMetric, PairFeatures

__all__ = ["InstructPix2PixDirection", "InstructPix2PixImage"]

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
SOURCE = "Brooks et al. 2022, arXiv 2211.09800; metrics/clip_similarity.py of timothybrooks/instruct-pix2pix"


class _Images(ClipImages):
    """Image embeddings of pictures in -1..1, shrunk without antialiasing."""

    def __init__(self, model: str, pretrained: str | None, quick_gelu: bool | None, device: str, batch_size: int) -> None:
        network = open_clip_network(model, pretrained, quick_gelu, open_device(device))
        size = network.model.visual.image_size
        self._sides = (size, size) if isinstance(size, int) else tuple(size)
        super().__init__(network, device, batch_size)
        self.identity = replace(
            self.identity,
            resolution=f"{self._sides[0]}x{self._sides[1]}",
            resize="squash, torch bicubic, not antialiased, in float32",
            value_range=f"uint8 0..255 -> (x/127.5 - 1 - {list(MEAN)}) / {list(STD)}, where 0..1 is meant",
        )

    def _preprocess(self, image: Image) -> NDArray[np.float32]:
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1
        small = torch.nn.functional.interpolate(pixels, size=self._sides, mode="bicubic", align_corners=False)[0]
        seen: NDArray[np.float32] = (
            (small - small.new_tensor(MEAN)[:, None, None]) / small.new_tensor(STD)[:, None, None]
        ).numpy()
        return seen


class InstructPix2PixImage(FeatureMetric):
    """CLIP image similarity of the published curve, cosine of edit and source, -1..1; higher is better.

    Args:
        model: an open_clip model name, ViT-L-14 for the published curve, or "local-dir:/path".
        pretrained: an open_clip tag (openai for the published curve) or a weight file; "" for local-dir.
        quick_gelu: activation of the weights, where a weight file alone does not tell.
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: the model cannot be had, would be left without weights, or would run with the wrong activation.
    """

    name: ClassVar[str] = "instruct_pix2pix_image"
    reads = frozenset({"sources"})
    bounds: Bounds = (-1.0, 1.0)
    embedded: ClassVar[Embedded] = {"model": "judge"}

    def __init__(
        self,
        model: str = "ViT-L-14",
        pretrained: str | None = None,
        *,
        quick_gelu: bool | None = None,
        device: str = "cpu",
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self.image_extractor = _Images(model, pretrained, quick_gelu, device, batch_size)
        self.card = Card(
            name=self.name,
            version="1",
            **sight_of(self.image_extractor.identity),
            scale="cosine, not clamped",
            masking="whole picture, compared with the source",
            nan_rule="never",
            higher_is_better=True,
            definition="InstructPix2Pix's CLIP image similarity of edit and source (parity mode).",
            source=SOURCE,
        )

    def score_features(self, features: PairFeatures) -> NDArray[np.float64]:
        assert features.sources is not None
        return cosines(features.edits, features.sources)


class InstructPix2PixDirection(DirectionalCLIP):
    """CLIP directional similarity of the published curve, -1..1; higher is better, and 0 where nothing changes.

    Args:
        model: an open_clip model name, ViT-L-14 for the published curve, or "local-dir:/path".
        pretrained: an open_clip tag (openai for the published curve) or a weight file; "" for local-dir.
        quick_gelu: activation of the weights, where a weight file alone does not tell.
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: the model cannot be had, would be left without weights, or would run with the wrong activation or tokenizer.
    """

    name: ClassVar[str] = "instruct_pix2pix_direction"
    still = 0.0

    def __init__(
        self,
        model: str = "ViT-L-14",
        pretrained: str | None = None,
        *,
        quick_gelu: bool | None = None,
        device: str = "cpu",
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self.image_extractor = _Images(model, pretrained, quick_gelu, device, batch_size)
        network = self.image_extractor.network
        self.text_extractor = ClipTexts(network, device, batch_size)
        self.card = Card(
            name=self.name,
            version="1",
            **sight_of(replace(self.image_extractor.identity, network=network.network)),
            scale=f"cosine of differences of unit embeddings, not clamped; 0 where one is shorter than {SHORTEST:g}",
            masking="whole picture, compared with the source",
            nan_rule="source text unknown",
            higher_is_better=True,
            definition="InstructPix2Pix's CLIP directional similarity (parity mode).",
            source=SOURCE,
        )
