from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from editors import DiffusionModel, EditTask
from editors.anchors import VAERoundTrip
from editors.diffedit import DiffEdit, DiffEditState
from editors.diffedit_no_encode import DiffEditNoEncode
from editors.encode_decode import EncodeDecode
from editors.sdedit import SDEdit
from editors.toolbox.mask import to_pixels

STEPS = 6
GRID = (0.5, 1.0)


def with_mask(state: DiffEditState, cells: torch.Tensor) -> DiffEditState:
    return replace(state, mask=replace(state.mask, cells=cells))


@pytest.fixture
def editor(model: DiffusionModel) -> DiffEdit:
    return DiffEdit(model, DiffEdit.resolve("", {"steps": STEPS, "mask_maps": 2}))


@pytest.fixture
def state(editor: DiffEdit, task: EditTask) -> DiffEditState:
    return editor.prepare(task)


def test_an_empty_mask_returns_the_vae_round_trip(editor: DiffEdit, state: DiffEditState, task: EditTask) -> None:
    nothing = with_mask(state, torch.zeros_like(state.mask.cells))
    anchor = VAERoundTrip(editor.model, VAERoundTrip.resolve())
    (expected,) = anchor.render(anchor.prepare(task), (0.0,))
    for got in editor.render(nothing, GRID):
        # the latents are equal; another batch size may move a value across the border of two grey levels
        assert np.abs(got.astype(int) - expected.astype(int)).max() <= 1


def test_a_full_mask_is_encode_decode(editor: DiffEdit, state: DiffEditState, task: EditTask) -> None:
    everything = with_mask(state, torch.ones_like(state.mask.cells))
    plain = EncodeDecode(editor.model, EncodeDecode.resolve("", {"steps": STEPS}))
    expected = plain.render(plain.prepare(task), GRID)
    assert all(np.array_equal(a, b) for a, b in zip(editor.render(everything, GRID), expected, strict=True))


def test_without_encoding_a_full_mask_is_sdedit(model: DiffusionModel, task: EditTask) -> None:
    editor = DiffEditNoEncode(model, DiffEditNoEncode.resolve("", {"steps": STEPS, "mask_maps": 2}))
    state = editor.prepare(task)
    everything = replace(state, mask=replace(state.mask, cells=torch.ones_like(state.mask.cells)))
    plain = SDEdit(model, SDEdit.resolve("", {"steps": STEPS}))
    expected = plain.render(plain.prepare(task), GRID)
    assert all(np.array_equal(a, b) for a, b in zip(editor.render(everything, GRID), expected, strict=True))


def test_the_edit_stays_in_the_mask(editor: DiffEdit, state: DiffEditState, task: EditTask) -> None:
    cells = torch.zeros_like(state.mask.cells)
    cells[..., 6:10, 6:10] = True
    seen: list[torch.Tensor] = []
    decode = editor.model.decode
    editor.model.decode = lambda x: (seen.append(x), decode(x))[1]  # type: ignore[method-assign]
    editor.render(with_mask(state, cells), GRID)
    outside = ~cells.expand_as(state.trajectory[0])
    for latent in seen[0]:
        assert torch.equal(latent[None][outside], state.trajectory[0][outside])
        assert not torch.equal(latent[None][~outside], state.trajectory[0][~outside])


def test_a_curve_costs_one_mask_one_inversion_and_its_decodes(model: DiffusionModel, task: EditTask) -> None:
    editor = DiffEdit(model, DiffEdit.resolve("", {"steps": 20, "mask_maps": 10}))
    values = tuple(k / 10 for k in range(1, 11))
    before = model.unet_evaluations
    editor.render(editor.prepare(task), values)
    mask, inversion, decodes = 2 * 10, 20, 2 * sum(2 * k for k in range(1, 11))
    assert model.unet_evaluations - before == mask + inversion + decodes


def test_the_trajectory_starts_at_the_clean_latent_and_covers_the_schedule(
    state: DiffEditState, editor: DiffEdit, task: EditTask
) -> None:
    assert len(state.trajectory) == STEPS + 1
    assert torch.equal(state.trajectory[0], editor.model.encode(task.image))


def test_the_inversion_knows_no_text(editor: DiffEdit, state: DiffEditState, task: EditTask) -> None:
    retold = editor.prepare(replace(task, target_text="red", source_text="a ball"))
    assert all(torch.equal(a, b) for a, b in zip(state.trajectory, retold.trajectory, strict=True))


def test_mask_and_choices_are_shown(editor: DiffEdit, state: DiffEditState) -> None:
    pictures, facts = editor.pictures(state), editor.facts(state)
    assert pictures["mask"].dtype == np.bool_
    assert np.array_equal(pictures["mask"], to_pixels(state.mask.cells, 4))
    assert pictures["difference"].shape == (16, 16)
    assert facts == {"mask_rule": "paper", "mask_reference": "empty", "mask_share": pytest.approx(pictures["mask"].mean())}


def test_the_source_text_counts_as_help(model: DiffusionModel) -> None:
    assert not DiffEdit(model, DiffEdit.resolve("paper")).fair_play().uses_source_text
    assert DiffEdit(model, DiffEdit.resolve("paper", {"use_source_text": True})).fair_play().uses_source_text
