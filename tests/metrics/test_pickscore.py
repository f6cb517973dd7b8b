"""PickScore against the arithmetic of its card, on a tiny CLIP in the real files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from transformers import CLIPModel, CLIPProcessor

from metrics.base import Image, MetricError, PairBatch
from metrics.pickscore import PickScore

Pairs = Callable[..., PairBatch]


def test_it_is_the_card_s_score(transformers_clip: Path, pictures: list[Image], pairs: Pairs) -> None:
    texts = ["a red cat", "snow", " ".join(["cat"] * 30)]
    model, processor = CLIPModel.from_pretrained(transformers_clip).eval(), CLIPProcessor.from_pretrained(transformers_clip)
    expected = []
    for picture, text in zip(pictures, texts, strict=False):
        seen = processor(images=Pillow.fromarray(picture), return_tensors="pt")
        said = processor(text=text, truncation=True, max_length=12, return_tensors="pt")
        with torch.no_grad():
            one = model.get_image_features(**seen).pooler_output
            two = model.get_text_features(**said).pooler_output
            expected.append(float(model.logit_scale.exp() * torch.nn.functional.cosine_similarity(one, two)))
    metric = PickScore(f"folder:{transformers_clip}", "", batch_size=2)
    found = metric.score(pairs(pictures[:3], texts=texts))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)  # the scale times float32 rounding, other batches
    assert metric.text_extractor.over_context(texts) == [texts[2]]
    assert metric.bounds[1] == pytest.approx(float(model.logit_scale.detach().exp()))


def test_a_long_text_keeps_its_end_mark(transformers_clip: Path) -> None:
    """Ten words fill the context with both marks; what follows changes nothing, and what is read is pooled at the end mark."""
    texts = PickScore(f"folder:{transformers_clip}", "").text_extractor
    whole, cut = texts([" ".join(["cat"] * 10)]), texts([" ".join(["cat"] * 10 + ["dog"])])
    np.testing.assert_allclose(whole, cut, rtol=1e-5, atol=1e-6)  # the same ids


def test_the_processor_may_lie_elsewhere(transformers_clip: Path, tmp_path: Path, pictures: list[Image], pairs: Pairs) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((transformers_clip / name).read_bytes())
    with pytest.raises(MetricError, match=r"pickscore processor: .* lacks preprocessor_config.json"):
        PickScore(f"folder:{tmp_path}", "")
    apart, together = PickScore(f"folder:{tmp_path}", f"folder:{transformers_clip}"), PickScore(f"folder:{transformers_clip}", "")
    batch = pairs(pictures[:2], texts=["snow", "grass"])
    assert np.array_equal(apart.score(batch), together.score(batch))
    assert apart.card == together.card


def test_the_published_weights_are_looked_for_on_this_machine_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MetricError, match="yuvalkirstain/PickScore_v1 of the hub is not on this machine; `etabench fetch SPEC`"):
        PickScore()
