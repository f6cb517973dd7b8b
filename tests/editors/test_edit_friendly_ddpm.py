from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from editors import DiffusionModel, EditTask
from editors.edit_friendly_ddpm import EditFriendlyDDPM

VALUES = (0.0, 0.3, 0.64, 1.0)


def make(model: DiffusionModel, **params: object) -> EditFriendlyDDPM:
    return EditFriendlyDDPM(model, EditFriendlyDDPM.resolve("", {"steps": 10, **params}))


def test_the_source_text_gives_the_picture_back_from_every_level(model: DiffusionModel, masked: EditTask) -> None:
    editor = make(model, guidance=3.5, source_guidance=3.5)
    round_trip = model.decode(model.encode(masked.image))[0]
    for picture in editor.render(editor.prepare(replace(masked, target_text=masked.source_text or "")), VALUES):
        # predictions of one level in a batch of levels and in a batch of values differ by float32 rounding
        assert np.abs(picture.astype(int) - round_trip).max() <= 1


def test_without_a_source_text_the_empty_text_gives_it_back(model: DiffusionModel, task: EditTask) -> None:
    editor = make(model, guidance=1.0)
    before = model.unet_evaluations
    state = editor.prepare(replace(task, target_text=""))
    assert model.unet_evaluations - before == 10
    round_trip = model.decode(model.encode(task.image))[0]
    for picture in editor.render(state, VALUES):
        assert np.abs(picture.astype(int) - round_trip).max() <= 1


def test_levels_are_noised_independently(model: DiffusionModel, masked: EditTask) -> None:
    schedule, state = model.schedule(10), make(model).prepare(masked)
    noises = [
        ((x - schedule.alpha_bars[k] ** 0.5 * state.latents[0]) / (1 - schedule.alpha_bars[k]) ** 0.5).flatten()
        for k, x in enumerate(state.latents)
        if k
    ]
    correlation = torch.corrcoef(torch.stack(noises)) - torch.eye(10)
    # 1024 independent normal pairs correlate by 1/32; five standard deviations among 45 pairs
    assert float(correlation.abs().max()) < 5 / 32


def test_all_levels_are_predicted_in_the_fewest_calls(
    model: DiffusionModel, masked: EditTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    call = model.unet_output
    monkeypatch.setattr(model, "unet_output", lambda x, *rest: (calls.append(len(x)), call(x, *rest))[1])
    make(model).prepare(masked)
    assert calls == [20]


def test_the_first_noise_maps_are_larger_than_those_of_sampling(model: DiffusionModel, masked: EditTask) -> None:
    # the property that the paper edits with: independent levels leave more to the noise maps than consistent ones, whose
    # z_t has variance 1
    from editors.toolbox.schedule import posterior

    schedule, state = model.schedule(10), make(model).prepare(masked)
    for level in range(3, 11):
        variance = posterior(schedule, state.latents[level], state.latents[level], level)[1]
        assert float(state.noises[level - 1].square().mean()) > variance
