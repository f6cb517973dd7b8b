from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from metrics.base import Card, Image, MetricError, PairBatch, PairMetric
from metrics.blended_precision import BatchPrecision, BlendedPrecision, Case, draw_protocol
from metrics.lpips import LPIPS

LABELS = {"0": "tabby, tabby cat", "1": "dog", "2": "red fox"}


@pytest.fixture
def precision(resnet_copy: Path, monkeypatch: pytest.MonkeyPatch) -> BatchPrecision:
    """A judge that reads the brightness of what it is shown: dark is a cat, grey a dog, bright a fox; the first guess counts."""
    config = json.loads((resnet_copy / "config.json").read_text())
    (resnet_copy / "config.json").write_text(json.dumps(config | {"id2label": LABELS}))
    metric = BatchPrecision(f"folder:{resnet_copy}", top=1)
    levels = np.array([0.0, 127.0, 255.0])

    def logits(images: list[Image]) -> NDArray[np.float32]:
        return np.array([-np.abs(image.mean() - levels) for image in images], dtype=np.float32)

    object.__setattr__(metric._classifier, "logits", logits)
    return metric


def picture(inside: int, outside: int = 90) -> Image:
    image = np.full((20, 30, 3), outside, dtype=np.uint8)
    image[4:12, 6:25] = inside
    return image


MASK = np.zeros((20, 30), dtype=np.bool_)
MASK[4:12, 6:25] = True


def batch(edits: list[Image], classes: list[str | None], masks: list[NDArray[np.bool_] | None]) -> PairBatch:
    none: list[None] = [None] * len(edits)
    return PairBatch(edits, edits, ["x"] * len(edits), [*none], masks, [*none], target_classes=classes)


class Brightness(PairMetric):
    """A ranker: the brighter the better."""

    name = "brightness"

    def __init__(self, higher: bool = True) -> None:
        self.card = Card(*["x"] * 10, higher_is_better=higher, definition="", source="")

    def score(self, given: PairBatch) -> NDArray[np.float64]:
        return np.array([edit[MASK].mean() for edit in given.edits])


class Gap(PairMetric):
    """A distance: the gap in brightness."""

    name = "gap"

    def score(self, given: PairBatch) -> NDArray[np.float64]:
        assert {edit.shape for edit in given.edits} == {(8, 19, 3)}, "it sees the masked region alone"
        return np.array([abs(a.mean() - b.mean()) for a, b in zip(given.edits, given.sources, strict=True)])


def test_only_the_masked_region_is_judged(precision: BatchPrecision) -> None:
    scores = precision.score(batch([picture(0), picture(250), picture(250, 0)], ["dog", "red fox", "red fox"], [MASK] * 3))
    assert scores.tolist() == [0, 1, 1]


def test_a_label_may_have_several_names_and_what_is_unknown_has_no_score(precision: BatchPrecision) -> None:
    classes = ["tabby, tabby cat", "Tabby Cat", "tabby", "zebra", None, "tabby", "tabby"]
    masks: list[NDArray[np.bool_] | None] = [MASK] * 5 + [None, np.zeros_like(MASK)]
    scores = precision.score(batch([picture(3)] * 7, classes, masks))
    assert scores[:3].tolist() == [1, 1, 1]
    assert np.isnan(scores[3:]).all()


@pytest.mark.parametrize(("top", "right"), [(1, 0), (2, 1)])
def test_the_likeliest_classes_count(resnet_copy: Path, precision: BatchPrecision, top: int, right: int) -> None:
    wider = BatchPrecision(f"folder:{resnet_copy}", top=top)
    object.__setattr__(wider._classifier, "logits", precision._classifier.logits)
    assert wider.score(batch([picture(90)], ["tabby"], [MASK])).tolist() == [right]  # grey: a dog first, then a cat
    assert (wider.card.fingerprint == precision.card.fingerprint) == (top == 1)


