from __future__ import annotations

import numpy as np
import pytest
import torch

from editors import DiffusionModel, EditTask, MissingInput
from editors.direct_inversion import DirectInversion
from editors.toolbox.sweep import decode_sweep


def make(model: DiffusionModel, **params: object) -> DirectInversion:
    return DirectInversion(model, DirectInversion.resolve("", {"steps": 5, **params}))


def test_the_offsets_of_the_paper_set_the_source_branch_back_onto_the_inversion(model: DiffusionModel, masked: EditTask) -> None:
    state, schedule = make(model).prepare(masked), model.schedule(5)
    # pass 1 of the paper: the offset of each step; pass 2: the guided source branch with the offsets added
    offsets, x = {}, state.trajectory[5]
    for level in range(5, 0, -1):
        output = model.predict(x, schedule.timestep(level), state.source, 7.5, state.empty)
        offsets[level] = state.trajectory[level - 1] - schedule.ddim_step(x, output, level)
        x = schedule.ddim_step(x, output, level) + offsets[level]
    x = state.trajectory[5]
    for level in range(5, 0, -1):
        output = model.predict(x, schedule.timestep(level), state.source, 7.5, state.empty)
        x = schedule.ddim_step(x, output, level) + offsets[level]
        # (a + (b - a)) is b up to the rounding of one float32 sum
        torch.testing.assert_close(x, state.trajectory[level - 1], rtol=1e-5, atol=1e-5)
    assert max(float(offset.abs().max()) for offset in offsets.values()) > 1e-3  # there was something to set right
    reconstruction, round_trip = model.decode(x)[0], model.decode(model.encode(masked.image))[0]
    assert np.abs(reconstruction.astype(int) - round_trip).max() <= 1


def test_without_attention_control_the_edit_is_a_plain_decode(model: DiffusionModel, masked: EditTask) -> None:
    editor = make(model, cross_replace=0.0, self_replace=0.0)
    state, schedule = editor.prepare(masked), model.schedule(5)
    ours = editor.render(state, (0.6, 1.0))
    starts = [(level, state.trajectory[level]) for level in (3, 5)]
    plain = model.decode(decode_sweep(model, schedule, starts, state.target, guidance=7.5, uncond=state.empty))
    for a, b in zip(ours, plain, strict=True):
        assert np.abs(a.astype(int) - b).max() <= 1  # attention summed in another order


def test_all_values_share_one_inversion_and_one_source_branch(model: DiffusionModel, masked: EditTask) -> None:
    editor, before = make(model), model.unet_evaluations
    state = editor.prepare(masked)
    assert model.unet_evaluations - before == 5
    editor.render(state, (0.2, 0.6, 1.0))
    assert model.unet_evaluations - before == 5 + 5 + 2 * (1 + 3 + 5)


def test_it_needs_a_source_text(model: DiffusionModel, task: EditTask) -> None:
    with pytest.raises(MissingInput, match="source_text"):
        make(model).prepare(task)
