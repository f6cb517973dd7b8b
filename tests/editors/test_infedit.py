"""InfEdit against the authors' sampler, written once more, and its attention control against what each branch is to look at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from decoded import latents
from torch import Tensor

from editors import DiffusionModel, EditTask, MissingInput
from editors.infedit import InfEdit
from editors.toolbox.attention import align
from editors.toolbox.diffusion import derive_seed
from editors.toolbox.unified_attention import UnifiedAttention, with_unified_attention

STEPS = 5


def editor(model: DiffusionModel, **params: Any) -> InfEdit:
    return InfEdit(model, InfEdit.resolve("", {"steps": STEPS, "guidance": 3.0, **params}))


@torch.no_grad()
def sampler(model: DiffusionModel, task: EditTask, start: int) -> Tensor:
    """The consistent model's step for one edit without attention control, as it is written with noise: x_s and x_t are noised latents."""
    schedule, (target, empty) = model.diffusion_schedule(STEPS), model.embed_pair(task.target_text)
    source, x_0 = model.embed([task.source_text or ""]), model.encode(task.image)

    def fresh(level: int) -> Tensor:
        return model.noise(derive_seed(task.seed, f"level {level}"), x_0.shape)

    abar = schedule.alpha_bars
    x_s = x_t = abar[start] ** 0.5 * x_0 + (1 - abar[start]) ** 0.5 * fresh(start)
    pred_x0 = x_0
    for t in range(start, 0, -1):
        e_s = model.predict(x_s, schedule.timestep(t), source)
        e_t = model.predict(x_t, schedule.timestep(t), target, 3.0, empty)
        pred_x0 = x_0 + ((x_t - x_s) - (1 - abar[t]) ** 0.5 * (e_t - e_s)) / abar[t] ** 0.5
        if t > 1:
            noise = (1 - abar[t - 1]) ** 0.5 * fresh(t - 1)
            x_s, x_t = abar[t - 1] ** 0.5 * x_0 + noise, abar[t - 1] ** 0.5 * pred_x0 + noise
    return pred_x0


def test_without_control_it_is_the_consistent_sampler(
    model: DiffusionModel, masked: EditTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = editor(model, cross_replace=0.0, self_replace=0.0)
    for found, start in zip(latents(free, masked, (0.4, 1.0), monkeypatch), (2, 5), strict=True):
        # predictions are divided by sqrt(abar), down to 0.2 at the noisiest level
        torch.testing.assert_close(found, sampler(model, masked, start)[0], rtol=1e-3, atol=2e-3)


def test_at_0_it_is_the_round_trip(model: DiffusionModel, masked: EditTask) -> None:
    method = editor(model)
    (found,) = method.render(method.prepare(masked), (0.0,))
    assert np.array_equal(found, model.decode(model.encode(masked.image))[0])


def test_an_edit_to_the_source_text_leaves_the_source(
    model: DiffusionModel, masked: EditTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = replace(masked, target_text=masked.source_text or "")
    for found in latents(editor(model, guidance=1.0), same, (0.4, 1.0), monkeypatch):
        torch.testing.assert_close(found, model.encode(masked.image)[0], rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("share", ["cross_replace", "self_replace"])
def test_each_control_changes_the_edit(
    model: DiffusionModel, masked: EditTask, share: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = {"cross_replace": 0.0, "self_replace": 0.0}
    free = latents(editor(model, **none), masked, (1.0,), monkeypatch)
    held = latents(editor(model, **{**none, share: 1.0}), masked, (1.0,), monkeypatch)
    assert (free - held).abs().max() > 1e-2


def attended(attn: Any, x: Tensor, text: Tensor | None, rows: list[tuple[int, int, int]]) -> Tensor:
    """Plain attention of rows (query's, key's, value's)."""
    context = x if text is None else text
    q, k, v = attn.to_q(x), attn.to_k(context), attn.to_v(context)
    heads = [attn.head_to_batch_dim(part[[row[i] for row in rows]]) for i, part in enumerate((q, k, v))]
    maps = attn.get_attention_scores(heads[0], heads[1])
    return attn.to_out[0](attn.batch_to_head_dim(maps @ heads[2]))


@torch.no_grad()
@pytest.mark.parametrize("early", [True, False])
def test_self_attention_of_every_branch(model: DiffusionModel, early: bool) -> None:
    """Of a half the rows are source 0, edit 1, layout 2; the other half is rows 3 to 5."""
    control = UnifiedAttention(align(model.tokenizer, "a red ball", "a blue cat"), model.device)
    control.self_, control.cross = torch.tensor([early]), torch.tensor([False])
    attn = model.unet.get_submodule("mid_block.attentions.0.transformer_blocks.0.attn1")
    x = model.noise(1, (6, 9, attn.to_q.in_features))
    half = [(0, 0, 0), (0, 0, 1), (0, 0, 0)] if early else [(0, 0, 0), (1, 1, 1), (1, 0, 0)]
    rows = [*half, *((q + 3, k + 3, v + 3) for q, k, v in half)]
    torch.testing.assert_close(control(attn, x), attended(attn, x, None, rows), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_cross_attention_to_shared_words_is_the_layouts(model: DiffusionModel) -> None:
    source, target = "a red ball on the grass", "a blue ball on the grass"
    alignment = align(model.tokenizer, source, target)
    control = UnifiedAttention(alignment, model.device)
    control.self_, control.cross = torch.tensor([False, False]), torch.tensor([True, False])
    attn = model.unet.get_submodule("mid_block.attentions.0.transformer_blocks.0.attn2")
    texts = model.embed(["", *[""] * 4, source, target, target, source, source])
    x = model.noise(1, (10, 9, attn.to_q.in_features))
    plain = [(row, row, row) for row in range(10)]
    expected = attended(attn, x, texts, plain)
    q, k = (attn.head_to_batch_dim(part) for part in (attn.to_q(x), attn.to_k(texts)))
    maps = attn.get_attention_scores(q, k).unflatten(0, (10, -1))
    shared = alignment.shared.float()
    maps = maps[8] * shared + maps[6] * (1 - shared)  # words pair in place here
    value = attn.head_to_batch_dim(attn.to_v(texts)[6:7])
    expected[6] = attn.to_out[0](attn.batch_to_head_dim(maps @ value))[0]
    torch.testing.assert_close(control(attn, x, texts), expected, rtol=1e-4, atol=1e-5)
    assert (expected[6] - attended(attn, x, texts, plain)[6]).abs().max() > 1e-6


def test_the_model_itself_is_not_governed(model: DiffusionModel) -> None:
    governed, control = with_unified_attention(model, align(model.tokenizer, "a red ball", "a blue cat"))
    assert all(each is control for each in governed.unet.attn_processors.values())
    assert not any(each is control for each in model.unet.attn_processors.values())


def test_a_small_batch_limit_changes_nothing_but_the_number_of_calls(
    model: DiffusionModel, masked: EditTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = latents(editor(model), masked, (0.4, 0.8, 1.0), monkeypatch)
    model.max_batch = 6
    torch.testing.assert_close(latents(editor(model), masked, (0.4, 0.8, 1.0), monkeypatch), wide, rtol=1e-3, atol=2e-3)


def test_it_needs_a_source_text(model: DiffusionModel, task: EditTask) -> None:
    with pytest.raises(MissingInput, match="source_text"):
        editor(model).prepare(task)
