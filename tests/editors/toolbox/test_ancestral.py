from __future__ import annotations

import math

import pytest
import torch
from diffusers import DDPMScheduler

from editors import DiffusionModel
from editors.toolbox.diffusion import seeded
from editors.toolbox.schedule import diffuse, posterior


def test_steps_are_those_of_the_library(model: DiffusionModel) -> None:
    config = dict(model.scheduler.config)
    keys = ("beta_start", "beta_end", "beta_schedule", "num_train_timesteps", "timestep_spacing", "steps_offset")
    library = DDPMScheduler(**{key: config[key] for key in keys}, clip_sample=False, variance_type="fixed_small")
    library.set_timesteps(20)
    schedule = model.schedule(20)
    x, output = model.noise(1, (1, 4, 8, 8)), model.noise(2, (1, 4, 8, 8))
    for level in (20, 11, 2):
        noise = torch.randn(x.shape, generator=seeded(level))
        expected = library.step(output, schedule.timestep(level), x, generator=seeded(level)).prev_sample
        mean, variance = posterior(schedule, x, output, level)
        assert torch.allclose(mean + math.sqrt(variance) * noise, expected, atol=1e-4)


def test_the_last_step_is_the_predicted_clean_latent(model: DiffusionModel) -> None:
    schedule = model.schedule(20)
    x, output = model.noise(1, (1, 4, 8, 8)), model.noise(2, (1, 4, 8, 8))
    mean, variance = posterior(schedule, x, output, 1)
    assert variance == 0
    assert torch.allclose(mean, schedule.split(x, output, 1)[0], atol=1e-5)


@pytest.mark.parametrize("level", [0, 1, 10, 19])
def test_the_way_up_arrives_at_the_noise_of_its_level(model: DiffusionModel, level: int) -> None:
    schedule = model.schedule(20)
    one, zero = torch.ones(1), torch.zeros(1)
    signal, noise = float(diffuse(schedule, one, zero, level)), float(diffuse(schedule, zero, one, level))
    here = schedule.alpha_bars[level] if level else 1.0
    assert signal * math.sqrt(here) == pytest.approx(math.sqrt(schedule.alpha_bars[level + 1]), rel=1e-5)
    assert signal**2 * (1 - here) + noise**2 == pytest.approx(1 - schedule.alpha_bars[level + 1], rel=1e-5)
