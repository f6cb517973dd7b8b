from __future__ import annotations

import pytest
import torch
from torch import Tensor

from editors import Cancelled, DiffusionModel
from editors.toolbox.sweep import Sweep, ddim_invert, decode_sweep

BATCHING = 2e-4
"""Float32 rounding of another batch size, carried through ten steps of a network; latents are of order 1."""


@pytest.fixture
def texts(model: DiffusionModel) -> tuple[Tensor, Tensor]:
    return model.embed_pair("a blue cat")


def test_a_staggered_sweep_equals_one_value_at_a_time(model: DiffusionModel, texts: tuple[Tensor, Tensor]) -> None:
    target, empty = texts
    schedule = model.schedule(10)
    starts = [(k, model.noise(k, (1, 4, 16, 16))) for k in (4, 10, 0, 7, 10)]
    together = decode_sweep(model, schedule, starts, target, guidance=4.0, uncond=empty)
    for start, latent in zip(starts, together, strict=True):
        alone = decode_sweep(model, schedule, [start], target, guidance=4.0, uncond=empty)
        assert (alone[0] - latent).abs().max() < BATCHING
    assert torch.equal(together[2:3], starts[2][1])
    assert (together[1] - together[4]).abs().max() < BATCHING  # the place in a batch decides which kernel tail computes an item


def test_each_item_has_its_own_text(model: DiffusionModel, texts: tuple[Tensor, Tensor]) -> None:
    target, empty = texts
    schedule, start = model.schedule(5), model.noise(0, (1, 4, 16, 16))
    both = torch.cat([target, model.embed(["a red ball"])])
    together = decode_sweep(model, schedule, [(3, start), (5, start)], both, guidance=4.0, uncond=empty)
    alone = decode_sweep(model, schedule, [(5, start)], both[1:], guidance=4.0, uncond=empty)
    assert (together[1] - alone[0]).abs().max() < BATCHING
    assert (
        together[1] - decode_sweep(model, schedule, [(5, start)], target, guidance=4.0, uncond=empty)[0]
    ).abs().max() > 10 * BATCHING


def test_the_cost_is_two_samples_per_item_and_step(model: DiffusionModel, texts: tuple[Tensor, Tensor]) -> None:
    before = model.unet_evaluations
    starts = [(k, model.noise(k, (1, 4, 16, 16))) for k in (0, 2, 5)]
    decode_sweep(model, model.schedule(5), starts, texts[0], guidance=4.0, uncond=texts[1])
    assert model.unet_evaluations - before == 2 * (0 + 2 + 5)


def test_the_loop_sees_each_level_once_with_those_who_started_above(model: DiffusionModel) -> None:
    seen: list[tuple[int, list[str]]] = []
    starts = {"one": 1, "three": 3, "none": 0}
    latents = {name: model.noise(level, (1, 4, 16, 16)) for name, level in starts.items()}
    sweep = Sweep(model, [(name, level, latents[name]) for name, level in starts.items()])
    for t, x, owners in sweep:
        assert len(x) == len(owners)
        seen.append((t, owners))
        sweep.x = x + 10**t
    assert seen == [(3, ["three"]), (2, ["three"]), (1, ["one", "three"])]
    assert torch.equal(sweep.latents, torch.cat([latents["one"] + 10, latents["three"] + 1000 + 100 + 10, latents["none"]]))


def test_a_body_that_loses_an_item_is_found_out(model: DiffusionModel) -> None:
    sweep = Sweep(model, [(i, 2, model.noise(i, (1, 4, 16, 16))) for i in range(2)])
    with pytest.raises(ValueError, match="zip"):
        for _, x, _ in sweep:
            sweep.x = x[:1]


def test_inversion_is_a_trajectory_whose_prefix_is_the_shorter_one(model: DiffusionModel, texts: tuple[Tensor, Tensor]) -> None:
    schedule, x0 = model.schedule(8), model.noise(0, (1, 4, 16, 16))
    before = model.unet_evaluations
    whole = ddim_invert(model, schedule, x0, texts[1])
    assert model.unet_evaluations - before == 8
    part = ddim_invert(model, schedule, x0, texts[1], upto=3)
    assert len(whole) == 9
    assert len(part) == 4
    assert torch.equal(whole[0], x0)
    assert all(torch.equal(a, b) for a, b in zip(whole[:4], part, strict=True))


def test_inversion_followed_by_an_unguided_decode_returns(model: DiffusionModel, texts: tuple[Tensor, Tensor]) -> None:
    x0 = model.noise(0, (1, 4, 16, 16))
    errors = []
    for steps in (10, 40):
        schedule = model.schedule(steps)
        start = schedule.level(0.6)
        x = ddim_invert(model, schedule, x0, texts[1], upto=start)[-1]
        back = decode_sweep(model, schedule, [(start, x)], texts[1], guidance=1.0, uncond=texts[1])
        errors.append(float((back - x0).square().mean().sqrt()))
    # each step predicts at the latent of the level before, an error of first order: a quarter of the step, with room for the rest
    assert errors[1] < errors[0] / 2
    assert errors[1] < 0.05


def test_cancelling_stops_within_a_step(model: DiffusionModel, texts: tuple[Tensor, Tensor]) -> None:
    calls = 0

    def cancelled() -> bool:
        nonlocal calls
        calls += 1
        return calls > 4

    model.cancelled = cancelled
    before = model.unet_evaluations
    with pytest.raises(Cancelled):
        ddim_invert(model, model.schedule(50), model.noise(0, (1, 4, 16, 16)), texts[1])
    assert model.unet_evaluations - before <= 4
