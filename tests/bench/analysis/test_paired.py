from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bench.analysis.paired import holm, pseudo_values, sign_flip


def scipys(sums: np.ndarray, **how: object) -> float:
    def mean(values: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(values.mean(axis=axis))

    return float(stats.permutation_test((sums,), mean, permutation_type="samples", vectorized=True, **how).pvalue)


@pytest.mark.parametrize("clusters", [2, 5, 9])
def test_few_clusters_are_tested_exactly(clusters: int) -> None:
    sums = np.random.default_rng(clusters).normal(0.4, 1, size=clusters)
    # All sign patterns on both sides; both count the same ones.
    assert sign_flip(sums[None])[0] == pytest.approx(scipys(sums, n_resamples=np.inf), abs=1e-12)


def test_many_clusters_agree_with_scipys_random_signs() -> None:
    sums = np.random.default_rng(1).normal(0.2, 1, size=60)
    want = scipys(sums, n_resamples=9999, rng=np.random.default_rng(2))
    # Two Monte Carlo runs of 10 000: the error of a p near 0.1 is 0.003 in each; four of the difference's.
    assert sign_flip(sums[None])[0] == pytest.approx(want, abs=0.017)


def test_the_smallest_p_is_what_the_number_of_patterns_allows() -> None:
    assert sign_flip(np.ones((1, 5)))[0] == 2 / 2**5
    assert sign_flip(np.ones((1, 100)))[0] == 1 / 10_000


def test_rounding_does_not_decide_a_tie() -> None:
    """0.1 + 0.2 and 0.3 are not the same double, but the same difference."""
    assert sign_flip(np.array([[0.1, 0.2, -0.3, 0.6]]))[0] == sign_flip(np.array([[1.0, 2.0, -3.0, 6.0]]))[0]


def test_several_sets_are_tested_as_each_alone() -> None:
    sums = np.random.default_rng(3).normal(0.3, 1, size=(3, 40))
    assert np.array_equal(sign_flip(sums), [sign_flip(row[None])[0] for row in sums])


def test_a_cluster_without_a_difference_has_no_say() -> None:
    sums = np.array([[1.0, 2.0, -0.5, 3.0]])
    assert sign_flip(np.pad(sums, ((0, 0), (0, 4))))[0] == sign_flip(sums)[0]
    assert np.isnan(sign_flip(np.zeros((1, 4)))[0])


def test_equal_editors_are_rarely_called_different() -> None:
    """Under the hypothesis p is uniform: 400 trials, the error of 5 % is 1.1 points."""
    sums = np.random.default_rng(4).normal(size=(400, 30))
    assert (sign_flip(sums) <= 0.05).mean() == pytest.approx(0.05, abs=0.034)


def test_pseudo_values_of_a_mean_are_its_terms() -> None:
    terms = np.array([1.0, 5.0, -2.0, 4.0])
    # Rounding of four sums.
    assert pseudo_values(lambda weights: weights @ terms / weights.sum(axis=1), 4) == pytest.approx(terms, abs=1e-12)


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, never falling: the textbook example.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])


def test_what_was_not_tested_is_not_counted() -> None:
    found = holm([np.nan, 0.02, 0.03])
    assert np.isnan(found[0])
    assert found[1:] == pytest.approx([0.04, 0.04])
    assert len(holm([])) == 0
