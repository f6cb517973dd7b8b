"""FlowEdit against its algorithm, written once more with the transformer of Stable Diffusion 3 alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from decoded import latents
from torch import Tensor

from editors import DiffusionModel, EditTask, MissingInput
from editors.flowedit import FlowEdit
from editors.toolbox.diffusion import derive_seed

STEPS, GUIDANCE, SOURCE_GUIDANCE = 10, 5.0, 2.0


@pytest.fixture(params=["sd3", "flux"])
def model(request: pytest.FixtureRequest, family_folders: dict[str, Path]) -> DiffusionModel:
    return DiffusionModel.load(family_folders[request.param], side=64)


@pytest.fixture
def described(task: EditTask) -> EditTask:
    return replace(task, source_text="a red ball")


def editor(model: DiffusionModel, **params: Any) -> FlowEdit:
    given = {"steps": STEPS, "guidance": GUIDANCE, "source_guidance": SOURCE_GUIDANCE, **params}
    return FlowEdit(model, FlowEdit.resolve("", given))


def algorithm(model: DiffusionModel, task: EditTask, n_max: int, n_avg: int, n_min: int) -> Tensor:
    """Algorithm 1 for one edit, a network call at a time."""
    scheduler = model.scheduler
    sigmas = model.flow_schedule(STEPS).sigmas
    source, target, empty = model.embed([task.source_text or ""]), model.embed([task.target_text]), model.embed([""])
    x_src = model.encode(task.image)

    @torch.no_grad()
    def velocity(z: Tensor, sigma: float, text: Tensor, w: float) -> Tensor:
        t = torch.tensor([sigma * scheduler.config.num_train_timesteps])
        if model.family == "flux":
            return model.unet_output(z, t, text, torch.tensor([w]))
        unconditional, conditional = model.unet_output(z, t, empty), model.unet_output(z, t, text)
        return unconditional + w * (conditional - unconditional)

    z_fe = x_src
    for i in range(n_max, n_min, -1):
        delta = torch.zeros_like(x_src)
        for j in range(n_avg):
            noise = model.noise(derive_seed(task.seed, f"level {i}, draw {j}"), x_src.shape)
            z_src = (1 - sigmas[i]) * x_src + sigmas[i] * noise
            z_tar = z_fe + z_src - x_src
            delta += (velocity(z_tar, sigmas[i], target, GUIDANCE) - velocity(z_src, sigmas[i], source, SOURCE_GUIDANCE)) / n_avg
        z_fe = z_fe + (sigmas[i - 1] - sigmas[i]) * delta
    for i in range(n_min, 0, -1):
        if i == n_min:
            noise = model.noise(derive_seed(task.seed, f"level {i}, draw 0"), x_src.shape)
            z_fe = z_fe + (1 - sigmas[i]) * x_src + sigmas[i] * noise - x_src
        z_fe = z_fe + (sigmas[i - 1] - sigmas[i]) * velocity(z_fe, sigmas[i], target, GUIDANCE)
    return z_fe


@pytest.mark.parametrize(("n_avg", "n_min"), [(1, 0), (3, 0), (1, 4)])
def test_it_is_the_algorithm(
    model: DiffusionModel, described: EditTask, n_avg: int, n_min: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = (0.4, 0.7, 1.0)
    found = latents(editor(model, averages=n_avg, last_steps=n_min), described, values, monkeypatch)
    for edit, value in zip(found, values, strict=True):
        expected = algorithm(model, described, round(value * STEPS), n_avg, n_min)[0]
        torch.testing.assert_close(edit, expected, rtol=1e-4, atol=1e-4)


def test_equal_texts_and_guidance_leave_the_source(
    model: DiffusionModel, described: EditTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = replace(described, source_text=described.target_text)
    method = editor(model, source_guidance=GUIDANCE)
    found = latents(method, same, (0.5, 1.0), monkeypatch)
    torch.testing.assert_close(found, method.model.encode(described.image).expand(2, -1, -1, -1), rtol=1e-4, atol=1e-4)


def test_at_0_it_is_the_round_trip_and_within_the_last_steps_it_begins_as_noise(
    model: DiffusionModel, described: EditTask
) -> None:
    method = editor(model, last_steps=4)
    none, few = method.render(method.prepare(described), (0.0, 0.2))
    assert np.abs(none.astype(int) - model.decode(model.encode(described.image))[0]).max() <= 1
    assert not np.array_equal(few, none)


def test_it_needs_a_source_text(model: DiffusionModel, task: EditTask) -> None:
    with pytest.raises(MissingInput, match="source_text"):
        editor(model).prepare(task)
