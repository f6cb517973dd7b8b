from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_votes import drawn_votes, rating, vote
from scipy.stats import binomtest

from bench.analysis.preferences import agreement, believed, counted, preferences, raters, ratings, sides
from bench.errors import ScoreError
from bench.scoring.votes import votes_frame


def answered(answers: Sequence[str], **more: Any) -> list[dict[str, Any]]:
    """One vote each of a rater and on a picture of its own."""
    return [vote(answer=answer, rater=f"r{n}", item=f"i{n}", source_id=f"p{n}") | more for n, answer in enumerate(answers)]


def test_rates_count_every_answer_for_what_it_is() -> None:
    votes = votes_frame(answered(["first"] * 12 + ["second"] * 6 + ["tie"] * 3 + ["both_bad"] * 9))
    (row,) = preferences(votes).to_dict("records")
    assert (row["n"], row["wins"], row["losses"], row["ties"], row["both_bad"]) == (30, 12, 6, 3, 9)
    assert row["share"] == pytest.approx(12 / 18), "of those who chose"
    assert row["margin"] == pytest.approx(6 / 30), "of all"
    theirs = binomtest(12, 18).proportion_ci(method="wilson")
    assert (row["wilson_low"], row["wilson_high"]) == pytest.approx((theirs.low, theirs.high))
    assert row["low"] < row["wilson_low"], "Student's quantile for the normal one"
    assert row["design_effect"] == pytest.approx(1.0)


def test_the_order_of_a_pair_does_not_matter() -> None:
    votes = drawn_votes(np.random.default_rng(0), 20, 20)
    half = votes.index % 2 == 0
    turned = votes.copy()
    turned.loc[half, ["first", "second"]] = votes.loc[half, ["second", "first"]].to_numpy()
    turned.loc[half, "answer"] = votes.loc[half, "answer"].replace({"first": "second", "second": "first"})
    pd.testing.assert_frame_equal(preferences(votes), preferences(turned))


def test_copies_of_votes_tell_no_more() -> None:
    """Every vote ten times by the same rater on the same picture: the clustered interval stays, the plain one shrinks."""
    votes = votes_frame(answered(["first"] * 14 + ["second"] * 6))
    (once,), (often,) = (preferences(each).to_dict("records") for each in (votes, pd.concat([votes] * 10)))
    assert often["margin_high"] - often["margin_low"] == pytest.approx(once["margin_high"] - once["margin_low"])
    assert often["wilson_high"] - often["wilson_low"] < 0.5 * (once["wilson_high"] - once["wilson_low"])
    assert often["design_effect"] == pytest.approx(10, rel=0.06), "n - 1 for n in the plain variance"


def test_categories_are_rows_of_their_own() -> None:
    votes = votes_frame(answered(["first"] * 5, category="colour") + answered(["second"] * 3, category="object"))
    table = preferences(votes, "category")
    assert table[["category", "wins", "losses"]].to_numpy().tolist() == [["colour", 5, 0], ["object", 0, 3]]


def test_what_does_not_count_is_in_no_rate() -> None:
    others = [vote(kind="gold", expected="first"), vote(kind="duplicate"), vote(answer="", failure="refused", rater="r9")]
    votes = votes_frame(answered(["first", "second"]) + others)
    assert len(counted(votes)) == 2
    assert preferences(votes)["n"].tolist() == [2]
    assert raters(votes).set_index("rater").loc["r9", "failures"] == 1


def test_raters_are_known_by_their_gold_and_their_duplicates() -> None:
    votes = votes_frame(
        [
            vote(rater="good"),
            vote(rater="good", kind="duplicate", first_side="right"),
            vote(rater="good", kind="gold", expected="first", item="g", answer="first"),
            vote(rater="lefty"),
            vote(rater="lefty", kind="duplicate", first_side="right", answer="second"),
            vote(rater="lefty", kind="gold", expected="first", item="g", answer="first"),
            vote(rater="asleep", kind="gold", expected="first", item="g", answer="tie"),
            vote(rater="unsure"),
            vote(rater="unsure", kind="duplicate", first_side="right", answer="tie"),
        ]
    )
    table = raters(votes).set_index("rater")
    assert table["contradictions"].to_dict() == {"asleep": 0, "good": 0, "lefty": 1, "unsure": 0}
    assert table["gold_wrong"].to_dict() == {"asleep": 1, "good": 0, "lefty": 0, "unsure": 0}
    assert table.loc["lefty", "left"] == 1.0
    kept = {rule: set(believed(votes, rule)["rater"]) for rule in ("none", "gold", "duplicate", "any")}
    assert kept["none"] == {"good", "lefty", "asleep", "unsure"}
    assert kept["gold"] == {"good", "lefty", "unsure"}
    assert kept["duplicate"] == {"good", "asleep", "unsure"}
    assert kept["any"] == {"good", "unsure"}
    with pytest.raises(ScoreError, match="no rule 'all'"):
        believed(votes, "all")


