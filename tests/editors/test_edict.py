from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from editors import DiffusionModel, EditTask, MissingInput
from editors.edict import EDICT, Coupling


def make(model: DiffusionModel, **params: object) -> EDICT:
    return EDICT(model, EDICT.resolve("", {"steps": 10, **params}))


def test_inversion_is_undone_exactly(model: DiffusionModel, masked: EditTask) -> None:
    source, empty = model.embed_pair(masked.source_text or "")
    coupling = Coupling(model, model.schedule(10), source, empty, 3.0, 0.93)
    x0 = model.encode(masked.image).double()
    x = y = x0
    for level in range(1, 11):
        x, y = coupling.invert(x, y, level)
    assert float((x - x0).abs().max()) > 0.1
    for level in range(10, 0, -1):
        x, y = coupling.denoise(x, y, level)
    # float64 rounding, 1e-16, magnified by 1 / p in twice ten mixings, at most 5; the network gives the same both ways, because
    # latents that agree to 1e-15 are the same float32 number but for one in some ten million
    assert float((x - x0).abs().max()) < 1e-9
    assert float((y - x0).abs().max()) < 1e-9
    assert x.dtype == torch.float64


def test_the_same_text_gives_the_round_trip_at_every_strength(model: DiffusionModel, masked: EditTask) -> None:
    editor = make(model)
    state = editor.prepare(replace(masked, target_text=masked.source_text or ""))
    round_trip = model.decode(model.encode(masked.image))[0]
    for picture in editor.render(state, (0.0, 0.3, 0.8, 1.0)):
        # here the batch has another size than in the inversion, so the network rounds differently in float32
        assert np.abs(picture.astype(int) - round_trip).max() <= 1
    assert np.array_equal(editor.render(state, (0.0,))[0], round_trip)


def test_cost_is_two_predictions_a_step_each_way_and_one_inversion(model: DiffusionModel, masked: EditTask) -> None:
    editor, before = make(model), model.unet_evaluations
    state = editor.prepare(masked)
    assert model.unet_evaluations - before == 10 * 2 * 2
    editor.render(state, (0.5, 1.0))
    assert model.unet_evaluations - before == 10 * 2 * 2 + (5 + 10) * 2 * 2


def test_it_needs_a_source_text(model: DiffusionModel, task: EditTask) -> None:
    with pytest.raises(MissingInput, match="source_text"):
        make(model).prepare(task)