def test_the_papers_three_numbers_by_hand(precision: BatchPrecision) -> None:
    cases = [
        Case([picture(0), picture(10), picture(40), picture(200)], MASK, "tabby"),  # three right, the brightest is wrong
        Case([picture(200), picture(130), picture(240), picture(250)], MASK, "red fox"),  # three right, the brightest too
        Case([picture(127), picture(0)], MASK, "dog"),  # one right: no pair
    ]
    found = BlendedPrecision(precision, Gap(), Brightness()).evaluate(cases)
    assert found.batch_precision == 7 / 10
    assert found.best_result_precision == 2 / 3
    # Pairs of the first case 10, 40, 30, of the second 40, 50, 10; the mean over pairs, then over the two cases that have any.
    assert found.batch_diversity == pytest.approx((80 / 3 + 100 / 3) / 2)
    assert (found.predictions, found.cases, found.diverse_cases) == (10, 3, 2)
    lower = BlendedPrecision(precision, Gap(), Brightness(higher=False)).evaluate(cases[:1])
    assert lower.best_result_precision == 1, "a ranker for which lower is better picks the darkest"


def test_without_ranker_or_pairs_the_numbers_are_undefined(precision: BatchPrecision) -> None:
    found = BlendedPrecision(precision, Gap()).evaluate([Case([picture(0)], MASK, "tabby")])
    assert found.batch_precision == 1
    assert np.isnan([found.best_result_precision, found.batch_diversity]).all()


def test_diversity_by_lpips_is_zero_for_copies(precision: BatchPrecision, resnet_folder: Path) -> None:
    distance = LPIPS(f"folder:{resnet_folder}")
    copies, others = (Case([picture(0), picture(level)], MASK, "tabby") for level in (0, 30))
    same, apart = (BlendedPrecision(precision, distance).evaluate([case]).batch_diversity for case in (copies, others))
    assert same == 0 < apart


def test_protocol_is_drawn_from_a_seed_and_its_masks_are_rectangles() -> None:
    sizes = [(64, 64), (40, 90), (3, 3)] * 20
    drawn = draw_protocol(["cat", "dog"], sizes)
    assert {name for _, name in drawn} == {"cat", "dog"}
    for (mask, _), size in zip(drawn, sizes, strict=True):
        rows, columns = mask.any(axis=1), mask.any(axis=0)
        assert mask.shape == size
        np.testing.assert_array_equal(mask, np.outer(rows, columns))
        assert 0.25 * size[0] - 0.5 <= rows.sum() <= 0.75 * size[0] + 0.5
    again, other = draw_protocol(["cat", "dog"], sizes), draw_protocol(["cat", "dog"], sizes, seed=1)
    assert all(np.array_equal(a[0], b[0]) and a[1] == b[1] for a, b in zip(drawn, again, strict=True))
    assert not all(np.array_equal(a[0], b[0]) for a, b in zip(drawn, other, strict=True))


def test_bad_cases_are_named(precision: BatchPrecision, resnet_folder: Path) -> None:
    with pytest.raises(MetricError, match="case 'cat': expected at least one prediction and a mask that is not empty, got 0 and"):
        Case([], MASK, "cat")
    with pytest.raises(MetricError, match="case 'zebra': the classifier has no such label"):
        BlendedPrecision(precision, Gap()).evaluate([Case([picture(0)], MASK, "zebra")])
    with pytest.raises(MetricError, match="at least one case"):
        BlendedPrecision(precision, Gap()).evaluate([])
    with pytest.raises(MetricError, match="batch_precision top: expected a whole number of at least 1"):
        BatchPrecision(f"folder:{resnet_folder}", top=0)


def test_real_classifier_end_to_end(resnet_folder: Path, pictures: list[Image], pairs: Callable[..., PairBatch]) -> None:
    metric = BatchPrecision(f"folder:{resnet_folder}", top=1)
    mask = np.zeros((64, 64), dtype=np.bool_)
    mask[8:40, 16:48] = True
    names = ["LABEL_0", "LABEL_1", "LABEL_2"]
    table = np.array([metric.score(batch(pictures, [name] * 7, [mask] * 7)) for name in names])
    np.testing.assert_array_equal(table.sum(axis=0), 1)  # of three classes one is the likeliest
