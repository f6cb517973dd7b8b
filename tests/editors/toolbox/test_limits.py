from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from editors import DiffusionModel
from editors.toolbox import diffusion
from editors.toolbox.limits import Limits, fixed_order

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
"""Float32 sums in another order, on values of order 1."""


def fitting(most: int, calls: list[int]) -> Callable[[Sequence[int]], list[int]]:
    """Work that is out of memory on more items than ``most``."""

    def work(items: Sequence[int]) -> list[int]:
        calls.append(len(items))
        if len(items) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [10 * item for item in items]

    return work


@torch.no_grad()
def test_parts_are_equal_and_halved_where_memory_is_out() -> None:
    limits, calls = Limits(), list[int]()
    assert limits.each("U-Net", 4, range(10), fitting(99, calls)) == [[0, 10, 20, 30], [40, 50, 60, 70], [80, 90]]
    assert limits.facts() == {}
    calls.clear()
    done = limits.each("U-Net", 64, range(10), fitting(3, calls))
    assert [item for part in done for item in part] == [10 * item for item in range(10)]
    assert calls == [10, 5, 3, 3, 3, 1]
    assert limits.facts() == {"batch_halved_to": "U-Net 3"}


@torch.no_grad()
def test_what_was_found_to_fit_holds_for_its_own_purpose_until_it_is_forgotten() -> None:
    limits, calls = Limits(), list[int]()
    limits.each("U-Net", 64, range(4), fitting(2, calls))
    calls.clear()
    limits.each("U-Net", 64, range(4), fitting(2, calls))
    limits.each("VAE decoding", 64, range(4), fitting(9, calls))
    assert calls == [2, 2, 4]
    limits.forget()
    assert limits.facts() == {}
    calls.clear()
    limits.each("U-Net", 64, range(4), fitting(9, calls))
    assert calls == [4]


def test_what_cannot_be_halved_is_an_error() -> None:
    with torch.no_grad(), pytest.raises(torch.OutOfMemoryError):
        Limits().each("U-Net", 64, range(2), fitting(0, []))
    with torch.enable_grad(), pytest.raises(torch.OutOfMemoryError):  # halves would be kept together for the gradient
        Limits().each("U-Net", 64, range(2), fitting(1, []))


def test_a_prediction_is_the_same_in_the_halves_that_fit_and_counted_once(
    model: DiffusionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, texts = model.noise(0, (3, 4, 16, 16)), model.embed(["a cat", ""])
    arguments = (x, 500, texts[:1], 3.0, texts[1:])
    expected, forward, seen = model.predict(*arguments), model.unet.forward, list[int]()

    def small(rows: Tensor, *others: Any, **named: Any) -> Any:
        seen.append(len(rows))
        if len(rows) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(rows, *others, **named)

    monkeypatch.setattr(model.unet, "forward", small)
    before = model.unet_evaluations
    torch.testing.assert_close(model.predict(*arguments), expected, **CLOSE)
    assert seen == [6, 3, 2, 2, 2]
    assert model.unet_evaluations == before + 6
    assert model.limits.facts() == {"batch_halved_to": "U-Net 2"}


def test_the_vae_decodes_so_many_pixels_at_once(model: DiffusionModel, monkeypatch: pytest.MonkeyPatch) -> None:
    latents, decode, seen = model.noise(0, (5, 4, 16, 16)), model.vae.decode, list[int]()
    expected = model.decode_tensor(latents)
    monkeypatch.setattr(model.vae, "decode", lambda part: (seen.append(len(part)), decode(part))[1])
    monkeypatch.setattr(diffusion, "DECODED_PIXELS", 2 * 64**2)
    torch.testing.assert_close(model.decode_tensor(latents), expected, **CLOSE)
    assert seen == [2, 2, 1]
    seen.clear()
    monkeypatch.setattr(diffusion, "DECODED_PIXELS", 1)
    model.decode_tensor(latents[:2])
    assert seen == [1, 1]  # a picture that is too large goes alone


def test_gradients_have_a_fixed_order_on_cuda_where_it_was_asked_for() -> None:
    """No device is needed to see which mode torch is in."""
    modes = []
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        for device, asked in (("cuda", True), ("cuda", False), ("cpu", True)):
            torch.use_deterministic_algorithms(asked, warn_only=True)
            with fixed_order(torch.device(device)):
                modes.append(
                    (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
                )
            assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
    assert modes == [(True, False), (False, True), (True, True)]
