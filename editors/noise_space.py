"""Inversion into the noise space of a sampler: one picture at every level under independent noises, predicted in one go.

Source: Huberman-Spiegelglas et al., edit-friendly DDPM inversion (arXiv 2304.06140), Eq. 6.
"""

from __future__ import annotations

import torch
from torch import Tensor

from editors.diffusion import DiffusionModel, derive_seed
from editors.schedule import Schedule

__all__ = ["independent_levels", "predict_levels"]


def independent_levels(model: DiffusionModel, schedule: Schedule, x0: Tensor, seed: int) -> list[Tensor]:
    """``x0`` (1, c, h, w) noised to every level 0..n with a noise of its own for each; element 0 is ``x0``.

    Each level has its own generator, so that a level's noise does not depend on how many there are.
    """
    return [x0] + [
        schedule.q_sample(x0, model.noise(derive_seed(seed, f"level {level}"), x0.shape), level)
        for level in range(1, schedule.steps + 1)
    ]


def predict_levels(
    model: DiffusionModel,
    schedule: Schedule,
    latents: list[Tensor],
    context: Tensor,
    *,
    guidance: float = 1.0,
    uncond: Tensor | None = None,
) -> list[Tensor]:
    """The U-Net's outputs for the latents at levels 1..n, each (1, c, h, w); that of level k is element k - 1.

    They take as few calls as ``max_batch`` allows: no level waits for another, because none is computed from another.
    """
    times = torch.tensor(schedule.timesteps, device=model.device)
    return list(torch.split(model.predict(torch.cat(latents[1:]), times, context, guidance, uncond), 1))
