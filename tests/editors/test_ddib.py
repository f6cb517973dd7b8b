from __future__ import annotations

import numpy as np
import pytest
import torch

from editors import DiffusionModel, EditTask, MissingInput
from editors.ddib import DDIB
from editors.toolbox.sweep import ddim_invert, decode_sweep


def make(model: DiffusionModel, **params: object) -> DDIB:
    return DDIB(model, DDIB.resolve("", {"steps": 6, **params}))


def test_it_is_an_inversion_under_one_text_and_a_decode_under_the_other(model: DiffusionModel, masked: EditTask) -> None:
    editor = make(model)
    pictures = editor.render(editor.prepare(masked), (1.0, 4.0))
    schedule = model.schedule(6)
    source, target, empty = torch.split(model.embed([masked.source_text or "", masked.target_text, ""]), 1)
    code = ddim_invert(model, schedule, model.encode(masked.image), source)[-1]
    for guidance, picture in zip((1.0, 4.0), pictures, strict=True):
        latent = decode_sweep(model, schedule, [(6, code)], target, guidance=guidance, uncond=empty)
        # all guidances in one batch or each alone: rounding
        assert np.abs(model.decode(latent)[0].astype(int) - picture).max() <= 1
    assert not np.array_equal(*pictures)


def test_a_guidance_for_each_latent_is_that_of_each_alone(model: DiffusionModel) -> None:
    x, text = model.noise(0, (2, 4, 16, 16)), model.embed(["a cat", ""])
    both = model.predict(x, 500, text[:1], torch.tensor([2.0, 5.0]), text[1:])
    for i, guidance in enumerate((2.0, 5.0)):
        # float32 rounding of another batch size, times the guidance
        torch.testing.assert_close(
            both[i : i + 1], model.predict(x[i : i + 1], 500, text[:1], guidance, text[1:]), rtol=1e-4, atol=1e-5
        )


def test_a_timestep_for_each_latent_is_that_of_each_alone(model: DiffusionModel) -> None:
    x, text = model.noise(0, (2, 4, 16, 16)), model.embed(["a cat", ""])
    both = model.predict(x, torch.tensor([100, 800]), text[:1], 3.0, text[1:])
    for i, timestep in enumerate((100, 800)):
        torch.testing.assert_close(
            both[i : i + 1], model.predict(x[i : i + 1], timestep, text[:1], 3.0, text[1:]), rtol=1e-4, atol=1e-5
        )


def test_it_needs_a_source_text(model: DiffusionModel, task: EditTask) -> None:
    with pytest.raises(MissingInput, match="source_text"):
        make(model).prepare(task)
