from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import ViTModel

from metrics.base import Image, MetricError, PairBatch
from metrics.networks.positions import interpolate_as_hub
from metrics.parity.pie_bench import PieBenchStructure
from metrics.structure import DINOStructure

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def batch(edits: list[Image], sources: list[Image]) -> PairBatch:
    n = len(edits)
    return PairBatch(edits, sources, ["a cat"] * n, [None] * n, [None] * n, [None] * n)


def similarities(folder: Path, image: Image, divisor: float, hub: bool = False) -> np.ndarray:
    """From the paper: the last layer's keys by hand from the state before it, all heads joined."""
    model = ViTModel.from_pretrained(folder, add_pooling_layer=False).double().eval()
    if hub:
        interpolate_as_hub(model.embeddings)
    pixels = torch.from_numpy((image / divisor - MEAN) / STD).permute(2, 0, 1)[None]
    with torch.no_grad():
        before = model(pixels, output_hidden_states=True, interpolate_pos_encoding=True).hidden_states[-2]
        last = model.layers[-1] if hasattr(model, "layers") else model.encoder.layer[-1]
        normalised = last.layernorm_before(before)
        weight, bias = (
            next(p for name, p in last.named_parameters() if name.endswith(f"k_proj.{kind}")) for kind in ("weight", "bias")
        )
        keys = (normalised @ weight.T + bias)[0].numpy()
    unit = keys / np.linalg.norm(keys, axis=1, keepdims=True)
    return unit @ unit.T


def test_follows_the_paper(vit_folder: Path, pictures: list[Image]) -> None:
    metric = DINOStructure(f"folder:{vit_folder}", resolution=64)
    one, two = (similarities(vit_folder, image, 255) for image in pictures[:2])
    score = metric.score(batch(pictures[:1], pictures[1:2]))[0]
    assert one.shape == (65, 65)  # 8 x 8 patches and the class token
    assert score == pytest.approx(((one - two) ** 2).mean(), rel=1e-4)  # float32 network against float64
    assert score > 1e-4


def test_equal_pictures_are_at_zero_and_order_does_not_matter(vit_folder: Path, pictures: list[Image]) -> None:
    metric = DINOStructure(f"folder:{vit_folder}", resolution=32, batch_size=3)
    assert metric.score(batch(pictures, pictures)).tolist() == [0.0] * 7
    there, back = metric.score(batch(pictures, pictures[::-1])), metric.score(batch(pictures[::-1], pictures))
    np.testing.assert_allclose(there, back, rtol=1e-4)  # features agree to 1e-5; the value is a square of differences


def test_pie_bench_forgets_to_divide_by_255(vit_folder: Path, pictures: list[Image], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metrics.parity.pie_bench.SIDE", 64)  # 64 pixels: the resize changes nothing
    metric = PieBenchStructure(f"folder:{vit_folder}")
    one, two = (similarities(vit_folder, image, 1, hub=True) for image in pictures[:2])
    score = metric.score(batch(pictures[:1], pictures[1:2]))[0]
    assert score == pytest.approx(((one - two) ** 2).mean(), rel=1e-3)  # float32 network on inputs of hundreds against float64
    right = DINOStructure(f"folder:{vit_folder}", resolution=64)
    assert abs(score / right.score(batch(pictures[:1], pictures[1:2]))[0] - 1) > 0.05
    assert metric.card.fingerprint != right.card.fingerprint


def test_pie_bench_looks_at_a_short_side_of_224(vit_folder: Path, pictures: list[Image]) -> None:
    metric = PieBenchStructure(f"folder:{vit_folder}", batch_size=1)
    from torchvision.transforms import Resize

    pixels = Resize(224, max_size=480, antialias=False)(torch.from_numpy(pictures[0]).permute(2, 0, 1)[None].float())
    model = ViTModel.from_pretrained(vit_folder, add_pooling_layer=False).eval()
    seen: list[torch.Tensor] = []
    for module in (metric._network._model, model):
        module.register_forward_pre_hook(lambda _m, _a, kwargs: seen.append(kwargs["pixel_values"]), with_kwargs=True)
    metric.score(batch(pictures[:1], pictures[1:2]))
    expected = (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    np.testing.assert_allclose(seen[1].numpy(), expected.numpy(), rtol=1e-5, atol=1e-3)  # float32, values up to a thousand


def test_bad_resolutions_and_folders(vit_folder: Path, resnet_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MetricError, match="expected a multiple of the patch size 8, got 60"):
        DINOStructure(f"folder:{vit_folder}", resolution=60)
    with pytest.raises(MetricError, match=r"dino_structure net: .* lacks"):
        DINOStructure(f"folder:{tmp_path}")
    shutil.copy(vit_folder / "config.json", tmp_path)
    shutil.copy(resnet_folder / "model.safetensors", tmp_path)
    with pytest.raises(MetricError, match="dino_structure net: "):
        DINOStructure(f"folder:{tmp_path}")


def test_fingerprint_follows_resolution_and_weights(vit_folder: Path, tmp_path: Path, change_weights: object) -> None:
    cards = [DINOStructure(f"folder:{vit_folder}", resolution=size).card for size in (32, 64)]
    folder = Path(shutil.copytree(vit_folder, tmp_path / "vit"))
    change_weights(folder / "model.safetensors")  # type: ignore[operator]
    cards.append(DINOStructure(f"folder:{folder}", resolution=32).card)
    assert len({card.fingerprint for card in cards}) == 3
