"""The verdict on a run: what is a loss, by how much, and what is no number."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from made_baselines import changed, made_baseline, run_of
from scipy import stats

from bench.analysis.baseline_file import Baseline
from bench.analysis.check import FALSE_ALARMS, LEAST, Judge, Outcome, Verdict, spreads
from bench.errors import BaselineError

CELL = ("a", 0.25, "clip")
CELLS = 12


@pytest.fixture
def known() -> Baseline:
    return made_baseline(np.random.default_rng(0))


def outcome(known: Baseline, scores: np.ndarray | None = None, key: tuple[str, float, str] = CELL, **more: object) -> Outcome:
    """What becomes of a cell of a run that is the first draw but for these scores of it."""
    run = run_of(known) if scores is None else changed(run_of(known), key, scores)
    (found,) = [each for each in Judge(known).judge(replace(run, **more)) if (each.editor, each.value, each.metric) == key]  # type: ignore[arg-type]
    return found


def test_a_run_is_as_good_as_itself(known: Baseline) -> None:
    outcomes = Judge(known).judge(run_of(known))
    assert len(outcomes) == CELLS
    assert {each.word for each in outcomes} == {"unchanged"}
    assert all(each.loss == 0 for each in outcomes)


@pytest.mark.parametrize(("metric", "bad"), [("clip", -1.0), ("lpips", 1.0)])
def test_a_loss_beyond_the_tolerance_has_regressed_and_a_gain_is_named(known: Baseline, metric: str, bad: float) -> None:
    key = ("a", 0.25, metric)
    before = known.pairs[key][0]
    tolerance = outcome(known, key=key).tolerance
    words = [outcome(known, before + bad * share * tolerance, key).word for share in (0.99, 1.01, -0.99, -1.01)]
    assert words == ["unchanged", "regressed", "unchanged", "improved"]
    assert outcome(known, before + bad * 2 * tolerance, key).loss == pytest.approx(2 * tolerance)


def test_with_the_same_noise_the_tolerance_is_the_repeats(known: Baseline) -> None:
    """Their root mean square in the cell or on the average, whichever is larger, times Student's quantile; repeats that move it far count."""
    moved = known.pairs[CELL].copy()
    moved[-2] += 0.2
    moved[-1] -= 0.1
    wide = replace(known, pairs={**known.pairs, CELL: moved})
    own = np.sqrt(np.mean(np.square((moved[-2:] - moved[0]).mean(axis=1))))
    assert outcome(wide).tolerance == pytest.approx(own * stats.t.isf(FALSE_ALARMS / CELLS, 2))
    others = [np.mean(np.square((cell[-2:] - cell[0]).mean(axis=1))) for key, cell in wide.pairs.items() if key[2] == "clip"]
    average = np.sqrt(np.mean(others)) * stats.t.isf(FALSE_ALARMS / CELLS, 2)
    assert outcome(wide, key=("b", 0.25, "clip")).tolerance == pytest.approx(average)


def test_nothing_below_the_least_loss_counts(known: Baseline) -> None:
    quiet = replace(known, pairs={key: np.repeat(cell[:1], 7, axis=0) for key, cell in known.pairs.items()})
    assert outcome(quiet).tolerance == pytest.approx(LEAST * quiet.pairs[CELL][0].mean())


@pytest.mark.parametrize("seeds", [(9,), (8, 9)])
def test_with_other_noise_the_tolerance_is_the_seeds(known: Baseline, seeds: tuple[int, ...]) -> None:
    """Variances of the samples add; the baseline's own mean has its share; degrees of freedom are Satterthwaite's."""
    variances = known.pairs[CELL][:5].var(axis=0, ddof=1)
    error = np.sqrt(variances.sum() * (1 / len(seeds) + 1 / 5)) / 16
    freedom = 4 * variances.sum() ** 2 / (variances**2).sum()
    found = outcome(known, seeds=seeds)
    assert found.tolerance == pytest.approx(error * stats.t.isf(FALSE_ALARMS / CELLS, freedom))
    assert found.before == pytest.approx(known.pairs[CELL][:5].mean())


def test_a_set_has_the_spread_of_its_draws(known: Baseline) -> None:
    key, drawn = ("a", 0.25, "fid"), known.sets["a", 0.25, "fid"][:5]
    expected = drawn.std(ddof=1) * math.sqrt(1 + 1 / 5) * stats.t.isf(FALSE_ALARMS / CELLS, 4)
    assert outcome(known, key=key, seeds=(9,)).tolerance == pytest.approx(expected)
    assert outcome(known, key=key, seeds=(8, 9)).tolerance == pytest.approx(expected), "sets are of the smallest seed"


def test_another_class_of_devices_has_other_noise(known: Baseline) -> None:
    same, other = Judge(known), replace(run_of(known), device="cuda float16")
    assert same.draw_of(run_of(known, 3)) == 3
    assert same.draw_of(other) is None
    assert "the same noise, compared sample by sample; tolerances from 2 repeats" in same.how(run_of(known))
    assert same.how(other).startswith("seed 0 on cuda float16, the baseline has seeds 0, 1, 2, 3, 4 on cpu float32: other noise")


def test_a_run_of_any_draw_is_held_against_that_draw(known: Baseline) -> None:
    assert {each.loss for each in Judge(known).judge(run_of(known, 3))} == {0.0}


