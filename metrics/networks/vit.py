"""A transformers ViT, DINO's among them, as a feature extractor."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from metrics.base import Image, MetricError
from metrics.networks.base import Extractor, Identity
from metrics.networks.images import BATCH_SIZE, IMAGENET_MEAN, IMAGENET_STD, to_tensor
from metrics.networks.positions import interpolate_as_hub
from metrics.networks.resnet import PREFIX
from metrics.networks.weights import digest_of_state, open_pretrained, require_folder

__all__ = ["ViTExtractor"]

SHORT_SIDE, CROP = 256, 224


class ViTExtractor(Extractor):
    """Class token of a ViT after the last norm, as DINO's evaluation transform shows it a picture: short side to 256, centre 224.

    Args:
        spec: "folder:/path", a folder with config.json and model.safetensors of a `ViTModel` (facebook/dino-vits16 is one).
        what: beginning of messages.
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: something is missing or unreadable, weights would be left random, or the patches do not fill 224 pixels.
    """

    def __init__(self, spec: str, what: str, device: str = "cpu", batch_size: int = BATCH_SIZE) -> None:
        super().__init__(device, batch_size)
        folder = require_folder(spec.removeprefix(PREFIX), what, ("config.json", "model.safetensors"))
        from transformers import ViTModel

        model = open_pretrained(ViTModel, folder, what, add_pooling_layer=False)
        config = model.config
        if CROP % int(config.patch_size):
            raise MetricError(f"{what}: expected patches that fill {CROP} pixels, got patches of {config.patch_size}")
        interpolate_as_hub(model.embeddings)
        self._model = model.to(device=self._device, dtype=torch.float32).eval().requires_grad_(False)
        self.dimensions = int(config.hidden_size)
        self.identity = Identity(
            network=(
                f"transformers ViT layers={config.num_hidden_layers} heads={config.num_attention_heads} "
                f"width={config.hidden_size} patch={config.patch_size}, class token after the last norm, "
                "positions interpolated as the hub code does (offset 0.1)"
            ),
            weights=digest_of_state(model.state_dict()),
            resolution=f"{CROP}x{CROP}",
            resize=f"short side to {SHORT_SIDE}, Pillow bicubic (antialiased), rounded to uint8, centre crop {CROP}",
            value_range=f"uint8 0..255 -> (x/255 - {list(IMAGENET_MEAN)}) / {list(IMAGENET_STD)}",
        )

    def _features(self, images: list[Image]) -> NDArray[np.float32]:
        pixels = to_tensor([_cropped(image) for image in images], self._device).float() / 255
        mean, std = (pixels.new_tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        states = self._model(pixel_values=(pixels - mean) / std, interpolate_pos_encoding=True).last_hidden_state
        features: NDArray[np.float32] = states[:, 0].float().cpu().numpy()
        return features


def _cropped(image: Image) -> Image:
    import PIL.Image
    from torchvision.transforms.functional import InterpolationMode, center_crop, resize  # type: ignore[import-untyped]

    small = resize(PIL.Image.fromarray(image), [SHORT_SIDE], interpolation=InterpolationMode.BICUBIC)
    return np.asarray(center_crop(small, [CROP, CROP]), dtype=np.uint8)
