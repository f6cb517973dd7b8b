"""Perturbations of training pictures: light ones that make a network robust, graded ones that calibrate a distance."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

__all__ = ["blur", "distort", "soften"]


def blur(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (n, c, h, w) by ``sigma`` pixels, borders repeated."""
    radius = max(1, round(3 * sigma))
    grid = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-0.5 * (grid / max(sigma, 1e-3)) ** 2)
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, -1)
    x = conv2d(pad(x, (radius, radius, 0, 0), mode="replicate"), kernel[:, :, None, :], groups=x.shape[1])
    return conv2d(pad(x, (0, 0, radius, radius), mode="replicate"), kernel[:, :, :, None], groups=x.shape[1])


def soften(x: Tensor, generator: torch.Generator) -> Tensor:
    """A batch (n, 3, h, w) in [-1, 1] with a little blur, noise, contrast and brightness, the same blur for all."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator)

    n = len(x)
    if float(uniform(0, 1, 1)) < 0.6:
        x = blur(x, float(uniform(0.3, 1.1, 1)))
    x = x * uniform(0.92, 1.08, n, 1, 1, 1) + uniform(-0.06, 0.06, n, 3, 1, 1)
    return (x + uniform(0, 0.06, n, 1, 1, 1) * torch.randn(x.shape, generator=generator)).clamp(-1, 1)


class _Distort:
    """Six manners of damage with strength in [0, 1]: blur, noise, colour, shift, a missing patch, fewer pixels."""

    kinds = 6

    def __call__(self, x: Tensor, kind: int, strength: float, generator: torch.Generator) -> Tensor:
        """Damage one picture (3, h, w) in [-1, 1]; strength 0 is all but harmless."""
        if kind == 0:
            return blur(x[None], 0.2 + 2.3 * strength)[0]
        if kind == 1:
            return (x + 0.5 * strength * torch.randn(x.shape, generator=generator)).clamp(-1, 1)
        if kind == 2:
            direction = torch.randn((3, 1, 1), generator=generator)
            return (x + 0.8 * strength * direction / direction.norm()).clamp(-1, 1)
        if kind == 3:
            return torch.roll(x, round(10 * strength), dims=2)
        if kind == 4:
            side = round(4 + 28 * strength)
            top, left = (int(v) for v in torch.randint(0, x.shape[1] - side + 1, (2,), generator=generator))
            damaged = x.clone()
            damaged[:, top : top + side, left : left + side] = x.mean((1, 2), keepdim=True)
            return damaged
        small = interpolate(x[None], size=round(64 - 52 * strength), mode="area")
        return interpolate(small, size=x.shape[1:], mode="bilinear")[0]


distort = _Distort()
