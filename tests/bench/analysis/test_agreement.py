"""Agreement on orders: against the package on the textbook's data, on raters made to agree, and with the coverage that it claims."""

from __future__ import annotations

from typing import Any

import krippendorff
import numpy as np
import pandas as pd
import pytest
from made_scores import entry, plan_of, scores_of

from bench.analysis.agreement import FIRST, TIE, Rater, agreement_table, between, raters_of_scores, raters_of_votes
from bench.errors import ScoreError

SAMPLES = 12
PLAN = plan_of(entry("a"), entry("b"), samples=SAMPLES)
SOURCES = {f"s{i}": f"p{i}" for i in range(SAMPLES)}


def scored(name: str, values: np.ndarray) -> Rater:
    """(samples, edits) scores, more is better."""
    scores = {(f"s{i}", "a", float(j)): float(value) for i, row in enumerate(values) for j, value in enumerate(row)}
    return Rater(name, SOURCES, scores)


def choices(rater: str, votes: dict[int, str], first: str = "a", second: str = "b") -> pd.DataFrame:
    rows = [
        {"rater": rater, "sample_id": f"s{i}", "source_id": f"p{i}", "first": first, "first_value": 0.5, "second": second,
         "second_value": 0.5, "vote": vote}
        for i, vote in votes.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_raters_that_order_alike_agree_and_those_that_do_not_disagree() -> None:
    values = np.random.default_rng(0).normal(size=(SAMPLES, 4))
    one, same, against = scored("one", values), scored("same", np.exp(values)), scored("against", -values)
    row = between(one, same)
    assert row is not None
    assert (row["alpha"], row["agreement"], row["tau"]) == (1.0, 1.0, pytest.approx(1.0))
    assert row["pairs"] == SAMPLES * 6
    assert row["sources"] == SAMPLES
    row = between(one, against)
    assert row is not None
    assert (row["agreement"], row["tau"]) == (0.0, pytest.approx(-1.0))
    assert row["alpha"] < -0.9


def test_alpha_is_the_packages_on_the_orders_themselves() -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(0, 3, size=(2, SAMPLES, 4)).astype(float)
    row = between(scored("one", values[0]), scored("two", values[1]))
    assert row is not None
    places = [(j, k) for j in range(4) for k in range(j + 1, 4)]
    orders = [[np.sign(table[i, j] - table[i, k]) for i in range(SAMPLES) for j, k in places] for table in values]
    expected = krippendorff.alpha(reliability_data=np.array(orders), level_of_measurement="nominal")
    assert row["alpha"] == pytest.approx(expected, abs=1e-12)
    assert row["alpha_low"] < row["alpha"] < row["alpha_high"]


def test_metrics_of_a_run_are_turned_so_that_more_is_better() -> None:
    scores = scores_of(PLAN, lambda label, value, number, _: (value + number, -value))
    clip, lpips = raters_of_scores(scores)
    row = between(clip, lpips)
    assert row is not None
    assert row["agreement"] == 1.0, "CLIP rises and LPIPS, of which less is better, falls"
    assert {edit[1] for rater in raters_of_scores(scores, anchors=["b"]) for edit in rater.scores} == {"a"}


def test_preferences_meet_scores_on_the_pairs_that_were_voted() -> None:
    scores = scores_of(PLAN, lambda label, value, number, _: (1.0 if label == "a" else 0.0, 0.0))
    votes = choices("ann", {0: "first", 2: "first", 4: "second", 6: "tie", 8: "both_bad", 10: "flip"})
    row = between(raters_of_votes(votes, "people"), raters_of_scores(scores)[0])
    assert row is not None
    assert row["agreement"] == pytest.approx(2 / 3)
    assert row["pairs"] == 4, "a flip is no order, and a metric cannot say that both are bad"
    assert np.isnan(row["tau"])


def test_the_side_on_which_an_edit_was_shown_does_not_matter() -> None:
    votes = pd.concat([choices("ann", {0: "first"}), choices("bob", {0: "second"}, first="b", second="a")])
    (codes,) = raters_of_votes(votes, "people").votes.values()
    assert codes == [FIRST, FIRST]


def test_a_group_speaks_by_its_majority_and_is_told_within_itself() -> None:
    everyone = {i: "first" if i % 3 else "second" for i in range(SAMPLES)}
    odd = {i: "second" if vote == "first" else "first" for i, vote in everyone.items()}
    votes = pd.concat([choices(name, everyone) for name in ("ann", "bob")] + [choices("eve", odd)])
    group, judge = raters_of_votes(votes, "people"), raters_of_votes(choices("judge", everyone), "judge")
    table = agreement_table([group, judge], ["judge"]).set_index(["first", "second"])
    assert table.loc[("judge", "people"), "agreement"] == 1.0
    assert table.loc[("people", "people"), "agreement"] == pytest.approx(1 / 3), "of three pairs of raters one agrees"
    assert ("judge", "judge") not in table.index


def test_raters_halved_are_a_tie() -> None:
    votes = pd.concat([choices("ann", {0: "first"}), choices("bob", {0: "second"})])
    group = raters_of_votes(votes, "people")
    assert list(group.orders(group.pairs()).values()) == [TIE]


def test_scores_of_people_are_averaged_against_others_and_ordered_within() -> None:
    rng = np.random.default_rng(2)
    truth, rows = rng.normal(size=(SAMPLES, 3)), list[dict[str, Any]]()
    for rater in ("ann", "bob", "eve"):
        for i, row in enumerate(truth):
            rows += [
                {"rater": rater, "sample_id": f"s{i}", "source_id": f"p{i}", "editor": "a", "value": float(j), "score": value}
                for j, value in enumerate(row + rng.normal(scale=0.3, size=3))
            ]
    group = raters_of_votes(pd.DataFrame(rows), "people")
    table = agreement_table([group, scored("truth", truth)], ["people"]).set_index(["first", "second"])
    assert table.loc[("people", "truth"), "tau"] > 0.7
    assert 0.5 < table.loc[("people", "people"), "alpha"] < 1


def test_a_coins_interval_holds_chance() -> None:
    rng = np.random.default_rng(3)
    row = between(*(scored(name, rng.normal(size=(SAMPLES, 4))) for name in ("one", "two")))
    assert row is not None
    assert row["alpha_low"] < 0 < row["alpha_high"]
    assert row["agreement_low"] < 0.5 < row["agreement_high"]
    assert row["tau_low"] < 0 < row["tau_high"]


@pytest.mark.slow
def test_intervals_clustered_by_source_cover_what_they_claim() -> None:
    """Two raters whose disagreement is the source's: edits of a picture agree or disagree together. 200 draws of 30 sources; 95 % less three
    standard errors of a share is 0.90; a binomial interval over pairs, which takes them as independent, covers far less."""
    rng, covered, naive = np.random.default_rng(4), 0, 0
    for _ in range(200):
        same = rng.random(30) < 0.7
        right = np.repeat(same, 6)
        values = rng.normal(size=(30, 4))
        sources = {f"s{i}": f"p{i}" for i in range(30)}
        one = Rater("one", sources, {(f"s{i}", "a", float(j)): v for i, row in enumerate(values) for j, v in enumerate(row)})
        turned = values * np.where(same, 1, -1)[:, None]
        two = Rater("two", sources, {(f"s{i}", "a", float(j)): v for i, row in enumerate(turned) for j, v in enumerate(row)})
        row = between(one, two)
        assert row is not None
        covered += row["agreement_low"] <= 0.7 <= row["agreement_high"]
        half = 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / len(right))
        naive += abs(right.mean() - 0.7) <= half
    assert covered >= 180
    assert naive < 140


def test_where_nothing_is_in_common_it_says_so() -> None:
    lone = raters_of_votes(choices("ann", {0: "first"}), "people")
    with pytest.raises(ScoreError, match="no two of the metrics, judges and votes"):
        agreement_table([lone, scored("one", np.zeros((SAMPLES, 1)))], ["people"])
