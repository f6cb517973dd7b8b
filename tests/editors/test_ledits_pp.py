from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from editors import DiffusionModel, EditorError, EditTask
from editors.ledits_pp import LEditsPP, solver_step, top_cells

VALUES = (0.0, 0.3, 0.75, 1.0)


def make(model: DiffusionModel, **params: object) -> LEditsPP:
    return LEditsPP(model, LEditsPP.resolve("", {"steps": 8, "mask_reduction": 2, **params}))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # inside diffusers' scheduler
def test_the_solver_is_that_of_diffusers(model: DiffusionModel) -> None:
    steps = 8
    schedule = model.schedule(steps)
    theirs = DPMSolverMultistepScheduler.from_config(
        dict(model.scheduler.config), algorithm_type="sde-dpmsolver++", solver_order=2, final_sigmas_type="sigma_min"
    )
    theirs.set_timesteps(steps)
    alphas = [schedule.alpha_bars[0], *(float(theirs.alphas_cumprod[t]) for t in theirs.timesteps.flip(0))]
    # the two place their timesteps differently; the solver is compared on the levels of diffusers
    ours = replace(schedule, timesteps=tuple(int(t) for t in theirs.timesteps.flip(0)), alpha_bars=tuple(alphas))
    x, silent = model.noise(0, (1, 4, 8, 8)), torch.zeros(1, 4, 8, 8)
    mine, before = x, None
    for level, timestep in zip(range(steps, 1, -1), theirs.timesteps, strict=False):
        output = model.noise(level, x.shape)
        x = theirs.step(output, timestep, x, variance_noise=silent).prev_sample
        x0 = ours.split(mine, output, level)[0]
        mine, before = solver_step(ours, mine, x0, before, level), x0
        # float32 tables of logarithms there, float64 here
        torch.testing.assert_close(mine, x, rtol=1e-3, atol=1e-3)


def test_without_guidance_the_picture_comes_back_from_every_level(model: DiffusionModel, masked: EditTask) -> None:
    editor = make(model, edit_guidance=0.0)
    round_trip = model.decode(model.encode(masked.image))[0]
    for picture in editor.render(editor.prepare(masked), VALUES):
        # predictions of one level in a batch of levels and in a batch of values differ by float32 rounding
        assert np.abs(picture.astype(int) - round_trip).max() <= 1


def test_a_wider_mask_edits_more(model: DiffusionModel, masked: EditTask) -> None:
    def distance(threshold: float) -> float:
        editor = make(model, threshold=threshold)
        picture = editor.render(editor.prepare(masked), (0.75,))[0]
        return float(np.abs(picture.astype(int) - model.decode(model.encode(masked.image))[0]).mean())

    assert distance(0.0) > distance(0.9)


def test_the_top_cells_are_the_share_that_the_quantile_leaves() -> None:
    x = torch.rand(3, 1, 10, 10, generator=torch.Generator().manual_seed(0))
    assert top_cells(x, 0.9).sum((1, 2, 3)).tolist() == [10, 10, 10]
    assert bool(top_cells(x, 0.0).all())


def test_the_mask_reads_the_words_that_the_source_text_lacks(model: DiffusionModel, masked: EditTask) -> None:
    assert make(model).prepare(masked).words.nonzero().flatten().tolist() == [2, 3]  # blue cat
    whole = list(range(1, 7))
    assert make(model, use_source_text=False).prepare(masked).words.nonzero().flatten().tolist() == whole
    assert make(model).prepare(replace(masked, source_text=None)).words.nonzero().flatten().tolist() == whole
    same = replace(masked, source_text=masked.target_text)
    assert make(model).prepare(same).words.nonzero().flatten().tolist() == whole


def test_an_attention_size_that_the_network_lacks_is_refused(model: DiffusionModel, masked: EditTask) -> None:
    editor = make(model, mask_reduction=4)
    with pytest.raises(EditorError, match="mask_reduction: no attention layer has 4x4 cells; the U-Net has layers of 64"):
        editor.render(editor.prepare(masked), (1.0,))


def test_one_inversion_serves_all_values(model: DiffusionModel, masked: EditTask) -> None:
    editor, before = make(model), model.unet_evaluations
    state = editor.prepare(masked)
    assert model.unet_evaluations - before == 8
    editor.render(state, (0.5, 1.0))
    assert model.unet_evaluations - before == 8 + 2 * (4 + 8)
