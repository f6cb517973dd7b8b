from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from editors import Cancelled, DiffusionModel, EditorError, EditTask, MissingInput, NotFinite
from editors.toolbox.diffusion import derive_seed

ROUNDING = 1e-5
"""Float32 sums in another order, on values of order 1."""


def latent(model: DiffusionModel, n: int = 1) -> Tensor:
    return model.noise(3, (n, 4, 16, 16))


def test_sizes_come_from_the_configuration(model: DiffusionModel) -> None:
    assert model.factor == 4
    assert model.resolution == 64


def test_encoding_is_the_scaled_posterior_mean(model: DiffusionModel, task: EditTask) -> None:
    x = torch.from_numpy(task.image.astype(np.float32) / 255 * 2 - 1).permute(2, 0, 1)[None]
    expected = model.vae.encode(x).latent_dist.mean * 0.7
    got = model.encode(task.image)
    assert got.shape == (1, 4, 16, 16)
    assert torch.allclose(got, expected, atol=ROUNDING)


def test_pixels_are_scaled_before_they_are_rounded_to_the_dtype(model: DiffusionModel, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    half = model.variant(vae=copy.deepcopy(model.vae).to(torch.bfloat16))
    encode = half.vae.encode
    monkeypatch.setattr(half.vae, "encode", lambda x: (seen.append(x), encode(x))[1])
    grey = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    half.encode(grey)
    exact = torch.from_numpy(grey).permute(2, 0, 1)[None].float() / 127.5 - 1
    assert torch.equal(seen[0], exact.to(torch.bfloat16))


def test_decoding_gives_one_picture_per_latent_whatever_the_batch(model: DiffusionModel, task: EditTask) -> None:
    x0 = model.encode(task.image)
    together = model.decode(torch.cat([x0, 2 * x0, -x0]))
    assert [p.shape for p in together] == [(64, 64, 3)] * 3
    assert together[0].dtype == np.uint8
    model.max_batch = 2
    apart = model.decode(torch.cat([x0, 2 * x0, -x0]))
    # rounding of the decoder may move a value across the border of two grey levels
    assert max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(together, apart, strict=True)) <= 1
    assert not np.array_equal(together[0], together[2])


def test_sides_that_do_not_divide_are_refused(model: DiffusionModel) -> None:
    with pytest.raises(MissingInput, match="66x64 pixels, expected multiples of 4"):
        model.encode(np.zeros((64, 66, 3), np.uint8))


def test_other_sizes_than_the_native_one_work(model: DiffusionModel) -> None:
    x0 = model.encode(np.zeros((36, 60, 3), np.uint8))
    assert x0.shape == (1, 4, 9, 15)
    assert model.predict(x0, 500, model.embed(["a cat"])).shape == x0.shape
    assert model.decode(x0)[0].shape == (36, 60, 3)


def test_embeddings_are_padded_and_cut_to_the_tokenizers_length(model: DiffusionModel) -> None:
    short, long = model.embed(["a cat", "a red ball on the grass " * 9])
    assert short.shape == long.shape == (12, 16)
    target, empty = model.embed_pair("a cat")
    assert torch.allclose(target[0], short, atol=ROUNDING)
    assert torch.allclose(empty, model.embed([""]), atol=ROUNDING)
    assert not torch.allclose(target, empty, atol=1e-2)


def test_guidance_is_the_published_combination_and_is_counted(model: DiffusionModel) -> None:
    x, (cond, uncond) = latent(model, 3), model.embed_pair("a red ball")
    before = model.unet_evaluations
    guided = model.predict(x, 400, cond, 3.0, uncond)
    assert model.unet_evaluations - before == 6
    a, b = model.predict(x, 400, cond), model.predict(x, 400, uncond)
    assert model.unet_evaluations - before == 12
    assert torch.allclose(guided, b + 3 * (a - b), atol=ROUNDING)
    assert (a - b).abs().max() > 100 * ROUNDING
    with pytest.raises(EditorError, match="empty text"):
        model.predict(x, 400, cond, 3.0)


def test_chunks_change_nothing_but_rounding(model: DiffusionModel) -> None:
    x, (cond, uncond) = latent(model, 5), model.embed_pair("a red ball")
    whole = model.predict(x, 400, cond, 3.0, uncond)
    model.max_batch = 3
    before = model.unet_evaluations
    assert torch.allclose(model.predict(x, 400, cond, 3.0, uncond), whole, atol=ROUNDING)
    assert model.unet_evaluations - before == 10


def test_noise_is_its_seeds_and_uses_all_64_bits(model: DiffusionModel) -> None:
    assert torch.equal(model.noise(2**64 - 1, (2, 3)), model.noise(2**64 - 1, (2, 3)))
    assert not torch.equal(model.noise(2**63, (2, 3)), model.noise(0, (2, 3)))
    assert torch.equal(model.noise(5, (2, 3)), torch.randn(2, 3, generator=torch.Generator().manual_seed(5)))
    seeds = {derive_seed(s, p) for s in (0, 1, 2**64 - 1) for p in ("mask", "unet")}
    assert len(seeds) == 6
    assert all(0 <= s < 2**64 for s in seeds)


def test_the_training_loss_is_the_error_of_the_prediction(model: DiffusionModel) -> None:
    x0, eps, text = latent(model), model.noise(8, (2, 4, 16, 16)), model.embed(["a cat"])
    t = torch.tensor([10, 700])
    with torch.no_grad():
        loss = model.denoising_loss(x0, t, eps, text)
    expected = []
    for i in range(2):
        alpha_bar = model.scheduler.alphas_cumprod[t[i]]
        noised = alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * eps[i : i + 1]
        expected.append((model.predict(noised, int(t[i]), text) - eps[i : i + 1]).square().mean())
    assert float(loss) == pytest.approx(float(torch.stack(expected).mean()), rel=1e-4)  # float32 sums in another order


def test_not_finite_and_cancelled_are_typed_and_name_the_step(model: DiffusionModel) -> None:
    text = model.embed(["a cat"])
    with pytest.raises(NotFinite, match="timestep 400"):
        model.predict(latent(model) * float("nan"), 400, text)
    model.cancelled = lambda: True
    with pytest.raises(Cancelled, match="timestep 400"):
        model.predict(latent(model), 400, text)


def test_a_variant_shares_the_counter_and_nothing_it_replaces(model: DiffusionModel) -> None:
    other = model.variant(unet=torch.nn.Identity())
    before = model.unet_evaluations
    model.predict(latent(model, 3), 400, model.embed(["a cat"]))
    assert other.unet_evaluations == before + 3
    model.cancelled = lambda: True
    assert other.cancelled()
    assert model.unet is not other.unet
    assert model.vae is other.vae


def test_a_picture_above_the_tiles_side_is_done_in_tiles_and_one_below_whole(
    model: DiffusionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = model.noise(1, (1, 4, 24, 24))
    whole = model.decode_tensor(noise)
    monkeypatch.setattr(model.vae, "tile_sample_min_size", 96)
    monkeypatch.setattr(model.vae, "tile_latent_min_size", 24)
    assert torch.equal(model.decode_tensor(noise), whole)
    monkeypatch.setattr(model.vae, "tile_sample_min_size", 64)
    monkeypatch.setattr(model.vae, "tile_latent_min_size", 16)
    tiled = model.decode_tensor(noise)
    assert tiled.shape == whole.shape
    assert not torch.equal(tiled, whole)
    assert DiffusionModel(model.backbone).vae.tile_sample_min_size == 1024
