"""DINOv2 as a feature extractor."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from metrics.base import Image
from metrics.networks.base import Extractor, Identity
from metrics.networks.images import (
    BATCH_SIZE,
    IMAGENET_MEAN,
    IMAGENET_STD,
    RESIZE_POLICY,
    resize_square,
    to_tensor,
)
from metrics.networks.positions import interpolate_as_hub
from metrics.networks.weights import digest_of_state, open_pretrained, require_folder

__all__ = ["DINOV2_PREFIX", "DINOv2Extractor"]


DINOV2_PREFIX = "dinov2:"


DINOV2_SIDE = 224


class DINOv2Extractor(Extractor):
    """Class token of a transformers DINOv2 after the last norm: the features of FD-DINOv2 (Stein et al. 2023, arXiv 2306.04675).

    As in their evaluation the whole picture is squashed to 224 x 224 (bicubic, no crop) and normalised by ImageNet's mean and
    deviation, whatever a preprocessor file in the folder says, and positions are interpolated as the hub code that they ran does.

    Args:
        spec: "dinov2:/path", a folder with config.json and model.safetensors of a `Dinov2Model`.
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: something is missing or unreadable, or the file lacks weights that would otherwise be left random.
    """

    def __init__(self, spec: str, device: str = "cpu", batch_size: int = BATCH_SIZE) -> None:
        super().__init__(device, batch_size)
        folder = require_folder(spec.removeprefix(DINOV2_PREFIX), "features", ("config.json", "model.safetensors"))
        from transformers import Dinov2Model

        model = open_pretrained(Dinov2Model, folder, "features")
        interpolate_as_hub(model.embeddings)
        self._model = model.to(device=self._device, dtype=torch.float32).eval().requires_grad_(False)
        config = model.config
        self.dimensions = int(config.hidden_size)
        self.identity = Identity(
            network=(
                f"transformers DINOv2 layers={config.num_hidden_layers} heads={config.num_attention_heads} "
                f"width={config.hidden_size} patch={config.patch_size}, class token after the last norm, "
                "positions interpolated as the hub code does (offset 0.1)"
            ),
            weights=digest_of_state(model.state_dict()),
            resolution=f"{DINOV2_SIDE}x{DINOV2_SIDE}",
            resize=RESIZE_POLICY,
            value_range=f"uint8 0..255 -> (x/255 - {list(IMAGENET_MEAN)}) / {list(IMAGENET_STD)}",
        )

    def _features(self, images: list[Image]) -> NDArray[np.float32]:
        pixels = to_tensor([resize_square(image, DINOV2_SIDE) for image in images], self._device).float() / 255
        mean, std = (pixels.new_tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        features: NDArray[np.float32] = self._model((pixels - mean) / std).pooler_output.float().cpu().numpy()
        return features
