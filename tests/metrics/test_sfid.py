from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metrics.base import FeatureSet, MetricError
from metrics.csfid import csfid
from metrics.sfid import SFID


def plain(features: np.ndarray) -> FeatureSet:
    return FeatureSet(features, [None] * len(features))


def test_closed_form(resnet_folder: Path) -> None:
    metric = SFID(f"folder:{resnet_folder}")
    edits, reference = plain(np.array([[0.0, 2.0], [2.0, 4.0]])), plain(np.array([[4.0, 3.0], [4.0, 3.0], [4.0, 6.0]]))
    assert metric.value(edits, reference) == 9 + 1  # means (1, 3) and (4, 4)
    assert metric.value(plain(np.array([[1.0, 1.0]])), reference) == 9 + 9, "one edit is a mean of one"


def test_spread_does_not_count_and_classes_do_not_either(resnet_folder: Path) -> None:
    metric = SFID(f"folder:{resnet_folder}")
    reference = FeatureSet(np.zeros((2, 1)), ["cat", "dog"])
    swapped = FeatureSet(np.array([[5.0], [-5.0]]), ["cat", "dog"])
    assert metric.value(swapped, reference) == 0
    assert csfid(swapped, reference) == 25, "which is what classes are for"
    assert not metric.uses_classes


def test_equal_populations_leave_the_trace_over_n(resnet_folder: Path, rng: np.random.Generator) -> None:
    metric, n, d = SFID(f"folder:{resnet_folder}"), 8, 40
    values = [metric.value(plain(rng.standard_normal((n, d))), plain(np.zeros((1, d)))) for _ in range(200)]
    # tr(S)/n = 5; each value is a chi-square of 40 degrees over 8, deviation 1.12, the mean of 200 deviates by 0.08.
    assert np.mean(values) == pytest.approx(d / n, abs=0.4)


def test_masks_of_a_pool_give_the_value_of_each_subset(resnet_folder: Path, rng: np.random.Generator) -> None:
    metric = SFID(f"folder:{resnet_folder}")
    pool, reference = plain(rng.standard_normal((9, 5)).astype(np.float32)), plain(rng.standard_normal((4, 5)))
    masks = np.array([np.arange(9) < 4, np.arange(9) == 8, np.arange(9) < 0])
    found = metric.values(pool, reference, masks)
    np.testing.assert_allclose(found[:2], [metric.value(pool.subset(rows), reference) for rows in masks[:2]], rtol=1e-13)
    assert np.isnan(found[2])


def test_other_dimensions_are_refused(resnet_folder: Path) -> None:
    with pytest.raises(MetricError, match="sfid: expected features of one dimension, got 3 and 2"):
        SFID(f"folder:{resnet_folder}").value(plain(np.zeros((1, 3))), plain(np.zeros((1, 2))))