def test_raters_of_ratings_are_known_too() -> None:
    gold = {"kind": "gold", "item": "g", "expected": "0"}
    votes = votes_frame(
        [
            rating(rater="good"),
            rating(rater="good", kind="duplicate", score=0.5),
            rating(rater="good", **gold, score=0.0),
            rating(rater="good", question="PQ", kind="gold", item="g", score=1.0),
            rating(rater="bad"),
            rating(rater="bad", kind="duplicate", score=0.0),
            rating(rater="bad", **gold, score=0.5),
        ]
    )
    table = raters(votes).set_index("rater")
    assert table[["gold", "gold_wrong", "contradictions"]].loc["good"].tolist() == [1, 0, 0]
    assert table[["gold", "gold_wrong", "contradictions"]].loc["bad"].tolist() == [1, 1, 1]


def test_ratings_are_means_and_the_root_of_their_product() -> None:
    rows = []
    for n, (sc, pq) in enumerate([(1.0, 1.0), (1.0, 0.5), (0.0, 1.0), (0.5, 0.5)]):
        about = {"rater": f"r{n}", "source_id": f"p{n}", "item": f"i{n}"}
        rows += [rating(**about, score=sc), rating(**about, question="PQ", score=pq)]
    table = ratings(votes_frame(rows)).set_index("score")
    assert table["mean"].to_dict() == pytest.approx({"SC": 0.625, "PQ": 0.75, "O": (1 + 0.5**0.5 + 0 + 0.5) / 4})
    assert table["high"].max() <= 1.0
    assert (table["low"] < table["mean"]).all()


def test_alpha_is_the_printed_one() -> None:
    """Three observers of fifteen units, four values, gaps: Krippendorff's own example, nominal 0.691."""
    observers = ("*****34121133*3", "1*213343*******", "**21344*21133*4")
    answers = dict(zip("1234", ("first", "second", "tie", "both_bad"), strict=True))
    rows = [
        vote(rater=f"r{number}", item=f"i{unit}", source_id=f"p{unit}", answer=answers[value])
        for number, line in enumerate(observers)
        for unit, value in enumerate(line)
        if value != "*"
    ]
    (row,) = agreement(votes_frame(rows)).to_dict("records")
    assert round(row["alpha"], 3) == 0.691
    assert row["low"] < row["alpha"] < row["high"]


def test_alpha_is_one_for_agreement_and_about_zero_for_chance() -> None:
    rng = np.random.default_rng(0)
    answers = np.array(["first", "second", "tie"])
    agreed, chance = [], []
    for item in range(60):
        own = str(rng.choice(answers))
        for rater in range(3):
            about = {"rater": f"r{rater}", "item": f"i{item}", "source_id": f"p{item // 2}"}
            agreed.append(vote(**about, answer=own))
            chance.append(vote(**about, answer=str(rng.choice(answers))))
    (full,), (none,) = (agreement(votes_frame(rows)).to_dict("records") for rows in (agreed, chance))
    assert full["alpha"] == pytest.approx(1.0)
    assert none["low"] < 0 < none["high"]
    assert (full["items"], full["raters"]) == (60, 3)


def test_alpha_of_ratings_takes_near_answers_for_near() -> None:
    rows = []
    for item in range(20):
        for rater in range(2):
            score = (item % 3) / 2
            near = min(score + 0.5 * rater * (item % 2), 1.0)
            rows.append(rating(rater=f"r{rater}", item=f"i{item}", source_id=f"p{item}", score=near))
    (row,) = agreement(votes_frame(rows)).to_dict("records")
    assert 0.4 < row["alpha"] < 1.0


def test_alpha_of_nothing_to_compare_is_undefined() -> None:
    (row,) = agreement(votes_frame(answered(["first", "second"]))).to_dict("records")
    assert np.isnan(row["alpha"])
    assert row["items"] == 0


def test_a_lean_to_the_left_is_seen() -> None:
    even, leaning = (sides(drawn_votes(np.random.default_rng(1), 100, 60, lean=lean)).iloc[0] for lean in (0.0, 1.0))
    assert even["low"] < 0.5 < even["high"]
    assert leaning["low"] > 0.55
    assert leaning["n"] > 1000


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "krippendorff", None)
    with pytest.raises(ScoreError, match=r"pip install 'etabench\[study\]'"):
        agreement(votes_frame(answered(["first", "second"])))
