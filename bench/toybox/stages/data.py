"""Pictures for training and evaluation, rendered from the world on the spot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.toybox.world import SIZE, Scene, random_scene, render

__all__ = ["Pool", "draw", "to_unit"]


@dataclass(frozen=True)
class Pool:
    """Scenes with their pictures."""

    scenes: list[Scene]
    images: NDArray[np.uint8]
    """(n, SIZE, SIZE, 3) RGB."""

    def __len__(self) -> int:
        return len(self.scenes)


def draw(count: int, seed: int, include_held_out: bool = False, only_held_out: bool = False) -> Pool:
    """``count`` random scenes; without the flags, only (object, background) pairs that training may see."""
    rng = np.random.default_rng(seed)
    scenes = [random_scene(rng, include_held_out, only_held_out) for _ in range(count)]
    images = np.empty((count, SIZE, SIZE, 3), dtype=np.uint8)
    for image, scene in zip(images, scenes, strict=True):
        image[:] = render(scene).image
    return Pool(scenes, images)


def to_unit(images: NDArray[np.uint8]) -> Tensor:
    """uint8 (n, h, w, 3) in [0, 255] to float32 (n, 3, h, w) in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
