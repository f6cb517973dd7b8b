from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from editors import DiffusionModel, EditorError
from editors.toolbox.compiled import GRAPHS, Compiled
from editors.toolbox.speed import MOST, faster, fitting

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
"""Float32 sums in another order, on values of order 1."""


def predictions(model: DiffusionModel, *sizes: int) -> list[torch.Tensor]:
    texts = model.embed(["a cat", ""])
    return [model.predict(model.noise(size, (size, 4, 16, 16)), 500, texts[:1], 3.0, texts[1:]) for size in sizes]


@pytest.fixture
def own(model: DiffusionModel) -> DiffusionModel:
    """A model that may be changed for good."""
    return model.variant(unet=copy.deepcopy(model.unet), vae=copy.deepcopy(model.vae))


@pytest.mark.slow
def test_a_compiled_network_predicts_the_same_and_is_compiled_once_for_all_numbers_of_items(own: DiffusionModel) -> None:
    expected, graphs = predictions(own, 1, 3, 2, 5), list[Any]()

    def backend(graph: Any, _inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    faster(own, compile_mode="default", backend=backend)
    found = predictions(own, 1, 3, 2, 5)
    assert all(torch.equal(ours, its) for ours, its in zip(found, expected, strict=True)), "the same kernels, in the same order"
    assert len(graphs) == 1
    assert own.unet_evaluations > 0


def test_what_keeps_gradients_and_what_has_another_network_is_not_compiled(own: DiffusionModel) -> None:
    called: list[bool] = []

    def compiled(*given: Any, **named: Any) -> Any:
        called.append(torch.is_grad_enabled())
        return own.unet(*given, **named)

    own.backbone.compiled = compiled  # type: ignore[assignment]
    other = own.variant(unet=copy.deepcopy(own.unet))
    predictions(other, 1)
    assert called == []
    with torch.enable_grad():
        e = own.embed(["a cat"]).requires_grad_(True)
        own.denoising_loss(own.noise(0, (1, 4, 16, 16)), torch.tensor([10]), own.noise(1, (1, 4, 16, 16)), e).backward()
    assert e.grad is not None
    assert called == []
    predictions(own.variant(vae=own.vae), 1)
    assert called == [False]


def test_what_a_graph_gave_is_not_written_to_by_its_next_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, asked = torch.zeros(2), dict[str, Any]()

    def replay(value: float) -> Any:
        return SimpleNamespace(sample=memory.fill_(value))

    def compile_(network: Any, **options: Any) -> Any:
        asked.update(options)
        return network

    monkeypatch.setattr(torch, "compile", compile_)
    forward = Compiled(replay, GRAPHS)
    first, second = forward(1.0).sample, forward(2.0).sample
    assert (first.tolist(), second.tolist()) == ([1.0, 1.0], [2.0, 2.0])
    assert asked == {"dynamic": True, "backend": "inductor", "mode": "reduce-overhead"}


def test_a_compiler_that_is_not_there_is_named(own: DiffusionModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(EditorError, match="no-such-compiler is not there: install one, or name yours in CXX"):
        faster(own, compile_mode="default")
    assert own.backbone.compiled is None


def test_channels_last_is_the_layout_of_the_weights_alone(own: DiffusionModel) -> None:
    expected, decoded = predictions(own, 2), own.decode(own.noise(0, (2, 4, 16, 16)))
    faster(own, channels_last=True)
    convolutions = [weight for weight in own.unet.parameters() if weight.dim() == 4 and weight.shape[2] > 1]
    assert convolutions
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in convolutions)
    torch.testing.assert_close(predictions(own, 2), expected, **CLOSE)
    gaps = [abs(a.astype(int) - b).max() for a, b in zip(own.decode(own.noise(0, (2, 4, 16, 16))), decoded, strict=True)]
    assert max(gaps) <= 1, "one grey level where a sum fell upon the middle between two"


def test_off_a_card_a_call_has_as_many_items_as_it_always_had(model: DiffusionModel) -> None:
    assert (fitting(model), fitting(model, 3)) == (MOST, 3) == (64, 3)
