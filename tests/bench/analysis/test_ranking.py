"""Who stands before whom: nobody wins by what they leave out."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_specs import ALL_METRICS, SpecMaker, editor
from made_scores import AXES, CARDS, curves_as_scores, entry, plan_of
from rich.console import Console

from bench import api
from bench.analysis.leaderboard import leaderboard
from bench.analysis.ranking import Standing, ahead, at_worst, common_ground, firsts
from bench.analysis.summary import counts, curves, units
from bench.commands import console
from bench.commands.report import report_data
from bench.plan import Plan, Unit
from bench.scoring import Scores
from bench.store import EditFile, Record
from bench.workers.crew import Options

EASY, HARD = slice(0, 4), slice(4, 8)


def planned(*labels: str, samples: int = 8) -> Plan:
    """Editors with one knob value and the anchors, on eight samples."""
    plan = plan_of(*(entry(label, (0.5,)) for label in labels), samples=samples)
    own = [{"sample": str(number), "sample_id": str(number), "seed": 0, "unit_seed": 0} for number in range(samples)]
    of = [Unit.of(e, s, {"editor": e}, own[s]) for e in range(len(labels)) for s in range(samples)]
    return replace(plan, units=tuple(of))


def board(
    plan: Plan,
    clip: dict[str, Any],
    lpips: dict[str, Any],
    undefined: tuple[tuple[str, slice], ...] = (),
    cards: dict[str, Any] | None = None,
) -> pd.DataFrame:
    """The leaderboard of scores (8,) per editor; what is NaN was refused, but for CLIP scores that are named as undefined."""
    tables = [{name: np.asarray(column, dtype=np.float64)[:, None] for name, column in each.items()} for each in (clip, lpips)]
    scores = curves_as_scores(plan, *tables)
    keys = {(plan.entries[u.entry].label, plan.samples[u.sample].id): u.key for u in plan.units}
    pairs = scores.pairs.assign(unit=[keys[row] for row in zip(scores.pairs["editor"], scores.pairs["sample_id"], strict=True)])
    pairs = pairs[pairs["score"].notna()]
    for name, where in undefined:
        gone = [sample.id for sample in plan.samples[where]]
        pairs.loc[(pairs["editor"] == name) & pairs["sample_id"].isin(gone) & (pairs["metric"] == "clip"), "score"] = np.nan
    scores = Scores(pairs, scores.sets.reindex(columns=["editor", "metric", "value", "fingerprint", "n"]), cards or BOUNDED)
    made = set(pairs["unit"])
    records = {
        u.key: Record(u.key, "done" if u.key in made else "failed", u.identity, edits=(EditFile(0.5, "", ""),) * (u.key in made))
        for u in plan.units
    }
    records = {key: replace(each, reason={"type": "no", "message": "no"}) for key, each in records.items()}
    unit_table = units(plan, records)
    count_table = counts(plan, unit_table, scores)
    made_of = curves(plan, scores, AXES)
    found = leaderboard(plan, scores, records, AXES, units=unit_table, counts=count_table, curve_table=made_of)
    return found.set_index("editor")


BOUNDED = CARDS | {
    "c": {"higher_is_better": True, "bounds": (0.0, 100.0)},
    "l": {"higher_is_better": False, "bounds": (0.0, None)},
}
BOTH = np.array([30.0] * 4 + [20.0] * 4)
"""CLIP scores of an editor that finds half of the samples hard."""
KEPT = np.array([0.1] * 4 + [0.5] * 4)


def refused(scores: Any, where: slice = HARD) -> Any:
    found = np.array(scores, dtype=np.float64)
    found[where] = np.nan
    return found


def test_an_editor_that_refuses_the_hard_half_does_not_win() -> None:
    """It is a little worse on the easy half, and far better than the mean of the other over everything."""
    plan = planned("honest", "picky")
    table = board(plan, {"honest": BOTH, "picky": refused(BOTH - 1)}, {"honest": KEPT, "picky": refused(KEPT + 0.01)})
    assert table["rank"].to_dict() == {"honest": 1, "picky": 2}
    assert table["clip"].to_dict() == {"honest": 30.0, "picky": 29.0}, "the easy half, for both"
    assert table["clip_best"].to_dict() == table["one_minus_lpips_best"].to_dict() == {"honest": True, "picky": False}
    assert table["clip_n"].to_dict() == {"honest": 4, "picky": 4}
    assert table["edits_percent"].to_dict() == {"honest": 100, "picky": 50}
    assert table.loc["honest", "standing"] == "on the 4 of 8 samples that all ranked editors have"


def test_between_equals_the_one_that_made_more_stands_first() -> None:
    table = board(planned("picky", "honest"), {"honest": BOTH, "picky": refused(BOTH)}, {"honest": KEPT, "picky": refused(KEPT)})
    assert table["rank"].to_dict() == {"honest": 1, "picky": 2}
    assert table.index[0] == "honest"
    assert table["clip_best"].to_dict() == {"honest": True, "picky": False}


def test_who_has_too_little_is_set_aside_and_said_so() -> None:
    plan = planned("easy only", "honest", "other")
    clip = {"easy only": refused(BOTH + 9, slice(3, 8)), "honest": BOTH, "other": BOTH - 1}
    lpips = {"easy only": refused(KEPT, slice(3, 8)), "honest": KEPT, "other": KEPT}
    table = board(plan, clip, lpips)
    assert table.index.tolist() == ["honest", "other", "easy only"]
    worst = "rank 3 with the 5 it lacks counted as worst (CLIP score 14.62, 1 − LPIPS has no lower end)"
    assert table.loc["easy only", "standing"] == f"not ranked: has 3 of 8 samples; {worst}"
    assert np.isnan(table.loc["easy only", "rank"])
    assert table["clip_best"].to_dict() == {"honest": True, "other": False, "easy only": False}
    assert table.loc["easy only", "clip"] == 39.0, "what it has is shown"
    assert table.loc["honest", "clip"] == 25.0, "and takes nothing from the others"


@pytest.mark.parametrize(("rest", "ranks"), [(-2.0, {"a": 1, "b": 1}), (-60.0, {"a": 1, "b": 2})], ids=["open", "decided"])
def test_pictures_returned_untouched_neither_win_nor_lose_by_being_dropped(rest: float, ranks: dict[str, int]) -> None:
    """b is untouched on the easy half, where its score is undefined, and worse on the rest: 50 or so in 0..100 may lie either way.

    On the hard half alone, and on what each has defined, a would always be first.
    """
    clip = {"a": np.full(8, 80.0), "b": np.full(8, 80.0 + rest)}
    lpips = {"a": np.full(8, 0.2), "b": np.full(8, 0.2)}
    table = board(planned("a", "b"), clip, lpips, undefined=(("b", EASY),))
    assert table["rank"].to_dict() == ranks
    decided = ranks["b"] == 2
    assert table["clip_best"].to_dict() == {"a": decided, "b": False}
    words = "" if decided else "undefined scores leave open whether before or after a"
    assert table.loc["b", "standing"] == words


def test_an_untouched_editor_does_not_win_by_its_defined_half_either() -> None:
    clip = {"a": BOTH, "b": np.array([0.0] * 4 + [21.0] * 4)}
    table = board(planned("a", "b"), clip, {"a": KEPT, "b": KEPT}, undefined=(("b", EASY),))
    assert table["rank"].to_dict() == {"a": 1, "b": 1}
    assert not table["clip_best"].any()


def test_what_is_undefined_for_all_has_no_say() -> None:
    clip, lpips = {"a": BOTH, "b": BOTH - 1}, {"a": KEPT, "b": KEPT}
    table = board(planned("a", "b"), clip, lpips, undefined=(("a", EASY), ("b", EASY)))
    assert table["rank"].to_dict() == {"a": 1, "b": 2}
    assert table["clip_best"].to_dict() == {"a": True, "b": False}
    assert table["clip_n"].to_dict() == {"a": 4, "b": 4}


def test_failing_pays_nothing_where_what_is_lacking_counts_as_worst() -> None:
    """picky is better wherever it answers, and first there; over all samples the honest editor is, and then who failed less."""
    plan = planned("honest", "picky", "choosy")
    clip = {"honest": BOTH, "picky": refused(BOTH + 9), "choosy": refused(BOTH + 5, slice(7, 8))}
    table = board(plan, clip, {name: np.where(np.isnan(each), np.nan, 0.2) for name, each in clip.items()})
    assert table["rank"].to_dict() == {"picky": 1, "choosy": 2, "honest": 3}
    assert table["rank_at_worst"].to_dict() == {"honest": 1, "choosy": 2, "picky": 3}
    words = "rank 2 with the 1 it lacks counted as worst (CLIP score 26.88, 1 − LPIPS has no lower end)"
    assert table.loc["choosy", "standing"].endswith(words), "(4 x 35 + 3 x 25 + 0) / 8"
    assert "counted as worst" not in table.loc["honest", "standing"]


def test_a_bounded_loss_can_be_made_up_for() -> None:
    """Between lower bounds on both axes, one failure in eight weighs as much as it does."""
    plan = planned("steady", "brilliant")
    clip = {"steady": np.full(8, 40.0), "brilliant": refused(np.full(8, 90.0), slice(7, 8))}
    lpips = {"steady": np.full(8, 0.5), "brilliant": refused(np.full(8, 0.1), slice(7, 8))}
    bounded = BOUNDED | {"l": {"higher_is_better": False, "bounds": (0.0, 1.0)}}
    table = board(plan, clip, lpips, cards=bounded)
    assert table["rank_at_worst"].to_dict() == {"brilliant": 1, "steady": 2}
    words = "rank 1 with the 1 it lacks counted as worst (CLIP score 78.75, 1 − LPIPS 0.7875)"
    assert table.loc["brilliant", "standing"].endswith(words), "7 x 90 / 8, and 1 - (7 x 0.1 + 1) / 8"


def test_ranks_at_worst_by_hand() -> None:
    endless = Standing(-np.inf, np.inf, 0.5)
    found = at_worst(
        {"a": Standing(1, 5, 0.9), "b": Standing(2, 2, 1.0), "c": endless, "d": Standing(-np.inf, 3, 0.6), "e": endless}
    )
    assert found == {"b": 1, "a": 2, "d": 3, "c": 4, "e": 4}


def test_common_ground_by_hand() -> None:
    full, half = set("abcdefgh"), set("abcd")
    assert common_ground({"x": full, "y": half}) == (["x", "y"], half)
    assert common_ground({"x": full, "y": set("abc")}) == (["x"], full), "three are fewer than half of eight"
    assert common_ground({"x": full, "y": set("abcde"), "z": set("efgh")}) == (["x", "y"], set("abcde")), "the fewest goes first"
    assert common_ground({"x": half, "y": set("efgh")}) == ([], set()), "two halves have nothing in common"
    assert common_ground({"x": half, "y": half}) == (["x", "y"], half), "a run under way is ranked on what it has"
    assert common_ground({"x": set(), "y": set()}) == common_ground({}) == ([], set())


def test_standing_before_another_by_hand() -> None:
    better, worse, open_ = Standing(2, 2, 1), Standing(1, 1, 1), Standing(0, 3, 1)
    assert ahead(better, worse)
    assert not ahead(worse, better)
    assert not any(ahead(open_, each) or ahead(each, open_) for each in (better, worse))
    assert ahead(Standing(1, 1, 1.0), Standing(1, 1, 0.5))
    assert firsts({"a": better, "b": worse}) == {"a"}
    assert firsts({"a": better, "b": better}) == {"a", "b"}
    assert firsts({"a": better, "b": open_}) == set()


@pytest.mark.slow
def test_sets_of_different_samples_are_not_compared_and_the_console_says_what_ranks_stand_on(
    make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = make_spec(editor("Fade"), editor("FailsOnce"), metrics=ALL_METRICS)
    run = api.run(both, tmp_path / "run", options=Options(executor="inline"))
    api.score(run)
    data, said = report_data(run), StringIO()
    monkeypatch.setattr(console, "out", Console(file=said, width=1000))
    console.print_leaderboard(data)
    console.print_statements(data)
    assert said.getvalue().split()[:3] == ["editor", "rank", "knob"]
    assert "Fade: on the 2 of 3 samples that all ranked editors have\n" in said.getvalue()
    assert "FailsOnce: on the 2 of 3 samples that all ranked editors have; rank 2 with the 1 it lacks counted" in said.getvalue()
    assert "2 samples are too few to prove any difference between editors" in said.getvalue()
    elsewhere = StringIO()
    monkeypatch.setattr(console, "out", Console(file=elsewhere, width=1000))
    console.print_leaderboard(replace(data, plane=replace(data.plane, editability="none", fidelity="none of it")))
    assert "CLIP" in elsewhere.getvalue().splitlines()[0], "the run's own metrics are shown, whether or not they are axes"
    table = data.leaderboard
    assert table["clip_best"].sum() > 0, "FailsOnce has two of three samples, on which it is Fade and ties"
    assert not table["fid_best"].any()
    whole = api.run(
        make_spec(editor("Fade"), editor("Fade", label="loud", preset="loud"), metrics=ALL_METRICS), tmp_path / "whole"
    )
    api.score(whole)
    assert report_data(whole).leaderboard["fid_best"].any()


def noisy(shift: float) -> np.ndarray[Any, Any]:
    """CLIP scores of 24 samples that an editor which is better by `shift` everywhere has."""
    return 50 + shift + np.random.default_rng(0).normal(0, 3, 24)


def ranges(clip: dict[str, Any], samples: int = 24) -> dict[str, tuple[float, float]]:
    """The ranks that are left open to editors of equal LPIPS; each sample has a picture of its own."""
    plan = planned(*clip, samples=samples)
    plan = replace(plan, samples=tuple(replace(sample, source_id=sample.id) for sample in plan.samples))
    table = board(plan, clip, {name: np.full(samples, 0.2) for name in clip})
    return {str(name): (low, high) for name, low, high in zip(table.index, table["rank_low"], table["rank_high"], strict=True)}


def test_editors_that_tests_tell_apart_have_one_rank_and_the_others_a_range() -> None:
    jitter = np.random.default_rng(1).normal(0, 1, 24)
    found = ranges({"far": noisy(9.0), "near": noisy(0.0), "beside": noisy(0.0) + jitter, "last": noisy(-9.0)})
    assert found == {"far": (1, 1), "near": (2, 3), "beside": (2, 3), "last": (4, 4)}


def test_so_few_pictures_that_no_test_can_prove_anything_leave_every_rank_open() -> None:
    assert ranges({"a": np.full(3, 60.0), "b": np.full(3, 40.0)}, samples=3) == {"a": (1, 2), "b": (1, 2)}


def test_an_undefined_score_of_one_of_two_leaves_their_ranks_open() -> None:
    plan, level = planned("a", "b"), np.full(8, 0.2)
    plan = replace(plan, samples=tuple(replace(sample, source_id=sample.id) for sample in plan.samples))
    table = board(plan, {"a": np.full(8, 80.0), "b": np.full(8, 20.0)}, {"a": level, "b": level})
    assert table["rank_high"].to_dict() == {"a": 1, "b": 2}
    table = board(plan, {"a": np.full(8, 80.0), "b": np.full(8, 20.0)}, {"a": level, "b": level}, undefined=(("b", slice(0, 1)),))
    assert table["rank"].to_dict() == {"a": 1, "b": 2}
    assert table["rank_high"].to_dict() == {"a": 2, "b": 2}


def test_an_editor_alone_is_first_and_one_set_aside_has_no_range() -> None:
    assert ranges({"a": noisy(0.0)}) == {"a": (1, 1)}
    plan = planned("honest", "picky")
    table = board(
        plan, {"honest": BOTH, "picky": refused(BOTH, slice(3, 8))}, {"honest": KEPT, "picky": refused(KEPT, slice(3, 8))}
    )
    assert (table.loc["honest", "rank_low"], table.loc["honest", "rank_high"]) == (1, 1)
    assert np.isnan(table.loc["picky", "rank_low"])
