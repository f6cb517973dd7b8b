from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.analysis.judges import TRUTHS, brief, judge, markdown
from bench.errors import ScoreError

CARDS: dict[str, dict[str, Any]] = {
    "up": {"higher_is_better": True},
    "down": {"higher_is_better": False},
}
TRUTH = next(iter(TRUTHS))


def table(metrics: dict[str, tuple[str, np.ndarray]], sources: int, cells: int) -> pd.DataFrame:
    """Pair scores: name -> (fingerprint, (sources, cells) scores)."""
    rows = [
        {"unit": f"{s}-{c}", "source_id": str(s), "editor": f"e{c % 3}", "value": c / 10, "metric": name,
         "score": scores[s, c], "fingerprint": print_}
        for name, (print_, scores) in metrics.items()
        for s in range(sources)
        for c in range(cells)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def only(found: pd.DataFrame, metric: str) -> pd.Series[Any]:
    return found[found["metric"] == metric].iloc[0]


NO_SETS = pd.DataFrame(columns=["editor", "value", "metric", "score", "fingerprint"])


def test_a_metric_that_follows_the_truth_a_reversed_one_and_a_coin() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(30, 9))
    found = judge(
        table(
            {
                TRUTH: ("up", truth),
                "follows": ("up", np.exp(truth)),
                "loss": ("down", -truth),
                "against": ("up", -truth),
                "coin": ("up", rng.normal(size=truth.shape)),
            },
            *truth.shape,
        ),
        NO_SETS,
        CARDS,
    )
    for name, rho, agreement in (("follows", 1, None), ("loss", 1, 1), ("against", -1, 0)):
        row = only(found, name)
        assert row["rho"] == pytest.approx(rho, abs=1e-12)
        assert row["low"] == pytest.approx(rho, abs=1e-12)
        if agreement is not None:
            assert row["agreement"] == agreement
    coin = only(found, "coin")
    assert coin["low"] < 0 < coin["high"], "an interval of a coin that excludes zero (seeded, so it does not waver)"
    assert coin["n"] == truth.size
    text = markdown(found, "Tried on coins.")
    assert f"## {TRUTHS[TRUTH].capitalize()}" in text
    assert f"- **{TRUTHS[TRUTH]}**: `follows` goes with it best." in text
    assert "](m.png)" in markdown(found, "", "m.png")
    assert "| follows | 1.00 | 1.00 to 1.00 |" in text


def test_undefined_scores_are_left_out_and_counted() -> None:
    truth = np.random.default_rng(1).normal(size=(10, 6))
    holes = truth.copy()
    holes[:, 0] = np.nan
    row = only(judge(table({TRUTH: ("up", truth), "holes": ("up", holes)}, 10, 6), NO_SETS, CARDS), "holes")
    assert row["n"] == 50
    assert row["undefined"] == pytest.approx(1 / 6)


def test_edits_of_one_source_are_resampled_together() -> None:
    """With all variation between sources, the interval must be that of few sources, not of many edits."""
    rng = np.random.default_rng(2)
    between = np.repeat(rng.normal(size=(8, 1)), 40, axis=1)
    noisy = np.repeat(rng.normal(size=(8, 1)), 40, axis=1) + 0.5 * between
    row = only(judge(table({TRUTH: ("up", between), "m": ("up", noisy)}, 8, 40), NO_SETS, CARDS), "m")
    assert row["high"] - row["low"] > 0.5, "320 independent edits would give about 0.2"


def test_a_set_metric_is_judged_over_cells_without_an_interval() -> None:
    truth = np.tile(np.arange(6.0), (5, 1))
    sets = pd.DataFrame(
        [{"editor": f"e{c % 3}", "value": c / 10, "metric": "fid", "score": -float(c), "fingerprint": "down"} for c in range(6)]
    )
    row = only(judge(table({TRUTH: ("up", truth)}, 5, 6), sets, CARDS), "fid")
    assert (row["rho"], row["agreement"], row["n"]) == (1.0, 1.0, 6)
    assert np.isnan(row["low"])


def test_without_a_truth_it_says_what_to_score() -> None:
    with pytest.raises(ScoreError, match="toybox_success"):
        judge(table({"m": ("up", np.ones((2, 2)))}, 2, 2), NO_SETS, CARDS)


