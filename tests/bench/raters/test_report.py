from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_specs import SpecMaker, editor
from made_votes import drawn_votes, rating, vote
from playwright.sync_api import Page
from served_study import small_study

from bench import api
from bench.errors import ScoreError
from bench.raters.ledger import Answer, Ledger
from bench.raters.report import report_votes, results_of
from bench.scoring.votes import read_votes, votes_frame, write_votes
from bench.workers.crew import Options
from tests.helpers.browser import axe_violations

Etabench = Callable[..., tuple[int, str, str]]


def voted(path: Path, raters: int = 6) -> Path:
    """A study in which each rater prefers the editor that comes first, but for every third vote."""
    folder = small_study(path)
    ledger = Ledger(folder.ledger, folder.read())
    for number in range(raters):
        session = ledger.arrive(f"P{number}")
        ledger.consent(session)
        while (found := ledger.look(session)) is not None and (trial := found.trial) is not None:
            other = {"left": "right", "right": "left"}[trial.first_side]
            third = (number + trial.position) % 3 == 2 and trial.kind == "trial"
            ledger.vote(session, trial.position, Answer("left" if (other == "left") == third else "right"))  # type: ignore[arg-type]
    ledger.close()
    return folder.path


def test_a_study_is_reported_whole(tmp_path: Path) -> None:
    path = voted(tmp_path / "study")
    page, rows = report_votes(path)
    report = page.parent
    assert {file.name for file in report.iterdir()} >= {
        "index.html",
        "report.md",
        "study.json",
        "votes.parquet",
        "votes.csv",
        "strengths.svg",
        "strengths.png",
        "preferences.csv",
        "raters.csv",
    }
    results = json.loads((report / "study.json").read_text())
    assert [row["editor"] for row in results["editors"]] == [row["editor"] for row in rows]
    assert results["editors"][0]["editor"] == "imagic"
    assert results["votes"] == 24
    assert len(read_votes(report / "votes.parquet")) == 36
    assert (path / "participants.csv").read_text().count("\n") == 7
    whole = (report / "index.html").read_text() + (report / "votes.csv").read_text() + (report / "study.json").read_text()
    assert "P3" not in whole, "no name of the platform's"
    again, _ = report_votes(report / "counted-preference.parquet", tmp_path / "again")
    of_both = [json.loads((folder / "study.json").read_text())["preferences"] for folder in (report, again.parent)]
    assert of_both[0] == of_both[1], "the plain votes say the same"
    table = pd.read_csv(report / "preferences.csv")
    assert table[["wins", "losses", "ties", "both_bad"]].to_numpy().sum() == 24


def test_the_same_votes_give_the_same_bytes(tmp_path: Path) -> None:
    votes = drawn_votes(np.random.default_rng(0), 10, 10)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_votes(tmp_path / name, votes)
        report_votes(tmp_path / name / "votes.parquet", tmp_path / name / "report")
    files = sorted(file.name for file in (tmp_path / "a" / "report").iterdir())
    assert files
    for name in files:
        assert (tmp_path / "a" / "report" / name).read_bytes() == (tmp_path / "b" / "report" / name).read_bytes()


def test_raters_are_left_out_by_a_rule_that_is_stated(tmp_path: Path) -> None:
    votes = pd.concat(
        [drawn_votes(np.random.default_rng(0), 10, 10), votes_frame([vote(rater="r3", kind="gold", expected="second")])]
    )
    for rule, left_out in (("none", []), ("gold", ["r3"]), ("duplicate", []), ("any", ["r3"])):
        data, results = results_of(votes, rule)
        assert results["left_out"] == left_out
        assert results["raters"] == 10 - len(left_out)
        assert data.meta["rule"].startswith(f"{rule}: ")
        assert any("r3" in warning for warning in data.warnings) == bool(left_out)
        assert set(data.raters["rater"]) == set(votes["rater"]), "all are shown"


