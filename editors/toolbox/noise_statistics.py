"""Losses by which an inversion's predictions are kept like the white noise that a diffusion model was trained on.

Sources: Parmar et al., pix2pix-zero (arXiv 2302.03027; the correlation of pairs, the divergence from a normal distribution);
Garibi et al., ReNoise (arXiv 2403.14602; the divergence by patches). Each is a scalar, lower is better, and keeps gradients.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

__all__ = ["descended", "divergence_from_normal", "pair_correlation", "patch_divergence"]

_SMALLEST = 8
"""Cells along the side of the smallest picture of the pyramid."""


def pair_correlation(noise: Tensor, generator: torch.Generator) -> Tensor:
    """Squared correlation of neighbours in ``noise`` (1, c, h, w), summed over channels, over both directions, and over a pyramid that
    halves the sides until they have 8 cells. How far neighbours are apart is drawn from ``generator`` for each channel and size,
    1 up to half a side: a distance of 0, which the authors of ReNoise may draw, would punish the variance of the noise.
    """
    total = noise.new_zeros(())
    while True:
        sides = noise.shape[-2:]
        for channel in torch.split(noise, 1, dim=1):
            shift = int(torch.randint(1, max(2, min(sides) // 2), (1,), generator=generator))
            for direction in (2, 3):
                total = total + (channel * torch.roll(channel, shift, direction)).mean().square()
        if min(sides) <= _SMALLEST:
            return total
        noise = avg_pool2d(noise, 2)


def divergence_from_normal(noise: Tensor) -> Tensor:
    """Twice the Kullback-Leibler divergence of a normal distribution with the mean and variance of ``noise`` from the standard one."""
    mean, variance = noise.mean(), noise.var()
    return variance + mean.square() - 1 - torch.log(variance + 1e-7)


def patch_divergence(noise: Tensor, like: Tensor, side: int = 4) -> Tensor:
    """Twice the divergence of the normal distributions of ``noise``'s patches from those of ``like``, both (1, c, h, w): its absolute value,
    summed over channels and over patches of ``side`` x ``side`` cells. Cells beyond the last whole patch have no part in it.
    """
    (mean, variance), (other, wanted) = _moments(noise, side), _moments(like, side)
    wanted = wanted + 1e-6
    return (torch.log(wanted / (variance + 1e-6)) + (variance + (mean - other).square()) / wanted - 1).abs().sum()


def _moments(noise: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Mean and variance of every patch of every channel."""
    rows, columns = (cells // side for cells in noise.shape[-2:])
    patches = noise[..., : rows * side, : columns * side].reshape(*noise.shape[:2], rows, side, columns, side)
    return patches.mean((-3, -1)), patches.var((-3, -1))


def descended(noise: Tensor, loss: Callable[[Tensor], Tensor], rate: float, *, most: float | None = None) -> Tensor:
    """``noise`` after one step of gradient descent; no element of the gradient counts for more than ``most``."""
    with torch.enable_grad():
        leaf = noise.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(leaf), leaf)
    return noise - rate * (gradient if most is None else gradient.clamp(-most, most))
