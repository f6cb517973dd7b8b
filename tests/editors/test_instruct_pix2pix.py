from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from editors import Cancelled, DiffusionModel, EditorError, EditTask, MissingInput, NotFinite
from editors.instruct_pix2pix import InstructPix2Pix

STEPS = 4


@pytest.fixture(scope="module")
def _instruct(instruct_folder: Path) -> DiffusionModel:
    return DiffusionModel.load(instruct_folder)


@pytest.fixture
def instruct(_instruct: DiffusionModel) -> DiffusionModel:
    _instruct.cancelled = lambda: False
    return _instruct


def make(model: DiffusionModel, **params: object) -> InstructPix2Pix:
    return InstructPix2Pix(model, InstructPix2Pix.resolve("", {"steps": STEPS, **params}))


def test_the_instruction_is_read_and_the_target_text_only_stands_in(instruct: DiffusionModel, task: EditTask) -> None:
    editor = make(instruct)
    told = replace(task, instruction="a red ball")
    (follows,) = editor.render(editor.prepare(told), (1.0,))
    assert editor.facts(editor.prepare(told)) == {"instruction_from": "manifest"}
    (same,) = editor.render(editor.prepare(replace(told, target_text="the grass")), (1.0,))
    assert np.array_equal(follows, same)
    (stood_in,) = editor.render(editor.prepare(replace(task, target_text="a red ball")), (1.0,))
    assert np.array_equal(follows, stood_in)
    assert editor.facts(editor.prepare(task)) == {"instruction_from": "target_text"}


def test_equation_three_with_the_inverse_of_the_knob(instruct: DiffusionModel, task: EditTask) -> None:
    editor = make(instruct, guidance=5.0)
    state = editor.prepare(task)
    x = instruct.noise(3, (2, 4, 16, 16))
    values = torch.tensor([2.0, 1.25]).view(-1, 1, 1, 1)
    got = editor._predict(instruct, state, x, 401, values)
    zero = torch.zeros_like(state.source)

    def e(source: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        return instruct.predict(x, 401, text, extra=source)

    image = e(state.source, state.empty)
    expected = e(zero, state.empty) + values * (image - e(zero, state.empty)) + 5 * (e(state.source, state.instruction) - image)
    # a batch of six rounds otherwise than three of two, and the scales multiply it
    assert torch.allclose(got, expected, atol=1e-4)


def test_values_share_their_noise_and_one_batch(instruct: DiffusionModel, task: EditTask) -> None:
    editor = make(instruct)
    state = editor.prepare(task)
    before = instruct.unet_evaluations
    together = editor.render(state, (0.2, 0.5, 1.0))
    assert instruct.unet_evaluations - before == 3 * 3 * STEPS
    for value, picture in zip((0.2, 0.5, 1.0), together, strict=True):
        # rounding of another batch size may move a value across the border of two grey levels
        assert np.abs(editor.render(state, (value,))[0].astype(int) - picture).max() <= 1
    assert not np.array_equal(together[0], together[2])
    assert not np.array_equal(together[2], editor.render(editor.prepare(replace(task, seed=1)), (1.0,))[0])


def test_bounds_keep_the_inverse_finite(instruct: DiffusionModel, task: EditTask) -> None:
    editor = make(instruct)
    with pytest.raises(EditorError, match=r"image_freedom must be in 0\.1\.\.1"):
        editor.render(editor.prepare(task), (0.0,))
    assert [round(1 / value, 6) for value in InstructPix2Pix.knob.grid] == [2.2, 1.9, 1.6, 1.3, 1.0]


def test_other_checkpoints_are_refused(model: DiffusionModel) -> None:
    with pytest.raises(MissingInput, match=r"takes 0 channels beside the latent, expected 4.*timbrooks/instruct-pix2pix"):
        make(model)


def test_pictures_that_are_not_square_keep_their_size(instruct: DiffusionModel, task: EditTask) -> None:
    editor = make(instruct)
    wide = replace(task, image=np.ascontiguousarray(task.image[:48]))
    assert [p.shape for p in editor.render(editor.prepare(wide), (0.5, 1.0))] == [(48, 64, 3)] * 2


def test_it_stops_when_told_and_names_nan(instruct: DiffusionModel, task: EditTask) -> None:
    editor = make(instruct)
    state = editor.prepare(task)
    instruct.cancelled = lambda: True
    before = instruct.unet_evaluations
    with pytest.raises(Cancelled):
        editor.render(state, (0.5,))
    assert instruct.unet_evaluations - before <= 3
    instruct.cancelled = lambda: False
    broken = copy.deepcopy(instruct.unet)
    broken.register_forward_hook(lambda _m, _given, output: type(output)(sample=output.sample * float("nan")))
    with pytest.raises(NotFinite):
        make(instruct.variant(unet=broken)).render(state, (0.5,))
