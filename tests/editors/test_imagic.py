from __future__ import annotations

import copy
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models import modeling_utils

from editors import Cancelled, DiffusionModel, EditTask, MissingInput
from editors.imagic import Imagic, interpolate


def make(model: DiffusionModel, **params: Any) -> Imagic:
    quick = {"steps": 4, "embedding_steps": 4, "embedding_lr": 1e-2, "unet_steps": 4, "unet_lr": 1e-3}
    return Imagic(model, Imagic.resolve("", {**quick, **params}))


def test_equation_3() -> None:
    e_tgt, e_opt = torch.tensor([1.0, -2.0]), torch.tensor([3.0, 5.0])
    assert torch.equal(interpolate(e_tgt, e_opt, 0.0), e_opt)
    assert torch.equal(interpolate(e_tgt, e_opt, 1.0), e_tgt)
    assert torch.allclose(interpolate(e_tgt, e_opt, 0.7), torch.tensor([1.6, 0.1]))


def test_the_model_is_bit_identical_and_the_copy_is_tuned(model: DiffusionModel, task: EditTask) -> None:
    before = {name: t.clone() for name, t in model.unet.state_dict().items()}
    state = make(model).prepare(task)
    assert all(torch.equal(t, before[name]) for name, t in model.unet.state_dict().items())
    assert not any(p.requires_grad for p in model.unet.parameters())
    assert state.tuned.unet is not model.unet
    assert any(not torch.equal(t, before[name]) for name, t in state.tuned.unet.state_dict().items())
    assert not any(p.requires_grad or p.grad is not None for p in state.tuned.unet.parameters())
    assert state.tuned.vae is model.vae


