from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import PIL.Image
import pytest
import torch

from metrics.base import Image, MetricError, PairBatch
from metrics.clip import CLIPScore
from metrics.directional import DirectionalCLIP
from metrics.toolbox.features import PairFeatures


@pytest.fixture(scope="module")
def metric(judge_folder: Path) -> DirectionalCLIP:
    return DirectionalCLIP(f"local-dir:{judge_folder}", batch_size=3)


def batch(edits: list[Image], sources: list[Image], targets: list[str], captions: list[Any]) -> PairBatch:
    n = len(edits)
    return PairBatch(edits, sources, targets, captions, [None] * n, [None] * n)


def test_equals_direct_use_of_open_clip(judge_folder: Path, metric: DirectionalCLIP, pictures: list[Image]) -> None:
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{judge_folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{judge_folder}")
    targets, captions = ["a red cat", "a dog on snow"], ["a cat", "a dog on grass"]
    with torch.no_grad():
        model.eval()
        seen = model.encode_image(torch.stack([preprocess(PIL.Image.fromarray(p)) for p in pictures[:4]]), normalize=True)
        said = model.encode_text(tokenizer(targets + captions), normalize=True)
    expected = torch.nn.functional.cosine_similarity(seen[:2] - seen[2:], said[:2] - said[2:])
    scores = metric.score(batch(pictures[:2], pictures[2:4], targets, captions))
    # The difference of two close unit vectors in float32 keeps about four digits.
    np.testing.assert_allclose(scores, expected.numpy(), rtol=0, atol=2e-3)


def test_no_direction_no_value(metric: DirectionalCLIP, pictures: list[Image]) -> None:
    edits = [pictures[0].copy(), pictures[1], pictures[2], pictures[3]]
    sources = [pictures[0], pictures[0], pictures[0], pictures[0]]
    scores = metric.score(batch(edits, sources, ["a cat", "a cat", "a cat", "a cat"], ["a dog", "a cat", None, "a dog"]))
    assert np.isnan(scores).tolist() == [True, True, True, False]
    assert "equal texts" in metric.card.nan_rule


def test_source_texts_all_unknown(metric: DirectionalCLIP, pictures: list[Image]) -> None:
    assert np.isnan(metric.score(batch(pictures[:2], pictures[2:4], ["a cat", "a dog"], [None, None]))).all()


def test_closed_form(metric: DirectionalCLIP) -> None:
    east, north = [2.0, 0.0], [0.0, 0.5]
    rows = {
        "sources": [east] * 3,
        "edits": [north, east, north],
        "source_texts": [east, east, north],
        "target_texts": [north] * 2 + [east],
    }
    scores = metric.score_features(PairFeatures(**{name: np.array(value) for name, value in rows.items()}))
    np.testing.assert_allclose(scores, [1.0, np.nan, -1.0], rtol=0, atol=1e-12)  # float64


def test_texts_are_named_where_they_stand(metric: DirectionalCLIP, pictures: list[Image]) -> None:
    with pytest.raises(MetricError, match=r"target_texts\[1\]: expected a text, got ' '"):
        metric.score(batch(pictures[:2], pictures[2:4], ["a cat", " "], ["a dog", "a dog"]))
    with pytest.raises(MetricError, match=r"source_texts\[0\]: expected a text, got ''"):
        metric.score(batch(pictures[:2], pictures[2:4], ["a cat", "a cat"], ["", "a dog"]))


def test_shares_extractors_and_the_network_with_the_clip_score(judge_folder: Path, metric: DirectionalCLIP) -> None:
    clip = CLIPScore(f"local-dir:{judge_folder}")
    assert clip.image_extractor.identity.key == metric.image_extractor.identity.key
    assert clip.text_extractor.identity.key == metric.text_extractor.identity.key != clip.image_extractor.identity.key
    assert clip.image_extractor.network is metric.image_extractor.network
    assert clip.card.fingerprint != metric.card.fingerprint
