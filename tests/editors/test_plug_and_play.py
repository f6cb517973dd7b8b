"""Plug-and-Play against its algorithm, written once more for one edit: features kept from one pass of the U-Net, used in the next."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from editors import DiffusionModel, EditorError, EditTask
from editors.encode_decode import EncodeDecode
from editors.plug_and_play import PlugAndPlay, with_features

STEPS = 5


def editor(model: DiffusionModel, **params: Any) -> PlugAndPlay:
    given = {"steps": STEPS, "guidance": 4.0, "inversion_steps": 0, "first_layer": 0.3, **params}
    return PlugAndPlay(model, PlugAndPlay.resolve("", given))


def edit(method: PlugAndPlay, task: EditTask, *values: float) -> np.ndarray:
    return np.stack(method.render(method.prepare(task), values)).astype(int)


class Kept:
    """A forward hook that keeps a layer's output, and gives it instead of another."""

    def __init__(self) -> None:
        self.features = torch.zeros(0)
        self.use = self.injects = False

    def __call__(self, module: Any, arguments: Any, features: Tensor) -> Tensor | None:
        if not self.use:
            self.features = features
        return self.features.expand_as(features) if self.use and self.injects else None


@torch.no_grad()
def one_edit(model: DiffusionModel, task: EditTask, tau_a: int, tau_f: int) -> np.ndarray:
    """Of the tiny U-Net's decoder, layer 1 of 4 has the features; layers 0 and 1 are those with attention."""
    attention = [model.unet.get_submodule(f"up_blocks.0.attentions.1.transformer_blocks.0.attn1.to_{x}") for x in "qk"]
    layers = {module: Kept() for module in (*attention, model.unet.get_submodule("up_blocks.0.resnets.1.conv2"))}
    hooks = [module.register_forward_hook(kept) for module, kept in layers.items()]
    schedule, (target, empty) = model.schedule(STEPS), model.embed_pair(task.target_text)
    path = editor(model).prepare(task).trajectory
    x = path[-1]
    try:
        for t in range(STEPS, 0, -1):
            for module, kept in layers.items():
                kept.use, kept.injects = False, STEPS - t < (tau_a if module in attention else tau_f)
            model.predict(path[t], schedule.timestep(t), empty)
            for kept in layers.values():
                kept.use = True
            x = schedule.ddim_step(x, model.predict(x, schedule.timestep(t), target, 4.0, empty), t)
    finally:
        for hook in hooks:
            hook.remove()
    return model.decode(x)[0].astype(int)


@pytest.mark.parametrize(("value", "tau_a", "tau_f"), [(0.0, 5, 5), (0.4, 3, 5), (0.6, 2, 3), (0.8, 1, 2)])
def test_algorithm(model: DiffusionModel, task: EditTask, value: float, tau_a: int, tau_f: int) -> None:
    found = edit(editor(model), task, value, 1.0)
    # in a batch of three and alone predictions differ by float32 rounding, which five steps of guidance enlarge
    assert np.abs(found[0] - one_edit(model, task, tau_a, tau_f)).max() <= 1
    assert np.abs(found[0] - found[1]).max() > 2


def test_without_injection_it_is_encode_decode(model: DiffusionModel, task: EditTask) -> None:
    plain = EncodeDecode(model, EncodeDecode.resolve("", {"steps": STEPS, "guidance": 4.0}))
    expected = np.stack(plain.render(plain.prepare(task), (1.0,))).astype(int)
    assert np.abs(edit(editor(model), task, 1.0) - expected).max() <= 1


def test_a_finer_inversion_passes_the_levels_of_the_decode(model: DiffusionModel, task: EditTask) -> None:
    fine, coarse = editor(model, inversion_steps=10).prepare(task), editor(model).prepare(task)
    assert len(fine.trajectory) == len(coarse.trajectory) == STEPS + 1
    assert (fine.trajectory[-1] - coarse.trajectory[-1]).abs().max() > 1e-2


def test_an_inversion_that_misses_them_is_refused(model: DiffusionModel, task: EditTask) -> None:
    with pytest.raises(EditorError, match="inversion_steps: 7 steps do not pass timestep"):
        editor(model, inversion_steps=7).prepare(task)


def test_layers_are_those_of_the_decoder_from_a_share_on(model: DiffusionModel) -> None:
    injected, attention, features = with_features(model, 0.0)
    hooked = {name: module for name, module in injected.unet.named_modules() if module._forward_hooks}
    assert sorted(hooked) == [
        *(f"up_blocks.0.attentions.{j}.transformer_blocks.0.attn1.to_{x}" for j in (0, 1) for x in "kq"),
        "up_blocks.0.resnets.0.conv2",
    ]
    assert attention is not features
    with pytest.raises(EditorError, match="no self-attention in layers 3 to 3"):
        with_features(model, 1.0)


def test_guided_away_from_a_negative_text(model: DiffusionModel, task: EditTask) -> None:
    away = edit(editor(model, negative="a red ball"), task, 0.5)
    assert np.abs(away - edit(editor(model), task, 0.5)).max() > 2


def test_a_small_batch_limit_changes_nothing_but_the_number_of_calls(model: DiffusionModel, task: EditTask) -> None:
    method = editor(model)
    wide = edit(method, task, 0.0, 0.5, 1.0)
    model.max_batch = 3
    assert np.abs(wide - edit(method, task, 0.0, 0.5, 1.0)).max() <= 1