def test_a_metric_without_a_direction_is_not_judged() -> None:
    truth = np.random.default_rng(1).normal(size=(10, 4))
    pairs = table({TRUTH: ("up", truth), "share": ("neither", truth), "follows": ("up", truth)}, *truth.shape)
    found = judge(pairs, NO_SETS, CARDS | {"neither": {"higher_is_better": None}})
    assert found["metric"].tolist() == ["follows"]


def voted(metrics: dict[str, np.ndarray]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Pair scores of samples that have names and one seed, and an empty table of sets."""
    shape = next(iter(metrics.values())).shape
    pairs = table({name: ("up", scores) for name, scores in metrics.items()}, *shape)
    return pairs.assign(sample_id="s" + pairs["source_id"], seed=0), NO_SETS


def test_scores_of_people_are_a_truth_beside_toyboxs() -> None:
    rng = np.random.default_rng(5)
    felt, rendered = rng.normal(size=(12, 6)), rng.normal(size=(12, 6))
    pairs, sets = voted({TRUTH: rendered, "felt": felt, "rendered": rendered + 0.0})
    rows = pairs[pairs["metric"] == "felt"]
    people = [rows.assign(rater=name, score=rows["score"] + shift) for name, shift in (("ann", 1.0), ("bob", -1.0))]
    votes = pd.concat(people)[["rater", "sample_id", "source_id", "editor", "value", "score"]].iloc[: 12 * 6 + 36]
    found = judge(pairs, sets, CARDS, votes={"votes of people": votes}).set_index(["truth", "metric"])
    assert found.loc[(TRUTHS[TRUTH], "rendered"), "rho"] == pytest.approx(1)
    assert found.loc[("votes of people", "felt"), "n"] == 72, "an edit that one of them voted on counts"
    assert found.loc[("votes of people", "felt"), "rho"] > 0.6 > abs(found.loc[("votes of people", "rendered"), "rho"])
    alone = judge(pairs[pairs["metric"] != TRUTH], sets, CARDS, votes={"votes of people": votes})
    assert set(alone["truth"]) == {"votes of people"}


def test_preferences_have_an_agreement_and_no_rho() -> None:
    rng = np.random.default_rng(6)
    felt = rng.normal(size=(12, 6))
    pairs, sets = voted({"felt": felt, "against": -felt})
    places = [("e0", 0.0), ("e1", 0.1)]
    votes = pd.DataFrame(
        [
            {"rater": "ann", "sample_id": f"s{s}", "source_id": str(s), "first": places[0][0], "first_value": places[0][1],
             "second": places[1][0], "second_value": places[1][1], "vote": "first" if felt[s, 0] > felt[s, 1] else "second"}
            for s in range(12)
        ]
    )  # fmt: skip
    found = judge(pairs, sets, CARDS, votes={"votes of people": votes})
    assert found["metric"].tolist() == ["felt", "against"], "the best first"
    assert found["agreement"].tolist() == [1.0, 0.0]
    assert found["n"].tolist() == [12, 12]
    assert found["rho"].isna().all()
    assert "votes of people" not in markdown(found, "").partition("## Votes")[0], "no answer in short without a rho"


def test_a_doubtful_judge_has_a_dagger_and_the_reason_in_every_form() -> None:
    truth = np.random.default_rng(0).normal(size=(6, 4))
    cards = CARDS | {"said": {"higher_is_better": True, "doubt": "its judge failed 1 of 9 checks: black picture"}}
    found = judge(table({TRUTH: ("up", truth), "clip": ("up", truth), "judge_vie": ("said", truth)}, 6, 4), NO_SETS, cards)
    assert dict(zip(found["metric"], found["doubt"], strict=True)) == {"clip": "", "judge_vie": cards["said"]["doubt"]}
    assert {row["metric"] for row in brief(found)} == {"clip", "judge_vie †"}
    page = markdown(found, "Tried.")
    assert "| judge_vie † | 1.00 |" in page
    assert page.endswith("\n\n- judge_vie †: its judge failed 1 of 9 checks: black picture.\n")
    assert "†" not in markdown(found[found["metric"] == "clip"], "Tried.")
