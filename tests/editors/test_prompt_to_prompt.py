"""Prompt-to-prompt, and what editors share that refine it, in Direct Inversion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from editors import DiffusionModel, EditTask
from editors.direct_inversion import DirectInversion
from editors.prompt_to_prompt import DDIMPromptToPrompt
from editors.toolbox.sweep import decode_sweep


def test_control_takes_part_in_an_edit(model: DiffusionModel, masked: EditTask) -> None:
    def latent(**params: float) -> torch.Tensor:
        editor = DirectInversion(model, DirectInversion.resolve("", {"steps": 4, **params}))
        return torch.from_numpy(editor.render(editor.prepare(masked), (1.0,))[0]).float()

    free = latent(cross_replace=0.0, self_replace=0.0)
    for changed in ({"cross_replace": 1.0}, {"self_replace": 1.0}):
        assert not torch.equal(latent(**{"cross_replace": 0.0, "self_replace": 0.0, **changed}), free)
    assert torch.equal(latent(cross_replace=0.0, self_replace=0.0, equaliser=5.0), free)  # a factor on replaced maps only


def test_a_small_batch_limit_changes_nothing_but_the_number_of_calls(model: DiffusionModel, masked: EditTask) -> None:
    editor = DirectInversion(model, DirectInversion.resolve("", {"steps": 4}))
    state, values = editor.prepare(masked), (0.5, 0.75, 1.0)
    wide = editor.render(state, values)
    model.max_batch = 3
    for a, b in zip(wide, editor.render(state, values), strict=True):
        # rounding of another batch size may move a value across the border of two grey levels
        assert abs(a.astype(int) - b.astype(int)).max() <= 1


def test_plain_prompt_to_prompt_without_control_is_the_guided_decode(model: DiffusionModel, masked: EditTask) -> None:
    editor = plain(model, cross_replace=0.0, self_replace=0.0)
    state, schedule = editor.prepare(masked), model.schedule(4)
    found = editor.render(state, (0.5, 1.0))
    starts = [(k, state.trajectory[k]) for k in (2, 4)]
    latents = decode_sweep(model, schedule, starts, state.target, guidance=7.5, uncond=state.empty)
    assert abs(np.stack(found).astype(int) - np.stack(model.decode(latents))).max() <= 1


def test_plain_prompt_to_prompt_borrows_from_a_source_that_guidance_drove_away(model: DiffusionModel, masked: EditTask) -> None:
    same = replace(masked, target_text=masked.source_text or "")
    editor = plain(model, equaliser=1.0)
    state = editor.prepare(same)
    (found,) = editor.render(state, (1.0,))
    branch = editor._source_branch(state, 1.0)
    assert torch.equal(branch[4], state.trajectory[4])
    assert (branch[0] - state.trajectory[0]).abs().max() > 0.01
    assert abs(found.astype(int) - model.decode(branch[0])[0]).max() <= 1


def plain(model: DiffusionModel, **params: float) -> DDIMPromptToPrompt:
    return DDIMPromptToPrompt(model, DDIMPromptToPrompt.resolve("", {"steps": 4, **params}))
