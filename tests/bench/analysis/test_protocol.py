"""A run by the printed columns of its protocol: averaged as published, corrected beside it, missing with a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from benchmark_copies import write_json, write_picture
from fixtures_manifest import row, write_folder
from judge_server import MODEL, judge_server

from bench import api
from bench.analysis.protocol import by_protocol, departures, note
from bench.analysis.turns import turns
from bench.plan import Plan
from bench.scoring import Scores, read_scores
from bench.spec import Spec
from bench.spec.protocols import Asked, Protocol, ProtocolColumn

Laid = tuple[Spec, Plan, Scores]


def a_protocol(*columns: ProtocolColumn, **more: Any) -> Protocol:
    return Protocol("mine", "Mine", "a paper", "nowhere", {"fit": "squash"}, columns, **more)


PSNR = ProtocolColumn("PSNR", "higher", Asked("l1_truth"))


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Laid:
    """The copy of five samples: a session of three turns, and two more of another category."""
    folder = tmp_path_factory.mktemp("protocol")
    rows = [
        row(0, category="turn", cluster="a"),
        row(1, category="turn", cluster="a", previous="sample-0"),
        row(2, category="turn", cluster="a", previous="sample-1"),
        row(3, category="other", file_name="0.png", truth_file_name="1-truth.png", mask_file_name="0-mask.png"),
        row(
            4,
            file_name="1.png",
            truth_file_name="0-truth.png",
            mask_file_name=None,
            target_text="A horse. ",
            source_text="a horse",
        ),
    ]
    content = {
        "name": "test",
        "manifest": {"path": str(write_folder(folder / "manifest", rows))},
        "device": "cpu",
        "editors": ["copy"],
        "metrics": ["l1_truth", {"name": "psnr", "params": {"region": "background"}}, "mse"],
    }
    run = api.run(Spec.model_validate(content), folder / "run", scorable=False)
    api.score(run)
    return run.spec, run.plan, read_scores(run)


@pytest.fixture
def laid(scored: Laid, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pd.DataFrame]:
    """The rows of the run by a protocol of the test's own, by column."""

    def lay(protocol: Protocol) -> pd.DataFrame:
        monkeypatch.setattr("bench.analysis.protocol.protocol_of", lambda name: protocol)
        spec, plan, scores = scored
        return by_protocol(spec.model_copy(update={"protocol": "mine"}), plan, scores).set_index("column")

    return lay


def values(scored: Laid, metric: str = "l1_truth") -> pd.Series:
    pairs = scored[2].pairs
    return pairs[pairs["metric"] == metric].set_index("sample_id")["score"]


def test_a_run_without_a_protocol_has_no_rows(scored: Laid) -> None:
    spec, plan, scores = scored
    assert len(by_protocol(spec, plan, scores)) == 0
    assert (note(spec, plan), departures(spec, plan)) == ("", [])


def test_columns_are_in_printed_units_with_the_corrected_form_beside(scored: Laid, laid: Callable[..., pd.DataFrame]) -> None:
    both = replace(PSNR, name="both", scale=1000.0, corrected=Asked("mse"), corrected_scale=10.0)
    table = laid(a_protocol(PSNR, both))
    assert table.loc["PSNR", "mean"] == pytest.approx(values(scored).mean(), rel=1e-12)
    assert table.loc["both", "mean"] == pytest.approx(1000 * values(scored).mean(), rel=1e-12)
    assert table.loc["both", "corrected_mean"] == pytest.approx(10 * values(scored, "mse").mean(), abs=1e-12)
    assert table.loc["both", ["metric", "corrected_metric", "n", "expected", "reason"]].tolist() == ["l1_truth", "mse", 5, 5, ""]
    assert table.loc["PSNR", "low"] < table.loc["PSNR", "mean"] < table.loc["PSNR", "high"]
    assert np.isnan(table.loc["PSNR", "corrected_mean"])


def test_the_final_turn_is_the_last_of_each_session(scored: Laid, laid: Callable[..., pd.DataFrame]) -> None:
    table = laid(a_protocol(PSNR, samples="last turn"))
    found = values(scored)
    assert table.loc["PSNR", "mean"] == pytest.approx(found[["sample-2", "sample-3", "sample-4"]].mean(), rel=1e-12)
    assert table.loc["PSNR", "n"] == 3


