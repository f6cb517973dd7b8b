from __future__ import annotations

import evalica
import numpy as np
import pandas as pd
import pytest
from made_votes import STRENGTHS, drawn_votes, vote

from bench.analysis.strengths import strengths_of
from bench.scoring.votes import votes_frame

PUDDINGS = """
1 2 19 22 16  1 3 16 19 12  2 3 19 19 10  1 4 18 23 13  2 4 23 19 9  3 4 19 20 15  1 5 13 19 18  2 5 16 20 12
3 5 16 15 17  4 5 17 14 16  1 6 18 21 12  2 6 22 20 12  3 6 13 18 10  4 6 14 19 18  5 6 11 21 12
"""
"""Davidson's (1970) comparisons of six chocolate puddings: two brands, votes for the first, for the second, for neither."""
LEAGUE = """
Milwaukee Detroit 7 6  Milwaukee Toronto 9 4  Milwaukee NewYork 7 6  Milwaukee Boston 7 6  Milwaukee Cleveland 9 4
Milwaukee Baltimore 11 2  Detroit Toronto 7 6  Detroit NewYork 5 8  Detroit Boston 11 2  Detroit Cleveland 9 4
Detroit Baltimore 9 4  Toronto NewYork 7 6  Toronto Boston 7 6  Toronto Cleveland 8 5  Toronto Baltimore 12 1
NewYork Boston 6 7  NewYork Cleveland 7 6  NewYork Baltimore 10 3  Boston Cleveland 7 6  Boston Baltimore 12 1
Cleveland Baltimore 6 7
"""
"""The American League East of 1987 (Agresti 2002, Table 10.10): two teams, games that the first and the second won."""


def counted(table: str, width: int) -> pd.DataFrame:
    """One vote of a rater of its own for each of the counts in the table; sides in turn."""
    words = table.split()
    rows = []
    for start in range(0, len(words), width):
        first, second, *counts = words[start : start + width]
        for answer, count in zip(("first", "second", "tie"), counts, strict=False):
            rows += [
                vote(first=first, second=second, answer=answer, rater=f"r{len(rows) + n}", item=f"{start}")
                for n in range(int(count))
            ]
    return votes_frame(rows)


def test_printed_strengths_with_ties_are_found_again() -> None:
    """Davidson (1970), as the R package PlackettLuce prints it: worths that sum to 1, and the tie parameter."""
    found = strengths_of(counted(PUDDINGS, 5))
    worth = np.exp(found.table.sort_values("editor")["strength"].to_numpy())
    assert (worth / worth.sum()).round(3).tolist() == [0.139, 0.173, 0.162, 0.165, 0.159, 0.202]
    assert round(found.tie, 3) == 0.747


def test_printed_strengths_without_ties_are_found_again() -> None:
    """Agresti (2002), Table 10.11: strengths over Baltimore's, to two decimals; standard errors are about 0.3."""
    found = strengths_of(counted(LEAGUE, 4))
    strengths = found.table.set_index("editor")["strength"]
    assert sorted((strengths - strengths["Baltimore"]).round(2)) == [0.0, 0.68, 1.11, 1.25, 1.29, 1.44, 1.58]
    assert found.tie == 0.0
    gaps = found.differences[found.differences["first"] == "Baltimore"]
    errors = (gaps["high"] - gaps["low"]) / (2 * 1.97)
    assert errors.between(0.25, 0.35).all()


def test_the_fit_is_that_of_a_library() -> None:
    """Evalica's Newman iteration fits the same model without the side; it stops at 1e-6 a step, hence the tolerance."""
    votes = drawn_votes(np.random.default_rng(1), 60, 30).assign(first_side="left")
    winners = votes["answer"].map({"first": evalica.Winner.X, "second": evalica.Winner.Y, "tie": evalica.Winner.Draw})
    theirs = np.log(evalica.newman(votes["first"], votes["second"], winners, solver="naive", limit=1000).scores)
    ours = strengths_of(votes).table.set_index("editor")["strength"]
    assert np.allclose(ours[theirs.index], theirs - theirs.mean(), atol=1e-4)


def test_the_side_is_told_from_the_strength() -> None:
    found = strengths_of(drawn_votes(np.random.default_rng(2), 400, 100, lean=0.8))
    delta, low, high = found.position
    assert high - low < 0.3
    assert abs(delta - 0.8) < high - low, "four standard errors"
    strengths = found.table.set_index("editor")["strength"]
    assert np.allclose(strengths[list("abcd")], np.array(STRENGTHS) - np.mean(STRENGTHS), atol=0.15), "four standard errors"


