"""PickScore: which picture of a text people would pick (Kirstain et al., "Pick-a-Pic", arXiv 2305.01569).

Reference code: the model's card (yuvalkirstain/PickScore_v1, MIT), a CLIP ViT-H/14 fine-tuned on people's picks:

    exp(logit scale) x cosine( image, target text )

about 17 to 24 on photographs, where a difference of d means that the better one is picked with odds e^d. It looks at edit and text alone:
how much of the source is kept it cannot say. Texts are cut at the tokenizer's length with their end mark; pictures are seen through
the processor of the CLIP it was fine-tuned from, as the card has it.

Fingerprint: architecture, weights with the scale, resolution, resize and crop, input normalisation, context length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from metrics.base import Card, Image, sight_of
from metrics.networks.base import Extractor, Identity, TextExtractor
from metrics.networks.clip_towers import check_text, cosines
from metrics.networks.images import BATCH_SIZE, check_batch_size, exact, open_device
from metrics.networks.resnet import PREFIX
from metrics.networks.weights import HUB, OFFLINE, digest_of_state, open_pretrained, readable, require_folder
from metrics.toolbox.features import FeatureMetric, PairFeatures

__all__ = ["PickScore"]

MODEL, PROCESSOR = f"{HUB}yuvalkirstain/PickScore_v1", f"{HUB}laion/CLIP-ViT-H-14-laion2B-s32B-b79K"


class PickScore(FeatureMetric):
    """exp(logit scale) x cosine of edit and target text, higher is better.

    Args:
        model: "folder:/path" or "hub:owner/name" of the CLIPModel in transformers' format.
        processor: the same of the folder with its image processor and tokenizer; "" for the model's own.
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: a folder cannot be read; `etabench fetch` brings those of the hub.
    """

    name: ClassVar[str] = "pickscore"
    reads = frozenset({"target_texts"})

    def __init__(
        self, model: str = MODEL, processor: str = PROCESSOR, *, device: str = "cpu", batch_size: int = BATCH_SIZE
    ) -> None:
        network = _Network(model, processor or model, device)
        self.image_extractor = _Pictures(network, device, batch_size)
        self.text_extractor = _Texts(network, batch_size)
        self._scale = network.scale
        self.bounds = (-self._scale, self._scale)
        self.card = Card(
            name=self.name,
            version="1",
            **sight_of(self.image_extractor.identity),
            scale=f"{self._scale:.9g} x cosine, not clamped",
            masking="whole picture",
            nan_rule="never",
            higher_is_better=True,
            definition="Scaled cosine of edit and target text under a CLIP that was fine-tuned on people's picks.",
            source="Kirstain et al. 2023, arXiv 2305.01569; card of yuvalkirstain/PickScore_v1 (MIT)",
        )

    def score_features(self, features: PairFeatures) -> NDArray[np.float64]:
        assert features.target_texts is not None
        return self._scale * cosines(features.edits, features.target_texts)


class _Network:
    """The model with its processor."""

    def __init__(self, model: str, processor: str, device: str) -> None:
        what = "pickscore model"
        folder = require_folder(model.removeprefix(PREFIX), what, ("config.json", "model.safetensors"))
        beside = require_folder(processor.removeprefix(PREFIX), "pickscore processor", ("preprocessor_config.json",))
        from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

        self.device = open_device(device)
        found = open_pretrained(CLIPModel, folder, what)
        with readable(f"pickscore processor: {beside} has no readable image processor and tokenizer"):
            self.processor: Any = CLIPImageProcessor.from_pretrained(beside, **OFFLINE)
            self.tokenizer: Any = CLIPTokenizer.from_pretrained(beside, **OFFLINE)
        for weight in found.parameters():
            weight.data = weight.data.clone()  # the file's alignment would move the last bit
        self.model: Any = found.to(device=self.device, dtype=torch.float32).eval().requires_grad_(False)
        self.places = int(found.config.text_config.max_position_embeddings)
        self.scale = float(found.logit_scale.exp())
        settings, vision = self.processor, found.config.vision_config
        self.identity = Identity(
            network=(
                f"transformers CLIP vision={vision.num_hidden_layers}x{vision.hidden_size} patch={vision.patch_size} "
                f"act={found.config.text_config.hidden_act} context_length={self.places}, texts cut with end mark"
            ),
            weights=digest_of_state(found.state_dict()),
            resolution=f"{settings.crop_size['height']}x{settings.crop_size['width']}",
            resize=f"transformers CLIPImageProcessor on uint8 tensors: size {dict(settings.size)}, centre crop",
            value_range=f"uint8 0..255 -> (x/255 - {list(settings.image_mean)}) / {list(settings.image_std)}",
        )


class _Pictures(Extractor):
    """Image embeddings, not normalised."""

    def __init__(self, network: _Network, device: str, batch_size: int) -> None:
        super().__init__(device, batch_size)
        self._network, self.identity = network, network.identity
        self.dimensions = int(network.model.config.projection_dim)

    def _features(self, images: list[Image]) -> NDArray[np.float32]:
        tensors = [torch.from_numpy(image).permute(2, 0, 1) for image in images]
        pixels = self._network.processor(images=tensors, return_tensors="pt")["pixel_values"].to(self._network.device)
        return _array(self._network.model.get_image_features(pixels))


class _Texts(TextExtractor):
    """Text embeddings, not normalised; a text by itself, so that no padding is seen."""

    def __init__(self, network: _Network, batch_size: int) -> None:
        check_batch_size(batch_size)
        self._network = network
        sight = {
            "resolution": "",
            "resize": "",
            "value_range": "texts as given; what exceeds the context is cut, the end mark stays",
        }
        self.identity = Identity(network=network.identity.network, weights=network.identity.weights, **sight)

    def __call__(self, texts: list[str]) -> NDArray[np.float32]:
        checked = [check_text(text, f"texts[{row}]") for row, text in enumerate(texts)]
        known = {text: self._text(text) for text in dict.fromkeys(checked)}
        return np.concatenate([known[text] for text in checked])

    def over_context(self, texts: Sequence[str]) -> list[str]:
        tokens = {text: len(self._network.tokenizer(text)["input_ids"]) for text in dict.fromkeys(texts)}
        return [text for text, number in tokens.items() if number > self._network.places]

    def _text(self, text: str) -> NDArray[np.float32]:
        network = self._network
        ids = network.tokenizer([text], truncation=True, max_length=network.places, return_tensors="pt")
        with exact():
            return _array(network.model.get_text_features(**{name: ids[name].to(network.device) for name in ids}))


def _array(features: Any) -> NDArray[np.float32]:
    """transformers 5 wraps the projected embedding; older ones return it."""
    tensor: torch.Tensor = features if isinstance(features, torch.Tensor) else features.pooler_output
    result: NDArray[np.float32] = tensor.float().cpu().numpy()
    return result
