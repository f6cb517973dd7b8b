"""Tables that compare editors, on scores made up so that the answers are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_scores import AXES, CARDS, VALUES, entry, plan_of, scores_of
from scipy import stats

from bench.analysis import comparisons
from bench.analysis.differences import differences
from bench.scoring.axes import Axes
from bench.scoring.tables import SET_PAIR_COLUMNS, frame
from bench.spec import AxesSpec


def curve(label: str, value: float, number: int, seed: int) -> tuple[float, float]:
    """Alpha lies 2 above beta at every fidelity; samples differ by a constant that both share."""
    ends = {"copy": (20.0, 0.0), "regenerate": (40.0, 0.8)}
    if label in ends:
        return ends[label]
    return 20 + 10 * value + (2.0 if label == "alpha" else 0.0) + number / 10, 0.6 * value + number / 100


TWO = plan_of(entry("alpha"), entry("beta"), entry("copy", (0.0,), True), entry("regenerate", (0.0,), True))
FID = {"metric": "fid", "first": "alpha", "first_value": 0.0, "second": "beta", "second_value": 0.0, "difference": 3.0, "p": 0.02}
FID |= {"p_least": 0.001, "n": 12, "axes": "clip lpips", "fingerprint": "f", "inputs": ""}
POINTS = {"alpha": 0.5, "beta": 0.5, "copy": 0.0, "regenerate": 0.0}


def test_a_constant_difference_is_found_and_certain() -> None:
    table = differences(TWO, scores_of(TWO, curve), AXES).set_index("metric")
    clip, lpips = table.loc["clip"], table.loc["lpips"]
    assert tuple(clip[["first", "second", "n", "test", "better"]]) == ("alpha", "beta", 12, "swap", "alpha")
    assert tuple(clip[["difference", "low", "high"]]) == pytest.approx((2.0, 2.0, 2.0), abs=1e-9)  # sums of doubles near 25
    assert clip["p"] == clip["p_holm"] == 2 / 2**6, "six source pictures, two samples each, have 64 sign patterns"
    assert (lpips["difference"], lpips["p"], lpips["better"]) == (0.0, 1.0, "")


def test_the_sign_of_better_is_the_metrics() -> None:
    def make(label: str, value: float, number: int, seed: int) -> tuple[float, float]:
        clip, lpips = curve(label, value, number, seed)
        return clip, lpips + (0.1 if label == "alpha" else 0.0)

    table = differences(TWO, scores_of(TWO, make), AXES).set_index("metric")["better"]
    assert table.to_dict() == {"clip": "alpha", "lpips": "beta", "hypervolume": "alpha"}


def test_only_samples_that_both_have_are_compared_and_seeds_are_averaged() -> None:
    def make(label: str, value: float, number: int, seed: int) -> tuple[float, float]:
        clip, lpips = curve(label, value, number, seed)
        lost = (label == "alpha" and number == 0) or (label == "beta" and number == 1 and seed == 1)
        return np.nan if lost else clip + (10.0 if seed else -10.0), lpips

    clip = differences(TWO, scores_of(TWO, make, seeds=2), AXES).set_index("metric").loc["clip"]
    assert clip["difference"] == pytest.approx(2.0, abs=1e-9), "a mean over one seed of two would be 10 lower"
    assert (clip["n"], clip["undefined"]) == (10, 2)
    assert np.isnan(clip["p"]), "what is undefined for one of the two may not decide by being left out"


def test_holm_counts_the_pairs_of_one_metric() -> None:
    plan = plan_of(*(entry(name) for name in ("a", "b", "c")), samples=30)
    rng = np.random.default_rng(0)
    scores = scores_of(plan, lambda label, *_: (ord(label) + rng.normal(), ord(label) / 100 + rng.normal()))
    table = differences(plan, scores, AXES)
    assert len(table) == 6, "there is no hypervolume without anchors"
    for _, rows in table.groupby("metric"):
        first = rows["p"].idxmin()
        assert rows.loc[first, "p_holm"] == pytest.approx(min(3 * rows.loc[first, "p"], 1.0))


def test_swap_tests_of_set_metrics_join_the_table() -> None:
    pairs = frame([FID], SET_PAIR_COLUMNS)
    sets = pd.DataFrame({"metric": ["fid"], "fingerprint": ["f"]})
    scores = replace(scores_of(TWO, curve), sets=sets, set_pairs=pairs)
    found = differences(TWO, scores, AXES).set_index("metric").loc["fid"]
    assert tuple(found[["test", "p", "p_holm", "better"]]) == ("swap", 0.02, 0.02, "beta")
    assert np.isnan(found["low"])


def test_hypervolume_against_the_anchors_by_hand() -> None:
    def make(label: str, value: float, number: int, seed: int) -> tuple[float, float]:
        clip, lpips = curve(label, value, 0, seed)
        return clip, lpips

    table = comparisons.hypervolumes(TWO, scores_of(TWO, make), AXES).set_index("editor")
    # CLIP 20..40 and 1-LPIPS 0.2..1 become 0..1: beta's points are (1, 0), (0.625, 0.25), (0.25, 0.5).
    assert table.loc["beta", "hypervolume"] == pytest.approx(0.375 * 0.25 + 0.25 * 0.5, abs=1e-12)
    assert table.loc["alpha", "hypervolume"] == pytest.approx(0.375 * 0.1 + 0.375 * 0.35 + 0.25 * 0.6, abs=1e-12)
    assert tuple(table.loc["alpha", ["knob_values", "n"]]) == (3, 12)
    assert table.loc["alpha", "low"] == pytest.approx(table.loc["alpha", "high"], abs=1e-9), "all samples are alike"


def test_longer_grids_are_cut_to_the_shortest() -> None:
    anchors = (entry("copy", (0.0,), True), entry("regenerate", (0.0,), True))
    plan = plan_of(entry("alpha", tuple(np.linspace(0, 1, 9))), entry("beta"), *anchors)
    assert comparisons.hypervolumes(plan, scores_of(plan, curve), AXES)["knob_values"].tolist() == [3, 3]


def test_without_anchors_there_is_no_box() -> None:
    plan = plan_of(entry("alpha"), entry("beta"))
    scores = scores_of(plan, curve)
    assert comparisons.hypervolumes(plan, scores, AXES).empty
    assert len(comparisons.gains(plan, scores, AXES)) == 1, "but curves can be compared"


def test_gain_at_equal_fidelity_has_an_interval_around_it() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 1, size=(2, 3, 120))

    def make(label: str, value: float, number: int, seed: int) -> tuple[float, float]:
        clip, lpips = curve(label, value, 0, seed)
        side, place = int(label == "alpha"), VALUES.index(value)
        return clip + noise[side, place, number] if label in POINTS and value in VALUES else clip, lpips

    plan = plan_of(*TWO.entries[:2], samples=120)
    row = comparisons.gains(plan, scores_of(plan, make), AXES).iloc[0]
    assert tuple(row[["first", "second", "n"]]) == ("alpha", "beta", 120)
    assert (row["fidelity_low"], row["fidelity_high"]) == pytest.approx((0.4, 1.0))
    # At equal LPIPS the trapezoid weighs the three points 1/4, 1/2, 1/4, so with unit noise on both sides the error of the gain is
    # sqrt(2 x 6/16 / 120) = 0.079; the half-width is 1.96 of that, and 60 clusters estimate it within 10 %, four of them.
    assert row["gain"] == pytest.approx(2.0, abs=4 * 0.079)
    half = stats.norm.ppf(0.975) * np.sqrt(2 * 6 / 16 / 120)
    assert (row["high"] - row["low"]) / 2 == pytest.approx(half, rel=0.4)
    assert row["low"] < row["gain"] < row["high"]


def test_curves_without_common_fidelity_have_no_gain() -> None:
    def make(label: str, value: float, number: int, seed: int) -> tuple[float, float]:
        clip, lpips = curve(label, value, 0, seed)
        return clip, lpips / 10 if label == "alpha" else 0.5 + lpips / 10

    row = comparisons.gains(plan_of(*TWO.entries[:2]), scores_of(plan_of(*TWO.entries[:2]), make), AXES).iloc[0]
    assert row[["gain", "low", "high", "fidelity_low"]].isna().all()


def test_attainment_covers_the_range_of_the_curves() -> None:
    table = comparisons.attained(TWO, scores_of(TWO, curve), AXES)
    assert set(table["editor"]) == {"alpha", "beta"}
    alpha, beta = (table[table["editor"] == name].reset_index(drop=True) for name in ("alpha", "beta"))
    both = alpha["median"].notna() & beta["median"].notna()
    assert both.any()
    assert (alpha["median"] - beta["median"])[both].to_numpy() == pytest.approx(2.0, abs=1e-9)
    assert (alpha["low"].dropna() <= alpha["median"][alpha["low"].notna()]).all()


def test_seeds_are_told_only_where_there_are_several() -> None:
    assert comparisons.seeds(TWO, scores_of(TWO, curve), POINTS).empty

    def make(label: str, value: float, number: int, seed: int) -> tuple[float, float]:
        clip, lpips = curve(label, value, number, seed)
        return clip + 2 * seed, lpips

    table = comparisons.seeds(TWO, scores_of(TWO, make, seeds=2), POINTS).set_index(["editor", "metric"])
    assert set(table.index.get_level_values("editor")) == {"alpha", "beta"}
    assert table.loc[("alpha", "clip"), "seed_sd"] == pytest.approx(2**0.5, abs=1e-9)
    assert table.loc[("alpha", "lpips"), "share"] == pytest.approx(0.0, abs=1e-9)


def test_a_run_with_other_metrics_has_no_curves_to_compare() -> None:
    scores = scores_of(TWO, curve)
    only = replace(scores, pairs=scores.pairs[scores.pairs["metric"] == "clip"])
    assert comparisons.hypervolumes(TWO, only, AXES).empty
    assert comparisons.gains(TWO, only, AXES).empty
    assert comparisons.attained(TWO, only, AXES).empty
    assert len(differences(TWO, only, AXES)) == 1


@pytest.mark.parametrize(
    ("turn", "card", "column"),
    [
        (lambda lpips: 1 - lpips, {"higher_is_better": True}, "likeness"),
        (lambda lpips: lpips, {"higher_is_better": False, "bounds": (0.0, 1.0)}, "one_minus_likeness"),
        (lambda lpips: lpips - 1, {"higher_is_better": False, "bounds": (None, 0.0)}, "minus_likeness"),
    ],
    ids=["higher is better", "distance", "negative"],
)
def test_other_axes_with_the_same_positions_give_the_same_tables(turn: Any, card: dict[str, Any], column: str) -> None:
    """Within 1e-12: a position that is turned twice has another last bit."""
    scores = scores_of(TWO, curve)
    pairs = scores.pairs.replace({"metric": {"clip": "word", "lpips": "likeness"}})
    pairs["score"] = pairs["score"].where(pairs["metric"] == "word", turn(pairs["score"]))
    other = replace(scores, pairs=pairs, cards=CARDS | {"l": card})
    axes = Axes.of(AxesSpec(editability="word", fidelity="likeness"), other)
    assert axes.fidelity.column == column
    for name in ("hypervolumes", "gains", "attained"):
        table = getattr(comparisons, name)
        found = table(TWO, other, axes)
        assert len(found)
        pd.testing.assert_frame_equal(found, table(TWO, scores, AXES), rtol=0, atol=1e-12)
        assert table(TWO, other, AXES).empty, "these have no scores of the others"


@pytest.mark.parametrize("other", [{"second_value": 1.0}, {"axes": "clip ssim"}], ids=["points", "axes"])
def test_swap_tests_at_other_knob_values_or_axes_are_left_out(other: dict[str, Any]) -> None:
    scores = replace(scores_of(TWO, curve), set_pairs=frame([FID | other], SET_PAIR_COLUMNS))
    assert "fid" not in set(differences(TWO, scores, AXES)["metric"])