def test_training_is_in_float32_and_the_tuned_copy_in_the_dtype_of_the_model(
    model: DiffusionModel, task: EditTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = model.variant(unet=copy.deepcopy(model.unet).to(torch.bfloat16))
    trained: list[torch.dtype] = []
    adam = torch.optim.Adam

    def watch(over: list[torch.Tensor], **options: Any) -> torch.optim.Optimizer:
        trained.extend(weight.dtype for weight in over)
        return adam(over, **options)

    said: list[str] = []
    monkeypatch.setattr(torch.optim, "Adam", watch)
    monkeypatch.setattr(modeling_utils.logger, "warning", said.append)
    state = make(half).prepare(task)
    assert said == [], "nothing that a user could mend"
    assert set(trained) == {torch.float32}
    assert {weight.dtype for weight in state.tuned.unet.parameters()} == {torch.bfloat16}
    assert make(half).render(state, (1.0,))[0].shape == task.image.shape


def test_the_model_is_bit_identical_also_when_a_fit_is_cut_short(model: DiffusionModel, task: EditTask) -> None:
    before = {name: t.clone() for name, t in model.unet.state_dict().items()}
    calls = 0

    def cancelled() -> bool:
        nonlocal calls
        calls += 1
        return calls > 8

    model.cancelled = cancelled
    with pytest.raises(Cancelled, match="U-Net optimisation, step"):
        make(model).prepare(task)
    assert all(torch.equal(t, before[name]) for name, t in model.unet.state_dict().items())
    assert not any(p.requires_grad or p.grad is not None for p in model.unet.parameters())


def test_a_repeated_fit_is_the_same_also_after_another_sample(model: DiffusionModel, task: EditTask, other: EditTask) -> None:
    editor = make(model)
    first = editor.prepare(task)
    pictures = editor.render(first, (0.0, 1.0))
    editor.render(editor.prepare(other), (0.0, 1.0))
    again = editor.prepare(task)
    assert torch.equal(first.e_opt, again.e_opt)
    assert all(np.array_equal(a, b) for a, b in zip(pictures, editor.render(again, (0.0, 1.0)), strict=True))


def test_each_stage_trains_what_it_should_and_nothing_else(model: DiffusionModel, task: EditTask) -> None:
    base = model.unet.state_dict()
    text_only = make(model, unet_steps=0).prepare(task)
    assert not torch.allclose(text_only.e_opt, text_only.e_tgt, atol=1e-3)
    assert all(torch.equal(t, base[name]) for name, t in text_only.tuned.unet.state_dict().items())
    weights_only = make(model, embedding_steps=0).prepare(task)
    assert torch.equal(weights_only.e_opt, weights_only.e_tgt)
    assert any(not torch.equal(t, base[name]) for name, t in weights_only.tuned.unet.state_dict().items())


@pytest.mark.slow
def test_the_fit_lowers_the_loss(model: DiffusionModel, task: EditTask) -> None:
    editor = make(model, embedding_steps=20, unet_steps=40, unet_lr=3e-3, draws=4)
    state = editor.prepare(task)
    x0, eps = model.encode(task.image), model.noise(1, (64, 4, 16, 16))
    t = torch.randint(1000, (64,), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        target = float(model.denoising_loss(x0, t, eps, state.e_tgt))
        optimised = float(model.denoising_loss(x0, t, eps, state.e_opt))
        tuned = float(state.tuned.denoising_loss(x0, t, eps, state.e_opt))
    assert optimised < target
    assert tuned < 0.9 * optimised
    assert state.losses["unet_loss"] < state.losses["embedding_loss"]


def test_where_activations_find_no_room_they_are_computed_twice_and_the_fit_is_the_same(
    model: DiffusionModel, task: EditTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = make(model, embedding_steps=3, unet_steps=3)
    expected = calm.prepare(task)
    loss, refused = DiffusionModel.denoising_loss, []

    def cramped(self: DiffusionModel, *given: Any) -> torch.Tensor:
        if not self.unet.is_gradient_checkpointing and len(refused) < 2:
            refused.append(given)
            if len(refused) == 2:  # in the second step
                raise torch.OutOfMemoryError("CUDA out of memory")
        return loss(self, *given)

    monkeypatch.setattr(DiffusionModel, "denoising_loss", cramped)
    found = calm.prepare(task)
    assert len(refused) == 2
    torch.testing.assert_close(found.e_opt, expected.e_opt)
    for own, other in zip(found.tuned.unet.parameters(), expected.tuned.unet.parameters(), strict=True):
        torch.testing.assert_close(own, other)
    assert calm.facts(found)["activations_recomputed"] is True
    assert "activations_recomputed" not in calm.facts(expected)
    assert not model.unet.is_gradient_checkpointing


def test_where_there_is_no_room_even_so_it_fails(model: DiffusionModel, task: EditTask, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: DiffusionModel, *given: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(DiffusionModel, "denoising_loss", full)
    with pytest.raises(torch.OutOfMemoryError):
        make(model, embedding_steps=3).prepare(task)


def test_adam_in_8_bits_keeps_small_moments_and_tunes_all_weights(
    model: DiffusionModel, task: EditTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = pytest.importorskip(
        "bitsandbytes.optim", reason="an extra of its own: wherever it is, diffusers imports it and it has its say"
    )
    made: list[Any] = []
    whole = library.Adam8bit.__init__

    def watch(self: Any, *given: Any, **options: Any) -> None:
        made.append(self)
        whole(self, *given, **options)

    monkeypatch.setattr(library.Adam8bit, "__init__", watch)
    state, plain = make(model, tune="full_8bit").prepare(task), make(model).prepare(task)
    assert len(made) == 1, "the embedding is small, and has Adam's own"
    assert torch.equal(state.e_opt, plain.e_opt)
    assert state.trained_weights == plain.trained_weights
    kept = {weight.numel() >= 4096: moments["state1"].dtype for weight, moments in made[0].state.items()}
    assert kept == {True: torch.uint8, False: torch.float32}, "the library leaves small tensors as they are"
    tuned, untuned = state.tuned.unet.state_dict(), model.unet.state_dict()
    gap = sum(float((tuned[name] - t).abs().sum()) for name, t in plain.tuned.unet.state_dict().items())
    moved = sum(float((untuned[name] - t).abs().sum()) for name, t in plain.tuned.unet.state_dict().items())
    # rounding of the moments is a few per cent, and four steps hardly add it up
    assert 0 < gap < 0.2 * moved
    assert make(model, tune="full_8bit").facts(state)["tune"] == "full_8bit"


def test_the_weights_alone_have_the_optimiser_of_8_bits(
    model: DiffusionModel, task: EditTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    class Adam8bit(torch.optim.Adam):
        def __init__(self, over: list[torch.Tensor], lr: float) -> None:
            made.append(len(over))
            super().__init__(over, lr=lr)

    monkeypatch.setitem(sys.modules, "bitsandbytes", SimpleNamespace(optim=SimpleNamespace(Adam8bit=Adam8bit)))
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", SimpleNamespace(Adam8bit=Adam8bit))
    monkeypatch.setattr("editors.imagic.find_spec", lambda name: name)
    state, plain = make(model, tune="full_8bit").prepare(task), make(model).prepare(task)
    assert made == [len(list(model.unet.parameters()))]
    assert all(
        torch.equal(ours, its) for ours, its in zip(state.tuned.unet.parameters(), plain.tuned.unet.parameters(), strict=True)
    )


@pytest.mark.parametrize(("tune", "extra"), [("lora", "peft"), ("full_8bit", "bitsandbytes")])
def test_a_package_that_is_not_there_is_named(
    model: DiffusionModel, tune: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("editors.imagic.find_spec", lambda name: None)
    with pytest.raises(MissingInput, match=f"needs the package {extra}, which is not installed: pip install 'etabench"):
        make(model, tune=tune)


def test_one_fit_serves_every_eta(model: DiffusionModel, task: EditTask) -> None:
    editor = make(model, draws=3)
    before = model.unet_evaluations
    state = editor.prepare(task)
    assert model.unet_evaluations - before == 3 * (4 + 4)
    before = model.unet_evaluations
    editor.render(state, (0.0, 0.3, 0.6, 1.0))
    assert model.unet_evaluations - before == 2 * 4 * 4


def test_rendering_conditions_on_the_interpolated_embeddings(model: DiffusionModel, task: EditTask) -> None:
    editor = make(model, unet_steps=0)
    state = editor.prepare(task)
    seen: list[torch.Tensor] = []
    original = state.tuned.unet

    class Spy(torch.nn.Module):
        dtype = torch.float32

        def forward(self, x: torch.Tensor, t: torch.Tensor, encoder_hidden_states: torch.Tensor) -> Any:
            seen.append(encoder_hidden_states)
            return SimpleNamespace(sample=original(x, t, encoder_hidden_states=encoder_hidden_states).sample)

    state.tuned.backbone = state.tuned.backbone.replaced(network=Spy())
    editor.render(state, (0.25, 1.0))
    uncond, cond = seen[0].chunk(2)
    assert torch.equal(uncond, state.empty.expand(2, -1, -1))
    assert torch.equal(cond, torch.cat([0.25 * state.e_tgt + 0.75 * state.e_opt, state.e_tgt]))


def test_presets_hold_both_columns_of_the_paper() -> None:
    sd, imagen = Imagic.resolve("paper_sd"), Imagic.resolve("paper_imagen")
    assert (sd.embedding_steps, sd.embedding_lr, sd.unet_steps, sd.unet_lr, sd.draws) == (1000, 2e-3, 1500, 5e-7, 1)  # type: ignore[attr-defined]
    assert (imagen.embedding_steps, imagen.embedding_lr, imagen.unet_steps) == (100, 1e-3, 1500)  # type: ignore[attr-defined]
    assert Imagic.resolve("paper") == sd
