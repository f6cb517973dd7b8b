"""Positions of a vision transformer at another size than it was trained at, as the hub code of DINO and DINOv2 computes them.

The hub code (`interpolate_pos_encoding` of facebookresearch/dino and dinov2) adds 0.1 to the number of places before it divides by that of
the table, and interpolates by that scale; transformers interpolates to the number of places. Every place is then read a little to the
left and above of where transformers reads it. At the size of the table neither interpolates.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.nn.functional import interpolate

__all__ = ["interpolate_as_hub"]

OFFSET = 0.1


def interpolate_as_hub(embeddings: Any) -> None:
    """Make a transformers `ViTEmbeddings` or `Dinov2Embeddings` interpolate its positions as the hub code does."""
    embeddings.interpolate_pos_encoding = partial(_positions, embeddings)


def _positions(embeddings: Any, tokens: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Positions (1, 1 + places, d) for tokens (n, 1 + places, d) of pictures of that height and width."""
    table: torch.Tensor = embeddings.position_embeddings
    if tokens.shape[1] == table.shape[1] and height == width:
        return table
    down, right = (length // patch for length, patch in zip((height, width), embeddings.patch_embeddings.patch_size, strict=True))
    side = round((table.shape[1] - 1) ** 0.5)
    grid = table[:, 1:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    grid = interpolate(grid, scale_factor=((down + OFFSET) / side, (right + OFFSET) / side), mode="bicubic")
    return torch.cat((table[:, :1].float(), grid.flatten(2).transpose(1, 2)), dim=1).to(table.dtype)
