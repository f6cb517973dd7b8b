"""Judged scores in a run: answers are kept for good, failures are missing with their reason, and nothing is paid for twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_specs import PAIR_METRICS, SpecMaker, editor
from judge_server import MODEL, JudgeServer, judge_server
from judges_told import Told, brightness

from bench import api
from bench.analysis.baseline import write_baseline
from bench.analysis.summary import curves
from bench.commands.report import report_data
from bench.errors import BaselineError, RunError
from bench.scoring import read_scores, validations
from bench.scoring.answers import AnswerBook
from bench.scoring.axes import Axes
from bench.scoring.validations import Validation
from bench.spec import Spec
from bench.store import Run
from bench.trust import code_of_metrics, demand
from bench.workers.crew import Options
from metrics.judges.answers import Failure, Question, Reply
from metrics.judges.forms import RUBRIC

pytestmark = pytest.mark.slow
INLINE = Options(executor="inline")


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def judged(server: JudgeServer, **more: Any) -> dict[str, Any]:
    judge = {"server": server.url, "model": MODEL, "retries": 0, "concurrency": 1, "key": "ETABENCH_TEST_KEY"} | more
    return {"name": "judge_rubric", "params": {"judge": judge}}


def made(make_spec: SpecMaker, tmp_path: Path, *metrics: dict[str, Any]) -> Run:
    spec: Spec = make_spec(editor("Fade"), metrics=[*PAIR_METRICS, *metrics])
    return api.run(spec, tmp_path / "run", options=INLINE, scorable=False)


def lines(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.scores / "answers.jsonl").read_text().splitlines()]


def test_an_edit_without_an_answer_is_missing_with_its_reason_and_no_number(make_spec: SpecMaker, tmp_path: Path) -> None:
    with judge_server("ok", "refuse", "rubbish", "filter", "ok") as server:
        run = made(make_spec, tmp_path, judged(server))
        scores = api.score(run)
    rows = scores.pairs[scores.pairs["metric"] == "judge_rubric"]
    edits = len(scores.pairs[scores.pairs["metric"] == scores.pairs["metric"].iloc[0]])
    assert len(rows) == edits - 3
    assert (rows["score"] == 3.0).all()
    assert sorted(scores.unanswered["kind"]) == ["refused", "safety", "unparsable"]
    assert "I will not." in scores.unanswered.set_index("kind").loc["refused", "reason"]
    assert read_scores(run).unanswered.equals(scores.unanswered)
    curve = curves(run.plan, scores, Axes.of(run.spec.axes, scores))
    curve = curve[curve["metric"] == "judge_rubric"]
    assert (curve["mean"].dropna() == 3.0).all()
    short = curve[curve["coverage"] < 1]
    assert len(short)
    assert (short["bound_low"] < 3.0).all()
    assert (short["bound_high"] > 3.0).all()
    assert curve["undefined"].sum() == 0


def test_the_report_names_failures_and_an_untried_judge(make_spec: SpecMaker, tmp_path: Path) -> None:
    with judge_server("refuse", "ok") as server:
        run = made(make_spec, tmp_path, judged(server))
        scores = api.score(run)
    said = report_data(run).warnings
    print_ = scores.pairs.loc[scores.pairs["metric"] == "judge_rubric", "fingerprint"].iloc[0]
    assert any(text.startswith("judge_rubric: no verdict on 1 of ") and "(1 refused)" in text for text in said)
    assert f"judge_rubric †: {validations.UNTRIED}." in said
    known = Validation(metric="judge_rubric", judges="j", day="2026-01-01", passed=["ground truth"], failed=["black picture"])
    validations.remember(print_, known)
    api.score(run)
    assert "judge_rubric †: its judge failed 1 of 2 checks: black picture." in report_data(run).warnings
    validations.remember(print_, known.model_copy(update={"failed": []}))
    api.score(run)
    assert not any("†" in text for text in report_data(run).warnings)


def test_scoring_again_asks_only_what_may_pass(make_spec: SpecMaker, tmp_path: Path) -> None:
    with judge_server("ok", "refuse", "down", "ok") as server:
        run = made(make_spec, tmp_path, judged(server))
        first = api.score(run)
        asked = len(server.requests)
        assert sorted(first.unanswered["kind"]) == ["refused", "transport"]
        second = api.score(run)
        assert len(server.requests) == asked + 1
    assert list(second.unanswered["kind"]) == ["refused"]
    assert len(second.pairs) == len(first.pairs) + 1
    assert len(lines(run)) == asked + 1


def test_reading_answers_anew_needs_no_server(make_spec: SpecMaker, tmp_path: Path) -> None:
    with judge_server("ok", "refuse", "ok") as server:
        run = made(make_spec, tmp_path, judged(server))
        before = api.score(run)
    for name in ("pairs", "unanswered"):
        (run.scores / f"{name}.parquet").unlink()
    after = api.score(run)
    pd.testing.assert_frame_equal(after.pairs, before.pairs)
    pd.testing.assert_frame_equal(after.unanswered, before.unanswered)


def test_a_budget_stops_the_asking_and_the_next_scoring_goes_on(make_spec: SpecMaker, tmp_path: Path) -> None:
    with judge_server("ok") as server:
        run = made(make_spec, tmp_path, judged(server, budget=2))
        first = api.score(run)
        assert len(server.requests) == 2
        assert set(first.unanswered["kind"]) == {"over_budget"}
        second = api.score(run)
        assert len(server.requests) == 4
    count = [int((each.pairs["metric"] == "judge_rubric").sum()) for each in (first, second)]
    assert count[1] > count[0]


def test_a_server_that_refuses_all_costs_its_own_column(make_spec: SpecMaker, tmp_path: Path) -> None:
    with judge_server("nomodel") as server:
        run = made(make_spec, tmp_path, judged(server))
        scores = api.score(run)
    assert "has no such model" in scores.failed["judge_rubric"]
    assert set(scores.pairs["metric"]) == {"clip", "lpips"}


def test_a_baseline_says_that_a_judge_was_silent(make_spec: SpecMaker, tmp_path: Path) -> None:
    with judge_server("refuse", "ok") as server:
        run = made(make_spec, tmp_path, judged(server))
        api.score(run)
        with pytest.raises(BaselineError, match="its judge gave no verdict"):
            write_baseline([run], {}, tmp_path / "baseline.json")


def test_the_key_is_in_no_file_of_the_run(make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETABENCH_TEST_KEY", "sk-very-secret")
    with judge_server("ok") as server:
        run = made(make_spec, tmp_path, judged(server))
        api.score(run)
        assert server.headers[0]["Authorization"] == "Bearer sk-very-secret"
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and b"sk-very-secret" in file.read_bytes()]


def test_a_run_folder_from_elsewhere_sends_nothing_to_its_server(
    make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with judge_server("ok") as server:
        run = made(make_spec, tmp_path, judged(server))
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another account"))
        monkeypatch.setattr("bench.trust._here", set())
        with pytest.raises(RunError, match="and 2 more; read it, then add --trust"):
            api.score(Run.open(run.path))
        asks = [name for name in code_of_metrics(run.spec) if name.startswith("judge at")]
        with pytest.raises(RunError, match=r"run would ask a judge that .*: judge at http.* with \$ETABENCH_TEST_KEY; read it"):
            demand(run.path, asks)
        assert server.requests == []
        api.score(Run.open(run.path), trust=True)
        assert server.requests


def question(level: int) -> Question:
    pictures = tuple(np.full((2, 2, 3), each, dtype=np.uint8) for each in (0, level))
    return Question(RUBRIC.asks[0], "brighter", pictures)


def test_a_book_outlives_half_a_line_and_a_damaged_one(tmp_path: Path) -> None:
    judge, path = Told(brightness), tmp_path / "scores" / "answers.jsonl"
    book = AnswerBook(path)
    for level, reply in ((1, Reply("one")), (2, Reply("two", Failure("refused", "no"), "m", {"tokens": 3}))):
        book.add(judge.key(question(level)), judge, question(level), reply)
    whole = path.read_bytes()
    path.write_bytes(b"\xff not JSON\n[1]\n" + whole + whole[: len(whole) // 3])
    again = AnswerBook(path)
    assert again.find(judge.key(question(2))) == Reply("two", Failure("refused", "no"), "m", {"tokens": 3})
    again.add(judge.key(question(3)), judge, question(3), Reply("three"))
    last = AnswerBook(path)
    found = [last.find(judge.key(question(level))) for level in (1, 2, 3)]
    assert [reply.text for reply in found if reply] == ["one", "two", "three"]
    assert path.read_bytes().startswith(b"\xff not JSON")


def test_the_later_of_two_answers_counts(tmp_path: Path) -> None:
    judge, book = Told(brightness), AnswerBook(tmp_path / "answers.jsonl")
    for text in ("first", "second"):
        book.add(judge.key(question(1)), judge, question(1), Reply(text))
    found = AnswerBook(tmp_path / "answers.jsonl").find(judge.key(question(1)))
    assert found is not None
    assert found.text == "second"


def test_an_answer_that_cannot_be_kept_stops_the_asking(tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl").mkdir()
    book = AnswerBook(tmp_path / "answers.jsonl")
    with pytest.raises(RunError, match="an answer cannot be kept"):
        book.add("k", Told(brightness), question(1), Reply("one"))
