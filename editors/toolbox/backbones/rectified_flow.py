"""What transformers trained on rectified flows share (Liu et al., arXiv 2209.03003; Esser et al., Stable Diffusion 3, arXiv 2403.03206)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from editors.toolbox.backbones.base import Backbone
from editors.toolbox.limits import sent
from editors.toolbox.schedule import FlowSchedule, flow_scheduler

__all__ = ["FlowBackbone"]


class FlowBackbone(Backbone):
    """A transformer that predicts the velocity, noise less picture, between the two.

    Where the scheduler shifts its levels by the size of the picture (``use_dynamic_shifting``), that is the side a schedule is asked for.
    """

    denoiser = "transformer"
    flow = True
    scheduler: FlowMatchEulerDiscreteScheduler

    def noise_levels(self, config: Mapping[str, Any]) -> FlowMatchEulerDiscreteScheduler:
        return flow_scheduler(config)

    def schedule(self, steps: int, side: int) -> FlowSchedule:
        return FlowSchedule.of(self.scheduler, steps, tokens=(side // self.multiple) ** 2, evenly=self.evenly)

    evenly = False
    """The levels before the shift are n, n - 1, ..., 1 of n; else they reach down to the lowest level that was trained."""

    @property
    def train_levels(self) -> int:
        return int(self.scheduler.config.num_train_timesteps)

    def noised(self, x0: Tensor, levels: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        trained = torch.arange(1, self.train_levels + 1) / self.train_levels
        shift = 1.0 if self.scheduler.config.use_dynamic_shifting else self.scheduler.config.shift
        sigmas = sent(shift * trained / (1 + (shift - 1) * trained), x0.device)[levels]
        sigma = sigmas.view(-1, 1, 1, 1)
        return (1 - sigma) * x0 + sigma * noise, sigmas * self.train_levels, noise - x0
