"""TurboEdit: its identities, and its three parts written once more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from decoded import latents
from torch import Tensor

from editors import DiffusionModel, EditorError, EditTask, MissingInput
from editors.edit_friendly_ddpm import EditFriendlyDDPM
from editors.toolbox.diffusion import derive_seed
from editors.turboedit import TurboEdit


def editor(model: DiffusionModel, preset: str = "paper", **params: Any) -> TurboEdit:
    return TurboEdit(model, TurboEdit.resolve(preset, params))


@torch.no_grad()
def algorithm(model: DiffusionModel, task: EditTask, w: float, told: list[int], noised: list[int]) -> Tensor:
    """From the noisiest step down; the last noised timestep is x_0's, and 15.5 / 128 bounds the last noise map's root mean square."""
    alphas = model.scheduler.alphas_cumprod
    source, target, x0 = model.embed([task.source_text or ""]), model.embed([task.target_text]), model.encode(task.image)

    def mean(x: Tensor, i: int, text: Tensor) -> Tensor:
        here, there = alphas[told[i]], alphas[told[i + 1]] if i + 1 < len(told) else torch.tensor(1.0)
        eps, beta = model.unet_output(x, torch.tensor([told[i]]), text), 1 - here / there
        return (here / there) ** -0.5 * (x - beta / (1 - here) ** 0.5 * eps)

    path = []
    for i, t in enumerate(noised):
        noise = model.noise(derive_seed(task.seed, f"level {len(told) - i}"), x0.shape)
        path.append(alphas[t] ** 0.5 * x0 + (1 - alphas[t]) ** 0.5 * noise)
    path += [x0] * (len(told) + 1 - len(path))
    x = path[0]
    for i in range(len(told)):
        z = path[i + 1] - mean(path[i], i, source)
        if i + 1 == len(told):
            z = z * min(1.0, 15.5 / 128 / float(z.square().mean().sqrt()))
        x = mean(x, i, source) + z + w * (mean(x, i, target) - mean(x, i, source))
    return x


@pytest.mark.parametrize(
    ("preset", "timesteps"),
    [("paper", ([799, 599, 399, 199], [599, 399, 199])), ("paper_3_steps", ([799, 499, 199], [599, 299]))],
)
def test_algorithm_with_the_authors_timesteps(
    model: DiffusionModel,
    masked: EditTask,
    preset: str,
    timesteps: tuple[list[int], list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = (0.0, 1.0, 2.5)
    for found, w in zip(latents(editor(model, preset), masked, weights, monkeypatch), weights, strict=True):
        # float32 rounding of means that are divided by sqrt(alpha) down to 0.4, four times
        torch.testing.assert_close(found, algorithm(model, masked, w, *timesteps)[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_without_weight_or_change_of_text_the_source_comes_back(
    family: str, model: DiffusionModel, family_folders: dict[str, Path], masked: EditTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model if family == "sd" else DiffusionModel.load(family_folders["sdxl"], side=64)
    method, same = editor(model, last_rms=0.0), replace(masked, target_text=masked.source_text or "")
    x0 = model.encode(masked.image)[0]
    torch.testing.assert_close(latents(method, masked, (0.0,), monkeypatch)[0], x0, rtol=1e-3, atol=1e-3)
    for found in latents(method, same, (0.5, 3.0), monkeypatch):
        torch.testing.assert_close(found, x0, rtol=1e-3, atol=1e-3)
    assert (latents(method, masked, (3.0,), monkeypatch)[0] - x0).abs().max() > 0.1


def test_with_weight_1_and_no_shift_it_is_edit_friendly_inversion(
    model: DiffusionModel, masked: EditTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = EditFriendlyDDPM(model, EditFriendlyDDPM.resolve("", {"steps": 4, "guidance": 1.0, "source_guidance": 1.0}))
    expected = latents(plain, masked, (1.0,), monkeypatch)
    method = editor(model, noisiest=751, cleanest=1, shift=0, last_rms=0.0)  # the 4 timesteps of Stable Diffusion's schedule
    assert method.schedule.timesteps == model.diffusion_schedule(4).timesteps
    torch.testing.assert_close(latents(method, masked, (1.0,), monkeypatch), expected, rtol=1e-3, atol=1e-3)


def test_the_bound_of_the_last_noise_map_is_told(model: DiffusionModel, masked: EditTask) -> None:
    scales = []
    for rms in (0.0, 1e-3, 1e6):
        method = editor(model, last_rms=rms)
        scales.append(method.facts(method.prepare(masked))["last_noise_scaled_by"])
    assert scales[0] == scales[2] == 1.0
    assert 0 < float(scales[1]) < 0.1


def test_timesteps_that_do_not_exist_are_refused(model: DiffusionModel, masked: EditTask) -> None:
    with pytest.raises(EditorError, match="as many timesteps from noisiest to cleanest"):
        TurboEdit.resolve("", {"noisiest": 100})
    with pytest.raises(EditorError, match="noisiest"):
        TurboEdit.resolve("", {"noisiest": 1000})


def test_it_needs_a_source_text(model: DiffusionModel, task: EditTask) -> None:
    with pytest.raises(MissingInput, match="source_text"):
        editor(model).prepare(task)
