from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from metrics.base import Image, PairBatch
from metrics.parity import brushbench
from metrics.parity.brushbench import BrushBenchCLIP, BrushBenchLPIPS, BrushBenchMSE, BrushBenchPSNR
from metrics.parity.torchmetrics_compat import TorchmetricsCLIP, TorchmetricsLPIPS
from metrics.pixels import MSE, PSNR


@pytest.fixture(autouse=True)
def small_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of 64 instead of 512, so that the tiny pictures are not resized and the tests take no time."""
    monkeypatch.setattr(brushbench, "SIDE", 64)


@pytest.fixture
def mask() -> NDArray[np.bool_]:
    mask = np.zeros((64, 64), dtype=np.bool_)
    mask[20:40, 10:50] = True
    return mask


def batch(edits: list[Image], sources: list[Image], masks: list[Any]) -> PairBatch:
    n = len(edits)
    return PairBatch(edits, sources, ["a red cat"] * n, [None] * n, masks, [None] * n)


def test_error_is_three_times_the_mean_and_psnr_too_low(pictures: list[Image], mask: NDArray[np.bool_]) -> None:
    rows = batch(pictures[:3], pictures[1:4], [mask] * 3)
    # float32 sums of twelve thousand squares against float64
    np.testing.assert_allclose(BrushBenchMSE().score(rows), 3 * MSE("background").score(rows), rtol=1e-5)
    np.testing.assert_allclose(
        PSNR("background").score(rows) - BrushBenchPSNR().score(rows), 10 * math.log10(3), rtol=0, atol=1e-4
    )


def test_equal_backgrounds_get_a_thousand(pictures: list[Image], mask: NDArray[np.bool_]) -> None:
    edit = pictures[0].copy()
    edit[mask] = 0
    assert BrushBenchPSNR().score(batch([edit], pictures[:1], [mask])).tolist() == [1000.0]
    assert BrushBenchMSE().score(batch([edit], pictures[:1], [mask])).tolist() == [0.0]


def test_lpips_is_torchmetrics_with_the_mask_blackened(
    squeeze_file: Path, pictures: list[Image], mask: NDArray[np.bool_]
) -> None:
    column = BrushBenchLPIPS(weights=str(squeeze_file))
    filled = [image * ~mask[..., None] for image in pictures[:2]]
    expected = TorchmetricsLPIPS("squeeze", weights=str(squeeze_file)).score(batch(filled[:1], filled[1:], [None]))
    np.testing.assert_allclose(column.score(batch(pictures[:1], pictures[1:2], [mask])), expected, rtol=1e-6)


def test_undefined_rows(pictures: list[Image], mask: NDArray[np.bool_], resnet_folder: Path) -> None:
    rows = batch(pictures[:3], pictures[1:4], [None, np.ones((64, 64), np.bool_), mask])
    for metric in (BrushBenchMSE(), BrushBenchPSNR(), BrushBenchLPIPS(f"folder:{resnet_folder}")):
        assert np.isnan(metric.score(rows)).tolist() == [True, True, False]


def test_pictures_and_masks_are_brought_to_512(
    monkeypatch: pytest.MonkeyPatch, pictures: list[Image], mask: NDArray[np.bool_]
) -> None:
    monkeypatch.setattr(brushbench, "SIDE", 512)
    edit, source, background = brushbench._rows(batch(pictures[:1], pictures[1:2], [mask]))[0]
    assert edit.shape == source.shape == (512, 512, 3)
    assert np.array_equal(edit, np.asarray(PIL.Image.fromarray(pictures[0]).resize((512, 512))))  # Pillow's default filter
    assert np.array_equal(background, np.kron(~mask, np.ones((8, 8), np.bool_)))


def test_clip_is_clamped(judge_folder: Path) -> None:
    greys = [np.full((64, 64, 3), level, np.uint8) for level in (0, 128, 255)]
    rows = batch(greys, greys, [None] * 3)
    plain = TorchmetricsCLIP(f"local-dir:{judge_folder}").score(rows)
    np.testing.assert_allclose(BrushBenchCLIP(f"local-dir:{judge_folder}").score(rows), np.maximum(plain, 0), rtol=1e-12)
