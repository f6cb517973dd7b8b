from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.analysis.intervals import joint_intervals, mean_interval, missing_bounds, seed_spread, weighted_interval


def singles(n: int) -> list[str]:
    return [f"c{i}" for i in range(n)]


def test_few_independent_scores_give_the_textbook_t_interval() -> None:
    scores = np.random.default_rng(1).normal(size=12)
    got = mean_interval(scores, singles(12))
    low, high = stats.t.interval(0.95, 11, loc=scores.mean(), scale=stats.sem(scores))
    # With one score per cluster the cluster-robust error is the standard error exactly; only rounding separates them.
    assert (got.low, got.high) == pytest.approx((low, high), abs=1e-12)
    assert (got.n, got.clusters) == (12, 12)


def test_many_independent_scores_agree_with_scipys_bca() -> None:
    scores = np.random.default_rng(2).exponential(size=80)
    got = mean_interval(scores, singles(80), seed=3)
    want = stats.bootstrap((scores,), np.mean, method="BCa", n_resamples=9999, rng=np.random.default_rng(4)).confidence_interval
    # Two Monte Carlo runs (2000 and 9999 resamples): a 2.5 % quantile of a mean with SE 0.11 wanders by about 0.007 at 2000.
    assert (got.low, got.high) == pytest.approx((want.low, want.high), abs=0.03)
    assert got.high - got.mean > got.mean - got.low, "a right-skewed sample has the longer arm on the right"


@pytest.mark.parametrize("groups", [20, 60])
def test_repeating_every_score_does_not_buy_precision(groups: int) -> None:
    scores = np.random.default_rng(5).normal(size=groups)
    once = mean_interval(scores, singles(groups))
    tenfold = mean_interval(np.repeat(scores, 10), np.repeat(singles(groups), 10).tolist())
    # Sums and sizes are all multiplied by ten, which cancels in the ratio up to rounding.
    assert (tenfold.low, tenfold.high) == pytest.approx((once.low, once.high), abs=1e-9)
    assert tenfold.n == 10 * once.n
    naive = mean_interval(np.repeat(scores, 10), singles(groups * 10))
    assert naive.high - naive.low < 0.5 * (tenfold.high - tenfold.low)


def test_coverage_of_the_t_branch_with_unequal_clusters() -> None:
    rng, hits, trials = np.random.default_rng(6), 0, 400
    for _ in range(trials):
        sizes = rng.integers(1, 5, size=15)
        names = np.repeat(np.arange(15), sizes).astype(str).tolist()
        scores = np.repeat(rng.normal(size=15), sizes) + 0.3 * rng.normal(size=sizes.sum())
        interval = mean_interval(scores, names)
        hits += interval.low <= 0 <= interval.high
    # Nominal 95 %; the linearised error is a little short with 15 unequal clusters, and 400 trials have an error of 1.1 points.
    assert 0.90 <= hits / trials <= 0.985


def test_missing_scores_are_counted_out_not_averaged() -> None:
    got = mean_interval([1.0, np.nan, 3.0, np.inf], ["a", "b", "c", "d"])
    assert (got.mean, got.n, got.clusters) == (2.0, 2, 2)


def test_nothing_and_one_cluster_are_undefined_not_certain() -> None:
    nothing = mean_interval([np.nan], ["a"])
    assert np.isnan([nothing.mean, nothing.low, nothing.high]).all()
    assert nothing.n == 0
    one = mean_interval([1.0, 2.0], ["a", "a"])
    assert one.mean == 1.5
    assert np.isnan([one.low, one.high]).all()


@pytest.mark.parametrize("groups", [10, 60])
def test_equal_scores_have_an_interval_of_zero_width(groups: int) -> None:
    got = mean_interval(np.ones(groups), singles(groups))
    assert (got.low, got.high) == pytest.approx((1.0, 1.0), abs=1e-12)  # ratios of equal integers: rounding only


def test_joint_columns_use_the_rows_that_all_have_and_the_same_resamples() -> None:
    x = np.random.default_rng(7).normal(size=70)
    x[3] = np.nan
    y = 1.0 - x
    y[5] = np.nan
    first, second = joint_intervals([x, y], singles(70), seed=8)
    assert first.n == second.n == 68
    # y = 1 - x under common resamples: the arms are mirrored; separate resamples would differ by Monte Carlo error near 0.02.
    assert (1 - second.high, 1 - second.low) == pytest.approx((first.low, first.high), abs=0.004)


