"""ReNoise against its algorithm, written once more, and what its parts promise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from editors import DiffusionModel, EditTask, MissingInput
from editors.renoise import ReNoise
from editors.toolbox.schedule import posterior
from editors.toolbox.sweep import ddim_invert

STEPS = 5


def editor(model: DiffusionModel, **params: Any) -> ReNoise:
    given = {"steps": STEPS, "guidance": 1.0, "regularisation_steps": 0, **params}
    return ReNoise(model, ReNoise.resolve("", given))


def returned(method: ReNoise, task: EditTask, *values: float) -> np.ndarray:
    """Levels of 255 that edits to the source text lie beside the round trip, at the most, for each value."""
    same = replace(task, target_text=task.source_text or "")
    round_trip = method.model.decode(method.model.encode(task.image))[0].astype(int)
    return np.abs(np.stack(method.render(method.prepare(same), values)).astype(int) - round_trip).max((1, 2, 3))


def test_without_renoising_it_is_the_inversion_of_ddim(model: DiffusionModel, masked: EditTask) -> None:
    found = editor(model, renoise_steps=0).prepare(masked).trajectory
    source = model.embed([masked.source_text or ""])
    expected = ddim_invert(model, model.schedule(STEPS), model.encode(masked.image), source)
    torch.testing.assert_close(torch.cat(found), torch.cat(expected), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_algorithm(model: DiffusionModel, masked: EditTask) -> None:
    """Three renoising steps, the last two predictions averaged; the first steps, below timestep 250, average the first two of three."""
    found = editor(model, renoise_steps=3, first_renoise_steps=2, averaged_from=2, first_averaged=2).prepare(masked).trajectory
    schedule, source, z = model.diffusion_schedule(STEPS), model.embed([masked.source_text or ""]), model.encode(masked.image)
    for t, timestep in enumerate(schedule.timesteps, start=1):
        here, there = schedule.alpha_bars[t - 1], schedule.alpha_bars[t]
        estimates, predictions = [z], []
        for _ in range(3 if timestep < 250 else 4):
            eps = model.unet_output(estimates[-1], torch.tensor([timestep]), source)
            x0 = (z - (1 - here) ** 0.5 * eps) / here**0.5
            estimates.append(there**0.5 * x0 + (1 - there) ** 0.5 * eps)
            predictions.append(eps)
        kept = predictions[:2] if timestep < 250 else predictions[2:]
        eps = sum(kept[1:], kept[0]) / 2
        z = there**0.5 * (z - (1 - here) ** 0.5 * eps) / here**0.5 + (1 - there) ** 0.5 * eps
        torch.testing.assert_close(found[t], z, rtol=1e-4, atol=1e-4)


def test_renoising_brings_the_picture_back(model: DiffusionModel, masked: EditTask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best prediction for latents that are normally distributed, which is smooth as a trained network's is."""
    schedule = model.diffusion_schedule(STEPS)

    def predict(self: DiffusionModel, x: Tensor, timestep: int, *_: Any) -> Tensor:
        abar = schedule.alpha_bars[schedule.timesteps.index(timestep) + 1]
        return (1 - abar) ** 0.5 * x / (0.25 * abar + 1 - abar)

    monkeypatch.setattr(DiffusionModel, "predict", predict)
    plain, some, many = (
        returned(editor(model, renoise_steps=k, first_renoise_steps=k, first_averaged=0), masked, 1.0)[0] for k in (0, 2, 20)
    )
    assert plain > some > many
    assert many <= 1


def test_corrected_noise_undoes_every_step(model: DiffusionModel, masked: EditTask) -> None:
    """Whatever the inversion's error, but for the last step, which adds no noise and is renoised until it has none."""
    params = {"sampler": "ancestral", "renoise_steps": 9, "averaged_from": 9, "first_renoise_steps": 9, "first_averaged": 0}
    assert returned(editor(model, **params), masked, 0.0, 0.4, 1.0).max() <= 1
    assert returned(editor(model, **{**params, "noise_correction": False, "renoise_steps": 1}), masked, 1.0)[0] > 2


