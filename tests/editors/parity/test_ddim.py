"""Inversion and decode against diffusers' own schedulers, with the embedded model in the loop."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler
from embedded_model import tasks, toybox
from torch import Tensor

from editors import DiffusionModel
from editors.toolbox.sweep import ddim_invert, decode_sweep

STEPS = 20
TOLERANCE = 1e-4
"""The promise. Latents are of order 1; both sides do the same float32 sums in another order, over at most 40 steps."""


@pytest.fixture
def model() -> DiffusionModel:
    return toybox()


@torch.no_grad()
def inverted(model: DiffusionModel, x: Tensor, context: Tensor) -> list[Tensor]:
    scheduler = DDIMInverseScheduler.from_config(model.scheduler.config)
    scheduler.set_timesteps(STEPS)
    walk = [x]
    for t in scheduler.timesteps:
        output = model.unet(walk[-1], t, encoder_hidden_states=context.expand(len(x), -1, -1)).sample
        walk.append(scheduler.step(output, int(t), walk[-1]).prev_sample)
    return walk


@torch.no_grad()
def decoded(model: DiffusionModel, x: Tensor, context: Tensor, start: int) -> Tensor:
    scheduler = DDIMScheduler.from_config(model.scheduler.config)
    scheduler.set_timesteps(STEPS)
    for t in scheduler.timesteps[STEPS - start :]:
        output = model.unet(x, t, encoder_hidden_states=context.expand(len(x), -1, -1)).sample
        x = scheduler.step(output, int(t), x).prev_sample
    return x


@pytest.mark.slow
def test_inversion_and_decode_are_those_of_the_schedulers(model: DiffusionModel) -> None:
    x0 = torch.cat([model.encode(task.image) for task in tasks(2)])
    _, empty = model.embed_pair("")
    schedule = model.schedule(STEPS)
    ours, theirs = ddim_invert(model, schedule, x0, empty), inverted(model, x0, empty)
    assert len(ours) == len(theirs) == STEPS + 1
    for level, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert (a - b).abs().max() < TOLERANCE, level
    assert (ours[-1] - x0).abs().max() > 0.5  # it went somewhere

    for start in (STEPS, STEPS // 2):
        items = [(start, x) for x in torch.split(ours[start], 1)]
        back = decode_sweep(model, schedule, items, empty, guidance=1.0, uncond=empty)
        assert (back - decoded(model, theirs[start], empty, start)).abs().max() < TOLERANCE
