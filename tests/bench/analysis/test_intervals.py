from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.analysis.intervals import (
    FLATTEST,
    Range,
    joint_intervals,
    mean_interval,
    missing_bounds,
    seed_spread,
    weighted_interval,
)


def singles(n: int) -> list[str]:
    return [f"c{i}" for i in range(n)]


@pytest.mark.parametrize("n", [2, 12, 80])
def test_symmetric_scores_have_the_textbook_t_interval(n: int) -> None:
    scores = np.random.default_rng(1).normal(size=n // 2)
    scores = np.concatenate([3 - scores, 3 + scores])
    got = mean_interval(scores, singles(n))
    low, high = stats.t.interval(0.95, n - 1, loc=scores.mean(), scale=stats.sem(scores))
    # With one score per cluster CR2 is the standard error exactly, with n - 1 degrees of freedom; only rounding separates them.
    assert (got.low, got.high) == pytest.approx((low, high), abs=1e-12)
    assert (got.n, got.clusters) == (n, n)


def test_skewed_scores_have_hall_s_interval() -> None:
    """The ends are the means at which Hall's g of t is the quantile, g and the skewness being written as he and Fisher do."""
    scores = np.random.default_rng(2).exponential(size=40)
    got = mean_interval(scores, singles(40))
    skew = stats.skew(scores, bias=False) / np.sqrt(40)
    for end, sign in ((got.low, 1), (got.high, -1)):
        t = (scores.mean() - end) / stats.sem(scores)
        found = t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / 6
        assert found == pytest.approx(sign * stats.t.ppf(0.975, 39), abs=1e-9)  # a cube root and back
    assert got.high - got.mean > 1.2 * (got.mean - got.low), "a right-skewed sample has the longer arm on the right"


def test_one_far_score_does_not_carry_the_interval_away() -> None:
    """Hall's g turns flat there: read off as it is, it would put the lower end nine standard errors from the mean."""
    scores = np.array([0.35, 0.82, 0.33, -1.3, 0.91, 0.45, -0.54, 0.58, 0.36, 0.29, 0.03, 0.55])
    got = mean_interval(scores, singles(12))
    low, high = stats.t.interval(0.95, 11, loc=scores.mean(), scale=stats.sem(scores))
    assert scores.min() < got.low < low
    assert got.high - got.low < 1.5 * (high - low)


def test_unequal_clusters_have_cr2_errors_and_fewer_degrees_of_freedom() -> None:
    """Bell and McCaffrey's matrices written out, with a working covariance of ones within a cluster."""
    sizes, rng = np.array([1, 1, 2, 3, 5]), np.random.default_rng(3)
    groups = np.repeat(np.arange(5), sizes)
    scores = rng.normal(size=12)
    n, ones = len(scores), np.ones((12, 1))
    hat = ones @ ones.T / n
    same = (groups[:, None] == groups[None, :]).astype(float)
    residuals, error, columns = scores - scores.mean(), 0.0, []
    for name in range(5):
        here = groups == name
        values, vectors = np.linalg.eigh(np.eye(here.sum()) - hat[np.ix_(here, here)])
        adjust = vectors / np.sqrt(values) @ vectors.T
        error += float(ones[here, 0] @ adjust @ residuals[here]) ** 2 / n**2
        columns.append(((np.eye(n) - hat)[:, here] @ adjust @ ones[here, 0]) / n)
    inner = np.array(columns) @ same @ np.array(columns).T
    freedom = np.trace(inner) ** 2 / np.trace(inner @ inner)
    assert 1 < freedom < 3, "of five clusters two hold two thirds of the edits"
    got = mean_interval(scores, groups.astype(str).tolist())
    means = np.array([scores[groups == name].mean() for name in range(5)])
    skew = stats.skew(means, bias=False) / np.sqrt(5)
    for end, sign in ((got.low, 1), (got.high, -1)):
        t = (scores.mean() - end) / np.sqrt(error)
        cube = (1 + skew * t / 3) ** 3
        if cube > FLATTEST:
            assert t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / 6 == pytest.approx(
                sign * stats.t.ppf(0.975, freedom), rel=1e-9
            )
            break
    else:
        pytest.fail("no end lies where g is used as it is")


@pytest.mark.parametrize("groups", [8, 100])
def test_a_share_of_all_is_not_certain(groups: int) -> None:
    """Wilson's interval at n of n ends at n / (n + z^2), here with Student's quantile."""
    got = mean_interval(np.ones(groups), singles(groups), within=Range(0.0, 1.0, binary=True))
    quantile = stats.t.ppf(0.975, groups - 1)
    assert (got.mean, got.low, got.high) == pytest.approx((1.0, groups / (groups + quantile**2), 1.0), abs=1e-12)
    none = mean_interval(np.zeros(groups), singles(groups), within=Range(0.0, 100.0, binary=True))
    assert (none.low, none.high) == pytest.approx((0.0, 100 * (1 - got.low)), abs=1e-9)


def test_a_share_is_wilson_s_of_independent_edits() -> None:
    scores = np.array([1.0] * 13 + [0.0] * 7)
    got = mean_interval(scores, singles(20), within=Range(0.0, 1.0, binary=True))
    # Scipy's has the normal quantile; at the level at which that is Student's, it is the same interval.
    level = 2 * stats.norm.cdf(stats.t.ppf(0.975, 19)) - 1
    want = stats.binomtest(13, 20).proportion_ci(level, method="wilson")
    assert (got.low, got.high) == pytest.approx((want.low, want.high), abs=1e-12)


def test_a_share_counts_edits_that_go_together_once() -> None:
    scores, within = np.array([1.0] * 13 + [0.0] * 7), Range(0.0, 1.0, binary=True)
    once = mean_interval(scores, singles(20), within=within)
    fivefold = mean_interval(np.repeat(scores, 5), np.repeat(singles(20), 5).tolist(), within=within)
    # 20 x 99 / (100 x 19) of one: the spread of a hundred edits has another divisor than that of twenty.
    assert fivefold.high - fivefold.low == pytest.approx(once.high - once.low, rel=0.03)
    all_right = [mean_interval(np.ones(20 * k), np.repeat(singles(20), k).tolist(), within=within).low for k in (1, 5)]
    assert all_right[0] == pytest.approx(all_right[1], abs=1e-12), "with no edit wrong nothing tells that they are apart"


def test_an_interval_ends_where_the_range_does() -> None:
    free, held, half = (mean_interval([0.1, 0.9, 0.2], singles(3), within=each) for each in (Range(), Range(0, 1), Range(0)))
    assert free.low < 0
    assert free.high > 1
    assert (held.low, held.high, held.mean) == (0, 1, free.mean)
    assert (half.low, half.high) == (0, free.high)


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


def test_joint_columns_use_the_rows_that_all_have() -> None:
    x = np.random.default_rng(7).exponential(size=70)
    x[3] = np.nan
    y = 1.0 - x
    y[5] = np.nan
    first, second = joint_intervals([x, y], singles(70), within=[Range(0.0, None), Range(None, 1.0)])
    assert first.n == second.n == 68
    # The method knows no direction: only rounding separates an axis from the metric that it turns round.
    assert (1 - second.high, 1 - second.low) == pytest.approx((first.low, first.high), abs=1e-12)
    both = np.isfinite(x) & np.isfinite(y)
    alone = mean_interval(x[both], np.array(singles(70))[both].tolist(), within=Range(0.0, None))
    assert alone == first, "the same edits have the same interval, beside whatever column"


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


def test_an_interval_needs_the_number_without_nearly_every_cluster() -> None:
    def lacking(count: int) -> Any:
        """A number that the first clusters must all be there for."""
        return lambda weights: np.where((weights[:, :count] > 0).all(axis=1), weights.mean(axis=1), np.nan)

    value, low, high = weighted_interval(lacking(4), 60)
    assert value == 1.0
    assert np.isnan([low, high]).all(), "four of sixty leave it undefined"
    assert np.isfinite(weighted_interval(lacking(3), 60)).all()
    assert np.isnan(weighted_interval(lambda weights: np.full(len(weights), np.nan), 60)).all()
    assert np.isnan(weighted_interval(cluster_mean(np.ones(1), np.ones(1)), 1)[1])
    assert np.isnan(weighted_interval(cluster_mean(np.ones(0), np.ones(0)), 0)).all()


def test_a_number_between_two_ends_has_its_interval_between_them() -> None:
    scores = np.array([0.9, 1.0, 1.0, 1.0, 0.2, 1.0])
    statistic = cluster_mean(scores, np.ones(6))
    value, low, high = weighted_interval(statistic, 6, ends=(0.0, 1.0))
    plain = weighted_interval(statistic, 6)
    assert plain[2] > 1 > high > value > low > 0
    # Near the value, the logit scale is linear: at a level of next to nothing both are the same interval.
    near, nearly = (weighted_interval(statistic, 6, level=1e-6, ends=ends) for ends in ((0.0, 1.0), None))
    assert near == pytest.approx(nearly, abs=1e-9)
    assert weighted_interval(cluster_mean(np.zeros(6), np.ones(6)), 6, ends=(0.0, 1.0)) == (0.0, 0.0, 0.0)


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
