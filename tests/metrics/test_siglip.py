"""SigLIP's score against its equation, on a tiny network with a bias."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from metrics.base import Image, MetricError, PairBatch
from metrics.clip import CLIPScore
from metrics.siglip import SigLIPScore

Pairs = Callable[..., PairBatch]


def test_it_is_the_sigmoid_of_open_clip_s_logits(sigmoid_folder: Path, pictures: list[Image], pairs: Pairs) -> None:
    from PIL import Image as Pillow

    where = f"local-dir:{sigmoid_folder}"
    model, _, preprocess = open_clip.create_model_and_transforms(where, device="cpu")
    texts = ["a red cat", "snow", "a dog on grass"]
    with torch.no_grad():
        seen = torch.stack([preprocess(Pillow.fromarray(picture)) for picture in pictures[:3]])
        said = open_clip.get_tokenizer(where)(texts)
        logits, _ = model.eval().get_logits(seen, said)
    found = SigLIPScore(where, batch_size=2).score(pairs(pictures[:3], texts=texts))
    np.testing.assert_allclose(found, torch.sigmoid(logits).diagonal().double(), rtol=0, atol=1e-5)  # float32, other batches
    assert ((found > 0) & (found < 1)).all()
    assert len(set(found)) == 3


def test_the_cosine_is_that_of_the_clip_score(sigmoid_folder: Path, pictures: list[Image], pairs: Pairs) -> None:
    where, batch = f"local-dir:{sigmoid_folder}", pairs(pictures[:2], texts=["snow", "grass"])
    cosine, clip = SigLIPScore(where, scale="cosine"), CLIPScore(where, scale=1.0)
    np.testing.assert_allclose(cosine.score(batch), clip.score(batch), rtol=1e-12)  # float64 on the same features
    assert cosine.bounds == (-1.0, 1.0)
    assert cosine.card.fingerprint != SigLIPScore(where).card.fingerprint != clip.card.fingerprint


def test_what_cannot_be_scored_is_refused(judge_folder: Path) -> None:
    with pytest.raises(MetricError, match="was not trained with a sigmoid loss, it has no bias"):
        SigLIPScore(f"local-dir:{judge_folder}")
    with pytest.raises(MetricError, match="siglip scale: expected probability or cosine, got 'logit'"):
        SigLIPScore(f"local-dir:{judge_folder}", scale="logit")
