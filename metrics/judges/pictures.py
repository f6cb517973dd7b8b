"""How a picture travels to a judge: shrunk to a longest side or as it is, as PNG."""

from __future__ import annotations

import base64
import io

import numpy as np
import PIL.Image

from metrics.base import Image

__all__ = ["ENCODING", "data_url", "geometry", "shrunk"]

ENCODING = "uint8 RGB, PNG"
"""In the words of a card."""


def geometry(side: int) -> dict[str, str]:
    """Resolution and resize of a card for pictures whose longest side is at most `side`, 0 for no limit."""
    if not side:
        return {"resolution": "native", "resize": "none"}
    return {
        "resolution": f"longest side {side} at most",
        "resize": "Pillow bicubic (antialiased), aspect kept; none where it fits",
    }


def shrunk(image: Image, side: int) -> Image:
    """Picture uint8 (h, w, 3) with max(h, w) <= `side`; itself where it fits or `side` is 0."""
    height, width = image.shape[:2]
    if not side or max(height, width) <= side:
        return image
    scale = side / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return np.asarray(PIL.Image.fromarray(image).resize(size, PIL.Image.Resampling.BICUBIC), dtype=np.uint8)


def data_url(image: Image, side: int) -> str:
    """The picture as a data URL of a PNG."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(shrunk(image, side)).save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
