from __future__ import annotations

import json
import shutil
from pathlib import Path

import open_clip
import PIL.Image
import pytest
import torch
from safetensors.torch import save_file

from bench.toybox.embedded import TOYBOX
from editors import DiffusionModel, EditorError, EditTask, MissingInput
from editors.toolbox.clip import ClipParams, RankingCLIP, clip_assets, clip_digest, cut_out, spherical_distance

SPEC = f"local-dir:{TOYBOX / 'ranker'}"


@pytest.fixture
def ranker() -> RankingCLIP:
    return RankingCLIP.load(SPEC)


def unit(image: object) -> torch.Tensor:
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [(64, 64), (96, 96), (64, 48)])
def test_pictures_are_seen_as_the_networks_own_preprocessing_shows_them(
    ranker: RankingCLIP, task: EditTask, size: tuple[int, int]
) -> None:
    network, _, preprocess = open_clip.create_model_and_transforms(SPEC, require_pretrained=True)
    picture = PIL.Image.fromarray(task.image).resize(size, PIL.Image.Resampling.BICUBIC)
    with torch.no_grad():
        expected = network.eval().encode_image(preprocess(picture)[None], normalize=True)
    import numpy as np

    got = ranker.embed_images(unit(np.asarray(picture)))
    assert float(got.norm()) == pytest.approx(1, abs=1e-6)
    # Pillow rounds a resized picture to whole grey levels and cuts its overshoot off, torch does not
    assert float((got * expected).sum()) > (1 - 1e-5 if size == (64, 64) else 0.995)


def test_texts_tell_pictures_apart(ranker: RankingCLIP) -> None:
    from bench.manifest import open_manifest
    from bench.spec import load_spec

    manifest = open_manifest(load_spec("ci").manifest, 64)
    samples = [manifest.load(index) for index in range(6)]
    target = ranker.embed_texts([s.target_text for s in samples])
    assert torch.allclose(target.norm(dim=1), torch.ones(6), atol=1e-5)
    truths = ranker.embed_images(torch.cat([unit(s.truth) for s in samples]))
    sources = ranker.embed_images(torch.cat([unit(s.image) for s in samples]))
    assert ((truths * target).sum(1) > (sources * target).sum(1)).sum() >= 5


def test_the_gradient_reaches_the_latent_and_nothing_else(ranker: RankingCLIP, model: DiffusionModel, task: EditTask) -> None:
    z = model.encode(task.image).requires_grad_(True)
    wanted = ranker.embed_texts([task.target_text])
    before = spherical_distance(ranker.embed_images(model.decode_tensor(z)), wanted)
    before.sum().backward()
    assert z.grad is not None
    assert bool(torch.isfinite(z.grad).all())
    assert float(z.grad.abs().max()) > 0
    assert not any(p.requires_grad for p in ranker._network.parameters())
    with torch.no_grad():
        nearer = spherical_distance(ranker.embed_images(model.decode_tensor(z - 1e-2 * z.grad / z.grad.norm())), wanted)
    assert nearer.item() < before.item()


def test_spherical_distance_is_half_the_squared_angle() -> None:
    angle = torch.tensor([0.1, 1.0, 2.0])
    x = torch.stack([angle.cos(), angle.sin()], dim=1)
    assert torch.allclose(spherical_distance(x, torch.tensor([[1.0, 0.0]])), angle.square() / 2, atol=1e-5)


def test_the_cut_out_is_black_outside() -> None:
    pixels = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    pixels[..., 1, 2] = True
    got = cut_out(torch.full((2, 3, 4, 4), 0.5), pixels)
    assert (got == 0.5).sum() == 6
    assert (got == -1).sum() == 2 * 3 * 15


def test_the_digest_is_that_of_the_files(tmp_path: Path) -> None:
    copy = tmp_path / "ranker"
    shutil.copytree(TOYBOX / "ranker", copy)
    assert clip_digest(f"local-dir:{copy}") == clip_digest(SPEC) == RankingCLIP.load(SPEC).digest
    (copy / "README.md").write_text("not read")
    assert clip_digest(f"local-dir:{copy}") == clip_digest(SPEC)
    config = json.loads((copy / "open_clip_config.json").read_text())
    config["preprocess_cfg"]["mean"] = [0.4, 0.5, 0.5]
    (copy / "open_clip_config.json").write_text(json.dumps(config))
    assert clip_digest(f"local-dir:{copy}") != clip_digest(SPEC)
    assert clip_assets(ClipParams(clip=SPEC)) == {"clip": clip_digest(SPEC)}
    assert clip_assets(ClipParams(), used=False) == {"clip": ""}


def test_an_architecture_with_a_weight_file_is_the_same_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: EditTask
) -> None:
    from open_clip import factory

    config = json.loads((TOYBOX / "judge" / "open_clip_config.json").read_text())["model_cfg"]
    del config["text_cfg"]["hf_tokenizer_name"]
    config["text_cfg"]["vocab_size"] = 49408
    monkeypatch.setitem(factory._MODEL_CONFIGS, "tiny-test", config)
    state = torch.get_rng_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = open_clip.CLIP(**config).state_dict()
    file = tmp_path / "weights.safetensors"
    save_file(weights, file)
    opened = RankingCLIP.load(f"tiny-test:{file}")
    assert all(torch.equal(opened._network.state_dict()[key], value) for key, value in weights.items())
    assert opened.embed_images(unit(task.image)).shape == (1, 96)
    assert opened.embed_texts(["a cat", "a ball"]).shape == (2, 96)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", r"needs an image-text network, got none; give local-dir:/folder"),
        ("local-dir:/nowhere", r"/nowhere is not an open_clip folder"),
        ("ViT-B-16", r"expected an existing \.safetensors file behind the architecture, got 'ViT-B-16'"),
        ("ViT-B-16:/nowhere.safetensors", r"expected an existing \.safetensors file"),
        ("ViT-B-16:weights.pt", r"expected an existing \.safetensors file"),
    ],
)
def test_what_is_not_there_is_named(spec: str, message: str) -> None:
    with pytest.raises(MissingInput, match=message):
        RankingCLIP.load(spec)


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    save_file({"x": torch.zeros(1)}, file)
    with pytest.raises(MissingInput, match="no architecture 'no-such-net'"):
        RankingCLIP.load(f"no-such-net:{file}")
    copy = tmp_path / "ranker"
    shutil.copytree(TOYBOX / "ranker", copy)
    save_file({"x": torch.zeros(1)}, copy / "open_clip_model.safetensors")
    with pytest.raises(EditorError, match=r"local-dir:.* cannot be opened"):
        RankingCLIP.load(f"local-dir:{copy}")


def test_relevance_is_a_map_that_follows_the_picture(ranker: RankingCLIP, task: EditTask) -> None:
    direction = ranker.embed_images(unit(task.image))[0]
    heat = ranker.relevance(unit(task.image), direction)
    assert heat.shape == (1, 1, 64, 64)
    assert float(heat.min()) >= 0
    assert float(heat.max()) == pytest.approx(1)
    assert not heat.requires_grad
    assert ranker.spatial(unit(task.image)).shape[1] == 16
    # the map of an opposite direction has the other places: what counts for it counts against this one
    opposite = ranker.relevance(unit(task.image), -direction)
    assert float(torch.minimum(heat, opposite).max()) < 1
