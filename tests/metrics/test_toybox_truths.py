from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.manifest import open_manifest
from bench.toybox.embedded import TOYBOX
from metrics.base import Image, MetricError, PairBatch
from metrics.lpips import LPIPS
from metrics.toybox import HEADS, ToyBoxBackgroundKept, ToyBoxSuccess, ToyBoxTruthDistance

NET = f"folder:{TOYBOX / 'features'}"
SAMPLES = 16


@pytest.fixture(scope="module")
def copies() -> PairBatch:
    """The embedded manifest with its sources as edits."""
    manifest = open_manifest("toybox-mini")
    samples = [manifest.load(row) for row in range(SAMPLES)]
    return PairBatch(
        edits=[sample.image for sample in samples],
        sources=[sample.image for sample in samples],
        target_texts=[sample.target_text for sample in samples],
        source_texts=[sample.source_text for sample in samples],
        masks=[sample.mask for sample in samples],
        truths=[sample.truth for sample in samples],
    )


@pytest.fixture(scope="module")
def categories() -> list[str | None]:
    manifest = open_manifest("toybox-mini")
    return [manifest.load(row).category for row in range(SAMPLES)]


def test_the_truth_succeeds_and_the_copy_never_does(copies: PairBatch) -> None:
    metric = ToyBoxSuccess(NET)
    assert metric.score(replace(copies, edits=copies.truths)).tolist() == [1.0] * SAMPLES  # type: ignore[arg-type]
    assert metric.score(copies).tolist() == [0.0] * SAMPLES


def test_the_part_that_the_edit_asks_for_fails_in_the_copy(copies: PairBatch, categories: list[str | None]) -> None:
    scores = {part: ToyBoxSuccess(NET, part).score(copies) for part in HEADS}
    asked = {"background": "background", "add": "accessory", "remove": "accessory"}  # state and colour are in the object's name
    assert [scores[asked.get(str(category), "object")][row] for row, category in enumerate(categories)] == [0.0] * SAMPLES
    for part in HEADS:
        assert scores[part].max() == 1.0


def test_distance_to_the_truth(copies: PairBatch) -> None:
    truths: list[Any] = copies.truths
    for measure in ("lpips", "pixels"):
        metric = ToyBoxTruthDistance(NET, measure)
        assert metric.score(replace(copies, edits=truths)).tolist() == [0.0] * SAMPLES
        assert (metric.score(copies) > 0).all()
    like = LPIPS(NET).score(replace(copies, sources=truths))
    np.testing.assert_allclose(
        ToyBoxTruthDistance(NET).score(copies), like, rtol=0, atol=1e-5 * like.max()
    )  # metrics.networks.images
    pixels = [np.abs(a.astype(float) - b).mean() / 255 for a, b in zip(copies.sources, truths, strict=True)]
    np.testing.assert_allclose(ToyBoxTruthDistance(measure="pixels").score(copies), pixels, rtol=1e-12)  # float64


def test_background_kept(copies: PairBatch) -> None:
    metric = ToyBoxBackgroundKept()
    assert metric.score(copies).tolist() == [1.0] * SAMPLES
    inside: list[Image] = [
        np.where(m[..., None], 0, x).astype(np.uint8) for x, m in zip(copies.sources, copies.masks, strict=True)
    ]  # type: ignore[index]
    assert metric.score(replace(copies, edits=inside)).tolist() == [1.0] * SAMPLES
    darker = [image - image // 4 for image in copies.sources]
    scores = metric.score(replace(copies, edits=darker))
    assert (scores < 1).all()
    assert scores[0] == pytest.approx(1 - (copies.sources[0][~copies.masks[0]] // 4).mean() / 255, rel=1e-12)  # type: ignore[index]


def test_without_truth_or_mask_there_is_no_value(copies: PairBatch) -> None:
    blind = replace(copies, truths=[None, *copies.truths[1:]], masks=[None, *copies.masks[1:]])
    make: Callable[[], Any]
    for make in (
        lambda: ToyBoxSuccess(NET),
        lambda: ToyBoxTruthDistance(NET),
        lambda: ToyBoxTruthDistance(measure="pixels"),
        ToyBoxBackgroundKept,
    ):
        scores = make().score(blind)
        assert np.isnan(scores).tolist() == [True] + [False] * (SAMPLES - 1)
        empty = replace(copies, truths=[None] * SAMPLES, masks=[None] * SAMPLES)
        assert np.isnan(make().score(empty)).all()


def test_parts_measures_and_networks_are_checked(resnet_folder: Path) -> None:
    with pytest.raises(MetricError, match="toybox_success part: expected all, object"):
        ToyBoxSuccess(NET, "flip")
    with pytest.raises(MetricError, match="toybox_truth_distance measure: expected lpips or pixels"):
        ToyBoxTruthDistance(NET, "l2")
    with pytest.raises(MetricError, match="head: the network's labels name no heads"):
        ToyBoxSuccess(f"folder:{resnet_folder}")


def test_cards_tell_parts_and_measures_apart() -> None:
    cards = [ToyBoxSuccess(NET, part).card for part in ("all", *HEADS)]
    cards += [ToyBoxTruthDistance(NET, measure).card for measure in ("lpips", "pixels")]
    assert len({card.fingerprint for card in cards}) == 7