def test_one_draw_tells_nothing_of_other_seeds() -> None:
    known = made_baseline(np.random.default_rng(0), draws=1, repeats=0)
    assert outcome(known).tolerance == pytest.approx(LEAST * known.pairs[CELL].mean())
    with pytest.raises(BaselineError, match="one draw tells of no spread; make a baseline with --seeds 2 or more"):
        outcome(known, seeds=(7,))


def test_without_a_direction_every_move_is_a_loss(known: Baseline) -> None:
    free = replace(known, higher_is_better={**known.higher_is_better, "clip": None})
    assert [outcome(free, free.pairs[CELL][0] + by).word for by in (5.0, -5.0)] == ["regressed", "regressed"]
    drawn, judge = free.pairs[CELL][:5], Judge(free)
    assert judge.tolerance(CELL, drawn, 1) > Judge(known).tolerance(CELL, drawn, 1), "two sides share the chance"


def test_undefined_infinite_and_missing_are_three_things(known: Baseline) -> None:
    before = known.pairs[CELL][0]
    now = {
        name: np.where(np.arange(16) == 3, score, before) for name, score in (("nan", np.nan), ("inf", np.inf), ("-inf", -np.inf))
    }
    undefined = outcome(known, now["nan"])
    assert (undefined.word, undefined.n) == ("not comparable", 15)
    assert undefined.reason == "1 of 16 scores are undefined now and were not in the baseline (first: sample s3)"
    lost = outcome(known, now["-inf"])
    assert (lost.word, lost.loss, lost.worst[0][0]) == ("regressed", math.inf, "s3")
    assert (won := outcome(known, now["inf"])).word == "improved"
    assert won.loss == -math.inf
    missing = outcome(known, now["nan"], missing={CELL: (3,)})
    assert (missing.word, missing.reason) == ("not comparable", "1 of 16 scores are missing (first: sample s3)")
    none = outcome(replace(known, pairs={**known.pairs, CELL: np.full((7, 16), np.nan)}), before)
    assert (none.word, none.n, math.isnan(none.before)) == ("not comparable", 0, True)
    assert "are undefined in the baseline and defined now" in none.reason


def test_what_is_alike_on_both_sides_is_no_difference(known: Baseline) -> None:
    for score in (np.nan, np.inf):
        cell = known.pairs[CELL].copy()
        cell[:, 3] = score
        found = outcome(replace(known, pairs={**known.pairs, CELL: cell}))
        assert (found.word, found.n, found.reason) == ("unchanged", 15, "")


def test_a_score_that_some_seeds_leave_undefined_may_be_either(known: Baseline) -> None:
    cell = known.pairs[CELL].copy()
    cell[1, 3] = np.nan
    some = replace(known, pairs={**known.pairs, CELL: cell})
    for score in (80.0, np.nan):
        found = outcome(some, np.where(np.arange(16) == 3, score, cell[0]), seeds=(9,))
        assert (found.word, found.n) == ("unchanged", 15)


def test_a_regression_is_one_though_something_else_cannot_be_compared(known: Baseline) -> None:
    scores = np.where(np.arange(16) == 3, np.nan, known.pairs[CELL][0] - 20)
    assert (found := outcome(known, scores)).word == "regressed"
    assert "undefined now" in found.reason


def test_a_set_that_is_missing_or_undefined_cannot_be_compared(known: Baseline) -> None:
    key = ("a", 0.25, "fid")
    rest = {name: score for name, score in run_of(known).sets.items() if name != key}
    assert outcome(known, key=key, sets=rest).reason == "1 of 1 scores are missing"
    assert outcome(known, key=key, sets={**rest, key: math.nan}).word == "not comparable"
    assert outcome(known, key=key, sets={**rest, key: 1000.0}).word == "regressed"


def test_a_metric_that_failed_is_not_comparable_for_its_reason(known: Baseline) -> None:
    run = replace(run_of(known), pairs={key: cell for key, cell in run_of(known).pairs.items() if key[2] != "lpips"})
    verdict = Verdict("r", "s", "", Judge(known).judge(run, {"lpips": "out of order"}))
    assert {each.metric for each in verdict.of("not comparable")} == {"lpips"}
    assert verdict.of("not comparable")[0].reason == "the metric failed: out of order"
    assert verdict.exit_code == 2


def test_the_exit_code_puts_a_regression_first(known: Baseline) -> None:
    words = {0: ["unchanged", "improved"], 1: ["not comparable", "regressed"], 2: ["not comparable", "improved"]}
    for code, outcomes in words.items():
        made = tuple(replace(outcome(known), word=word) for word in outcomes)  # type: ignore[arg-type]
        assert Verdict("r", "s", "", made).exit_code == code


def test_the_worst_come_first_in_units_of_their_tolerance(known: Baseline) -> None:
    scores = known.pairs[CELL][0] - np.where(np.arange(16) == 5, 200.0, 0.0)
    outcomes = Judge(known).judge(changed(run_of(known), CELL, scores))
    assert (outcomes[0].word, outcomes[0].worst[0][0], len(outcomes[0].worst)) == ("regressed", "s5", 1)
    losses = [each.loss / each.tolerance for each in outcomes]
    assert losses == sorted(losses, reverse=True)


def test_what_was_measured_is_a_table(known: Baseline) -> None:
    rows = spreads(known)
    assert len(rows) == CELLS
    row = rows[0]
    assert (row["editor"], row["value"], row["metric"]) == CELL
    # a deviation of 3 over 16 samples, from five draws: good to 9 %
    assert row["seeds"] == pytest.approx(3 / 4, rel=0.3)
    assert 0 < row["machine"] < row["same_seeds"] < row["other_seeds"]
