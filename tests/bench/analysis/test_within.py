"""Within-sample bands: exact for two editors, near enough for more, and absent where they would mean nothing."""

from __future__ import annotations

import numpy as np
import pytest
from made_scores import entry, plan_of, scores_of

from bench.analysis import summary
from bench.analysis.intervals import Interval, Range, mean_interval
from bench.analysis.within import Levels, within_interval
from bench.scoring.axes import Axes, Axis

AXES = Axes(Axis("clip"), Axis("lpips", higher_is_better=False, bounds=(0.0, None)))
NOTHING = np.zeros((0, 6))


def bands(scores: np.ndarray) -> list[Interval]:
    """Of each editor of a table (editors, samples), every sample a picture of its own."""
    ids = [str(number) for number in range(scores.shape[1])]
    return [within_interval(own, ids, ids, np.delete(scores, row, axis=0)) for row, own in enumerate(scores)]


def test_of_two_editors_bands_touch_where_the_difference_is_just_told_from_zero() -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(60, 20, 15)
    second = first + rng.gamma(2, 1, 15)
    ids = [str(number) for number in range(15)]
    apart = mean_interval(second - first, ids)
    one, two = bands(np.stack([first, second - apart.low]))  # now the interval of the difference begins at zero
    assert two.low == pytest.approx(one.high, abs=1e-9)  # rounding of sums
    assert one.mean == pytest.approx(first.mean())
    own = mean_interval(first, ids)
    assert one.high - one.low < (own.high - own.low) / 5, "what the pictures add is gone"


@pytest.mark.slow
@pytest.mark.parametrize(("editors", "samples", "spread"), [(2, 6, 1.0), (4, 6, 1.0), (4, 24, 1.0), (4, 24, 2.0)], ids=str)
def test_bands_of_equal_editors_overlap_as_often_as_they_say(editors: int, samples: int, spread: float) -> None:
    """95 % of the time. Of 1,200 runs the error of the share is 0.6 %, of which three are allowed downwards; upwards, since editors of one
    spread among few samples have bands a little too wide, and downwards again where one varies twice as much as the others (0.935)."""
    rng = np.random.default_rng(1)
    deviation = np.array([spread, *[1.0] * (editors - 1)])[:, None]
    overlap = []
    for _ in range(1200):
        one, two, *_ = bands(rng.normal(0, 5, samples) + deviation * rng.normal(size=(editors, samples)))
        overlap.append(one.low <= two.high and two.low <= one.high)
    assert (0.93 if spread == 1 else 0.915) < np.mean(overlap) < 0.985


def test_seeds_of_a_sample_share_its_level() -> None:
    """Two editors with two seeds each: the band is that of the samples' means, of which one is as good as two alike."""
    scores, ids = np.array([1.0, 3.0, 6.0, 2.0]), ["a", "b", "c", "d"]
    other = np.array([[0.0, 1.0, 5.0, 2.5]])
    once = within_interval(scores, ids, ids, other)
    twice = within_interval(
        np.repeat(scores, 2) + np.tile([-0.5, 0.5], 4), ids_ := np.repeat(ids, 2).tolist(), ids_, np.repeat(other, 2, axis=1)
    )
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high))
    assert (once.n, twice.n, twice.clusters) == (4, 8, 4)


def test_there_is_none_alone_nor_of_shares_nor_of_nothing() -> None:
    ids = [str(number) for number in range(6)]
    scores = np.array([0.0, 1, 1, 0, 1, 1])
    for found in (
        within_interval(scores, ids, ids, NOTHING),
        within_interval(scores, ids, ids, scores[None, ::-1], within=Range(0, 1, binary=True)),
        within_interval(np.zeros(0), [], [], np.zeros((1, 0))),
        within_interval(scores, ids, ["one picture"] * 6, scores[None, ::-1]),
    ):
        assert np.isnan([found.low, found.high]).all()


def test_a_band_ends_where_the_range_does() -> None:
    one, _ = bands(np.array([[0.97, 0.99, 1.0, 0.95], [0.2, 0.5, 0.9, 0.1]]))
    ids = list("abcd")
    clipped = within_interval(np.array([0.97, 0.99, 1.0, 0.95]), ids, ids, np.array([[0.2, 0.5, 0.9, 0.1]]), within=Range(0, 1))
    assert one.high > 1 == clipped.high
    assert clipped.low == one.low


def test_only_editors_with_all_of_a_means_samples_take_part() -> None:
    """An editor that lacks samples is compared on those it has, and leaves the others' bands as they are."""
    plan = plan_of(entry("a"), entry("b"), entry("c"), entry("copy", (0.0,), anchor=True))

    def make(label: str, value: float, number: int, seed: int) -> tuple[float, float]:
        return 50 + 7 * number + {"a": 3, "b": 1, "c": 2}.get(label, 0) * (value + number % 3), 0.1

    scores = scores_of(plan, make)
    short = scores.pairs[~((scores.pairs["editor"] == "c") & (scores.pairs["sample_id"] == "s0"))]
    levels = Levels(plan.entries, short)
    everything, rest = [f"s{number}" for number in range(12)], [f"s{number}" for number in range(1, 12)]
    assert levels.beside("a", 0.5, "clip", everything).shape == (1, 12)
    assert levels.beside("c", 0.5, "clip", rest).shape == (2, 11)
    assert levels.beside("copy", 0.0, "clip", everything).shape == (0, 12), "an anchor is no editor"
    assert levels.beside("a", 0.5, "gone", everything).shape == (0, 12)


def test_other_knob_values_take_each_others_place_by_rank() -> None:
    plan = plan_of(entry("a", (0.0, 1.0)), entry("b", (0.1, 0.5, 0.9)))
    levels = Levels(plan.entries, scores_of(plan, lambda label, value, number, seed: (value, 0.0)).pairs)
    assert levels.beside("a", 1.0, "clip", ["s0"]).tolist() == [[0.9]]
    assert levels.beside("b", 0.1, "clip", ["s0"]).tolist() == [[0.0]]


def test_tables_have_the_band_turned_round_with_its_axis() -> None:
    rng = np.random.default_rng(2)
    noise = dict.fromkeys(("a", "b"))
    for name in noise:
        noise[name] = rng.normal(0, 0.02, (12, 3))
    plan = plan_of(entry("a"), entry("b"))

    def make(label: str, value: float, number: int, seed: int) -> tuple[float, float]:
        return 60 + number + value, 0.3 + 0.01 * number + float(noise[label][number, int(2 * value)])

    scores = scores_of(plan, make)
    curves = summary.curves(plan, scores, AXES).set_index(["editor", "metric", "value"])
    plain, turned = curves.loc[("a", "lpips", 0.5)], curves.loc[("a", "one_minus_lpips", 0.5)]
    assert plain["within_low"] < plain["mean"] < plain["within_high"]
    assert turned["within_low"] == pytest.approx(1 - plain["within_high"])
    assert plain["within_high"] - plain["within_low"] < plain["high"] - plain["low"]
    point = summary.tradeoff(plan, scores, AXES).set_index(["editor", "value"]).loc[("a", 0.5)]
    assert (point["x_within_low"], point["x_within_high"]) == pytest.approx((turned["within_low"], turned["within_high"]))
    assert point["y_within_low"] == pytest.approx(point["y_mean"]), "CLIP of both is the same on every sample"
