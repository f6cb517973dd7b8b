from __future__ import annotations

import pytest
import torch
from torch import Tensor

from editors import Cancelled, DiffusionModel
from editors.toolbox.sweep import ddim_invert, decode_sweep

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


def test_hooks_see_each_level_once_with_the_items_in_the_batch(model: DiffusionModel, texts: tuple[Tensor, Tensor]) -> None:
    seen: list[tuple[str, int, list[int]]] = []

    def hook(kind: str, x: Tensor, level: int, items: list[int]) -> Tensor:
        assert len(x) == len(items)
        seen.append((kind, level, items))
        return torch.full_like(x, level) if kind == "after" else x

    latents = decode_sweep(
        model,
        model.schedule(5),
        [(1, model.noise(0, (1, 4, 16, 16))), (3, model.noise(1, (1, 4, 16, 16)))],
        texts[0],
        guidance=4.0,
        uncond=texts[1],
        before_step=lambda *a: hook("before", *a),
        after_step=lambda *a: hook("after", *a),
    )
    assert seen == [
        ("before", 3, [1]),
        ("after", 2, [1]),
        ("before", 2, [1]),
        ("after", 1, [1]),
        ("before", 1, [0, 1]),
        ("after", 0, [0, 1]),
    ]
    assert torch.equal(latents, torch.zeros_like(latents))


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