def test_a_mean_of_categories_counts_each_once(scored: Laid, laid: Callable[..., pd.DataFrame]) -> None:
    one = replace(PSNR, name="other", category="other")
    table = laid(a_protocol(PSNR, one, mean="categories"))
    found = values(scored)
    groups = [found[["sample-0", "sample-1", "sample-2"]].mean(), found["sample-3"], found["sample-4"]]
    assert table.loc["PSNR", "mean"] == pytest.approx(np.mean(groups), rel=1e-12)
    assert table.loc["PSNR", "mean"] != pytest.approx(found.mean(), rel=1e-6)
    assert table.loc["other", ["mean", "n"]].tolist() == [pytest.approx(found["sample-3"]), 1]


def test_equal_captions_can_be_dropped(scored: Laid, laid: Callable[..., pd.DataFrame]) -> None:
    table = laid(a_protocol(PSNR, replace(PSNR, name="dropped", captions="differ")))
    assert table["n"].tolist() == [5, 4]
    assert table.loc["dropped", "mean"] == pytest.approx(values(scored).drop("sample-4").mean(), rel=1e-12)


def test_what_is_missing_says_why(laid: Callable[..., pd.DataFrame]) -> None:
    columns = [
        replace(PSNR, name="judged", metric=Asked("no_such_judge")),
        replace(PSNR, name="other", metric=Asked("ssim")),
        replace(PSNR, name="unnamed", metric=None, why="nobody says what it is"),
        replace(PSNR, name="params", metric=Asked("psnr", {"region": "whole"})),
        replace(PSNR, name="undefined", metric=Asked("psnr", {"region": "background"})),
    ]
    table = laid(a_protocol(*columns))
    assert table["reason"].tolist()[:4] == [
        "no metric no_such_judge is registered",
        "the run does not score ssim",
        "nobody says what it is",
        "the run does not score psnr (region: whole)",
    ]
    assert table["reason"].iloc[4] == "0 of 5 edits have a finite score", "a copy's PSNR is infinite, or there is no mask"
    assert table["mean"].isna().all()


