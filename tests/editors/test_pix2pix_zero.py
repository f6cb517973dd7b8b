"""pix2pix-zero: its edit written once more for one sample, with the reference's maps kept, and what each part promises."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from decoded import latents
from torch import Tensor

from editors import DiffusionModel, EditTask, MissingInput
from editors.pix2pix_zero import Pix2PixZero
from editors.toolbox.attention import with_attention
from editors.toolbox.sweep import ddim_invert

STEPS, RATE = 4, 0.5


def editor(model: DiffusionModel, **params: Any) -> Pix2PixZero:
    given = {"steps": STEPS, "guidance": 3.0, "attention_rate": RATE, "regularisation_steps": 0, **params}
    return Pix2PixZero(model, Pix2PixZero.resolve("", given))


def algorithm(model: DiffusionModel, task: EditTask, alpha: float) -> Tensor:
    """Two passes, as in Algorithm 1: the reference's maps are kept, and the edit's are compared with them at the same step."""
    schedule, source = model.schedule(STEPS), model.embed([task.source_text or ""])
    edit = source + alpha * (model.embed([task.target_text]) - source)
    maps: list[Tensor] = []
    seen = with_attention(model, lambda own, is_cross: (maps.append(own) if is_cross else None, own)[1])
    x = start = ddim_invert(model, schedule, model.encode(task.image), source)[-1]
    kept = {}
    for t in range(STEPS, 0, -1):
        maps.clear()
        with torch.no_grad():
            eps = seen.unet_output(x, torch.tensor([schedule.timestep(t)]), source)
        kept[t] = list(maps)
        x = schedule.ddim_step(x, eps, t)
    x = start
    for t in range(STEPS, 0, -1):
        maps.clear()
        leaf = x.detach().requires_grad_()
        seen.unet_output(leaf, torch.tensor([schedule.timestep(t)]), edit)
        loss = sum(((a - b) ** 2).sum() / a.shape[1] for a, b in zip(maps, kept[t], strict=True))
        assert isinstance(loss, Tensor)
        loss.backward()
        assert leaf.grad is not None
        x = x - RATE * leaf.grad
        x = schedule.ddim_step(x, model.predict(x, schedule.timestep(t), edit, 3.0, source), t)
    return x


def test_algorithm(model: DiffusionModel, masked: EditTask, monkeypatch: pytest.MonkeyPatch) -> None:
    values = (0.5, 1.0)
    found = latents(editor(model), masked, values, monkeypatch)
    for each, alpha in zip(found, values, strict=True):
        torch.testing.assert_close(each, algorithm(model, masked, alpha)[0], rtol=1e-3, atol=1e-3)
    free = latents(editor(model, attention_rate=0.0), masked, values, monkeypatch)
    assert (free - found).abs().max() > 5e-3


def test_without_a_direction_the_source_is_generated_again(
    model: DiffusionModel, masked: EditTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = editor(model)
    expected = method.prepare(masked).reference[0]
    torch.testing.assert_close(latents(method, masked, (0.0,), monkeypatch), expected, rtol=1e-3, atol=1e-3)
    same = replace(masked, target_text=masked.source_text or "")
    torch.testing.assert_close(latents(method, same, (1.0,), monkeypatch), expected, rtol=1e-3, atol=1e-3)


def test_regularised_noise_is_closer_to_a_normal_distribution(model: DiffusionModel, masked: EditTask) -> None:
    plain, regularised = (editor(model, regularisation_steps=steps).prepare(masked).reference[-1] for steps in (0, 5))
    assert abs(float(regularised.std()) - 1) < abs(float(plain.std()) - 1)


def test_a_small_batch_limit_changes_nothing_but_the_number_of_calls(
    model: DiffusionModel, masked: EditTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = latents(editor(model), masked, (0.0, 0.5, 1.0), monkeypatch)
    model.max_batch = 3
    torch.testing.assert_close(latents(editor(model), masked, (0.0, 0.5, 1.0), monkeypatch), wide, rtol=1e-3, atol=1e-3)


def test_it_needs_a_source_text(model: DiffusionModel, task: EditTask) -> None:
    with pytest.raises(MissingInput, match="source_text"):
        editor(model).prepare(task)
