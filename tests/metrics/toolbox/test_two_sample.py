from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from metrics.base import FeatureSet, MetricError
from metrics.csfid import CSFID
from metrics.frechet import FrechetDistance
from metrics.toolbox.two_sample import Values, jackknife, split_half, subsample


def plain(features: np.ndarray) -> FeatureSet:
    return FeatureSet(features, [None] * len(features))


def mean_of(rows: np.ndarray) -> Values:
    """A metric whose sampling theory is known: the mean of the marked rows."""
    return lambda masks: (masks @ rows) / masks.sum(axis=1)


@pytest.mark.parametrize("interval", [split_half, subsample])
def test_error_of_a_mean_is_the_deviation_over_root_n(interval: Callable[..., object], rng: np.random.Generator) -> None:
    rows = rng.standard_normal(64)
    found = interval(mean_of(rows), 64, **{"splits" if interval is split_half else "subsets": 2000})
    # For a mean both estimates have the exact expectation s / root n; 2000 draws of a squared normal are good to 3 %, its root to 2 %.
    assert found.error == pytest.approx(rows.std(ddof=1) / 8, rel=0.06)  # type: ignore[attr-defined]
    assert found.value == pytest.approx(rows.mean())  # type: ignore[attr-defined]
    assert found.high - found.value == pytest.approx(1.998 * found.error, rel=1e-3)  # type: ignore[attr-defined]


@pytest.mark.parametrize("interval", [split_half, subsample])
def test_copies_of_a_unit_add_nothing(interval: Callable[..., object], rng: np.random.Generator) -> None:
    rows = rng.standard_normal(20)
    once = interval(mean_of(rows), 20)
    thrice = interval(mean_of(np.repeat(rows, 3)), 60, units=list(np.repeat(np.arange(20), 3)))
    assert thrice.units == 20  # type: ignore[attr-defined]
    assert thrice.error == pytest.approx(once.error, rel=1e-12)  # type: ignore[attr-defined]


def test_interval_of_fd_covers_its_expectation_where_a_bootstrap_does_not(resnet_folder: Path) -> None:
    metric = FrechetDistance(f"folder:{resnet_folder}")
    reference = plain(np.random.default_rng(999).standard_normal((400, 12)))
    draws = [plain(np.random.default_rng(seed).standard_normal((40, 12))) for seed in range(40)]
    everything = np.ones((1, 40), dtype=np.bool_)
    expected = np.mean([metric.values(edits, reference, everything)[0] for edits in draws])
    covered = {"split_half": 0, "subsample": 0, "bootstrap": 0}
    for seed, edits in enumerate(draws):
        values = partial(metric.values, edits, reference)
        for name, found in (
            ("split_half", split_half(values, 40, splits=20, seed=seed)),
            ("subsample", subsample(values, 40, subsets=40, seed=seed)),
        ):
            covered[name] += found.low <= expected <= found.high
        again = np.random.default_rng(seed).integers(0, 40, (25, 40))
        doubled = [metric.values(plain(edits.features[rows]), reference, everything)[0] for rows in again]
        covered["bootstrap"] += np.quantile(doubled, 0.025) <= expected <= np.quantile(doubled, 0.975)
    # At 95 % forty intervals miss two, and more than seven with a chance below 0.001.
    assert min(covered["split_half"], covered["subsample"]) >= 33
    assert covered["bootstrap"] < 20, "the test would see an interval that is wrong"


def test_what_has_no_interval_says_so(resnet_folder: Path, rng: np.random.Generator) -> None:
    for interval in (split_half, subsample):
        found = interval(mean_of(np.arange(3.0)), 3)
        assert found.value == 1
        assert np.isnan([found.error, found.low, found.high]).all()
        assert found.units == 3
    metric = CSFID(f"folder:{resnet_folder}")
    pool = FeatureSet(rng.standard_normal((8, 3)), ["cat"] * 8)
    assert split_half(partial(metric.values, pool, pool), 8).error > 0


def test_the_jackknife_of_a_mean_of_class_means_is_its_textbook_error(rng: np.random.Generator) -> None:
    sizes = np.array([2, 3, 7])
    classes = np.repeat(np.arange(3), sizes)
    rows = 10.0 * classes + rng.standard_normal(12)  # what classes differ by has no part in it
    marks = (classes[None, :] == np.arange(3)[:, None]).astype(float)

    def of_classes(masks: np.ndarray) -> np.ndarray:
        counts, sums = masks @ marks.T, (masks * rows) @ marks.T
        return np.nanmean(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan), axis=1)

    found = jackknife(of_classes, 12, strata=classes.tolist())
    error = np.sqrt(sum(rows[here > 0].var(ddof=1) / here.sum() for here in marks)) / 3
    assert found.error == pytest.approx(error, rel=1e-12)  # of a linear number the jackknife is exact
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, 9) * error, rel=1e-12)
    assert subsample(of_classes, 12).error > 2 * error, "the test would see subsets across classes"


