from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from editors import DiffusionModel, EditorError, EditTask
from editors.ilvr import ILVR, low_pass


def make(model: DiffusionModel, **params: object) -> ILVR:
    return ILVR(model, ILVR.resolve("", {"steps": 6, "guidance": 3.0, "down_factor": 16, **params}))


def test_the_filter_is_linear_keeps_what_is_flat_and_removes_what_is_fine(model: DiffusionModel) -> None:
    a, b = model.noise(0, (2, 4, 16, 16)), model.noise(1, (2, 4, 16, 16))
    torch.testing.assert_close(low_pass(2 * a + b, 4), 2 * low_pass(a, 4) + low_pass(b, 4), rtol=1e-4, atol=1e-5)
    flat = torch.full((1, 4, 16, 12), 3.0)
    torch.testing.assert_close(low_pass(flat, 4), flat, rtol=1e-5, atol=1e-5)
    board = (torch.arange(16)[:, None] + torch.arange(16)) % 2 * 2.0 - 1
    # what is left of a checkerboard lies at the border, where the filter is cut off
    assert float(low_pass(board[None, None], 4)[..., 4:12, 4:12].abs().max()) < 0.05
    assert low_pass(a, 1) is a


def test_low_frequencies_of_the_clean_latent_are_those_of_the_source(model: DiffusionModel, task: EditTask) -> None:
    state, x0 = make(model).prepare(task), model.encode(task.image)
    for level in range(6):
        mine = low_pass(state.trajectory[level], 4)
        theirs = low_pass(model.schedule(6).q_sample(x0, torch.zeros_like(x0), level), 4)
        if level == 0:
            # the bicubic filter is not quite a projection: it leaves a fraction of what it is applied to twice
            other = low_pass(make(model).prepare(replace(task, image=255 - task.image)).trajectory[0], 4)
            assert float((mine - theirs).square().mean()) < 0.1 * float((other - theirs).square().mean())


def test_a_filter_of_one_cell_returns_the_round_trip_at_zero(model: DiffusionModel, task: EditTask) -> None:
    editor = make(model, down_factor=model.factor)
    picture = editor.render(editor.prepare(task), (0.0,))[0]
    # x + (x0 - x) is x0 up to float32 rounding
    assert np.abs(picture.astype(int) - model.decode(model.encode(task.image))[0]).max() <= 1


def test_unconditioned_it_is_blind_to_the_source(model: DiffusionModel, task: EditTask, other: EditTask) -> None:
    editor = make(model)
    first = editor.render(editor.prepare(task), (1.0, 0.5))
    second = editor.render(editor.prepare(replace(task, image=other.image)), (1.0, 0.5))
    assert np.array_equal(first[0], second[0])
    assert not np.array_equal(first[1], second[1])


def test_the_conditioned_part_is_sampled_once(model: DiffusionModel, task: EditTask) -> None:
    editor, before = make(model), model.unet_evaluations
    state = editor.prepare(task)
    assert model.unet_evaluations - before == 2 * 6
    editor.render(state, (0.0, 0.5, 1.0))
    assert model.unet_evaluations - before == 2 * (6 + 3 + 6)


@pytest.mark.parametrize("wrong", [1, 6, 12])
def test_a_factor_that_is_no_power_of_two_cells_is_refused(model: DiffusionModel, task: EditTask, wrong: int) -> None:
    with pytest.raises(EditorError, match=f"down_factor: expected a power of two times 4, .* got {wrong}"):
        make(model, down_factor=wrong).prepare(task)
