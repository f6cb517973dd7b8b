from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from bench.analysis.crossed import Crossed, crossed_mean, crossed_share, wilson
from bench.analysis.intervals import mean_interval


def names(numbers: object) -> list[str]:
    return [f"c{number}" for number in np.asarray(numbers)]


def test_wilson_is_that_of_scipy() -> None:
    theirs = binomtest(17, 40).proportion_ci(method="wilson")
    assert wilson(17 / 40, 40, 1.959963984540054) == pytest.approx((theirs.low, theirs.high))


def test_with_one_rater_clusters_are_pictures() -> None:
    """Equal clusters: the textbook's clustered error, as the intervals of score tables have it but for their correction of skewness."""
    rng = np.random.default_rng(0)
    sources = np.repeat(np.arange(20), 4)
    values = rng.normal(size=20)[sources] + rng.normal(size=80)
    found = crossed_mean(values, Crossed(["judge"] * 80, names(sources)))
    means = values.reshape(20, 4).mean(axis=1)
    assert found.error == pytest.approx(means.std(ddof=1) / np.sqrt(20))
    assert found.value == pytest.approx(mean_interval(values, names(sources)).mean)


def test_raters_and_pictures_both_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    raters, sources = (grid.ravel() for grid in np.meshgrid(np.arange(15), np.arange(15)))
    noise = rng.normal(size=225)
    of_raters, of_both = noise + rng.normal(size=15)[raters], noise + rng.normal(size=15)[raters] + rng.normal(size=15)[sources]
    clusters, alone = Crossed(names(raters), names(sources)), Crossed(names(range(225)), names(range(225)))
    assert crossed_mean(of_raters, alone).error < crossed_mean(of_raters, clusters).error < crossed_mean(of_both, clusters).error


def test_independent_votes_have_the_error_of_independent_votes() -> None:
    values = np.random.default_rng(2).normal(size=400)
    found = crossed_mean(values, Crossed(names(range(400)), names(range(400))))
    assert found.error == pytest.approx(values.std(ddof=1) / 20, rel=1e-6)


def test_a_unanimous_share_is_not_certain() -> None:
    raters, sources = np.repeat(np.arange(10), 5), np.tile(np.arange(5), 10)
    found = crossed_share(np.ones(50), Crossed(names(raters), names(sources)))
    assert found.value == found.high == pytest.approx(1.0)
    assert found.low == pytest.approx(wilson(1.0, 5, Crossed(names(raters), names(sources)).quantile())[0])
    assert found.low < 0.5, "five pictures say little, whoever looks at them"


def test_nothing_and_one_cluster_have_no_interval() -> None:
    assert np.isnan(crossed_mean(np.zeros(0), Crossed([], [])).value)
    lone = crossed_share(np.array([1.0, 0.0]), Crossed(["r", "r"], ["p", "p"]))
    assert lone.value == 0.5
    assert np.isnan([lone.low, lone.high]).all()


def test_an_interval_ends_where_the_range_does() -> None:
    found = crossed_mean(np.array([1.0, 1.0, 0.0]), Crossed(names(range(3)), names(range(3))), ends=(0.0, 1.0))
    assert (found.low, found.high) == (0.0, 1.0)
