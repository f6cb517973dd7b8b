from __future__ import annotations

import importlib.machinery
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metrics.base import Image, MetricError, PairBatch
from metrics.dreamsim import FILES, DreamSim


class Embedding(torch.nn.Module):
    """Stands for the package's network: a linear map of a 7 x 7 picture, centred and brought to length 1 as it does."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(147, 12)
        with torch.no_grad():
            self.linear.weight.copy_(torch.linspace(-1, 1, 12 * 147).reshape(12, 147).sin())
            self.linear.bias.fill_(0.1)

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        assert pixels.shape[1:] == (3, 224, 224)
        assert 0 <= float(pixels.min()) <= float(pixels.max()) <= 1
        rows = self.linear(torch.nn.functional.avg_pool2d(pixels, 32).flatten(1))
        rows = rows - rows.mean(dim=1, keepdim=True)
        return rows / rows.norm(dim=1, keepdim=True)


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The package's interface around that network; returns what it was called with."""
    called: dict[str, Any] = {}

    def dreamsim(**arguments: Any) -> tuple[torch.nn.Module, None]:
        called.update(arguments)
        torch.hub.set_dir(arguments["cache_dir"])
        return Embedding(), None

    module = types.ModuleType("dreamsim")
    module.__spec__ = importlib.machinery.ModuleSpec("dreamsim", None)
    module.dreamsim = dreamsim  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dreamsim", module)
    return called


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    for name in FILES["open_clip_vitb32"]:
        (tmp_path / name).touch()
    return tmp_path


def batch(edits: list[Image], sources: list[Image]) -> PairBatch:
    n = len(edits)
    return PairBatch(edits, sources, ["a cat"] * n, [None] * n, [None] * n, [None] * n)


def test_is_one_minus_the_cosine_of_the_packages_embeddings(
    package: dict[str, Any], weights: Path, pictures: list[Image]
) -> None:
    hub = torch.hub.get_dir()
    metric = DreamSim(str(weights), kind="open_clip_vitb32")
    assert package == {"pretrained": True, "device": "cpu", "cache_dir": str(weights), "dreamsim_type": "open_clip_vitb32"}
    assert torch.hub.get_dir() == hub
    large = [np.kron(image[:56, :56], np.ones((4, 4, 1), np.uint8)) for image in pictures[:4]]
    pixels = torch.from_numpy(np.stack(large)).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        rows = Embedding().embed(pixels)
    expected = 1 - torch.nn.functional.cosine_similarity(rows[:2], rows[2:])
    np.testing.assert_allclose(metric.score(batch(large[:2], large[2:])), expected.numpy(), rtol=0, atol=1e-6)  # float32
    np.testing.assert_allclose(
        metric.score(batch(large[:2], large[:2])), 0, rtol=0, atol=1e-12
    )  # one row of features, in float64


def test_missing_files_are_named_and_nothing_is_downloaded(package: dict[str, Any], weights: Path) -> None:
    with pytest.raises(MetricError, match=r"lacks dino_vitb16_pretrain.pth, .*facebookresearch_dino_main; nothing is downloaded"):
        DreamSim(str(weights))
    assert package == {}


def test_without_the_package(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MetricError, match="the dreamsim package is not installed; pip install dreamsim"):
        DreamSim(str(weights), kind="open_clip_vitb32")


@pytest.mark.parametrize(
    ("parameters", "message"), [({"kind": "vgg"}, "dreamsim kind"), ({"batch_size": 1}, "dreamsim batch_size")]
)
def test_bad_parameters(weights: Path, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(MetricError, match=message):
        DreamSim(str(weights), **parameters)
