"""A metric that fails costs its own column, says why, and never passes for one that was compared."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fake_specs import ALL_METRICS, PAIR_METRICS, SpecMaker, editor, metric

from bench import api, registry
from bench.analysis.baseline import write_baseline
from bench.analysis.baseline_file import read_baseline
from bench.analysis.check import check
from bench.commands.outlook import unscored
from bench.commands.report import report_data
from bench.errors import BaselineError, RunError, ScoreError
from bench.scoring import Scores, read_scores
from bench.scoring.failed import Failed
from bench.scoring.tables import read_table
from bench.spec import Spec
from bench.store import Run
from bench.workers.crew import Options
from metrics.base import MetricError

INLINE = Options(executor="inline")
BATCH = "edits of samples sample-0 to sample-2: "


def scored(spec: Spec, folder: Path) -> tuple[Run, Scores]:
    run = api.run(spec, folder, options=INLINE, scorable=False)
    return run, api.score(run)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (metric("Failing", at="open"), "no weights at /nowhere; download them"),
        (metric("Failing", at="score"), BATCH + "edits[1] is too small; leave it out"),
        (metric("Failing", at="bug"), BATCH + r"ZeroDivisionError: by nought (fake_metrics.py, line "),
        (metric("Failing", at="exit"), BATCH + "SystemExit: 3 (fake_metrics.py, line "),
        (metric("Failing", at="shape"), BATCH + "scores of shape (10,) for 9 edits"),
        (metric("FailingShift"), "features of another width"),
        (metric("FailingGap", at="value"), "Fade at 0: the covariance is singular"),
        (metric("FailingGap", at="features"), BATCH + "images[0] has no colours"),
    ],
)
def test_a_metric_that_fails_costs_its_own_column(
    make_spec: SpecMaker, tmp_path: Path, broken: dict[str, Any], reason: str
) -> None:
    """Wherever it fails, all others have the scores that they have without it, and the run says which failed and why."""
    alone = scored(make_spec(metrics=ALL_METRICS), tmp_path / "alone")[1]
    metrics = [*ALL_METRICS[:1], broken, *ALL_METRICS[1:]]
    run, scores = scored(make_spec(metrics=metrics), tmp_path / "run")
    name = registry.load_metric(broken["name"]).name
    assert list(scores.failed) == [name]
    assert scores.failed[name].startswith(reason)
    assert read_scores(run).failed == scores.failed
    for table in ("pairs", "sets", "set_pairs"):
        pd.testing.assert_frame_equal(getattr(scores, table), getattr(alone, table))
        pd.testing.assert_frame_equal(getattr(read_scores(run), table), getattr(alone, table))
    with pytest.raises(ScoreError, match=f"metric {name} failed: {re.escape(reason)}"):
        scores.whole()
    assert unscored(scores) == f"metrics that failed and have no column: {name} ({scores.failed[name]})"
    assert f"{name} failed and has no column: {scores.failed[name]}" in report_data(run).warnings


def test_nothing_failed_is_no_word(make_spec: SpecMaker, tmp_path: Path) -> None:
    run, scores = scored(make_spec(), tmp_path / "run")
    assert (scores.failed, unscored(scores), read_scores(run).failed) == ({}, "", {})
    assert scores.whole() is scores


def test_where_every_metric_fails_so_does_the_scoring(make_spec: SpecMaker, tmp_path: Path) -> None:
    run = api.run(make_spec(metrics=[metric("Failing"), metric("FailingShift")]), tmp_path / "run", options=INLINE)
    with pytest.raises(ScoreError, match=r"run: all 2 metrics failed; the first: failing: edits of samples .* too small"):
        api.score(run)


def test_a_reference_that_is_lacking_costs_the_set_metrics(make_spec: SpecMaker, manifest_folder: Path, tmp_path: Path) -> None:
    rows = (manifest_folder / "metadata.jsonl").read_text().replace('"truth_file_name": "1-truth.png", ', "")
    (manifest_folder / "metadata.jsonl").write_text(rows)
    scores = scored(make_spec(metrics=[*PAIR_METRICS[1:], *ALL_METRICS[2:]]), tmp_path / "run")[1]
    assert set(scores.pairs["metric"]) == {"lpips"}
    assert set(scores.failed) == {"fid", "csfid"}
    assert "add `reference:` to the spec" in scores.failed["fid"]


def test_an_error_of_the_run_is_no_metric_s(make_spec: SpecMaker, manifest_folder: Path, tmp_path: Path) -> None:
    run = api.run(make_spec(metrics=ALL_METRICS), tmp_path / "run", options=INLINE)
    shutil.rmtree(run.path / "samples")
    shutil.rmtree(manifest_folder)
    with pytest.raises(RunError, match="has no copy of sample sample-0"):
        api.score(Run.open(run.path))
    assert not (run.scores / "failed.json").exists()


def test_an_interruption_passes() -> None:
    failed = Failed()
    with pytest.raises(KeyboardInterrupt), failed.alone("clip"):
        raise KeyboardInterrupt
    with failed.alone("clip"):
        raise MetricError("first")
    with failed.alone("clip"):
        raise MetricError("second")
    assert failed == {"clip": "first"}


def test_a_metric_that_is_mended_scores_what_it_lacks(
    make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it gave before it failed is kept for it, and shown to nobody meanwhile."""
    monkeypatch.setattr("bench.scoring.edits.PICTURES_AT_A_TIME", 3)
    spec = make_spec(metrics=[*PAIR_METRICS, metric("Failing")])
    run, scores = scored(spec, tmp_path / "run")
    assert set(scores.pairs["metric"]) == {"clip", "lpips"}
    assert (read_table(run, "pairs")["metric"] == "failing").sum() == 3, "the edits of the sample before the one at fault"
    seen: list[int] = []
    monkeypatch.setattr(
        registry.load_metric(metric("Failing")["name"]),
        "score",
        lambda self, batch: [seen.append(len(batch)) or 1.0] * len(batch),
    )
    again = api.score(run)
    assert seen == [3, 3]
    assert again.failed == {}
    assert (again.pairs["metric"] == "failing").sum() == 9


