"""Two editors at their operating points: an editor does not differ from itself, and what differs is found.

The editors are made up as ToyBox runs look: pictures move all knob values of both editors together, single edits have noise of their
own, and the balance of both axes is flat over several knob values, so that two runs of one editor choose different ones.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_scores import AXES, curves_as_scores, entry, plan_of
from numpy.typing import NDArray

from bench.analysis.comparisons import gains
from bench.analysis.differences import differences, powerless
from bench.plan import Plan
from bench.scoring.axes import mean_table, operating_points
from bench.scoring.swaps import Ring, outcome, signs

GRID = tuple(float(value) for value in np.linspace(0, 1, 9))
ANCHORS = (entry("copy", (0.0,), True), entry("regenerate", (0.0,), True))
Floats = NDArray[np.float64]


def two(pictures: int, other: tuple[float, ...] = GRID, anchors: bool = True) -> Plan:
    return plan_of(entry("a", GRID), entry("b", other), *(ANCHORS if anchors else ()), samples=2 * pictures)


def trial(plan: Plan, rng: np.random.Generator, gain: float = 0.0) -> dict[str, dict[str, Floats]]:
    """CLIP score and LPIPS of both editors; `gain` lifts the CLIP score of a. Two samples of each picture."""
    n = len(plan.samples)
    level, steep, far = (np.repeat(rng.normal(0, sd, n // 2), 2)[:, None] for sd in (2.0, 2.0, 0.1))
    clip, lpips = {}, {}
    for each in plan.entries:
        knob = np.array(each.values)
        clip[each.label] = (
            20 + level + (8 + steep) * knob**0.8 + rng.normal(0, 1, (n, len(knob))) + (gain if each.label == "a" else 0)
        )
        lpips[each.label] = (0.6 + far) * knob**1.2 + rng.normal(0, 0.02, (n, len(knob)))
    for label, ends in {"copy": (20.0, 0.0), "regenerate": (28.0, 0.6)}.items():
        clip[label], lpips[label] = (np.full((n, 1), end) for end in ends)
    return {"clip": clip, "lpips": lpips}


def p_values(plan: Plan, trials: int, gain: float = 0.0) -> pd.DataFrame:
    """The p values of what a report prints, a row a trial."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(trials):
        scores = curves_as_scores(plan, **trial(plan, rng, gain))
        printed = differences(plan, scores, AXES).set_index("metric")["p"].to_dict()
        rows.append(printed | {"gain": gains(plan, scores, AXES)["p"].iloc[0]})
    return pd.DataFrame(rows)


@pytest.mark.slow
@pytest.mark.parametrize("anchors", [True, False], ids=["anchors", "no anchors"])
def test_an_editor_differs_from_itself_as_often_as_chance_says(anchors: bool) -> None:
    """150 runs of one editor against itself: the standard error of a share of 5 % is 1.8 points, of one of 50 % 4.1; three of them.

    The swap tests are exact. Pseudo-values are exchangeable as far as the gain is linear in the means, so only their tail is held to it.
    """
    found = p_values(two(9, anchors=anchors), 150)
    assert set(found) == {"clip", "lpips", "gain", *(("hypervolume",) if anchors else ())}
    for name, p in found.items():
        assert (p <= 0.05).mean() == pytest.approx(0.05, abs=0.054), name
        assert name == "gain" or (p <= 0.5).mean() == pytest.approx(0.5, abs=0.123), name


def test_with_its_points_held_fixed_it_would_differ_most_of_the_time() -> None:
    """What the swaps guard against: the plain sign-flip test at the chosen points. This is why the simulation above can fail."""
    plan, rng = two(9), np.random.default_rng(0)
    rejected = []
    for _ in range(40):
        duel = Ring(plan, curves_as_scores(plan, **trial(plan, rng)).pairs, AXES).duel("a", "b")
        first, second = duel.scores("clip")
        flipped = (2.0 * duel.kept - 1)[:, duel.clusters] @ (first - second) / len(first)
        rejected.append(outcome(flipped, duel.turned).p <= 0.05)
    assert np.mean(rejected) > 0.3


@pytest.mark.slow
def test_a_real_difference_is_found() -> None:
    """Between single edits CLIP has noise 1, so a gain of 0.7 over nine knob values and 18 samples is plain to see on whole curves.

    At operating points, of which chance moves the CLIP score by about as much as the noise of the choice, it takes 4.
    """
    small, large = p_values(two(9), 25, 0.7), p_values(two(9), 25, 4.0)
    assert (small["gain"] <= 0.05).mean() > 0.9
    assert (small["hypervolume"] <= 0.05).mean() > 0.9
    assert (large["clip"] <= 0.05).mean() > 0.7


