"""Ancestral (DDPM) steps along a schedule, down with fresh noise and up again; the clean level 0 carries no noise at all.

Source: Ho et al., Denoising Diffusion Probabilistic Models (arXiv 2006.11239), Eq. 6 and 7 (the posterior), Eq. 2 (the way up),
with alpha_k = abar_k / abar_{k-1} between the levels of a respaced schedule.
"""

from __future__ import annotations

import math

from torch import Tensor

from editors.schedule import Schedule

__all__ = ["diffuse", "posterior"]


def _alpha_bar(schedule: Schedule, level: int) -> float:
    return schedule.alpha_bars[level] if level else 1.0


def posterior(schedule: Schedule, x: Tensor, output: Tensor, level: int) -> tuple[Tensor, float]:
    """Mean (m, c, h, w) and variance of q(x_{k-1} | x_k, x_0) at level k >= 1, given the U-Net's output for (x, t_k).

    At level 1 the mean is the predicted clean latent and the variance 0.
    """
    x0, _ = schedule.split(x, output, level)
    here, there = _alpha_bar(schedule, level), _alpha_bar(schedule, level - 1)
    alpha = here / there
    variance = (1 - alpha) * (1 - there) / (1 - here)
    mean = math.sqrt(there) * (1 - alpha) / (1 - here) * x0 + math.sqrt(alpha) * (1 - there) / (1 - here) * x
    return mean, variance


def diffuse(schedule: Schedule, x: Tensor, noise: Tensor, level: int) -> Tensor:
    """One forward step from level k to k + 1: q(x_{k+1} | x_k)."""
    alpha = _alpha_bar(schedule, level + 1) / _alpha_bar(schedule, level)
    return math.sqrt(alpha) * x + math.sqrt(1 - alpha) * noise
