"""Pictures of any size on the grid of a source picture, with the transform in words, so that a record can tell it."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from PIL import Image as PILImage

from editors.task import Image

__all__ = ["Fit", "to_grid"]

Fit: TypeAlias = Literal["center-crop", "squash", "pad"]
"""``center-crop`` cuts what is too long for the aspect ratio, ``squash`` ignores the ratio, ``pad`` adds white."""


def to_grid(picture: Image, height: int, width: int, fit: Fit = "center-crop") -> tuple[Image, str]:
    """``picture`` (h, w, 3) uint8 as (height, width, 3), Lanczos filter, and what was done; the picture itself where nothing was."""
    h, w = picture.shape[:2]
    if (h, w) == (height, width):
        return picture, "none"
    image = PILImage.fromarray(picture)
    lanczos = PILImage.Resampling.LANCZOS
    if h * width == w * height:
        said = "resize"
        result = image.resize((width, height), lanczos)
    elif fit == "pad":
        said = fit
        scale = min(height / h, width / w)
        inner = (max(1, round(w * scale)), max(1, round(h * scale)))
        result = PILImage.new("RGB", (width, height), "white")
        result.paste(image.resize(inner, lanczos), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    else:
        said = fit
        if fit == "center-crop":
            side = min(h / height, w / width)
            keep_h, keep_w = min(h, round(height * side)), min(w, round(width * side))
            left, top = (w - keep_w) // 2, (h - keep_h) // 2
            image = image.crop((left, top, left + keep_w, top + keep_h))
        result = image.resize((width, height), lanczos)
    return np.array(result, dtype=np.uint8), f"{said} {w}x{h} to {width}x{height}, lanczos"