@pytest.mark.slow
def test_other_grids_keep_the_gain_honest() -> None:
    """Curves that are the same at other knob values: 100 trials, three standard errors of 2.2 points."""
    plan = two(9, (0.1, 0.2, 0.35, 0.5, 0.6, 0.8))
    rng = np.random.default_rng(1)
    p = [gains(plan, curves_as_scores(plan, **trial(plan, rng)), AXES)["p"].iloc[0] for _ in range(100)]
    assert (np.array(p) <= 0.05).mean() <= 0.05 + 0.066


def test_the_points_as_they_are_are_those_of_the_leaderboard() -> None:
    for anchors in (True, False):
        plan = two(9, (0.1, 0.4, 0.9), anchors=anchors)
        scores = curves_as_scores(plan, **trial(plan, np.random.default_rng(3)))
        points = operating_points(plan, mean_table(scores.pairs, AXES), AXES)
        assert Ring(plan, scores.pairs, AXES).duel("a", "b").values == (points["a"], points["b"])


def test_the_interval_holds_what_the_test_does_not_reject() -> None:
    """A shift of one editor's scores by the end of the interval is where p crosses 5 %: exact, one knob value, nothing chosen."""
    rng = np.random.default_rng(5)
    gaps, patterns = rng.normal(0.5, 1, 10), signs(10)
    found = outcome(patterns @ gaps / 10, patterns.mean(axis=1))
    for end, inwards in ((found.low, 1e-6), (found.high, -1e-6)):
        inside, outside = (outcome(patterns @ (gaps - end - step) / 10, patterns.mean(axis=1)).p for step in (inwards, -inwards))
        assert outside <= 0.05 < inside
    assert found.least == 1 / 512


def test_too_few_pictures_have_no_interval() -> None:
    patterns = signs(5)
    found = outcome(patterns @ np.array([1.0, 2.0, 3.0, 4.0, 5.0]) / 5, patterns.mean(axis=1))
    assert (found.p, found.least) == (1 / 16, 1 / 16)
    assert np.isnan(found.low)


def many(editors: int, pictures: int) -> list[str]:
    plan = plan_of(*(entry(name) for name in "abcdefg"[:editors]), samples=2 * pictures)
    rng = np.random.default_rng(0)
    clip, lpips = ({each.label: rng.random((2 * pictures, 3)) for each in plan.entries} for _ in range(2))
    return powerless(differences(plan, curves_as_scores(plan, clip, lpips), AXES))


def test_tests_that_can_prove_nothing_are_named() -> None:
    """Eight pictures have 128 distinct swaps: 1/128 times ten comparisons is 0.078, times six 0.047."""
    assert many(5, 8) == [
        "With at most 16 samples and 10 comparisons no p can pass: the smallest possible is 0.0078, 0.078 after Holm's correction"
        " (clip, lpips)."
    ]
    assert many(4, 8) == []
    assert many(2, 5) == ["With at most 10 samples and 1 comparison no p can pass: the smallest possible is 0.062 (clip, lpips)."]


def test_gains_that_can_prove_nothing_are_named() -> None:
    plan = two(4)
    table = gains(plan, curves_as_scores(plan, **trial(plan, np.random.default_rng(0))), AXES)
    assert powerless(table) == [
        "With at most 8 samples and 1 comparison no p can pass: the smallest possible is 0.12 (matched-fidelity gain)."
    ]
    each = table.assign(metric="clip")
    assert powerless(each, table) == [
        "With at most 8 samples and 1 comparison no p can pass: the smallest possible is 0.12 (clip, matched-fidelity gain)."
    ], "what is true of several is said once"


def test_the_difference_of_hypervolumes_is_that_of_the_volumes() -> None:
    from bench.analysis.comparisons import hypervolumes

    plan = two(9)
    scores = curves_as_scores(plan, **trial(plan, np.random.default_rng(2), 2.0))
    row = differences(plan, scores, AXES).set_index("metric").loc["hypervolume"]
    volumes = hypervolumes(plan, scores, AXES).set_index("editor")["hypervolume"]
    # Means in another order.
    assert row["difference"] == pytest.approx(volumes["a"] - volumes["b"], abs=1e-12)
    assert row["low"] < row["difference"] < row["high"]
    assert (row["better"], row["p_holm"]) == ("a", row["p"])
    assert np.isnan(row["first_value"])
