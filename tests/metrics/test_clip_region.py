from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from metrics.base import Image, MetricError, PairBatch
from metrics.clip import CLIPScore
from metrics.clip_region import RegionCLIP, crop_around


def box(top: int, bottom: int, start: int, end: int, shape: tuple[int, int] = (64, 64)) -> NDArray[np.bool_]:
    mask = np.zeros(shape, dtype=np.bool_)
    mask[top:bottom, start:end] = True
    return mask


def batch(edits: list[Image], masks: list[Any]) -> PairBatch:
    n = len(edits)
    return PairBatch(edits, edits, ["a red cat"] * n, [None] * n, masks, [None] * n)


@pytest.mark.parametrize(
    ("mask", "margin", "rows", "columns"),
    [
        (box(10, 30, 20, 30), 0.0, (10, 30), (15, 35)),  # made square around its middle
        (box(10, 30, 20, 30), 0.1, (8, 32), (13, 37)),  # two pixels more on each side
        (box(0, 20, 0, 4), 0.0, (0, 20), (0, 20)),  # moved inside
        (box(60, 64, 50, 64), 0.5, (36, 64), (36, 64)),
        (box(0, 64, 0, 64), 1.0, (0, 64), (0, 64)),  # never larger than the picture
    ],
)
def test_crop(mask: NDArray[np.bool_], margin: float, rows: tuple[int, int], columns: tuple[int, int]) -> None:
    places = np.indices((64, 64)).transpose(1, 2, 0).astype(np.uint8)
    image = np.dstack([places, places[..., :1]])
    crop = crop_around(image, mask, margin)
    assert (crop[0, 0, 0], crop[-1, -1, 0] + 1, crop[0, 0, 1], crop[-1, -1, 1] + 1) == (*rows, *columns)


def test_crop_of_a_flat_picture_keeps_its_height() -> None:
    image = np.zeros((20, 64, 3), dtype=np.uint8)
    assert crop_around(image, box(0, 20, 0, 40, (20, 64)), 0.0).shape == (20, 40, 3)


def test_is_the_clip_score_of_the_crop(judge_folder: Path, pictures: list[Image]) -> None:
    masks = [box(10, 30, 20, 30), box(0, 50, 0, 50), None, box(0, 0, 0, 0)]
    scores = RegionCLIP(f"local-dir:{judge_folder}", margin=0.0, batch_size=3).score(batch(pictures[:4], masks))
    crops = [pictures[0][10:30, 15:35], pictures[1][:50, :50]]
    expected = CLIPScore(f"local-dir:{judge_folder}", batch_size=3).score(batch(crops, [None, None]))
    np.testing.assert_allclose(scores[:2], expected, rtol=0, atol=5e-3)  # 100 x the cosine of features that agree to 1e-5
    assert np.isnan(scores[2:]).all()


def test_what_lies_outside_the_crop_does_not_count(judge_folder: Path, pictures: list[Image]) -> None:
    metric = RegionCLIP(f"local-dir:{judge_folder}", margin=0.0)
    changed = pictures[0].copy()
    changed[40:] = 0
    mask = box(10, 30, 20, 30)
    assert metric.score(batch([changed], [mask])) == metric.score(batch(pictures[:1], [mask]))


def test_margin_is_checked_and_recorded(judge_folder: Path) -> None:
    cards = [RegionCLIP(f"local-dir:{judge_folder}", margin=margin).card for margin in (0, 0.1)]
    assert len({card.fingerprint for card in cards}) == 2
    assert "margin 0.1" in cards[1].masking
    bad: Any
    for bad in (-0.1, 2, True, "wide"):
        with pytest.raises(MetricError, match=r"clip_region margin: expected a share in 0\.\.1"):
            RegionCLIP(f"local-dir:{judge_folder}", margin=bad)
