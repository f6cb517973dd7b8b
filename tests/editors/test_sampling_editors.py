"""What SDEdit, Encode-Decode, DiffEdit, its ablation and Blended Latent have in common, on a model with random weights."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from editors import Cancelled, DiffusionModel, Editor, EditTask, Image, NotFinite
from editors.anchors import Regenerate, VAERoundTrip
from editors.blended_latent import BlendedLatent
from editors.diffedit import DiffEdit
from editors.diffedit_no_encode import DiffEditNoEncode
from editors.encode_decode import EncodeDecode
from editors.imagic import Imagic
from editors.sdedit import SDEdit

STEPS = 6
QUICK: dict[type[Editor], dict[str, Any]] = {
    SDEdit: {},
    EncodeDecode: {},
    DiffEdit: {"mask_maps": 2},
    DiffEditNoEncode: {"mask_maps": 2},
    BlendedLatent: {"mask_maps": 2, "background_reconstruction_steps": 0},
    Imagic: {"embedding_steps": 3, "embedding_lr": 1e-2, "unet_steps": 3, "unet_lr": 1e-3, "draws": 2},
}
NAMES = {"argvalues": list(QUICK), "ids": [e.name for e in QUICK]}
GRID = (0.5, 1.0)


def make(editor: type[Editor], model: DiffusionModel, **params: Any) -> Editor:
    return editor(model, editor.resolve("", {"steps": STEPS, **QUICK[editor], **params}))


def edits(editor: Editor, task: EditTask, values: tuple[float, ...] = GRID) -> list[Image]:
    return editor.render(editor.prepare(task), values)


def gap(a: Image, b: Image) -> int:
    """Largest difference of two pictures in grey levels."""
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def round_trip(model: DiffusionModel, task: EditTask) -> Image:
    return edits(VAERoundTrip(model, VAERoundTrip.resolve()), task, (0.0,))[0]


@pytest.mark.parametrize("editor", **NAMES)
def test_the_same_unit_gives_the_same_pictures_also_after_another(
    editor: type[Editor], model: DiffusionModel, task: EditTask, other: EditTask
) -> None:
    image, one = task.image.copy(), make(editor, model)
    first = edits(one, task)
    assert [p.shape for p in first] == [task.image.shape] * 2
    assert all(p.dtype == np.uint8 for p in first)
    different = edits(one, other)
    again = edits(make(editor, model), task)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[1], different[1])
    assert np.array_equal(task.image, image)


@pytest.mark.parametrize("editor", **NAMES)
def test_another_seed_changes_the_result_unless_declared(editor: type[Editor], model: DiffusionModel, task: EditTask) -> None:
    first, second = edits(make(editor, model), task), edits(make(editor, model), replace(task, seed=task.seed + 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True)) == editor.deterministic


@pytest.mark.parametrize("editor", **NAMES)
def test_a_value_gives_the_same_picture_with_any_others(editor: type[Editor], model: DiffusionModel, task: EditTask) -> None:
    one = make(editor, model)
    state = one.prepare(task)
    together = one.render(state, (1.0, 0.5, 0.0))
    for value, picture in zip((1.0, 0.5, 0.0), together, strict=True):
        # rounding of another batch size may move a value across the border of two grey levels
        assert gap(one.render(state, (value,))[0], picture) <= 1


@pytest.mark.parametrize("editor", **NAMES)
def test_the_knob_changes_the_picture(editor: type[Editor], model: DiffusionModel, task: EditTask) -> None:
    pictures = edits(make(editor, model), task, (0.0, 0.5, 1.0))
    assert gap(pictures[0], pictures[1]) > 1
    assert gap(pictures[1], pictures[2]) > 1


@pytest.mark.parametrize("editor", [e for e in QUICK if e is not Imagic], ids=lambda e: e.name)
def test_the_knob_at_zero_is_the_vae_round_trip(editor: type[Editor], model: DiffusionModel, task: EditTask) -> None:
    assert np.array_equal(edits(make(editor, model), task, (0.0,))[0], round_trip(model, task))


@pytest.mark.parametrize("editor", **NAMES)
def test_another_target_text_gives_another_picture(editor: type[Editor], model: DiffusionModel, task: EditTask) -> None:
    first, second = edits(make(editor, model), task), edits(make(editor, model), replace(task, target_text="red"))
    assert not np.array_equal(first[1], second[1])


@pytest.mark.parametrize("editor", **NAMES)
def test_pictures_that_are_not_square_keep_their_size(editor: type[Editor], model: DiffusionModel, task: EditTask) -> None:
    wide = replace(task, image=np.ascontiguousarray(task.image[:48]))
    assert [p.shape for p in edits(make(editor, model), wide)] == [(48, 64, 3)] * 2


@pytest.mark.parametrize("editor", **NAMES)
def test_cancelling_stops_in_either_phase(editor: type[Editor], model: DiffusionModel, task: EditTask) -> None:
    model.cancelled = lambda: True
    with pytest.raises(Cancelled):
        make(editor, model).prepare(task)
    model.cancelled = lambda: False
    one = make(editor, model)
    state = one.prepare(task)
    model.cancelled = lambda: True
    before = model.unet_evaluations
    with pytest.raises(Cancelled):
        one.render(state, GRID)
    assert model.unet_evaluations - before <= 2 * len(GRID)


@pytest.mark.parametrize("editor", **NAMES)
def test_nan_anywhere_is_a_typed_failure(editor: type[Editor], model: DiffusionModel, task: EditTask) -> None:
    class Broken(torch.nn.Module):
        dtype = torch.float32
        config = SimpleNamespace(in_channels=4)

        def forward(self, x: torch.Tensor, *_: Any, encoder_hidden_states: torch.Tensor) -> Any:
            return SimpleNamespace(sample=x * encoder_hidden_states.sum() * float("nan"))

    with pytest.raises(NotFinite):
        edits(make(editor, model.variant(unet=Broken())), task)


def test_regenerating_is_blind_to_the_source(model: DiffusionModel, task: EditTask, other: EditTask) -> None:
    one = Regenerate(model, Regenerate.resolve("", {"steps": STEPS}))
    before = model.unet_evaluations
    first = edits(one, task, (0.0,))
    assert model.unet_evaluations - before == 2 * STEPS
    assert np.array_equal(first[0], edits(one, replace(task, image=other.image), (0.0,))[0])
    assert not np.array_equal(first[0], edits(one, replace(task, seed=1), (0.0,))[0])