def test_a_side_that_never_changes_is_not_guessed_at() -> None:
    votes = drawn_votes(np.random.default_rng(3), 30, 30).assign(first_side="left")
    assert np.isnan(strengths_of(votes).position).all()


def test_order_and_names_of_a_pair_do_not_matter() -> None:
    votes = drawn_votes(np.random.default_rng(4), 30, 30, lean=0.3)
    turned = votes.assign(
        first=votes["second"],
        second=votes["first"],
        answer=votes["answer"].replace({"first": "second", "second": "first"}),
        first_side=votes["first_side"].map({"left": "right", "right": "left"}),
    ).sample(frac=1, random_state=1)
    one, other = strengths_of(votes), strengths_of(turned)
    pd.testing.assert_frame_equal(one.table, other.table)
    assert one.position == pytest.approx(other.position)


def test_ties_and_both_bad_prefer_nobody_alike() -> None:
    votes = drawn_votes(np.random.default_rng(5), 30, 30)
    bad = votes.assign(answer=votes["answer"].replace("tie", "both_bad"))
    pd.testing.assert_frame_equal(strengths_of(votes).table, strengths_of(bad).table)


def test_who_won_or_lost_everything_has_no_number() -> None:
    base = [vote(answer=answer, rater=f"r{n}", source_id=f"p{n}") for n, answer in enumerate(("first", "second", "tie") * 3)]
    unbeaten = [vote(first="c", second=other, rater=f"r{n}", source_id=f"p{n}") for n in range(4) for other in "ab"]
    hopeless = [vote(first=other, second="d", rater=f"r{n}", source_id=f"p{n}") for n in range(4) for other in "ab"]
    apart = [vote(first="e", second="f", rater="r1", answer="second")]
    found = strengths_of(votes_frame(base + unbeaten + hopeless + apart))
    strengths = found.table.set_index("editor")["strength"]
    assert strengths.notna().to_dict() == {"a": True, "b": True, "c": False, "d": False, "e": False, "f": False}
    assert found.without["c"].startswith("won every vote")
    assert found.without["d"].startswith("lost every vote")
    assert found.without["e"].startswith("was not compared")


@pytest.mark.parametrize("answers", [["tie", "both_bad"], ["first"], []])
def test_votes_that_tell_nothing_give_nothing(answers: list[str]) -> None:
    found = strengths_of(votes_frame([vote(answer=answer) for answer in answers]))
    assert found.table["strength"].isna().all()
    assert len(found.differences) == 0
    assert set(found.without) == ({"a", "b"} if answers else set())


def test_one_judge_is_clustered_by_picture_alone() -> None:
    votes = drawn_votes(np.random.default_rng(6), 40, 30).assign(rater="judge")
    one = strengths_of(votes)
    assert one.table[["low", "high"]].notna().all(axis=None)
    lone = strengths_of(votes.assign(source_id="p"))
    assert lone.table[["low", "high"]].isna().all(axis=None)
    assert lone.differences["p"].isna().all()
    assert np.allclose(lone.table["strength"], one.table["strength"])


@pytest.mark.slow
def test_intervals_hold_the_strengths_as_often_as_they_say() -> None:
    """100 studies in which editors differ from picture to picture and raters from each other; the truth is the fit of a huge study.

    400 intervals that hold the truth with 0.95 each have a standard deviation of 1.1 % between them, and more as they are not
    independent: 90 % is four of these off. Intervals that take votes for independent hold it far less often.
    """
    spread = {"source_sd": 0.8, "rater_sd": 0.6}
    huge = drawn_votes(np.random.default_rng(7), 3000, 3000, **spread)
    truth = strengths_of(huge).table.set_index("editor")["strength"]
    held = {"clustered": 0.0, "independent": 0.0}
    for seed in range(100):
        votes = drawn_votes(np.random.default_rng([8, seed]), 25, 15, **spread)
        alone = votes.assign(rater=[f"r{n}" for n in range(len(votes))], source_id=[f"p{n}" for n in range(len(votes))])
        for name, own in (("clustered", votes), ("independent", alone)):
            table = strengths_of(own).table.set_index("editor").loc[truth.index]
            held[name] += float(((table["low"] <= truth) & (truth <= table["high"])).mean()) / 100
    assert 0.9 < held["clustered"] < 0.99
    assert held["independent"] < held["clustered"] - 0.05
