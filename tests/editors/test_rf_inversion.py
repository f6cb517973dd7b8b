"""RF-Inversion: what its closed forms promise, and both algorithms written once more, a network call at a time."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from decoded import latents

from editors import DiffusionModel, EditTask
from editors.rf_inversion import RFInversion
from editors.toolbox.diffusion import derive_seed

STEPS = 10


@pytest.fixture(params=["sd3", "flux"])
def model(request: pytest.FixtureRequest, family_folders: dict[str, Path]) -> DiffusionModel:
    return DiffusionModel.load(family_folders[request.param], side=64)


def editor(model: DiffusionModel, **params: Any) -> RFInversion:
    return RFInversion(model, RFInversion.resolve("", {"steps": STEPS, **params}))


def test_both_algorithms(model: DiffusionModel, task: EditTask, monkeypatch: pytest.MonkeyPatch) -> None:
    gamma, eta, free = 0.3, 0.8, 0.4
    found = latents(editor(model, gamma=gamma, eta=eta), task, (free, 1.0), monkeypatch)
    sigmas, (target, empty), x0 = model.flow_schedule(STEPS).sigmas, model.embed_pair(task.target_text), model.encode(task.image)
    y, y_1 = x0, model.noise(derive_seed(task.seed, "inversion"), x0.shape)
    for here, there in pairwise(sigmas):
        u = model.predict(y, 1000 * here, empty, 0.0, empty)
        y = y + (there - here) * ((1 - gamma) * u + gamma * (y_1 - y) / (1 - here))
    for edit, controlled in zip(found, (range(5, STEPS + 1), ()), strict=True):
        x = y
        for k in range(STEPS, 0, -1):
            v = model.predict(x, 1000 * sigmas[k], target, 3.5, empty)
            if k in controlled:
                v = (1 - eta) * v + eta * (x - x0) / sigmas[k]
            x = x + (sigmas[k - 1] - sigmas[k]) * v
        torch.testing.assert_close(edit, x[0], rtol=1e-3, atol=1e-3)


def test_under_full_control_the_source_comes_back(model: DiffusionModel, task: EditTask, monkeypatch: pytest.MonkeyPatch) -> None:
    method = editor(model, eta=1.0)
    held, free = latents(method, task, (0.0, 1.0), monkeypatch)
    x0 = model.encode(task.image)[0]
    torch.testing.assert_close(held, x0, rtol=1e-4, atol=1e-4)
    assert (free - x0).abs().max() > 0.1


def test_with_all_weight_on_the_drawn_noise_the_inversion_ends_there(model: DiffusionModel, task: EditTask) -> None:
    state = editor(model, gamma=1.0).prepare(task)
    drawn = model.noise(derive_seed(task.seed, "inversion"), state.x0.shape)
    torch.testing.assert_close(state.noise, drawn, rtol=1e-4, atol=1e-4)
