"""InstructPix2Pix's similarities against its arithmetic written out, on a tiny network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from torch.nn.functional import cosine_similarity, interpolate

from metrics.base import Image, PairBatch
from metrics.directional import DirectionalCLIP
from metrics.image_similarity import CLIPImage
from metrics.parity.instruct_pix2pix import MEAN, STD, InstructPix2PixDirection, InstructPix2PixImage

Pairs = Callable[..., PairBatch]


def published(folder: Path, image: Image) -> torch.Tensor:
    """The embedding of one picture as `encode_image` of `clip_similarity.py` makes it of pixels in -1..1."""
    model = open_clip.create_model(f"local-dir:{folder}", device="cpu").eval()
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1
    small = interpolate(pixels, size=64, mode="bicubic", align_corners=False)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    with torch.no_grad():
        features = model.encode_image((small - mean) / std)
    return features / features.norm(dim=1, keepdim=True)


@pytest.fixture
def large(rng: np.random.Generator) -> list[Image]:
    """Pictures of one colour and fine stripes, that have to be shrunk, and not by the same factor on both sides."""
    pictures = [np.full((96, 160, 3), colour, dtype=np.uint8) for colour in rng.integers(0, 256, (4, 3))]
    for picture in pictures:
        picture[:, ::3] = 255
    return pictures


def test_the_image_similarity_is_the_published_one(judge_folder: Path, large: list[Image], pairs: Pairs) -> None:
    metric = InstructPix2PixImage(f"local-dir:{judge_folder}")
    scores = metric.score(pairs(large[:2], large[2:]))
    expected = [
        float(cosine_similarity(published(judge_folder, one), published(judge_folder, two)))
        for one, two in zip(large[:2], large[2:], strict=True)
    ]
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)  # float32 features, other batches
    sound = CLIPImage(f"local-dir:{judge_folder}", to="source").score(pairs(large[:2], large[2:]))
    assert np.abs(sound - scores).max() > 1e-4, "the range and the filter are seen"


def test_the_direction_is_the_published_one(judge_folder: Path, large: list[Image], pairs: Pairs) -> None:
    metric = InstructPix2PixDirection(f"local-dir:{judge_folder}")
    batch = replace(pairs(large[:2], large[2:], ["a red cat", "snow"]), source_texts=["a dog", "grass"])
    network = metric.image_extractor.network
    texts = {text: torch.from_numpy(metric.text_extractor([text])) for text in ("a red cat", "snow", "a dog", "grass")}
    texts = {text: row / row.norm(dim=1, keepdim=True) for text, row in texts.items()}
    expected = [
        float(cosine_similarity(published(judge_folder, edit) - published(judge_folder, source), texts[to] - texts[start]))
        for edit, source, to, start in zip(large[:2], large[2:], batch.target_texts, ("a dog", "grass"), strict=True)
    ]
    np.testing.assert_allclose(metric.score(batch), expected, rtol=0, atol=1e-3)  # differences of close unit vectors
    assert network.network in metric.card.network


def test_no_change_is_0_and_an_unknown_caption_is_undefined(judge_folder: Path, large: list[Image], pairs: Pairs) -> None:
    edits, sources = [large[0], large[1], large[1], large[1]], [large[0].copy(), large[0], large[0], large[0]]
    batch = replace(pairs(edits, sources, ["snow"] * 4), source_texts=["grass", "snow", None, "grass"])
    scores = InstructPix2PixDirection(f"local-dir:{judge_folder}").score(batch)
    assert scores[:2].tolist() == [0.0, 0.0]
    assert np.isnan(scores[2])
    assert scores[3] != 0
    sound = DirectionalCLIP(f"local-dir:{judge_folder}").score(batch)
    assert np.isnan(sound[:3]).all(), "the sound form has no value there"
    assert np.isfinite(sound[3])


def test_both_share_their_pictures_with_each_other_and_not_with_sound_metrics(judge_folder: Path) -> None:
    one, two = InstructPix2PixImage(f"local-dir:{judge_folder}"), InstructPix2PixDirection(f"local-dir:{judge_folder}")
    sound = DirectionalCLIP(f"local-dir:{judge_folder}")
    assert one.image_extractor.identity.key == two.image_extractor.identity.key != sound.image_extractor.identity.key
    assert two.text_extractor.identity.key == sound.text_extractor.identity.key
