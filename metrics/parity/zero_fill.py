"""What PIE-Bench and BrushBench share: pixels outside the region are set to 0 in both pictures, and the whole frame is scored."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metrics.base import Image

__all__ = ["blackened", "scaled"]


def blackened(image: Image, pixels: NDArray[np.bool_]) -> Image:
    """`image` (H, W, 3) with 0 wherever `pixels` (H, W) is False."""
    return image * pixels[..., None].astype(np.uint8)


def scaled(image: Image) -> NDArray[np.float32]:
    """uint8 (H, W, 3) to float32 0..1, the precision in which both protocols compute."""
    return image.astype(np.float32) / np.float32(255)