def test_a_seed_gives_the_same_interval_twice() -> None:
    scores = np.random.default_rng(9).normal(size=64)
    assert mean_interval(scores, singles(64), seed=1) == mean_interval(scores, singles(64), seed=1)
    assert mean_interval(scores, singles(64), seed=1) != mean_interval(scores, singles(64), seed=2)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="2 scores but 1 cluster"):
        mean_interval([1.0, 2.0], ["a"])


def cluster_mean(sums: np.ndarray, sizes: np.ndarray) -> Any:
    return lambda weights: weights @ sums / (weights @ sizes)


def test_the_jackknife_of_a_mean_is_the_textbook_interval() -> None:
    scores = np.random.default_rng(10).normal(size=14)
    value, low, high = weighted_interval(cluster_mean(scores, np.ones(14)), 14)
    want = stats.t.interval(0.95, 13, loc=scores.mean(), scale=stats.sem(scores))
    assert (value, low, high) == pytest.approx((scores.mean(), *want), abs=1e-12)  # the same number by another formula


def test_a_mean_by_weights_is_the_mean_by_scores() -> None:
    scores = np.random.default_rng(11).exponential(size=70)
    direct = mean_interval(scores, singles(70))
    assert weighted_interval(cluster_mean(np.sort(scores), np.ones(70)), 70)[0] == pytest.approx(direct.mean, abs=1e-12)
    # The same resamples in the order of the cluster names.
    order = np.argsort(singles(70))
    found = weighted_interval(cluster_mean(scores[order], np.ones(70)), 70)
    assert found == pytest.approx((direct.mean, direct.low, direct.high), abs=1e-12)


def test_an_interval_needs_the_number_in_nearly_every_resample() -> None:
    def sometimes(weights: np.ndarray) -> np.ndarray:
        return np.where(weights[:, 0] > 0, weights.mean(axis=1), np.nan)

    value, low, high = weighted_interval(sometimes, 60)
    assert value == 1.0
    assert np.isnan([low, high]).all(), "a third of the resamples lack the first cluster"
    assert np.isnan(weighted_interval(lambda weights: np.full(len(weights), np.nan), 60)).all()
    assert np.isnan(weighted_interval(cluster_mean(np.ones(1), np.ones(1)), 1)[1])
    assert np.isnan(weighted_interval(cluster_mean(np.ones(0), np.ones(0)), 0)).all()


@pytest.mark.parametrize(
    ("scored", "missing", "ends", "bounds"),
    [
        (8, 2, (0.0, 1.0), (0.4, 0.6)),
        (8, 2, (0.0, None), (0.4, np.inf)),
        (8, 2, (None, None), (-np.inf, np.inf)),
        (10, 0, (None, None), (0.5, 0.5)),
        (0, 3, (-1.0, 1.0), (-1.0, 1.0)),
    ],
)
def test_what_is_missing_is_bounded_by_the_range(scored: int, missing: int, ends: Any, bounds: Any) -> None:
    mean = 0.5 if scored else np.nan
    assert missing_bounds(mean, scored, missing, ends) == pytest.approx(bounds)


def test_the_spread_of_seeds_is_the_analysis_of_variance() -> None:
    """Two seeds of three samples by hand: within (1 + 1 + 1) x 2 / 3, between the means 1, 3, 5."""
    found = seed_spread([0.0, 2.0, 2.0, 4.0, 4.0, 6.0], ["a", "a", "b", "b", "c", "c"])
    assert found is not None
    within, between = 2.0, 4.0 - 2.0 / 2
    assert found.seed_sd == pytest.approx(within**0.5)
    assert found.sample_sd == pytest.approx(between**0.5)
    assert found.share == pytest.approx(within / (within + between))
    assert found.shift == pytest.approx((within / 3) ** 0.5)
    assert (found.samples, found.seeds) == (3, 2)


def test_the_spread_of_seeds_is_found_again_in_unequal_numbers() -> None:
    rng = np.random.default_rng(12)
    counts = rng.integers(1, 6, size=800)
    names = np.repeat(np.arange(800), counts).astype(str)
    scores = np.repeat(rng.normal(0, 2.0, size=800), counts) + rng.normal(0, 0.5, size=counts.sum())
    scores[0] = np.nan
    found = seed_spread(scores, names.tolist())
    assert found is not None
    # Standard errors with about 640 samples and 2400 scores: 0.5 / sqrt(2 x 1760) = 0.008 and 2 / sqrt(2 x 640) = 0.056; four of them.
    assert found.seed_sd == pytest.approx(0.5, abs=0.035)
    assert found.sample_sd == pytest.approx(2.0, abs=0.23)


def test_one_seed_has_no_spread_to_tell() -> None:
    assert seed_spread([1.0, 2.0, np.nan], ["a", "b", "b"]) is None
    assert seed_spread([], []) is None