def test_the_note_tells_where_the_run_departs(scored: Laid, monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = a_protocol(PSNR, seeds=(1,), chain="own")
    monkeypatch.setattr("bench.analysis.protocol.protocol_of", lambda name: protocol)
    spec = scored[0].model_copy(update={"protocol": "mine", "limit": 5})
    said = departures(spec, scored[1])
    assert said == [
        "fit center-crop instead of squash",
        "seeds 0 instead of 1",
        "turns from the truth chain",
        "5 samples, a part of the set",
    ]
    assert note(spec, scored[1]) == (
        "Mine; mean over samples; where published and corrected part: nowhere; this run departs from it: " + ", ".join(said)
    )


def test_turns_are_told_apart(scored: Laid) -> None:
    _, plan, scores = scored
    table = turns(plan, scores, {"copy": 0.0})
    own = table[table["metric"] == "l1_truth"].set_index("turn")
    found = values(scored)
    assert own["mean"].to_dict() == {
        1: pytest.approx(found[["sample-0", "sample-3", "sample-4"]].mean()),
        2: pytest.approx(found["sample-1"]),
        3: pytest.approx(found["sample-2"]),
    }
    assert own["n"].to_dict() == {1: 3, 2: 1, 3: 1}
    first = found["sample-0"]  # the other first turns belong to no session
    assert own["change"].to_dict() == {
        1: 0.0,
        2: pytest.approx(found["sample-1"] - first),
        3: pytest.approx(found["sample-2"] - first),
    }
    flat = replace(plan, samples=tuple(replace(sample, previous=None) for sample in plan.samples))
    assert len(turns(flat, scores, {"copy": 0.0})) == 0


def test_what_nobody_gave_is_the_reason_of_a_column_and_a_run_may_have_it_by_itself(
    scored: Laid, laid: Callable[..., pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked("psnr", {"region": {"given": "where"}})
    table = laid(a_protocol(replace(PSNR, metric=asked), needs={"where": "the part that counts"}))
    assert table.loc["PSNR", "metric"] == "psnr", "the run's own, whatever its region"
    unscored = Asked("ssim", {"region": {"given": "where"}})
    table = laid(a_protocol(replace(PSNR, metric=unscored), needs={"where": "the part that counts"}))
    assert table.loc["PSNR", "reason"] == "it needs what only you have, `--set given.where=...`: where: the part that counts"
    assert np.isnan(table.loc["PSNR", "mean"])
    spec = scored[0].model_copy(update={"given": {"where": "edited"}})
    monkeypatch.setattr("bench.analysis.protocol.protocol_of", lambda name: a_protocol(replace(PSNR, metric=asked)))
    given = by_protocol(spec.model_copy(update={"protocol": "mine"}), *scored[1:]).set_index("column")
    assert given.loc["PSNR", "reason"] == "the run does not score psnr (region: edited)"


def test_a_set_metric_is_a_column_of_whole_sets(scored: Laid, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, plan, scores = scored
    row = {"editor": "copy", "knob": None, "value": 0.0, "metric": "csfid", "score": 27.5, "low": 20.0, "high": 40.0, "n": 5}
    sets = pd.DataFrame([row | {"fingerprint": "f", "per_class": 1.0, "inputs": "", "note": None}])
    whole = ProtocolColumn("CSFID", "lower", Asked("csfid"), scale=2.0)
    protocol = a_protocol(whole, replace(whole, name="some", category="other"), reference="training pictures")
    monkeypatch.setattr("bench.analysis.protocol.protocol_of", lambda name: protocol)
    item = spec.metrics[0].model_copy(update={"name": "csfid"})
    spec = spec.model_copy(update={"protocol": "mine", "metrics": [*spec.metrics, item]})
    table = by_protocol(spec, plan, replace(scores, sets=sets)).set_index("column")
    assert table.loc["CSFID", ["mean", "low", "high", "n", "expected", "reason"]].tolist() == [55.0, 40.0, 80.0, 5, 5, ""]
    assert "no value of a part" in table.loc["some", "reason"]
    assert "set metrics compare with truths instead of training pictures" in departures(spec, plan)
    table = by_protocol(spec, plan, replace(scores, sets=sets.assign(score=np.nan, note="too few"))).set_index("column")
    assert table.loc["CSFID", "reason"] == "too few"


@pytest.mark.slow
def test_an_edit_is_judged_in_the_authors_words_for_its_type_and_averaged_as_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    kinds = {"1": "add", "2": "add", "3": "style"}
    for number, key in enumerate(kinds):
        write_picture(tmp_path / f"copy/{key}.png", number)
    entries = {key: {"id": f"{key}.png", "prompt": f"edit {key}", "edit_type": kind} for key, kind in kinds.items()}
    write_json(tmp_path / "copy/basic_edit.json", entries)
    write_json(tmp_path / "prompts.json", {"add": "Grade <edit_prompt>", "style": "Grade the style of <edit_prompt>"})
    replies = [f"say:Compliance: {grade}\nNaturalness: {grade}\nPhysics: 3" for grade in (1, 4, 5)]
    with judge_server(*replies) as server:
        judge = {"server": server.url, "model": MODEL, "retries": 0, "concurrency": 1}
        content = {
            "name": "test",
            "protocol": "imgedit-bench",
            "given": {"judge": judge, "prompts": str(tmp_path / "prompts.json")},
            "manifest": {"root": str(tmp_path / "copy"), "size": 40},
            "limit": 3,
            "device": "cpu",
            "editors": ["copy"],
            "metrics": [
                {
                    "name": "judge_prompts",
                    "params": {"form": "imgedit", "judge": judge, "prompts": str(tmp_path / "prompts.json")},
                }
            ],
        }
        run = api.run(Spec.model_validate(content), tmp_path / "run", scorable=False)
        scores = api.score(run)
    asked = [body["messages"][0]["content"][-1]["text"] for body in server.requests]
    assert sorted(asked) == ["Grade edit 1", "Grade edit 2", "Grade the style of edit 3"]
    table = by_protocol(run.spec, run.plan, scores).set_index("column")
    first, second, third = (2 * grade / 3 + 1 for grade in (1, 4, 5))
    assert table.loc["add", "mean"] == pytest.approx((first + second) / 2)
    assert table.loc["style", "mean"] == pytest.approx(third)
    assert table.loc["overall", "mean"] == pytest.approx(((first + second) / 2 + third) / 2), "each type counts once"
    assert table.loc["overall [own wording]", "reason"].startswith("the run does not score judge_rubric")
