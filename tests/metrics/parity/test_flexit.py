from __future__ import annotations

from pathlib import Path
from typing import Any

import lpips
import numpy as np
import PIL.Image
import pytest
import torch
import torchvision.transforms as T  # noqa: N812  # the reference's own name
from transformers import ResNetForImageClassification

from metrics.accuracy import Accuracy
from metrics.base import Image, PairBatch
from metrics.lpips import LPIPS
from metrics.parity.flexit import FlexitAccuracy, FlexitL1, FlexitLPIPS


@pytest.fixture
def long(rng: np.random.Generator) -> list[Image]:
    """Two pictures of 90 x 70."""
    return [np.kron(rng.integers(0, 256, (9, 7, 3)), np.ones((10, 10, 1))).astype(np.uint8) for _ in range(2)]


def batch(edits: list[Image], sources: list[Image], classes: list[Any] | None = None) -> PairBatch:
    n = len(edits)
    return PairBatch(edits, sources, ["a cat"] * n, [None] * n, [None] * n, [None] * n, target_classes=classes or [None] * n)


def reference(image: Image, side: int) -> torch.Tensor:
    pixels: torch.Tensor = T.Compose([T.Resize(side), T.CenterCrop(side), T.ToTensor()])(PIL.Image.fromarray(image))
    return pixels


def test_lpips_is_a_hundred_times_the_packages(squeeze_file: Path, long: list[Image]) -> None:
    network: Any = LPIPS("squeeze", weights=str(squeeze_file))._network
    assert isinstance(network.network, lpips.LPIPS)
    with torch.no_grad():
        expected = 100 * float(network.network(*(reference(image, 256)[None] for image in long), normalize=True))
    score = FlexitLPIPS("squeeze", weights=str(squeeze_file)).score(batch(long[:1], long[1:]))[0]
    assert score == pytest.approx(expected, rel=1e-5)  # float32, batch of 8 against 1
    assert FlexitLPIPS("squeeze", weights=str(squeeze_file)).score(batch(long, long)).tolist() == [0.0, 0.0]


def test_l1(long: list[Image]) -> None:
    expected = float((reference(long[0], 256) - reference(long[1], 256)).abs().mean())
    assert FlexitL1().score(batch(long[:1], long[1:]))[0] == pytest.approx(expected, rel=1e-5)  # float32 mean


def test_accuracy_sees_the_cut_at_384_and_only_the_classes_in_use(resnet_folder: Path, long: list[Image]) -> None:
    model = ResNetForImageClassification.from_pretrained(resnet_folder).eval()
    with torch.no_grad():
        logits = model(torch.stack([(reference(image, 384) - 0.5) / 0.5 for image in long])).logits
    names = [f"LABEL_{number}" for number in range(3)]
    for chosen in (names, names[:2], names[1:]):
        metric = FlexitAccuracy(f"folder:{resnet_folder}", labels=chosen)
        best = [chosen[int(row.argmax())] for row in logits[:, [names.index(name) for name in chosen]]]
        assert metric.score(batch(long, long, best)).tolist() == [1.0, 1.0]
        other = [next(name for name in chosen if name != label) for label in best]
        assert metric.score(batch(long, long, other)).tolist() == [0.0, 0.0]
    cards = FlexitAccuracy(f"folder:{resnet_folder}").card, Accuracy(f"folder:{resnet_folder}").card
    assert cards[0].fingerprint != cards[1].fingerprint
    assert cards[0].resolution == "384x384"