def test_scores_of_a_metric_that_no_longer_opens_are_kept_and_not_shown(
    make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = [*PAIR_METRICS, metric("Looks", eye="here"), metric("ColourGap")]
    run, before = scored(make_spec(metrics=[*metrics[1:2], *metrics[:1], metrics[3]]), tmp_path / "run")
    Distance, ColourGap = (registry.load_metric(metric(name)["name"]) for name in ("Distance", "ColourGap"))

    def gone(self: Any, *_: object, **__: object) -> None:
        raise MetricError("weights are gone")

    with monkeypatch.context() as patch:
        for cls in (Distance, ColourGap):
            patch.setattr(cls, "__init__", gone)
        between = api.score(run)
        assert set(between.failed) == {"lpips", "fid"}
        assert set(between.pairs["metric"]) == {"clip"}
        assert len(between.sets) == 0
    again = api.score(run)
    key = ["metric", "unit", "value"]
    pd.testing.assert_frame_equal(
        again.pairs.sort_values(key, ignore_index=True), before.pairs.sort_values(key, ignore_index=True)
    )
    pd.testing.assert_frame_equal(again.sets, before.sets)


@pytest.mark.parametrize("broken", ["lpips", "fid"])
def test_a_gate_does_not_pass_over_a_metric_that_failed(
    make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """It is named, the others are compared, and no baseline is written of such a run."""
    run, _ = scored(make_spec(metrics=[*PAIR_METRICS, metric("ColourGap")]), tmp_path / "run")
    path = tmp_path / "baseline.json"
    write_baseline([run], {}, path)
    cls = registry.load_metric(metric({"lpips": "Distance", "fid": "ColourGap"}[broken])["name"])

    def refuse(self: Any, *_: object) -> None:
        raise MetricError("out of order")

    monkeypatch.setattr(cls, "score" if broken == "lpips" else "value", refuse)
    shutil.rmtree(run.scores)
    api.score(run)
    verdict = check(run, read_baseline(path))
    assert {each.metric for each in verdict.of("not comparable")} == {broken}
    assert all("out of order" in each.reason for each in verdict.of("not comparable"))
    assert len(verdict.of("unchanged")) == 6, "three knob values by two metrics"
    assert verdict.notes[0].startswith(f"{broken} failed in the run: ")
    assert verdict.exit_code == 2
    with pytest.raises(
        BaselineError, match=rf"scores of {broken} are missing, and a baseline needs them all: it failed \(.*out of order\)"
    ):
        write_baseline([run], {}, path)


@pytest.mark.slow
def test_an_axis_that_failed_leaves_a_report(make_spec: SpecMaker, tmp_path: Path) -> None:
    """Here the axis of fidelity; operating points are then the middle of each grid."""
    axes = {"editability": "clip", "fidelity": "failing"}
    spec = make_spec(editor("Fade"), editor("Unchanged"), metrics=[*ALL_METRICS, metric("Failing")], axes=axes)
    run, scores = scored(spec, tmp_path / "run")
    assert list(scores.failed) == ["failing"]
    page = api.report(run).read_text()
    assert "failing failed and has no column: edits of samples" in page
