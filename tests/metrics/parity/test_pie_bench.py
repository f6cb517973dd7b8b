from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure
from torchmetrics.regression import MeanSquaredError

from metrics.base import Image, PairBatch
from metrics.parity.pie_bench import PieBenchCLIP, PieBenchLPIPS, PieBenchMSE, PieBenchPSNR, PieBenchSSIM
from metrics.parity.torchmetrics_compat import TorchmetricsCLIP, TorchmetricsLPIPS
from metrics.pixels import PSNR

Mask = NDArray[np.bool_]


@pytest.fixture
def mask() -> Mask:
    mask = np.zeros((64, 64), dtype=np.bool_)
    mask[20:40, 10:50] = True
    return mask


def batch(edits: list[Image], sources: list[Image], masks: list[Any], text: str = "a red cat") -> PairBatch:
    n = len(edits)
    return PairBatch(edits, sources, [text] * n, [None] * n, masks, [None] * n)


def published(image: Image, mask: Mask, part: str) -> NDArray[np.float32]:
    """A picture as the evaluator prepares it, from its description: border edited, float32 0..1, the other part 0."""
    edited = mask.astype(np.float32)
    edited[0], edited[-1], edited[:, 0], edited[:, -1] = 1, 1, 1, 1
    keep = {"background": 1 - edited, "edited": edited, "whole": np.ones_like(edited)}[part]
    return image.astype(np.float32) / 255 * keep[..., None]


@pytest.mark.parametrize("part", ["background", "edited", "whole"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (PieBenchPSNR, PeakSignalNoiseRatio(data_range=1.0)),
        (PieBenchMSE, MeanSquaredError()),
        (PieBenchSSIM, StructuralSimilarityIndexMeasure(data_range=1.0)),
    ],
)
def test_pixel_columns_are_torchmetrics_on_blackened_frames(
    ours: Any, theirs: Any, part: str, pictures: list[Image], mask: Mask
) -> None:
    edit, source = (torch.from_numpy(published(image, mask, part)).permute(2, 0, 1)[None] for image in pictures[:2])
    score = ours(part).score(batch(pictures[:1], pictures[1:2], [mask]))[0]
    assert score == pytest.approx(float(theirs(edit.contiguous(), source.contiguous())), rel=1e-5)  # float32 sums


def test_lpips_column(squeeze_file: Path, pictures: list[Image], mask: Mask) -> None:
    column = PieBenchLPIPS(weights=str(squeeze_file))
    filled = [np.rint(published(image, mask, "background") * 255).astype(np.uint8) for image in pictures[:2]]
    same = TorchmetricsLPIPS("squeeze", weights=str(squeeze_file)).score(batch(filled[:1], filled[1:], [None]))
    np.testing.assert_allclose(
        column.score(batch(pictures[:1], pictures[1:2], [mask])), same, rtol=1e-6
    )  # one network, one input
    assert "squeeze" in column.card.network


def test_clip_columns_clamp_each_picture_and_blacken_the_rest(judge_folder: Path, pictures: list[Image], mask: Mask) -> None:
    spec = f"local-dir:{judge_folder}"
    greys = [np.full((64, 64, 3), level, np.uint8) for level in (0, 128, 255)]
    texts = ["a red cat", "snow", "a dog on grass"]
    seen = []
    for text in texts:
        plain = TorchmetricsCLIP(spec).score(batch(greys, greys, [None] * 3, text))
        clamped = PieBenchCLIP(spec).score(batch(greys, greys, [None] * 3, text))
        assert clamped.tolist() == np.maximum(plain, 0).tolist()
        seen += plain.tolist()
    assert min(seen) < 0 < max(seen)
    black = [np.rint(published(image, mask, "edited") * 255).astype(np.uint8) for image in pictures[:3]]
    expected = PieBenchCLIP(spec).score(batch(black, black, [None] * 3))
    assert PieBenchCLIP(spec, "edited").score(batch(pictures[:3], pictures[:3], [mask] * 3)).tolist() == expected.tolist()


def test_the_frame_is_the_flaw(pictures: list[Image]) -> None:
    """PSNR rises by 10 log10 of one over the background's share for no better edit."""
    mask = np.zeros((64, 64), dtype=np.bool_)
    mask[:, :48] = True
    mask[[0, -1]] = mask[:, [0, -1]] = True
    rows = batch(pictures[:1], pictures[1:2], [mask])
    gain = PieBenchPSNR().score(rows)[0] - PSNR("background").score(rows)[0]
    assert gain == pytest.approx(-10 * math.log10((~mask).mean()), abs=1e-4)  # float32 against float64


def test_one_border_pixel_counts_as_edited(pictures: list[Image]) -> None:
    source, nothing = pictures[0], np.zeros((64, 64), dtype=np.bool_)
    edit = source.copy()
    edit[0] = 255 - edit[0]
    rows = batch([edit], [source], [nothing])
    assert PieBenchMSE().score(rows)[0] == 0.0
    assert PieBenchMSE("edited").score(rows)[0] > 0
    assert not nothing.any()  # the sample's own mask is left alone


def test_equal_frames_are_infinite_and_missing_parts_nan(pictures: list[Image]) -> None:
    full = np.ones((64, 64), dtype=np.bool_)
    rows = batch(pictures[:3], pictures[:3], [full, None, ~full])
    assert np.isnan(PieBenchPSNR().score(rows)).tolist() == [True, True, False]
    assert PieBenchPSNR().score(rows)[2] == math.inf
    assert np.isnan(PieBenchMSE().score(rows)).tolist() == [True, True, False]


def test_names_are_the_protocols_and_cards_differ() -> None:
    metrics = [metric(part) for metric in (PieBenchPSNR, PieBenchMSE, PieBenchSSIM) for part in ("background", "edited", "whole")]
    assert len({metric.card.fingerprint for metric in metrics}) == 9
    assert all(metric.name.startswith("pie_bench_") for metric in metrics)
    assert "parity mode" in metrics[0].card.definition
