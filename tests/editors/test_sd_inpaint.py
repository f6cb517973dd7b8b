from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from editors import DiffusionModel, EditTask, MissingInput
from editors.inpainting import InpaintState
from editors.sd_inpaint import SDInpaint


def make(model: DiffusionModel, **params: object) -> SDInpaint:
    return SDInpaint(model, SDInpaint.resolve("", {"steps": 5, **params}))


@pytest.fixture
def nine(inpainting_folder: Path) -> DiffusionModel:
    return DiffusionModel.load(inpainting_folder)


def test_the_checkpoint_decides_on_the_form_and_the_facts_say_so(
    model: DiffusionModel, nine: DiffusionModel, masked: EditTask
) -> None:
    for loaded, form in ((model, "4 channels"), (nine, "9 channels")):
        editor = make(loaded)
        assert editor.facts(editor.prepare(masked))["form"] == form


def test_an_instruction_model_is_refused_and_told_what_would_do(instruct_folder: Path) -> None:
    with pytest.raises(MissingInput, match=r"takes 4 channels beside the latent, expected 0 or 5.*stable-diffusion-inpainting"):
        make(DiffusionModel.load(instruct_folder))


def test_blending_leaves_the_background_at_the_clean_latent(model: DiffusionModel, masked: EditTask) -> None:
    editor = make(model)
    state = editor.prepare(masked)
    decoded: list[torch.Tensor] = []
    watched = state.model.variant()
    watched.decode = lambda x: decoded.append(x) or model.decode(x)  # type: ignore[method-assign, func-returns-value]
    editor.render(replace(state, model=watched), (0.6, 1.0))
    outside = ~state.cells.expand_as(state.x0)
    for latent in torch.split(decoded[0], 1):
        assert torch.equal(latent[outside], state.x0[outside])
        assert not torch.equal(latent[~outside], state.x0[~outside])


def test_with_nothing_to_fill_blending_returns_the_round_trip(model: DiffusionModel, masked: EditTask) -> None:
    editor = make(model)
    state = editor.prepare(replace(masked, mask=np.zeros((64, 64), dtype=bool)))
    round_trips = model.decode(torch.cat([state.x0, state.x0]))
    for picture, round_trip in zip(editor.render(state, (0.4, 1.0)), round_trips, strict=True):
        assert np.array_equal(picture, round_trip)


def test_the_trained_form_sees_mask_and_grey_hole_but_nothing_under_it(nine: DiffusionModel, masked: EditTask) -> None:
    assert masked.mask is not None
    editor = make(nine)
    state = editor.prepare(masked)
    seen = state.model.unet.extra
    assert seen.shape == (1, 5, 16, 16)
    assert torch.equal(seen[:, :1].bool(), state.cells)
    hidden = np.where(masked.mask[..., None], 255 - masked.image, masked.image)
    other = editor.prepare(replace(masked, image=hidden))
    assert torch.equal(other.model.unet.extra, seen)
    assert np.array_equal(editor.render(state, (1.0,))[0], editor.render(other, (1.0,))[0])


def test_a_mask_thinner_than_a_cell_survives_where_any_pixel_counts(model: DiffusionModel, masked: EditTask) -> None:
    line = np.zeros((64, 64), dtype=bool)
    line[:, 2] = True
    thin = replace(masked, mask=line)

    def cells(rule: str) -> int:
        state: InpaintState = make(model, mask_downsampling=rule).prepare(thin)
        return int(state.cells.sum())

    assert cells("nearest") == 0
    assert cells("any") == 16


@pytest.mark.parametrize("folder", ["tiny_folder", "inpainting_folder"])
def test_several_samples_together_are_those_made_alone(
    folder: str, masked: EditTask, other: EditTask, request: pytest.FixtureRequest
) -> None:
    editor = make(DiffusionModel.load(request.getfixturevalue(folder)))
    mask = np.zeros((64, 64), dtype=bool)
    mask[:16] = True
    states = editor.prepare_many([masked, replace(other, mask=mask)])
    together = editor.render_many(states, (0.6, 1.0))
    for state, pictures in zip(states, together, strict=True):
        for ours, alone in zip(pictures, editor.render(state, (0.6, 1.0)), strict=True):
            assert ours is not None
            # rounding of another batch size may move a value across the border of two grey levels
            assert np.abs(ours.astype(int) - alone).max() <= 1
