"""Walks along the schedule: DDIM inversion of one latent, and the staggered decode of all knob values in one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from editors.diffusion import DiffusionModel
from editors.schedule import Schedule

__all__ = ["Hook", "ddim_invert", "decode_sweep"]

Hook: TypeAlias = Callable[[Tensor, int, list[int]], Tensor]
"""(x, level, items) -> x: ``x`` (m, c, h, w) are the latents in the batch, all at ``level``; ``items`` says which they are."""


@torch.no_grad()
def ddim_invert(
    model: DiffusionModel,
    schedule: Schedule,
    x0: Tensor,
    context: Tensor,
    *,
    upto: int | None = None,
    guidance: float = 1.0,
    uncond: Tensor | None = None,
) -> list[Tensor]:
    """The trajectory of ``x0`` (m, c, h, w) under inverse DDIM; element k is the latent at level k, element 0 is ``x0``.

    The usual case passes the empty text as ``context`` and no guidance. The prefix of a trajectory is the inversion to
    every smaller ratio, so one walk to ``upto`` (the whole schedule when None) serves a whole curve. The step to level k
    uses the prediction for (latent at level k - 1, t_k), which assumes that predictions change little within a step.
    """
    trajectory = [x0]
    for level in range(1, (schedule.steps if upto is None else upto) + 1):
        output = model.predict(trajectory[-1], schedule.timestep(level), context, guidance, uncond)
        trajectory.append(model.guard(schedule.ddim_inverse_step(trajectory[-1], output, level), f"inversion to level {level}"))
    return trajectory


@torch.no_grad()
def decode_sweep(
    model: DiffusionModel,
    schedule: Schedule,
    starts: Sequence[tuple[int, Tensor]],
    context: Tensor,
    *,
    guidance: float,
    uncond: Tensor,
    before_step: Hook | None = None,
    after_step: Hook | None = None,
) -> Tensor:
    """Denoise every item from its own start level to level 0 in one loop; returns (n, c, h, w) in the order of ``starts``.

    ``starts`` holds a (start level, latent (1, c, h, w)) per item: an item joins the batch when the loop reaches its
    level, and an item that starts at 0 is returned as it is. ``context`` is (1, l, d), shared, or (n, l, d), one per
    item. ``before_step`` gets the latents at level k before they are denoised, ``after_step`` those at the level k - 1
    just reached; both return the latents to go on with, and must treat each item by itself.
    """
    latents = [latent for _, latent in starts]
    for level in range(max((start for start, _ in starts), default=0), 0, -1):
        items = [i for i, (start, _) in enumerate(starts) if start >= level]
        x = torch.cat([latents[i] for i in items])
        if before_step:
            x = before_step(x, level, items)
        own = context if len(context) == 1 else context[items]
        output = model.predict(x, schedule.timestep(level), own, guidance, uncond)
        x = schedule.ddim_step(x, output, level)
        if after_step:
            x = after_step(x, level - 1, items)
        model.guard(x, f"decoding to level {level - 1}")
        for i, latent in zip(items, torch.split(x, 1), strict=True):
            latents[i] = latent
    return torch.cat(latents)