def test_pictures_of_several_classes_and_classes_of_one_picture() -> None:
    rows = np.random.default_rng(1).standard_normal(12)
    pictures = list(np.repeat(np.arange(6), 2))
    several = jackknife(mean_of(rows), 12, units=pictures, strata=["cat", "dog"] * 6)
    means = rows.reshape(6, 2).mean(axis=1)
    assert several.error == pytest.approx(means.std(ddof=1) / np.sqrt(6), rel=1e-12), (
        "each picture is of both classes: one stratum"
    )
    alone = jackknife(mean_of(rows), 12, strata=list(range(12)))
    assert alone.error == pytest.approx(rows.std(ddof=1) / np.sqrt(12), rel=1e-12), "classes of one go together"
    one = jackknife(mean_of(rows), 12, strata=["cat"] * 11 + ["dog"])
    assert one.error == pytest.approx(alone.error, rel=1e-12), "and a single one with the largest"


def test_a_subset_without_a_value_counts_itself_out() -> None:
    rows = np.random.default_rng(2).standard_normal(40)

    def lacking(count: int) -> Values:
        """A mean that is undefined without the first or the second or ... row."""
        return lambda masks: np.where(masks[:, :count].all(axis=1), mean_of(rows)(masks), np.nan)

    found, whole = (jackknife(lacking(count), 40, strata=["cat"] * 40) for count in (2, 0))
    assert found.defined == 38 / 40
    assert found.error == pytest.approx(whole.error, rel=0.1), "of 40 rows 38 are behind it"
    none = jackknife(lacking(3), 40, strata=["cat"] * 40)
    assert none.defined == 37 / 40
    assert np.isnan([none.error, none.low, none.high]).all()
    for interval in (split_half, subsample):
        nothing = interval(lacking(1), 40)
        assert nothing.defined < 0.95
        assert np.isnan([nothing.error, nothing.low, nothing.high]).all()
        assert interval(lacking(0), 40).defined == 1
    with pytest.raises(MetricError, match="strata: expected 40 names, one per row, got 3"):
        jackknife(lacking(0), 40, strata=["cat"] * 3)


@pytest.mark.slow
def test_intervals_of_csfid_are_as_wide_as_its_spread(resnet_folder: Path) -> None:
    """Classes that lie apart and away from the reference, four edits each: half-widths of 1.96 standard deviations of 150 draws."""
    metric, classes = CSFID(f"folder:{resnet_folder}"), [name for name in "abcdef" for _ in range(4)]
    centres = np.repeat(np.random.default_rng(3).standard_normal((6, 12)) * np.linspace(0.5, 3, 6)[:, None], 4, axis=0)
    reference = FeatureSet(np.random.default_rng(4).standard_normal((120, 12)), list("abcdef") * 20)
    found, across = [], []
    for seed in range(150):
        edits = FeatureSet(centres + 0.5 * np.random.default_rng([5, seed]).standard_normal(centres.shape), classes)
        found.append(jackknife(partial(metric.values, edits, reference), 24, strata=classes))
        across.append(subsample(partial(metric.values, edits, reference), 24).error)
    spread = np.std([each.value for each in found], ddof=1)
    # A deviation from 150 draws is good to 6 %, two of these; Student's quantile of 18 degrees of freedom adds 7 % to 1.96.
    assert 0.95 < np.mean([(each.high - each.low) / 2 for each in found]) / (1.96 * spread) < 1.19
    assert np.mean(across) > 1.3 * spread, "the test would see subsets across classes, which may lack one"


def test_parameters_are_checked() -> None:
    rows = mean_of(np.arange(8.0))
    with pytest.raises(MetricError, match="units: expected 4 names, one per row, got 3"):
        subsample(rows, 4, units=["a"] * 3)
    with pytest.raises(MetricError, match="subsample size: expected fewer than the 8 units, got 8"):
        subsample(rows, 8, size=8)
    for call in (lambda: split_half(rows, 8, splits=0), lambda: subsample(rows, 8, subsets=1)):
        with pytest.raises(MetricError, match="expected a whole number"):
            call()
