from __future__ import annotations

import embedded_model
import numpy as np
import pytest
import torch

from editors import DiffusionModel, EditTask, MissingInput, NotFinite
from editors.null_text import NullText, NullTextState


def make(model: DiffusionModel, **params: object) -> NullText:
    return NullText(model, NullText.resolve("", {"steps": 5, **params}))


def guided_decode(model: DiffusionModel, state: NullTextState, level: int) -> torch.Tensor:
    """The source text, decoded with guidance and the fitted embeddings from the path at ``level``; returns level 1."""
    schedule, x = model.schedule(5), state.path[level]
    for k in range(level, 1, -1):
        output = model.predict(x, schedule.timestep(k), state.given.source, 7.5, state.unconds[k])
        x = schedule.ddim_step(x, output, k)
    return x


def test_every_level_is_optimised_or_none(model: DiffusionModel, masked: EditTask) -> None:
    without = make(model, inner_steps=0).prepare(masked)
    fitted = make(model, stop=0.0).prepare(masked)
    assert (without.updates, fitted.updates) == (0, 5 * 10)
    assert torch.equal(without.unconds[3], without.unconds[0])
    assert not torch.equal(fitted.unconds[3], fitted.unconds[2])


@pytest.mark.slow
def test_optimised_embeddings_bring_the_guided_decode_closer_to_the_source() -> None:
    """On a trained model, where 10 steps of 10 updates leave 0.46 and 0.61 of the error."""
    for task in embedded_model.tasks(2):
        without, fitted = (
            make(embedded_model.toybox(), steps=10, guidance=7.5, inner_steps=inner).prepare(task).error for inner in (0, 10)
        )
        assert fitted < 0.8 * without, f"{without:.3f} without, {fitted:.3f} with optimisation"


def test_from_anywhere_on_the_path_the_source_text_leads_where_the_whole_path_led(
    model: DiffusionModel, masked: EditTask
) -> None:
    state = make(model).prepare(masked)
    for level in (5, 3):
        # one guided prediction of two samples against two predictions of one, through a few steps of a small network
        torch.testing.assert_close(guided_decode(model, state, level), state.path[1], rtol=1e-4, atol=1e-4)


def test_nothing_decoded_is_the_vae_round_trip(model: DiffusionModel, masked: EditTask) -> None:
    editor = make(model)
    round_trip = model.decode(model.encode(masked.image))[0]
    assert np.array_equal(editor.render(editor.prepare(masked), (0.0,))[0], round_trip)


def test_a_level_is_left_as_soon_as_its_loss_is_small(model: DiffusionModel, masked: EditTask) -> None:
    before = model.unet_evaluations
    editor = make(model, stop=1e9)
    state = editor.prepare(masked)
    assert state.updates == 5
    # inversion; at each level one prediction with text, one for the update, one with the updated embedding
    assert model.unet_evaluations - before == 5 + 5 * 3
    assert editor.facts(state)["updates"] == 5


def test_an_optimisation_that_diverges_is_a_typed_failure(model: DiffusionModel, masked: EditTask) -> None:
    with pytest.raises(NotFinite, match=r"null-text optimisation|prediction"):
        make(model, learning_rate=1e30, stop=0.0).prepare(masked)


def test_it_needs_a_source_text(model: DiffusionModel, task: EditTask) -> None:
    with pytest.raises(MissingInput, match="source_text"):
        make(model).prepare(task)
