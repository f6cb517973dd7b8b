"""Pictures to edit, and copies of weights to compare."""

from __future__ import annotations

import numpy as np
import torch

from editors import DiffusionModel, Image


def draw(seed: int = 0, height: int = 64, width: int = 64) -> Image:
    """Smooth colours with a square on them, (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    low, high = rng.uniform(0, 255, (2, 3))
    image = (low + (high - low) * np.linspace(0, 1, height)[:, None, None]) * np.ones((1, width, 1))
    top, left = rng.integers(4, 24, 2)
    image[top : top + 20, left : left + 20] = rng.uniform(0, 255, 3)
    return image.astype(np.uint8)


def weights_of(model: DiffusionModel) -> dict[str, torch.Tensor]:
    """A copy of every tensor of the model."""
    parts = {"vae": model.vae, "unet": model.unet, "text_encoder": model.text_encoder}
    return {f"{part}.{name}": t.detach().clone() for part, net in parts.items() for name, t in net.state_dict().items()}
