"""Scoring that several workers share gives the numbers of one, bit for bit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_clusters import Cluster, Ray, Submitit
from fake_specs import ALL_METRICS, SpecMaker, editor, metric

from bench import api, registry
from bench.errors import RunError, ScoreError
from bench.scoring import edits, read_scores
from bench.scoring.score import score_share
from bench.scoring.tables import read_table
from bench.store import Run
from bench.workers import executors
from bench.workers.crew import Options

INLINE = Options(executor="inline")
METRICS = [*ALL_METRICS, *(metric(name) for name in ("ColourShift", "ColourWord", "ColourSpread"))]
REFERENCE = {"kind": "sources"}


@pytest.fixture
def run(make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Eighteen edits, some with equal pixels, in batches of four."""
    monkeypatch.setattr(edits, "PICTURES_AT_A_TIME", 4)
    monkeypatch.setattr(executors, "POLL_SECONDS", 0.01)
    spec = make_spec(editor("Fade"), editor("Unchanged"), metrics=METRICS, reference=REFERENCE, seeds=[0, 1])
    return api.run(spec, tmp_path / "run", options=INLINE)


def batches(run: Run, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What a metric that looks at pictures is given at once from now on, by content."""
    seen: list[tuple[str, ...]] = []
    cls: Any = registry.load_metric(METRICS[0]["name"])
    score = cls.score
    monkeypatch.setattr(
        cls, "score", lambda self, batch: seen.append(tuple(str(e.sum()) for e in batch.edits)) or score(self, batch)
    )
    return seen


def test_shares_are_whole_batches_of_the_one_and_leave_nothing_to_do(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = batches(run, monkeypatch)
    alone = api.score(run)
    whole = list(seen)
    assert len(whole) > 4
    for file in run.scores.rglob("*"):
        if file.is_file():
            file.unlink()
    seen.clear()
    counts = []
    for seat in (2, 0, 1):
        score_share(run.path, share=(seat, 3), device="cpu", threads=1)
        counts.append(len(seen))
    assert sorted(seen) == sorted(whole)
    assert counts[0] > 0
    assert len(set(counts)) == 3, "each has a share"
    seen.clear()
    shared = api.score(run)
    assert seen == [], "nothing was left"
    for name in ("pairs", "sets", "set_pairs"):
        pd.testing.assert_frame_equal(getattr(shared, name), getattr(alone, name), check_exact=True)
    assert shared.cards == alone.cards


def test_an_interrupted_scoring_goes_on_with_the_same_batches(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a network gives for a picture may depend in its last bits on those beside it."""
    seen = batches(run, monkeypatch)
    whole = api.score(run).pairs
    wanted = list(seen)
    table = pd.read_parquet(run.scores / "pairs.parquet")
    first = table[table["metric"] == whole["metric"].iloc[0]].index[:6]
    table.drop(first).to_parquet(run.scores / "pairs.parquet")
    seen.clear()
    again = api.score(run).pairs
    assert set(seen[:1]) <= set(wanted)
    assert len(seen) == 2
    pd.testing.assert_frame_equal(again, whole, check_exact=True)


@pytest.mark.parametrize(("executor", "module", "kind"), [("ray", "ray", Ray), ("slurm", "submitit", Submitit)])
def test_a_scoring_worker_that_dies_is_replaced(
    run: Run, monkeypatch: pytest.MonkeyPatch, executor: str, module: str, kind: type[Cluster]
) -> None:
    cluster = kind(deaths=1, over_a_unit=False)
    monkeypatch.setitem(sys.modules, module, cluster.module())
    scores = api.score(run, options=Options(executor=executor, workers=2))
    assert len(cluster.jobs) == 3
    assert [job.settings["share"] for job in cluster.jobs] == [(0, 2), (1, 2), (0, 2)]
    assert np.isfinite(scores.pairs["score"]).all()
    cluster.deaths = 100
    with pytest.raises(RunError, match=r"keep dying over their share \(CrashedError: the worker was killed\)"):
        api.score(run, options=Options(executor=executor, workers=1))


def test_a_metric_that_fails_in_a_worker_fails_in_words(make_spec: SpecMaker, tmp_path: Path) -> None:
    spec = make_spec(metrics=[metric("Alignment"), metric("Distance"), metric("Failing")])
    run = api.run(spec, tmp_path / "run", options=INLINE, scorable=False)
    score_share(run.path, share=(0, 1), device="cpu", threads=1)
    assert set(api.score(run).pairs["metric"]) == {"clip", "lpips"}
    with pytest.raises(ScoreError):
        read_scores(run).whole()


def test_a_worker_that_is_told_to_stop_keeps_what_it_has(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = batches(run, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        score_share(run.path, share=(0, 1), device="cpu", threads=1, enough=lambda: len(seen) == 2)
    assert len(read_table(run, "pairs")) > 0


@pytest.mark.slow
def test_two_processes_score_as_one_does(run: Run) -> None:
    shared = api.score(run, options=Options(executor="local", workers=2))
    tables = {name: getattr(shared, name) for name in ("pairs", "sets", "set_pairs")}
    for file in run.scores.rglob("*"):
        if file.is_file():
            file.unlink()
    alone = api.score(run)
    for name, table in tables.items():
        pd.testing.assert_frame_equal(table, getattr(alone, name), check_exact=True)