def test_ancestral_steps_invert_those_of_the_sampler(model: DiffusionModel, masked: EditTask) -> None:
    """In the coordinates of Euler's ancestral sampler, z / sqrt(abar), where noise has the standard deviation sigma."""
    state = editor(model, sampler="ancestral", renoise_steps=0, noise_correction=False).prepare(masked)
    schedule, source = model.diffusion_schedule(STEPS), model.embed([masked.source_text or ""])
    abar = (1.0, *schedule.alpha_bars[1:])
    sigma = [((1 - a) / a) ** 0.5 for a in abar]
    for t in range(2, STEPS + 1):
        eps = model.predict(state.trajectory[t - 1], schedule.timestep(t), source)
        down = sigma[t - 1] ** 2 / sigma[t]
        y, x = (state.trajectory[k] / abar[k] ** 0.5 for k in (t - 1, t))
        torch.testing.assert_close(
            x, y - state.noises[t - 1] / abar[t - 1] ** 0.5 - (down - sigma[t]) * eps, rtol=1e-3, atol=1e-3
        )
        up = (sigma[t - 1] ** 2 - down**2) ** 0.5
        assert float((state.noises[t - 1] / abar[t - 1] ** 0.5 / up).std()) == pytest.approx(1, abs=0.1)  # 1,024 draws


def test_enhanced_predictions_are_more_like_noise(model: DiffusionModel, masked: EditTask) -> None:
    def correlation(trajectory: list[Tensor]) -> float:
        schedule = model.diffusion_schedule(STEPS)
        here, there = schedule.alpha_bars[-2:]
        eps = trajectory[-1] - (there / here) ** 0.5 * trajectory[-2]
        return float((eps * eps.roll(1, 3)).mean().abs() / eps.square().mean())

    plain, enhanced = (editor(model, averaged_from=1, regularisation_steps=steps).prepare(masked).trajectory for steps in (0, 4))
    assert correlation(enhanced) < correlation(plain)


def test_it_runs_on_v_predictions_as_on_noise(model: DiffusionModel, masked: EditTask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that predicts v where another predicts the same noise has the same inversion."""
    method = editor(model, renoise_steps=2)
    expected = torch.cat(method.prepare(masked).trajectory)
    plain, noise_schedule = DiffusionModel.predict, DiffusionModel.diffusion_schedule
    schedule = model.diffusion_schedule(STEPS)

    def predict(self: DiffusionModel, x: Tensor, timestep: int, *given: Any) -> Tensor:
        abar = schedule.alpha_bars[schedule.timesteps.index(timestep) + 1]
        eps = plain(self, x, timestep, *given)
        return (eps - (1 - abar) ** 0.5 * x) / abar**0.5

    monkeypatch.setattr(DiffusionModel, "predict", predict)
    monkeypatch.setattr(
        DiffusionModel, "diffusion_schedule", lambda self, steps: replace(noise_schedule(self, steps), v_prediction=True)
    )
    torch.testing.assert_close(torch.cat(method.prepare(masked).trajectory), expected, rtol=1e-3, atol=1e-3)


def test_it_runs_on_stable_diffusion_xl(family_folders: dict[str, Path], masked: EditTask) -> None:
    method = editor(DiffusionModel.load(family_folders["sdxl"], side=64), sampler="ancestral", first_renoise_steps=0)
    state = method.prepare(masked)
    schedule = method.model.diffusion_schedule(STEPS)
    for t in range(2, STEPS + 1):
        output = method.model.predict(state.trajectory[t], schedule.timestep(t), state.source)
        back = posterior(schedule, state.trajectory[t], output, t)[0] + state.noises[t - 1]
        torch.testing.assert_close(back, state.trajectory[t - 1], rtol=1e-3, atol=1e-3)
    assert len(method.render(state, (0.4, 1.0))) == 2


def test_it_needs_a_source_text(model: DiffusionModel, task: EditTask) -> None:
    with pytest.raises(MissingInput, match="source_text"):
        editor(model).prepare(task)
