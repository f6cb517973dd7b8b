"""The commands about judges, on a run of fake editors and a server on loopback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from fake_specs import PAIR_METRICS, SpecMaker, editor
from judge_server import MODEL, judge_server

from bench import api
from bench.scoring.preferences import read_preferences
from bench.scoring.validations import UNTRIED, Validation, recall, remember
from bench.store import Run
from bench.workers.crew import Options

pytestmark = pytest.mark.slow
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def run(make_spec: SpecMaker, tmp_path: Path) -> Run:
    """Two editors, scored."""
    spec = make_spec(editor("Fade"), editor("Fade", label="other", params={"gain": 0.5}), metrics=PAIR_METRICS)
    made = api.run(spec, tmp_path / "run", options=Options(executor="inline"), scorable=False)
    api.score(made)
    return made


def test_a_judge_compares_editors_in_both_orders_and_is_asked_once(run: Run, etabench: Command) -> None:
    with judge_server("ok") as server:
        told = json.dumps({"server": server.url, "model": MODEL})
        code, out, err = etabench("judge-pairs", run.path, "--judge", told, "--json")
        assert code == 0, err
        (row,) = json.loads(out)
        asked = len(server.requests)
        assert asked <= 2 * row["asked"]
        assert etabench("judge-pairs", run.path, "--judge", told, "--json")[1] == out
        assert len(server.requests) == asked
    assert (row["flip"] + row["tie"], row["failed"]) == (row["asked"], 0), "who always says first has flipped"
    table = read_preferences(run)
    assert table["vote"].eq("flip").all()
    assert table["failure"].isna().all()


def test_a_judge_that_was_not_tried_or_failed_has_a_dagger_beside_its_preferences(
    run: Run, spec_file: Callable[..., Path], tmp_path: Path, etabench: Command
) -> None:
    with judge_server("ok") as server:
        told = {"server": server.url, "model": MODEL}
        asked = ("judge-pairs", run.path, "--judge", json.dumps(told))
        code, out, err = etabench(*asked)
        assert (code, f"{MODEL} †" in out, f"note: {MODEL} †: {UNTRIED}" in err) == (0, True, True)
        spec = spec_file(editor("Fade"), metrics=[*PAIR_METRICS, {"name": "judge_rubric", "params": {"judge": told}}])
        etabench("validate-judge", spec, "--out", tmp_path / "tried", "--samples", "6", "--size", "32")
        (row,) = json.loads(etabench(*asked, "--json")[1])
        assert row["doubt"].startswith("its judge failed ")
        assert "black picture" in row["doubt"]
        (file,) = (tmp_path / "state" / "etabench" / "judges").glob("*.json")
        known = Validation.model_validate_json(file.read_bytes())
        remember(file.stem, known.model_copy(update={"failed": [], "passed": known.failed}))
        code, out, err = etabench(*asked)
        assert (code, "†" in out + err) == (0, False)


def test_failures_of_pairs_are_counted_and_are_no_ties(run: Run, etabench: Command) -> None:
    with judge_server("refuse") as server:
        told = json.dumps({"server": server.url, "model": MODEL})
        (row,) = json.loads(etabench("judge-pairs", run.path, "--judge", told, "--json")[1])
    assert (row["tie"], row["failed"]) == (0, row["asked"])
    assert row["preferred"] is None


def test_agreement_lays_votes_beside_every_metric(run: Run, tmp_path: Path, etabench: Command) -> None:
    scores = api.score(run).pairs
    rows = scores[scores["metric"] == "clip"][["sample_id", "editor", "value", "score"]]
    rows.assign(rater="ann").to_csv(tmp_path / "people.csv", index=False)
    code, out, err = etabench("agreement", run.path, "--votes", tmp_path / "people.csv", "--json")
    assert code == 0, err
    found = pd.DataFrame(json.loads(out)).set_index(["first", "second"])
    assert found.loc[("people", "clip"), "agreement"] == 1.0
    assert ("people", "lpips") in found.index
    code, _, err = etabench("agreement", run.path)
    assert (code, "no judge and no votes" in err) == (2, True)
    (tmp_path / "clip.csv").write_text((tmp_path / "people.csv").read_text())
    code, _, err = etabench("agreement", run.path, "--votes", tmp_path / "clip.csv")
    assert (code, "clip is the name of two" in err) == (2, True)


def _preferences(rows: pd.DataFrame) -> str:
    """For the better of two edits of each sample."""
    lines = []
    for sample, own in rows.groupby("sample_id"):
        worst, *_, best = own.sort_values("score").to_dict("records")
        lines.append(f"ann,{sample},{worst['editor']},{worst['value']},{best['editor']},{best['value']},second\n")
    return "".join(lines)


def test_votes_are_read_before_anything_is_made_and_two_of_one_name_are_told_apart(
    run: Run, tmp_path: Path, etabench: Command
) -> None:
    """Every study calls its votes the same, and a typing error in them must not cost the hours of a run."""
    scores = api.score(run).pairs
    rows = scores[scores["metric"] == "clip"][["sample_id", "editor", "value", "score"]].assign(rater="ann")
    files = [tmp_path / name / "votes.csv" for name in ("one", "two", "pairs")]
    for file in files:
        file.parent.mkdir()
    files[2].write_text("rater,sample_id,first,first_value,second,second_value,vote\n" + _preferences(rows))
    for file, sign in zip(files[:2], (1, -1), strict=True):
        rows.assign(score=rows["score"] * sign).to_csv(file, index=False)
    told = [word for file in files for word in ("--votes", file)]
    spec = run.path / "spec.yaml"
    code, out, err = etabench("validate-metrics", spec, "--out", run.path, *told, "--json")
    assert code == 0, err
    table = pd.DataFrame(json.loads(out, parse_constant=pytest.fail)).set_index(["metric", "truth"])
    assert [table.loc[("clip", f"votes of {name}/votes"), "agreement"] for name in ("one", "two", "pairs")] == [1.0, 0.0, 1.0]
    code, out, err = etabench("agreement", run.path, *told, "--json")
    assert code == 0, err
    assert {"one/votes", "two/votes"} <= {row["first"] for row in json.loads(out)}
    code, _, err = etabench("validate-metrics", spec, "--out", tmp_path / "new", "--votes", tmp_path / "gone.csv")
    assert (code, "gone.csv cannot be read as votes" in err) == (2, True)
    assert not (tmp_path / "new").exists()


def test_a_judge_that_always_says_the_same_fails_and_is_remembered(
    spec_file: Callable[..., Path], tmp_path: Path, etabench: Command
) -> None:
    with judge_server("ok") as server:
        metric = {"name": "judge_rubric", "params": {"judge": {"server": server.url, "model": MODEL}}}
        spec = spec_file(editor("Fade"), metrics=[*PAIR_METRICS, metric])
        where = ("--out", tmp_path / "tried", "--samples", "6", "--size", "32")
        code, out, err = etabench("validate-judge", spec, *where)
        assert code == 1, err
        assert "judge_rubric: fails black picture" in out
        asked = len(server.requests)
        code, out, _ = etabench("validate-judge", spec, *where, "--json")
        assert (code, len(server.requests)) == (1, asked), "answers are kept"
    rows = json.loads(out)
    assert {row["metric"] for row in rows} == {"judge_rubric"}
    (table,) = (tmp_path / "tried").glob("*.csv")
    known = recall(table.stem)
    assert known is not None
    assert known.failed == [row["check"] for row in rows if not row["passed"]]


def test_a_spec_without_a_judge_is_told_how_to_have_one(
    spec_file: Callable[..., Path], tmp_path: Path, etabench: Command
) -> None:
    code, _, err = etabench("validate-judge", spec_file(editor("Fade")), "--out", tmp_path / "tried")
    assert code == 2
    assert "no metric of the spec is said by a judge" in err
