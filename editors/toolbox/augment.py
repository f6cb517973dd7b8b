"""Random views of pictures through which an optimised picture is shown to a CLIP, so that it cannot please it by pixel noise.

A view is a projective warp: rotation, shift, crop, mirroring and a displacement of the corners. All randomness comes from
the generator that is passed in; gradients pass through the warp.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from editors.toolbox.limits import sent

__all__ = ["Warp", "order_of_views", "views"]


@dataclass(frozen=True)
class Warp:
    """How far a view may stray; zero everywhere is the picture itself."""

    rotation: float = 0.0
    """Degrees, uniform in +-."""
    shift: float = 0.0
    """Share of the side, uniform in +-, in each direction."""
    crop: float = 1.0
    """Smallest share of the area that a view shows; uniform up to 1, and the shift keeps it within the picture."""
    perspective: float = 0.0
    """Largest displacement of a corner, as a share of half the side."""
    flip: float = 0.0
    """Probability of mirroring left and right."""


def views(x: Tensor, count: int, warp: Warp, generator: torch.Generator, *, keep_first: bool = False) -> Tensor:
    """``count`` views of each picture of x (m, 3, H, W): (count m, 3, H, W), view by view, the pictures in order within one.

    All pictures get the same warps, so that what one of them is shown does not depend on the rest. ``keep_first`` leaves
    the first view as it is. What lies outside a picture continues its border.
    """
    drawn = torch.stack([_homography(warp, generator) for _ in range(count - int(keep_first))]) if count > keep_first else None
    parts = [x] if keep_first else []
    if drawn is not None:
        grid = sent(_grid(drawn, x.shape[-2], x.shape[-1]).to(x.dtype), x.device)
        repeated = x.repeat(len(drawn), 1, 1, 1)
        parts.append(
            grid_sample(repeated, grid.repeat_interleave(len(x), 0), mode="bilinear", padding_mode="border", align_corners=False)
        )
    return torch.cat(parts)


def order_of_views(device: torch.device) -> dict[str, str]:
    """What a record says of an edit whose gradients pass through ``views``: a CUDA device sums them in no fixed order, and has no other way.

    Two runs of one unit then differ by rounding, which an optimisation of many steps can make visible. Nothing on a CPU.
    """
    return (
        {"not_reproducible": "on CUDA the gradients of random views are summed in no fixed order"}
        if device.type == "cuda"
        else {}
    )


def _homography(warp: Warp, generator: torch.Generator) -> Tensor:
    """A (3, 3) map from the view's coordinates to the picture's, both -1..1."""
    u = 2 * torch.rand(8, generator=generator, dtype=torch.float64) - 1
    size = math.sqrt(warp.crop + (1 - warp.crop) * (float(u[0]) + 1) / 2)
    mirror = -1.0 if (float(u[1]) + 1) / 2 < warp.flip else 1.0
    angle = math.radians(warp.rotation * float(u[2]))
    dx, dy = (float(u[i]) * (2 * warp.shift + 1 - size) for i in (3, 4))
    tilt_x, tilt_y = (float(u[i]) * warp.perspective / 2 for i in (5, 6))
    cos, sin = size * math.cos(angle), size * math.sin(angle)
    return torch.tensor([[mirror * cos, -sin, dx], [mirror * sin, cos, dy], [tilt_x, tilt_y, 1.0]], dtype=torch.float64)


def _grid(homographies: Tensor, height: int, width: int) -> Tensor:
    """Sampling grids (n, H, W, 2) of homographies (n, 3, 3)."""
    y = (torch.arange(height, dtype=torch.float64) + 0.5) / height * 2 - 1
    x = (torch.arange(width, dtype=torch.float64) + 0.5) / width * 2 - 1
    points = torch.stack([x.expand(height, width), y[:, None].expand(height, width), torch.ones(height, width)], -1)
    mapped = torch.einsum("nij,hwj->nhwi", homographies, points)
    return mapped[..., :2] / mapped[..., 2:].clamp(min=0.1)
