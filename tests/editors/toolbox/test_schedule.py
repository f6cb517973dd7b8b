from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler, DDPMScheduler

from editors import DiffusionModel
from editors.base import EditorError
from editors.toolbox.diffusion import seeded
from editors.toolbox.schedule import DiffusionSchedule, diffuse, noise_scheduler, posterior, posterior_inverse, share_of_steps

TABLES = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
SD = {"_class_name": "PNDMScheduler", "skip_prk_steps": True, **TABLES}


def latents(*seeds: int) -> torch.Tensor:
    return torch.cat([torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(s)) for s in seeds])


def test_stable_diffusions_schedule_is_honoured() -> None:
    scheduler = noise_scheduler(SD)
    schedule = DiffusionSchedule.of(scheduler, 50)
    assert schedule.timesteps[0] == 1
    assert schedule.timesteps[-1] == 981
    assert schedule.alpha_bars[0] == float(scheduler.alphas_cumprod[0]) < 1
    assert len(schedule.alpha_bars) == 51
    assert all(
        a > b for a, b in zip(schedule.alpha_bars[:-1], schedule.alpha_bars[1:], strict=False) if a != schedule.alpha_bars[0]
    )


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_constant_prediction_makes_inversion_exact(prediction: str) -> None:
    schedule = DiffusionSchedule.of(noise_scheduler({**SD, "prediction_type": prediction}), 50)
    start, output = latents(1).double(), latents(2).double()
    x = start
    for level in range(1, 51):
        x = schedule.ddim_inverse_step(x, output, level)
    assert (x - start).abs().max() > 1
    for level in range(50, 0, -1):
        x = schedule.ddim_step(x, output, level)
    assert (x - start).abs().max() < 1e-9  # float64 rounding over 100 steps


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_steps_are_those_of_diffusers(prediction: str) -> None:
    config = {**TABLES, "prediction_type": prediction}
    reference = DDIMScheduler(**config, clip_sample=False)
    schedule = DiffusionSchedule.of(noise_scheduler(config), 20)
    reference.set_timesteps(20)
    x, output, noise = latents(1), latents(2), latents(3)
    for level in (20, 7, 1):
        t = int(reference.timesteps[20 - level])
        assert t == schedule.timestep(level)
        # both do the same float32 arithmetic on values of order 1
        assert torch.allclose(schedule.ddim_step(x, output, level), reference.step(output, t, x).prev_sample, atol=2e-6, rtol=0)
        assert torch.allclose(
            schedule.q_sample(x, noise, level), reference.add_noise(x, noise, torch.tensor([t])), atol=2e-6, rtol=0
        )


def test_inversion_is_that_of_diffusers() -> None:
    reference = DDIMInverseScheduler(**TABLES, clip_sample=False)
    reference.set_timesteps(20)
    schedule = DiffusionSchedule.of(noise_scheduler(SD), 20)
    x, output = latents(1), latents(2)
    for level in (1, 2, 20):
        t = int(reference.timesteps[level - 1])
        assert torch.allclose(
            schedule.ddim_inverse_step(x, output, level), reference.step(output, t, x).prev_sample, atol=5e-6, rtol=0
        )


def test_level_zero_of_q_sample_is_the_latent() -> None:
    schedule = DiffusionSchedule.of(noise_scheduler(SD), 10)
    x = latents(1)
    assert schedule.q_sample(x, latents(2), 0) is x


@pytest.mark.parametrize(
    ("share", "steps", "executed"),
    [(0.58, 50, 29), (0.5, 25, 13), (0.0, 50, 0), (1.0, 50, 50), (0.29, 100, 29), (0.14, 10, 1), (0.15, 10, 2)],
)
def test_shares_are_rounded_not_cut(share: float, steps: int, executed: int) -> None:
    assert share_of_steps(share, steps) == executed


@pytest.mark.parametrize("steps", [1000, 1001])
def test_too_many_steps_are_refused(steps: int) -> None:
    with pytest.raises(EditorError, match=str(steps)):
        DiffusionSchedule.of(noise_scheduler(SD), steps)


def test_other_prediction_types_are_refused() -> None:
    with pytest.raises(EditorError, match="sample"):
        noise_scheduler({**SD, "prediction_type": "sample"})


def test_ancestral_steps_are_those_of_the_library(model: DiffusionModel) -> None:
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


def test_the_last_ancestral_step_is_the_predicted_clean_latent(model: DiffusionModel) -> None:
    schedule = model.schedule(20)
    x, output = model.noise(1, (1, 4, 8, 8)), model.noise(2, (1, 4, 8, 8))
    mean, variance = posterior(schedule, x, output, 1)
    assert variance == 0
    assert torch.allclose(mean, schedule.split(x, output, 1)[0], atol=1e-5)


@pytest.mark.parametrize("v_prediction", [False, True])
@pytest.mark.parametrize("level", [1, 2, 20])
def test_the_inverse_of_an_ancestral_step(model: DiffusionModel, level: int, v_prediction: bool) -> None:
    schedule = replace(model.diffusion_schedule(20), v_prediction=v_prediction)
    x, output = model.noise(1, (1, 4, 8, 8)), model.noise(2, (1, 4, 8, 8))
    mean, _ = posterior(schedule, x, output, level)
    torch.testing.assert_close(posterior_inverse(schedule, mean, output, level), x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("level", [0, 1, 10, 19])
def test_the_way_up_arrives_at_the_noise_of_its_level(model: DiffusionModel, level: int) -> None:
    schedule = model.schedule(20)
    one, zero = torch.ones(1), torch.zeros(1)
    signal, noise = float(diffuse(schedule, one, zero, level)), float(diffuse(schedule, zero, one, level))
    here = schedule.alpha_bars[level] if level else 1.0
    assert signal * math.sqrt(here) == pytest.approx(math.sqrt(schedule.alpha_bars[level + 1]), rel=1e-5)
    assert signal**2 * (1 - here) + noise**2 == pytest.approx(1 - schedule.alpha_bars[level + 1], rel=1e-5)


@pytest.mark.parametrize("odd", [{"num_train_timesteps": "x"}, {"beta_schedule": "steep"}, {"beta_start": None}])
def test_a_configuration_that_makes_no_schedule_is_refused_in_one_line(odd: dict[str, object]) -> None:
    with pytest.raises(EditorError, match=r"scheduler_config\.json makes no schedule: ") as caught:
        noise_scheduler({"num_train_timesteps": 1000} | odd)
    assert "\n" not in str(caught.value)
