from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from metrics.base import FeatureSet, MetricError, MetricWarning
from metrics.kid import KID, KIDSubsets, kid, kid_subsets


def plain(features: np.ndarray) -> FeatureSet:
    return FeatureSet(features, [None] * len(features))


def by_pairs(x: np.ndarray, y: np.ndarray) -> float:
    """The definition, pair by pair."""

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    n, m = len(x), len(y)
    own = [sum(k(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j) / (len(z) * (len(z) - 1)) for z in (x, y)]
    return sum(own) - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


def test_one_dimension_by_hand() -> None:
    # k(x, y) = (xy + 1)^3. Within {0, 1}: 1; within {1, 2}: 27; across: 1, 1, 8, 27, mean 37/4.
    assert kid(np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])) == pytest.approx(1 + 27 - 37 / 2, rel=1e-15)


def test_sets_of_different_sizes_follow_the_definition(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((5, 4)), rng.standard_normal((8, 4)) + 0.5
    # Kernel values of about 10 in other orders of summation.
    assert kid(x, y) == pytest.approx(by_pairs(x, y), abs=1e-12)


def test_blocks_of_rows_do_not_change_the_value(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    import metrics.toolbox.mmd as module

    x, y = rng.standard_normal((7, 4)), rng.standard_normal((11, 4))
    whole = kid(x, y)
    monkeypatch.setattr(module, "BLOCK", 3)
    assert kid(x, y) == pytest.approx(whole, abs=1e-13)  # the same sums in other parts


def test_mean_is_zero_over_seeds_where_the_distributions_agree() -> None:
    seeds = 400
    draws = [np.random.default_rng(seed).standard_normal((2, 12, 16)) for seed in range(seeds)]
    values = np.array([kid(x, y) for x, y in draws])
    error = values.std(ddof=1) / np.sqrt(seeds)
    # Unbiased: the mean of 400 lies within 3.5 of its standard errors of 0 (1 in 2000 would not), and those seeds are fixed.
    assert abs(values.mean()) < 3.5 * error
    shifted = np.mean([kid(x, y + 0.3) for x, y in draws])
    assert shifted > 10 * error, "a shift of 0.3 is seen, so the bound above says something"


def test_agrees_with_torch_fidelity_on_the_same_features(rng: np.random.Generator) -> None:
    from torch_fidelity.metric_kid import kid_features_to_metric

    x, y = rng.random((60, 24)), rng.random((80, 24)) ** 2

    def theirs(first: np.ndarray, second: np.ndarray, **options: int) -> float:
        first, second = torch.from_numpy(first), torch.from_numpy(second)
        return kid_features_to_metric(first, second, verbose=False, **options)["kernel_inception_distance_mean"]

    # One subset of all rows is a permutation: float64 on both sides, differences of kernel means near 1.
    assert kid(x, y[:60]) == pytest.approx(theirs(x, y[:60], kid_subsets=1, kid_subset_size=60), abs=1e-13)
    mine = kid_subsets(x, y, subsets=7, size=25)
    assert mine == pytest.approx(theirs(x, y, kid_subsets=7, kid_subset_size=25), abs=1e-13)
    # On float32 features torch-fidelity computes the kernel in float32: 1e-7 of kernel means near 3.
    narrow = x.astype(np.float32), y.astype(np.float32)
    assert kid_subsets(*narrow, subsets=7, size=25) == pytest.approx(theirs(*narrow, kid_subsets=7, kid_subset_size=25), abs=3e-6)


def test_masks_of_a_pool_give_the_value_of_each_subset(resnet_folder: Path, rng: np.random.Generator) -> None:
    pool, reference = plain(rng.standard_normal((20, 12))), plain(rng.standard_normal((9, 12)))
    masks = np.array([np.arange(20) < 5, np.arange(20) % 2 == 0, np.arange(20) < 1])
    found = KID(f"folder:{resnet_folder}").values(pool, reference, masks)
    expected = [kid(pool.features[rows], reference.features) for rows in masks[:2]]
    np.testing.assert_allclose(found[:2], expected, rtol=0, atol=1e-13)
    assert np.isnan(found[2]), "one row has no pair"


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(MetricError, match="at least 2 rows in each set, got 1 and 3"):
        kid(np.zeros((1, 2)), np.zeros((3, 2)))
    with pytest.raises(MetricError, match="at least 5 rows in each set, got 4 and 9"):
        kid_subsets(np.zeros((4, 2)), np.zeros((9, 2)), size=5)


def test_subsets_follow_the_policy_where_a_set_is_too_small(resnet_folder: Path, rng: np.random.Generator) -> None:
    x, y = plain(rng.random((6, 12))), plain(rng.random((30, 12)))
    spec = f"folder:{resnet_folder}"
    refusing, shrinking, replacing = (
        KIDSubsets(spec, subsets=3, subset_size=10, **policy) for policy in ({}, {"small": "warn"}, {"small": "substitute"})
    )
    assert (refusing.min_samples, shrinking.min_samples) == (10, 2)
    with pytest.warns(MetricWarning, match="6 edits against 30 references, fewer than 10: no value"):
        assert np.isnan(refusing.value(x, y))
    with pytest.warns(MetricWarning, match="as small as the smaller set"):
        assert shrinking.value(x, y) == kid_subsets(x.features, y.features, subsets=3, size=6)
    with pytest.warns(MetricWarning, match="this is kid instead"):
        assert replacing.value(x, y) == kid(x.features, y.features)
    assert refusing.value(y, y) == kid_subsets(y.features, y.features, subsets=3, size=10)


def test_kid_names_no_substitute(resnet_folder: Path) -> None:
    with pytest.raises(MetricError, match="kid small: expected one of refuse, warn, got 'substitute'"):
        KID(f"folder:{resnet_folder}", small="substitute")
