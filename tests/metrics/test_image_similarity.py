from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import PIL.Image
import pytest
import torch
from numpy.typing import NDArray

from bench.toybox.embedded import TOYBOX
from metrics.base import Image, MetricError, PairBatch
from metrics.image_similarity import CLIPImage, DINOImage

Encode = Callable[[Image], torch.Tensor]


def batch(edits: list[Image], sources: list[Image], truths: list[Image | None]) -> PairBatch:
    n = len(edits)
    return PairBatch(edits, sources, ["a cat"] * n, [None] * n, [None] * n, truths)


def cosines(encode: Encode, one: list[Image], two: list[Image]) -> NDArray[np.float64]:
    """As MagicBrush's scorer has it: one minus scipy's cosine distance of single pictures' features."""
    from scipy.spatial.distance import cosine

    return np.array([1 - cosine(encode(a).numpy(), encode(b).numpy()) for a, b in zip(one, two, strict=True)])


JUDGE = f"local-dir:{TOYBOX / 'judge'}"


@pytest.fixture(scope="module")
def clip() -> Encode:
    model, _, preprocess = open_clip.create_model_and_transforms(JUDGE)
    model.eval()

    def encode(image: Image) -> torch.Tensor:
        with torch.no_grad():
            return model.encode_image(preprocess(PIL.Image.fromarray(image))[None])[0]

    return encode


def stripes(n: int) -> list[Image]:
    """Pictures (40, 60, 3) whose colours differ: noise of one kind is one thing to a network."""
    grey = np.linspace(0, 255, 60).astype(np.uint8)
    return [np.stack([np.roll(grey, 9 * k), grey[::-1], grey * (k % 2)], axis=1)[None].repeat(40, axis=0) for k in range(n)]


@pytest.fixture(scope="module")
def dino(vit_folder: Path) -> Encode:
    """The transform of MagicBrush's scorer, written with torchvision, before transformers' own model."""
    from torchvision import transforms
    from transformers import ViTModel

    from metrics.networks.positions import interpolate_as_hub

    model = ViTModel.from_pretrained(vit_folder, add_pooling_layer=False).eval()
    interpolate_as_hub(model.embeddings)
    transform = transforms.Compose(
        [
            transforms.Resize(256, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )

    def encode(image: Image) -> torch.Tensor:
        with torch.no_grad():
            pixels = transform(PIL.Image.fromarray(image))[None]
            return model(pixel_values=pixels, interpolate_pos_encoding=True).last_hidden_state[0, 0]

    return encode


@pytest.mark.parametrize("to", ["truth", "source"])
def test_clip_image_is_the_cosine_of_open_clips_embeddings(to: str, clip: Encode) -> None:
    pictures = stripes(6)
    edits, sources, truths = pictures[:2], pictures[2:4], pictures[4:]
    scores = CLIPImage(JUDGE, to=to, batch_size=3).score(batch(edits, sources, [*truths]))
    expected = cosines(clip, edits, truths if to == "truth" else sources)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)  # float32 features, another batch size
    assert np.ptp(scores) > 1e-3, "the network tells the pictures apart"


@pytest.mark.parametrize("to", ["truth", "source"])
def test_dino_image_sees_what_magicbrushs_scorer_shows(to: str, vit_folder: Path, dino: Encode) -> None:
    wide = stripes(6)
    edits, sources, truths = wide[:2], wide[2:4], wide[4:]
    metric = DINOImage(f"folder:{vit_folder}", to=to, batch_size=2)
    seen, expected = metric._extractor(wide), np.stack([dino(image).numpy() for image in wide])
    np.testing.assert_allclose(seen, expected, rtol=0, atol=1e-5)  # float32 features around 1, another batch size
    assert (np.linalg.norm(np.diff(seen, axis=0), axis=1) > 1e-3).all(), "the tiny network tells the pictures apart"
    scores = metric.score(batch(edits, sources, [*truths]))
    np.testing.assert_allclose(scores, cosines(dino, edits, truths if to == "truth" else sources), rtol=0, atol=1e-6)


def test_an_unknown_truth_has_no_score_and_an_equal_picture_has_1(judge_folder: Path, pictures: list[Image]) -> None:
    metric = CLIPImage(f"local-dir:{judge_folder}", batch_size=2)
    scores = metric.score(batch(pictures[:3], pictures[3:6], [pictures[0], None, pictures[1]]))
    assert scores[0] == pytest.approx(1.0, abs=1e-12)  # one and the same row of features
    assert np.isnan(scores[1])
    assert np.isnan(metric.score(batch(pictures[:1], pictures[:1], [None]))).all()
    assert metric.score(batch([], [], [])).shape == (0,)


def test_what_it_reads_and_its_identity_follow_what_it_compares_with(judge_folder: Path, vit_folder: Path) -> None:
    made = [CLIPImage(f"local-dir:{judge_folder}", to=to) for to in ("truth", "source")]
    made += [DINOImage(f"folder:{vit_folder}", to=to) for to in ("truth", "source")]  # type: ignore[list-item]
    assert [metric.reads for metric in made] == [{"truths"}, {"sources"}] * 2
    assert len({metric.card.fingerprint for metric in made}) == 4
    assert made[0].card.masking.endswith("compared with the true edit")
    assert "width=16 patch=8" in made[2].card.network


def test_what_cannot_be_meant_is_refused(judge_folder: Path, resnet_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MetricError, match="clip_image to: expected truth or source, got 'target'"):
        CLIPImage(f"local-dir:{judge_folder}", to="target")
    with pytest.raises(MetricError, match=r"dino_image net: .* lacks"):
        DINOImage(f"folder:{tmp_path}")
    with pytest.raises(MetricError, match="dino_image net: "):
        DINOImage(f"folder:{resnet_folder}")


def test_patches_must_fill_the_crop(tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, image_size=30, patch_size=10
    )
    ViTModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "vit")
    with pytest.raises(MetricError, match="dino_image net: expected patches that fill 224 pixels, got patches of 10"):
        DINOImage(f"folder:{tmp_path / 'vit'}")


def test_dinov2_is_opened_by_its_own_prefix(tmp_path: Path, pictures: list[Image]) -> None:
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, mlp_ratio=1, image_size=28, patch_size=14)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        Dinov2Model(config).save_pretrained(tmp_path / "dinov2")
    metric = DINOImage(f"dinov2:{tmp_path / 'dinov2'}", to="source", batch_size=2)
    assert metric.card.network.startswith("transformers DINOv2")
    scores = metric.score(batch(pictures[:2], pictures[2:4], [None, None]))
    assert ((scores >= -1) & (scores < 1)).all()
