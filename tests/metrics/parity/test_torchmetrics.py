from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torchmetrics.functional.image.lpips import _NoTrainLpips
from torchmetrics.functional.multimodal import clip_score
from transformers import CLIPModel, CLIPProcessor

from metrics.base import Image, MetricError, PairBatch
from metrics.clip import CLIPScore
from metrics.lpips import LPIPS
from metrics.parity.torchmetrics_compat import TorchmetricsCLIP, TorchmetricsLPIPS

TEXTS = ["a red cat", "a dog on grass", "a photo", "snow", "a red cat", "grass on snow", "dog"]


def batch(edits: list[Image], sources: list[Image], texts: list[str] | None = None) -> PairBatch:
    n = len(edits)
    return PairBatch(edits, sources, texts or ["a cat"] * n, [None] * n, [None] * n, [None] * n)


def unwrapped(folder: Path) -> Any:
    """What torchmetrics 1.9 expects of transformers: embeddings as tensors, which version 5 wraps."""
    model, processor = CLIPModel.from_pretrained(folder).eval(), CLIPProcessor.from_pretrained(folder)
    wrapped = SimpleNamespace(
        config=model.config,
        to=lambda _device: wrapped,
        get_image_features=lambda pixels: model.get_image_features(pixels).pooler_output,
        get_text_features=lambda ids, mask: model.get_text_features(ids, mask).pooler_output,
    )
    return lambda: (wrapped, processor)


@pytest.mark.filterwarnings("ignore:Encountered caption longer than")
def test_clip_score_is_torchmetrics(transformers_clip: Path, pictures: list[Image]) -> None:
    texts = [*TEXTS[:6], " ".join(["cat"] * 30)]
    metric = TorchmetricsCLIP(f"folder:{transformers_clip}", batch_size=3)
    scores = metric.score(batch(pictures, pictures, texts))
    pair = unwrapped(transformers_clip)
    with torch.no_grad():
        expected = [
            float(clip_score(torch.from_numpy(image).permute(2, 0, 1), text, pair))
            for image, text in zip(pictures, texts, strict=True)
        ]
    assert (np.array(expected) == 0).sum() < 6  # the function clamps the mean, here of one
    np.testing.assert_allclose(np.maximum(scores, 0), expected, rtol=0, atol=1e-3)  # 100 x float32 rounding, other batches


def test_a_long_text_loses_its_end_mark(transformers_clip: Path) -> None:
    """Eleven tokens and the start fill the context; of two texts that agree so far, the ends cannot count and the mark is gone."""
    network = TorchmetricsCLIP(f"folder:{transformers_clip}")._network
    words = " ".join(["cat"] * 11)
    rows = network.texts([words, f"{words} dog", " ".join(["cat"] * 10)])
    np.testing.assert_allclose(rows[0], rows[1], rtol=1e-5, atol=1e-6)  # the same twelve ids
    assert np.abs(rows[0] - rows[2]).max() > 1e-2  # pooled at the start mark instead of the end mark


def test_open_clip_networks_take_part_with_their_own_tokenizer(judge_folder: Path, pictures: list[Image]) -> None:
    rows = batch(pictures, pictures, TEXTS)
    parity, plain = TorchmetricsCLIP(f"local-dir:{judge_folder}"), CLIPScore(f"local-dir:{judge_folder}")
    np.testing.assert_allclose(parity.score(rows), plain.score(rows), rtol=1e-12)  # float64 on the same features
    with pytest.raises(MetricError, match=r"torchmetrics_clip model: expected 'folder:/path' .* or 'local-dir:/path'"):
        TorchmetricsCLIP("openai/clip-vit-large-patch14")


def test_folders_that_cannot_be_used(transformers_clip: Path, tmp_path: Path) -> None:
    with pytest.raises(MetricError, match=r"torchmetrics_clip model: .* lacks config.json"):
        TorchmetricsCLIP(f"folder:{tmp_path}")


def test_lpips_is_torchmetrics(squeeze_file: Path, pictures: list[Image]) -> None:
    from torchvision.models import squeezenet1_1

    metric = TorchmetricsLPIPS("squeeze", weights=str(squeeze_file), batch_size=3)
    reference = _NoTrainLpips(net="squeeze", pnet_rand=True)
    trunk = squeezenet1_1(weights=None)
    trunk.load_state_dict(torch.load(squeeze_file))
    for place, (name, tensor) in enumerate(reference.net.state_dict().items()):
        tensor.copy_(list(trunk.features.state_dict().values())[place])
        assert name.rpartition(".")[2] in ("weight", "bias")
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        expected = reference(pixels, pixels.flip(0)).flatten()
    scores = metric.score(batch(pictures, pictures[::-1]))
    np.testing.assert_allclose(scores, expected.numpy(), rtol=1e-5, atol=1e-7)  # float32, batches of 3 against 7


@pytest.mark.parametrize("net", ["alex", "vgg", "squeeze"])
def test_heads_of_torchmetrics_are_those_of_the_lpips_package(net: str) -> None:
    import lpips
    import torchmetrics

    ours, theirs = (
        torch.load(Path(str(package.__file__)).parent / place / f"{net}.pth", map_location="cpu", weights_only=True)
        for package, place in ((lpips, "weights/v0.1"), (torchmetrics, "functional/image/lpips_models"))
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_two_divisions_differ_by_next_to_nothing(resnet_folder: Path, pictures: list[Image]) -> None:
    rows = batch(pictures, pictures[::-1])
    one, two = (metric(f"folder:{resnet_folder}") for metric in (LPIPS, TorchmetricsLPIPS))
    np.testing.assert_allclose(one.score(rows), two.score(rows), rtol=1e-4)  # 1e-8 beside sums of squares of order 1
    assert one.card.fingerprint != two.card.fingerprint
