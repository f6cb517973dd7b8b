from __future__ import annotations

import numpy as np
import pytest

from bench.analysis.frontier import Box, attainment, hypervolume, matched_gain, spread_over


def arrays(*points: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([x for x, _ in points]), np.array([y for _, y in points])


@pytest.mark.parametrize(
    ("points", "area"),
    [
        ([(0.5, 0.5)], 0.25),
        ([(1.0, 1.0)], 1.0),
        ([(0.5, 1.0), (1.0, 0.5)], 0.75),
        ([(0.5, 1.0), (1.0, 0.5), (0.4, 0.4)], 0.75),  # a dominated point adds nothing
        ([(1.0, 0.0), (0.0, 1.0)], 0.0),  # the anchors themselves
        ([(2.0, 0.5)], 0.5),  # cut off at the box
        ([(-1.0, 0.5), (0.5, -1.0)], 0.0),
    ],
)
def test_hypervolume_in_closed_form(points: list[tuple[float, float]], area: float) -> None:
    assert hypervolume(*arrays(*points)) == pytest.approx(area, abs=1e-15)
    assert hypervolume(*arrays(*points[::-1])) == pytest.approx(area, abs=1e-15)


def test_hypervolume_is_the_area_counted_on_a_grid() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((5, 6)), rng.random((5, 6))
    middles = (np.arange(400) + 0.5) / 400
    below = (middles[:, None, None] <= x[:, None, None, :]) & (middles[None, :, None] <= y[:, None, None, :])
    # A step hull of six points crosses at most 12 x 400 of 160 000 cells, each counted by its middle.
    assert hypervolume(x, y) == pytest.approx(below.any(axis=-1).mean(axis=(1, 2)), abs=0.01)


def test_more_points_never_cover_less() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.random((50, 8)), rng.random((50, 8))
    assert (hypervolume(x, y) >= hypervolume(x[:, :5], y[:, :5]) - 1e-15).all()


def test_a_curve_that_lies_higher_by_a_constant_gains_that_constant() -> None:
    x, y = arrays((1.0, 20.0), (0.7, 26.0), (0.4, 30.0))
    other_x, other_y = np.linspace(0.4, 1.0, 7), np.interp(np.linspace(0.4, 1.0, 7), x[::-1], y[::-1]) - 3
    assert matched_gain(x, y, other_x, other_y) == pytest.approx((3.0, 0.4, 1.0), abs=1e-12)
    assert matched_gain(other_x, other_y, x, y)[0] == pytest.approx(-3.0, abs=1e-12)


def test_only_the_common_range_counts() -> None:
    first, second = arrays((0.0, 0.0), (1.0, 1.0)), arrays((0.5, 0.0), (2.0, 0.0))
    # Over 0.5..1 the first rises from 0.5 to 1 above a flat zero: 0.75 on average.
    assert matched_gain(*first, *second) == pytest.approx((0.75, 0.5, 1.0), abs=1e-15)


def test_crossing_curves_cancel() -> None:
    assert matched_gain(*arrays((0.0, 0.0), (1.0, 1.0)), *arrays((0.0, 1.0), (1.0, 0.0)))[0] == pytest.approx(0.0, abs=1e-15)


def test_curves_that_do_not_meet_have_no_gain() -> None:
    assert np.isnan(matched_gain(*arrays((0.0, 1.0), (0.4, 1.0)), *arrays((0.5, 1.0), (1.0, 1.0)))).all()
    assert np.isnan(matched_gain(*arrays((0.5, 1.0)), *arrays((0.0, 1.0), (1.0, 1.0)))).all(), "a point is no range"


def test_points_of_one_fidelity_count_as_their_mean() -> None:
    doubled = arrays((0.0, 1.0), (1.0, 1.0), (1.0, 3.0))
    assert matched_gain(*doubled, *arrays((0.0, 0.0), (1.0, 0.0)))[0] == pytest.approx(1.5, abs=1e-15)


def test_attainment_is_what_a_share_of_the_samples_reaches() -> None:
    rng = np.random.default_rng(2)
    x, y, levels = rng.random((40, 5)), rng.random((40, 5)), np.linspace(0, 1.1, 23)
    shares = (0.75, 0.5, 0.25)
    found = attainment(x, y, levels, shares)
    for row, share in zip(found, shares, strict=True):
        for level, value in zip(levels, row, strict=True):
            reached = np.where(x >= level, y, -np.inf).max(axis=1)
            if np.isnan(value):
                assert np.isfinite(reached).mean() < share
            else:
                assert (reached >= value).mean() >= share
                assert (reached > value).mean() < share
    assert np.isnan(found[:, -1]).all(), "nothing is more faithful than 1"
    assert (np.diff(found[1][np.isfinite(found[1])]) <= 0).all(), "more fidelity never comes with more alignment"


@pytest.mark.parametrize(
    ("available", "wanted", "places"), [(7, 4, [0, 2, 4, 6]), (4, 4, [0, 1, 2, 3]), (3, 5, [0, 1, 2]), (9, 1, [0])]
)
def test_places_are_spread_evenly_with_both_ends(available: int, wanted: int, places: list[int]) -> None:
    assert spread_over(available, wanted) == places


def test_a_box_moves_with_the_pictures_that_its_anchors_edit() -> None:
    """By hand: without the second of two pictures the anchors of fidelity lie at 0 and 0.8 in place of 0 and 0.9."""
    sums = np.array([[0.0, 0.0], [0.8, 1.0], [20.0, 20.0], [30.0, 40.0]])
    box, weights = Box(sums, np.ones((4, 2))), np.array([[1.0, 1.0], [1.0, 0.0]])
    found = box.hypervolume(np.full((2, 1), 0.4), np.full((2, 1), 25.0), weights)
    assert found == pytest.approx([0.4 / 0.9 * 5 / 15, 0.4 / 0.8 * 5 / 10])


def test_a_box_without_a_side_has_no_volume() -> None:
    sums = np.array([[0.5, 0.0], [0.5, 1.0], [20.0, 20.0], [30.0, 30.0]])
    box, place = Box(sums, np.ones((4, 2))), np.ones((2, 1))
    found = box.hypervolume(place, place, np.array([[1.0, 1.0], [1.0, 0.0]]))
    assert np.isnan(found).tolist() == [False, True]
