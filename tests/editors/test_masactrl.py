"""MasaCtrl against its equation, written once more for one edit, and what its two shares mean."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from editors import DiffusionModel, EditTask
from editors.encode_decode import EncodeDecode
from editors.masactrl import MasaCtrl
from editors.toolbox.attention import with_mutual_self_attention

STEPS = 6


def editor(model: DiffusionModel, **params: Any) -> MasaCtrl:
    return MasaCtrl(model, MasaCtrl.resolve("", {"steps": STEPS, "guidance": 4.0, **params}))


def edit(method: MasaCtrl, task: EditTask, *values: float) -> np.ndarray:
    return np.stack(method.render(method.prepare(task), values)).astype(int)


class Recorded:
    """Attention that keeps keys and values of one pass and uses them in the next."""

    def __init__(self) -> None:
        self.seen: tuple[Tensor, Tensor] | None = None
        self.use = False

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)
        if encoder_hidden_states is None:
            if self.use and self.seen is not None:
                key, value = (x.expand_as(key) for x in self.seen)
            elif not self.use:
                self.seen = key, value
        maps = attn.get_attention_scores(attn.head_to_batch_dim(query), attn.head_to_batch_dim(key))
        return attn.to_out[0](attn.batch_to_head_dim(maps @ attn.head_to_batch_dim(value)))


@torch.no_grad()
def one_edit(model: DiffusionModel, task: EditTask, free_steps: int, governed: list[str]) -> np.ndarray:
    """Source and edit, one after the other in every step."""
    schedule, (target, empty) = model.schedule(STEPS), model.embed_pair(task.target_text)
    x = edited = MasaCtrl.prepare(editor(model), task).trajectory[-1]
    kept = {name: Recorded() for name in model.unet.attn_processors}
    before = dict(model.unet.attn_processors)
    model.unet.set_attn_processor(dict(kept))
    try:
        for t in range(STEPS, 0, -1):
            for each in kept.values():
                each.use = False
            source = model.predict(x, schedule.timestep(t), empty)
            for name in governed:
                kept[name].use = STEPS - t >= free_steps
            for name in set(kept) - set(governed):
                kept[name].seen = None
            for each in kept.values():
                each.use = each.use or each.seen is None
            output = model.predict(edited, schedule.timestep(t), target, 4.0, empty)
            x, edited = schedule.ddim_step(x, source, t), schedule.ddim_step(edited, output, t)
    finally:
        model.unet.set_attn_processor(before)
    return model.decode(edited)[0].astype(int)


@pytest.mark.parametrize("free_steps", [0, 2])
def test_queries_of_the_edit_look_at_keys_and_values_of_the_source(
    model: DiffusionModel, task: EditTask, free_steps: int
) -> None:
    layers = [name for name in model.unet.attn_processors if name.endswith("attn1.processor")]
    found = edit(editor(model, free_steps=free_steps / STEPS, free_layers=0.0), task, 0.5, 1.0)[1]
    assert np.abs(found - one_edit(model, task, free_steps, layers)).max() <= 1
    assert np.abs(found - edit(editor(model, free_steps=1.0), task, 1.0)[0]).max() > 2


def test_without_control_it_is_encode_decode(model: DiffusionModel, task: EditTask) -> None:
    plain = EncodeDecode(model, EncodeDecode.resolve("", {"steps": STEPS, "guidance": 4.0}))
    expected = np.stack(plain.render(plain.prepare(task), (0.0, 0.5, 1.0))).astype(int)
    for free in ({"free_steps": 1.0}, {"free_layers": 1.0}):
        assert np.abs(edit(editor(model, **free), task, 0.0, 0.5, 1.0) - expected).max() <= 1


def test_an_edit_to_the_empty_text_is_the_source_again(model: DiffusionModel, task: EditTask) -> None:
    method = editor(model, guidance=1.0, free_steps=0.0, free_layers=0.0)
    free = editor(model, guidance=1.0, free_steps=1.0)
    nothing = replace(task, target_text="")
    assert np.abs(edit(method, nothing, 1.0) - edit(free, nothing, 1.0)).max() <= 1


def test_layers_are_counted_in_the_order_they_are_passed(model: DiffusionModel) -> None:
    governed, control = with_mutual_self_attention(model, 0.5)
    names = [name for name, each in governed.unet.attn_processors.items() if each is control]
    layers = [name for name in model.unet.attn_processors if name.endswith("attn1.processor")]
    assert names
    assert len(names) < len(layers)
    assert any(name.startswith("up_blocks") for name in names)
    assert not any(name.startswith("down_blocks") for name in names)


def test_a_small_batch_limit_changes_nothing_but_the_number_of_calls(model: DiffusionModel, task: EditTask) -> None:
    method = editor(model, free_layers=0.0)
    wide = edit(method, task, 0.5, 0.75, 1.0)
    model.max_batch = 3
    assert np.abs(wide - edit(method, task, 0.5, 0.75, 1.0)).max() <= 1
