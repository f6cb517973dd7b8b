from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from metrics.base import FeatureSet, MetricError, MetricWarning
from metrics.csfid import CSFID, CSFIDDebiased, CSFIDDiag, class_gaps, csfid, csfid_debiased, csfid_diag
from metrics.frechet import FID

EDITS = FeatureSet(np.array([[0.0, 0.0], [2.0, 2.0], [5.0, 0.0]]), ["cat", "cat", "dog"])
REFERENCE = FeatureSet(np.array([[1.0, 0.0], [3.0, 4.0], [1.0, 1.0], [9.0, 9.0], [7.0, 7.0]]), ["cat", "cat", "dog", "owl", None])


def test_closed_form_with_a_class_of_one_edit() -> None:
    # cat: means (1, 1) and (2, 2) -> 2; dog: one edit (5, 0) against (1, 1) -> 17; owl is no target and does not count.
    assert csfid(EDITS, REFERENCE) == pytest.approx((2 + 17) / 2, rel=1e-15)


def test_classes_weigh_equally_whatever_their_numbers() -> None:
    rows = np.concatenate([np.zeros((99, 1)), [[4.0]]])
    edits = FeatureSet(rows, ["many"] * 99 + ["one"])
    assert csfid(edits, FeatureSet(np.zeros((2, 1)), ["many", "one"])) == 8.0


def test_spread_within_a_class_does_not_count() -> None:
    reference = FeatureSet(np.zeros((1, 2)), ["cat"])
    tight, wide = (FeatureSet(np.array([[1.0, s], [1.0, -s]]), ["cat", "cat"]) for s in (0.0, 50.0))
    assert csfid(tight, reference) == csfid(wide, reference) == 1.0


def test_debiased_form_takes_the_variance_of_both_means_away() -> None:
    edits = FeatureSet(np.array([[0.0], [2.0]]), ["cat", "cat"])  # mean 1, variance 2, of the mean 1
    reference = FeatureSet(np.array([[5.0], [7.0], [9.0]]), ["cat"] * 3)  # mean 7, variance 4, of the mean 4/3
    assert csfid_debiased(edits, reference) == pytest.approx(36 - 1 - 4 / 3, rel=1e-15)


def test_debiased_form_is_unbiased_where_the_plain_form_is_not(rng: np.random.Generator) -> None:
    n, d, runs = 4, 30, 400
    names: list[str | None] = ["cat"] * n
    draws = [
        (FeatureSet(rng.standard_normal((n, d)), names), FeatureSet(rng.standard_normal((n, d)), names)) for _ in range(runs)
    ]
    plain = np.mean([csfid(*draw) for draw in draws])
    debiased = np.mean([csfid_debiased(*draw) for draw in draws])
    # Equal populations: the truth is 0, sampling adds 2 d / n = 15. One draw deviates by about 4.5 (chi-square of 30 degrees
    # halved), the mean of 400 by 0.23; 1.0 is more than four of those.
    assert plain == pytest.approx(2 * d / n, abs=1.0)
    assert debiased == pytest.approx(0.0, abs=1.0)


def test_a_class_without_reference_is_named() -> None:
    edits = FeatureSet(np.zeros((2, 2)), ["cat", "zebra"])
    with pytest.raises(MetricError, match=r"class 'zebra' has no reference picture \(1 of 2 classes"):
        csfid(edits, REFERENCE)


def test_an_edit_without_class_is_named() -> None:
    with pytest.raises(MetricError, match=r"edits\[1\] has no target class"):
        csfid(FeatureSet(np.zeros((2, 2)), ["cat", None]), REFERENCE)


def test_other_dimensions_are_refused() -> None:
    with pytest.raises(MetricError, match="one dimension, got 3 and 2"):
        csfid(FeatureSet(np.zeros((1, 3)), ["cat"]), REFERENCE)


def test_diagonal_form_adds_the_squared_difference_of_deviations() -> None:
    edits = FeatureSet(np.array([[0.0, 1.0], [2.0, 1.0]]), ["cat", "cat"])  # means (1, 1), deviations (sqrt 2, 0)
    reference = FeatureSet(np.array([[5.0, 0.0], [7.0, 2.0], [9.0, 4.0]]), ["cat"] * 3)  # means (7, 2), deviations (2, 2)
    assert csfid_diag(edits, reference) == pytest.approx(36 + 1 + (2 - np.sqrt(2)) ** 2 + 4, rel=1e-15)


def test_each_class_has_a_gap_of_its_own_in_name_order() -> None:
    assert class_gaps(EDITS, REFERENCE) == {"cat": 2.0, "dog": 17.0}
    assert list(class_gaps(EDITS, REFERENCE)) == ["cat", "dog"]


@pytest.mark.parametrize(("kind", "function"), [(CSFIDDebiased, csfid_debiased), (CSFIDDiag, csfid_diag)])
def test_forms_with_a_variance_are_undefined_for_a_class_of_one(
    resnet_folder: Path, kind: type[CSFID], function: Callable[[FeatureSet, FeatureSet], float]
) -> None:
    assert np.isnan(function(EDITS, REFERENCE))
    metric = kind(f"folder:{resnet_folder}")
    with pytest.warns(MetricWarning, match=rf"{metric.name}: class 'dog' has one picture .*1 of 2 classes"):
        assert np.isnan(metric.value(EDITS, REFERENCE))
    both = FeatureSet(EDITS.features[:2], ["cat", "cat"])
    assert metric.value(both, REFERENCE) == function(both, REFERENCE)


@pytest.mark.parametrize(
    ("kind", "function"),
    [(CSFID, csfid), (CSFIDDebiased, csfid_debiased), (CSFIDDiag, csfid_diag)],
    ids=lambda each: each.__name__,
)
def test_masks_of_a_pool_give_the_value_of_each_subset(
    kind: type[CSFID], function: Callable[..., float], resnet_folder: Path, rng: np.random.Generator
) -> None:
    """Against the subsets one by one; sums of products against sums of squares, float64."""
    pool = FeatureSet(rng.standard_normal((12, 2)), ["cat", "dog"] * 6)
    theirs = FeatureSet(rng.standard_normal((8, 2)), ["cat", "dog"] * 4)
    masks = np.array([[True] * 12, [True, False] * 6, [False] * 12, [True] * 4 + [False] * 8, [True] * 3 + [False] * 9])
    found = kind(f"folder:{resnet_folder}").values(pool, theirs, masks)
    expected = [function(pool.subset(mask), theirs) if mask.any() else np.nan for mask in masks]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert np.isnan(found[2]), "an empty subset has no value"
    assert np.isnan(found[4]) == (kind is not CSFID), "three rows leave one dog"


def test_metric_shares_its_extractor_with_fid_and_not_its_fingerprint(resnet_folder: Path) -> None:
    mine, other = CSFID(f"folder:{resnet_folder}"), FID(f"folder:{resnet_folder}")
    assert mine.extractor == other.extractor
    assert mine.card.fingerprint != other.card.fingerprint
    assert mine.value(EDITS, REFERENCE) == csfid(EDITS, REFERENCE)
    assert mine.uses_classes