def test_votes_of_a_judge_have_the_same_tables(tmp_path: Path) -> None:
    votes = drawn_votes(np.random.default_rng(0), 20, 20).assign(rater="judge@2026-01")
    failed = votes_frame([vote(rater="judge@2026-01", answer="", failure="refused", item="x")] * 5)
    data, results = results_of(pd.concat([votes, failed]), "none")
    assert results["failures"] == 5
    assert results["votes"] == len(votes)
    assert any("5 of 405 questions got no answer" in warning for warning in data.warnings)
    assert any("one rater" in warning for warning in data.warnings)
    assert data.preferences["low"].notna().all()


def test_a_judge_that_saw_both_orders_leans_nowhere() -> None:
    votes = drawn_votes(np.random.default_rng(0), 20, 20).assign(rater="judge", first_side="")
    data, results = results_of(votes, "none")
    assert results["lean"] == {"value": None, "low": None, "high": None}
    assert np.isnan(data.sides["left"]).all()
    assert data.strengths["strength"].notna().all()


def test_ratings_have_a_page_without_strengths(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        rating(
            rater=f"r{r}",
            item=f"i{i}",
            source_id=f"p{i}",
            first="ab"[i % 2],
            question=question,
            score=float(rng.choice([0, 0.5, 1])),
        )
        for r in range(4)
        for i in range(8)
        for question in ("SC", "PQ")
    ]
    write_votes(tmp_path, votes_frame(rows))
    page, brief = report_votes(tmp_path / "votes.csv")
    assert page.parent == tmp_path / "votes-report"
    assert [(row["editor"], row["score"]) for row in brief] == [(e, s) for e in "ab" for s in ("SC", "PQ", "O")]
    assert not (page.parent / "strengths.csv").exists()
    assert "Ratings" in page.read_text()


def test_without_votes_there_is_no_report(tmp_path: Path) -> None:
    folder = small_study(tmp_path / "study")
    with pytest.raises(ScoreError, match="no vote counts: 0 answers in all"):
        report_votes(folder.path)


@pytest.mark.slow
def test_the_page_is_accessible_and_asks_nobody(page: Page, tmp_path: Path) -> None:
    votes = drawn_votes(np.random.default_rng(0), 10, 10)
    hostile = votes.replace({"a": "<script>alert(1)</script>", "b": "| = ` b " + "x" * 80})
    categories = hostile.assign(category=np.where(hostile.index % 2, "colour", "<b>object"))
    write_votes(tmp_path, categories)
    written, _ = report_votes(tmp_path / "votes.parquet")
    page.set_viewport_size({"width": 1200, "height": 900})
    page.goto(written.as_uri())
    assert axe_violations(page) == []
    assert page.locator("tbody b, tbody script").count() == 0
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    markdown = (written.parent / "report.md").read_text()
    assert "<script>" not in markdown.replace("\\<script\\>", "")
    assert all(line.count(" | ") > 2 for line in markdown.splitlines() if line.startswith("| "))


@pytest.mark.slow
def test_the_commands_from_a_run_to_a_report(etabench: Etabench, make_spec: SpecMaker, tmp_path: Path) -> None:
    spec = make_spec(editor("Fade", grid=[0.2, 0.8]), editor("Fade", label="other", grid=[0.5]))
    api.run(spec, tmp_path / "run", options=Options(executor="inline"), scorable=False)
    code, out, _ = etabench(
        "study", "make", tmp_path / "run", "--out", tmp_path / "study", "--value", "Fade=0.8", "--trials", "2"
    )
    assert code == 0
    assert "3 pairs of 2 source pictures, 3 raters each: 9 votes by 5 raters of 2, 1 shown twice, 1 gold" in out
    assert "power 80 %, level 5 % over 1 comparison;" in out
    code, _, error = etabench("study", "make", tmp_path / "run", "--out", tmp_path / "study")
    assert (code, error.count("\n")) == (2, 1)
    assert "is there already" in error
    assert etabench("study", "make", tmp_path / "run", "--out", tmp_path / "x", "--value", "Fade")[0] == 2
    code, _, error = etabench("study", "report", tmp_path / "study")
    assert code == 2
    assert "no vote counts" in error
    assert etabench("study", "report", tmp_path / "nowhere")[0] == 2
    code, out, _ = etabench("study", "report", voted(tmp_path / "voted"), "--exclude", "any", "--json")
    assert code == 0
    assert {row["editor"] for row in json.loads(out)} == {"imagic", "sdedit", "diffedit"}
