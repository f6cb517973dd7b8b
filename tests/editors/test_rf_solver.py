"""RF-Edit: the order of its solver, and its algorithm written once more with values kept from the inversion's own passes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from decoded import latents
from torch import Tensor

from editors import DiffusionModel, EditTask, MissingInput
from editors.rf_solver import RFSolver, with_shared_values
from editors.toolbox.schedule import FlowSchedule

STEPS, GUIDANCE = 4, 3.0
LAYER = {"sd3": "transformer_blocks.1.attn.to_v", "flux": "single_transformer_blocks.0.attn.to_v"}


@pytest.fixture(params=["sd3", "flux"])
def model(request: pytest.FixtureRequest, family_folders: dict[str, Path]) -> DiffusionModel:
    return DiffusionModel.load(family_folders[request.param], side=64)


def editor(model: DiffusionModel, **params: Any) -> RFSolver:
    return RFSolver(model, RFSolver.resolve("", {"steps": STEPS, "guidance": GUIDANCE, **params}))


@torch.no_grad()
def algorithm(model: DiffusionModel, task: EditTask, shared_steps: int) -> Tensor:
    """Inversion and edit as midpoint steps. The inversion's values are kept for the edit, one set for each half of each step."""
    sigmas = model.flow_schedule(STEPS).sigmas
    source, target, empty = model.embed([task.source_text or ""]), model.embed([task.target_text]), model.embed([""])
    kept: dict[tuple[int, int], Tensor] = {}
    now: list[Any] = [None, False]

    def hook(module: Any, arguments: Any, values: Tensor) -> Tensor | None:
        where, reads = now
        if not reads:
            kept[where] = values
        return kept[where] if reads and STEPS - where[0] < shared_steps else None

    def velocity(z: Tensor, sigma: float, where: tuple[int, int], edits: bool) -> Tensor:
        now[:] = [where, edits]
        t, text = torch.tensor([1000 * sigma]), target if edits else source
        if model.family == "flux":
            return model.unet_output(z, t, text, torch.tensor([GUIDANCE if edits else 1.0]))
        conditional = model.unet_output(z, t, text)
        if not edits:
            return conditional
        unconditional = model.unet_output(z, t, empty)
        return unconditional + GUIDANCE * (conditional - unconditional)

    handle = model.unet.get_submodule(LAYER[model.family]).register_forward_hook(hook)
    try:
        z = model.encode(task.image)
        for k in range(1, STEPS + 1):
            d = sigmas[k] - sigmas[k - 1]
            middle = z + d / 2 * velocity(z, sigmas[k - 1], (k, 0), False)
            z = z + d * velocity(middle, sigmas[k - 1] + d / 2, (k, 1), False)
        for k in range(STEPS, 0, -1):
            d = sigmas[k - 1] - sigmas[k]
            middle = z + d / 2 * velocity(z, sigmas[k], (k, 0), True)
            z = z + d * velocity(middle, sigmas[k] + d / 2, (k, 1), True)
    finally:
        handle.remove()
    return z


def test_algorithm(model: DiffusionModel, masked: EditTask, monkeypatch: pytest.MonkeyPatch) -> None:
    for found, shared in zip(latents(editor(model), masked, (0.0, 0.5, 1.0), monkeypatch), (4, 2, 0), strict=True):
        torch.testing.assert_close(found, algorithm(model, masked, shared)[0], rtol=1e-3, atol=1e-3)


def test_shared_values_change_the_edit(model: DiffusionModel, masked: EditTask, monkeypatch: pytest.MonkeyPatch) -> None:
    shared, free = latents(editor(model), masked, (0.0, 1.0), monkeypatch)
    assert (shared - free).abs().max() > 1e-3


def test_the_solver_is_of_second_order(model: DiffusionModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """On dz = z d sigma, from 0 to 1: half the step has a quarter of the error, where Euler's has half."""
    errors = []
    for steps in (8, 16, 32):
        method = editor(model, steps=steps)
        evenly = FlowSchedule(tuple(k / steps for k in range(steps + 1)), 1000)
        monkeypatch.setattr(DiffusionModel, "flow_schedule", lambda self, n, evenly=evenly: evenly)
        z = torch.ones(1, 1, 1, 1, dtype=torch.float64)
        for k in range(steps):
            z = method._step(z, k, k + 1, lambda z, timestep: z)
        errors.append(abs(float(z) - math.e))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.15)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.08)


def test_values_are_those_of_the_latter_part(model: DiffusionModel) -> None:
    shared, _ = with_shared_values(model)
    assert [name for name, module in shared.unet.named_modules() if module._forward_hooks] == [LAYER[model.family]]
    assert not any(module._forward_hooks for module in model.unet.modules())


def test_a_small_batch_limit_changes_nothing_but_the_number_of_calls(
    model: DiffusionModel, masked: EditTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = latents(editor(model), masked, (0.0, 0.5, 1.0), monkeypatch)
    model.max_batch = 3
    torch.testing.assert_close(latents(editor(model), masked, (0.0, 0.5, 1.0), monkeypatch), wide, rtol=1e-3, atol=1e-3)


def test_it_needs_a_source_text(model: DiffusionModel, task: EditTask) -> None:
    with pytest.raises(MissingInput, match="source_text"):
        editor(model).prepare(task)
