from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_specs import ALL_METRICS, PAIR_METRICS, SpecMaker, editor, metric
from fixtures_manifest import row, write_folder

from bench import api
from bench.analysis import summary
from bench.commands.report import report_data
from bench.errors import ScoreError
from bench.plan import Plan
from bench.scoring import Scores
from bench.scoring.axes import Axes, Axis, operating_points
from bench.spec import Spec
from bench.store import Run
from bench.workers.crew import Options

INLINE = Options(executor="inline")
AXES = Axes(Axis("clip"), Axis("lpips", higher_is_better=False, bounds=(0.0, None)))


def done(spec: Spec, folder: Path) -> tuple[Run, Plan, Scores]:
    run = api.run(spec, folder, options=INLINE)
    scores = api.score(run)
    return run, run.plan, scores


def test_a_curve_has_a_point_per_value_and_metric_with_counts(make_spec: SpecMaker, tmp_path: Path) -> None:
    _, plan, scores = done(make_spec(editor("Fade"), editor("FailsOnce"), seeds=[0, 1], metrics=ALL_METRICS), tmp_path / "run")
    curves = summary.curves(plan, scores, AXES).set_index(["editor", "metric", "value"])
    assert set(curves.index.get_level_values("metric")) == {"clip", "lpips", "one_minus_lpips", "fid", "csfid"}
    assert tuple(curves.loc[("Fade", "clip", 0.5), ["n", "expected"]]) == (6, 6)
    assert tuple(curves.loc[("FailsOnce", "clip", 0.5), ["n", "expected"]]) == (4, 6), "two of six failed, and one sees it"
    assert tuple(curves.loc[("FailsOnce", "fid", 0.5), ["n", "expected"]]) == (2, 3), "sets hold one seed"
    scored = scores.pairs[
        (scores.pairs["editor"] == "Fade") & (scores.pairs["metric"] == "lpips") & (scores.pairs["value"] == 1.0)
    ]
    assert curves.loc[("Fade", "lpips", 1.0), "mean"] == pytest.approx(scored["score"].mean(), abs=1e-12)  # rounding of a mean


def test_one_minus_lpips_mirrors_lpips(make_spec: SpecMaker, tmp_path: Path) -> None:
    _, plan, scores = done(make_spec(), tmp_path / "run")
    curves = summary.curves(plan, scores, AXES).set_index(["metric", "value"])
    plain, mirrored = curves.loc[("lpips", 1.0)], curves.loc[("one_minus_lpips", 1.0)]
    assert (1 - plain["mean"], 1 - plain["high"], 1 - plain["low"]) == tuple(mirrored[["mean", "low", "high"]])
    assert (plain["higher_is_better"], mirrored["higher_is_better"]) == (False, True)
    assert plain["fingerprint"] == mirrored["fingerprint"]


def test_curves_plane_and_leaderboard_show_one_interval(make_spec: SpecMaker, tmp_path: Path) -> None:
    """Of three pictures intervals reach far, and 1 - LPIPS ends at 1 in every table."""
    run, _, scores = done(make_spec(editor("Fade"), editor("Unchanged"), metrics=ALL_METRICS), tmp_path / "run")
    data = report_data(run)
    curves = data.curves.set_index(["editor", "value", "metric"])
    parts = ("mean", "low", "high")
    for place in data.tradeoff.to_dict("records"):
        for axis, column in (("x", "one_minus_lpips"), ("y", "clip")):
            point = curves.loc[(place["editor"], place["value"], column)]
            assert [place[f"{axis}_{part}"] for part in parts] == [point[part] for part in parts]
            assert place["n"] == point["n"] == 3
    assert data.tradeoff["x_high"].max() == 1.0
    for line in data.leaderboard.to_dict("records"):
        for column in ("one_minus_lpips", "clip", "fid"):
            point = curves.loc[(line["editor"], line["value"], column)]
            ends = [line.get(f"{column}_{part}", np.nan) for part in parts[1:]]
            np.testing.assert_equal([line[column], *ends], [point[part] for part in parts])
    wide = Scores(scores.pairs, scores.sets.assign(low=-45.8, high=45.8), scores.cards)
    distances = summary.curves(run.plan, wide, AXES).set_index("metric").loc["fid"]
    assert distances["low"].eq(0.0).all(), "a squared distance ends at 0"
    assert distances["high"].eq(45.8).all()


def test_a_success_of_six_in_six_is_not_certain(make_spec: SpecMaker, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "six", [row(i) for i in range(6)], pictures=6)
    spec = make_spec(metrics=[*PAIR_METRICS, metric("Succeeds")], manifest={"path": str(folder)})
    _, plan, scores = done(spec, tmp_path / "run")
    curves = summary.curves(plan, scores, AXES).set_index("metric")
    assert curves.loc["success", "mean"].eq(1.0).all()
    # Wilson's with Student's quantile of five degrees of freedom, 2.571, to six digits.
    assert curves.loc["success", "low"].to_numpy() == pytest.approx(6 / (6 + 2.570582**2), abs=1e-6)
    assert curves.loc["success", "high"].eq(1.0).all()
    axes = Axes(Axis("success", bounds=(0.0, 1.0)), AXES.fidelity)
    plane = summary.tradeoff(plan, scores, axes)
    assert plane["y_low"].tolist() == curves.loc["success", "low"].tolist()


def test_undefined_scores_are_left_out_and_show_in_n(make_spec: SpecMaker, tmp_path: Path) -> None:
    metrics = [ALL_METRICS[0], metric("Distance", undefined_on="number 1")]
    run, plan, scores = done(make_spec(metrics=metrics), tmp_path / "run")
    curves = summary.curves(plan, scores, AXES).set_index(["metric", "value"])
    assert tuple(curves.loc[("lpips", 0.5), ["n", "expected"]]) == (2, 3)
    assert np.isfinite(curves.loc[("lpips", 0.5), "mean"])
    assert summary.tradeoff(plan, scores, AXES)["n"].eq(2).all(), "a point of the plane has both coordinates of the same edits"
    data = report_data(run)
    assert data.counts.set_index("editor").loc["Fade"].to_dict() == {
        **{"expected": 3, "done": 3, "failed": 0, "scored": 3},
        "coverage": 100.0,
    }
    assert any("3 of 18 scores are undefined" in warning for warning in data.warnings)


def test_a_cell_without_any_score_is_undefined_not_zero(make_spec: SpecMaker, tmp_path: Path) -> None:
    _, plan, scores = done(make_spec(metrics=[ALL_METRICS[0], metric("Distance", undefined_on="number")]), tmp_path / "run")
    lpips = summary.curves(plan, scores, AXES).set_index("metric").loc["lpips"]
    assert lpips["mean"].isna().all()
    assert lpips["n"].eq(0).all()


def test_counts_separate_failed_from_never_run(make_spec: SpecMaker, tmp_path: Path) -> None:
    run, plan, scores = done(make_spec(editor("FailsOnce")), tmp_path / "run")
    finished = [record.key for record in run.records(unit.key for unit in plan.units) if record.status == "done"]
    run.discard(finished[0])
    units = summary.units(plan, summary.records_by_unit(run, plan))
    assert sorted(units["status"]) == ["done", "failed", "missing"]
    assert units.set_index("status").loc["failed", "reason"] == "EditorError: no zeros please"
    counts = summary.counts(plan, units, scores).iloc[0]
    assert (counts["expected"], counts["done"], counts["failed"]) == (3, 1, 1)


def test_scored_is_what_every_metric_has_answered_for_every_edit(make_spec: SpecMaker, tmp_path: Path) -> None:
    metrics = [PAIR_METRICS[0], metric("Distance", undefined_on="number"), ALL_METRICS[2]]
    run, plan, scores = done(make_spec(editor("Gaps"), editor("FailsOnce"), metrics=metrics), tmp_path / "run")
    units = summary.units(plan, summary.records_by_unit(run, plan))

    def scored(given: Scores) -> dict[str, int]:
        return summary.counts(plan, units, given).set_index("editor")["scored"].to_dict()

    assert scores.pairs.loc[scores.pairs["metric"] == "lpips", "score"].isna().all()
    assert scored(scores) == {"Gaps": 3, "FailsOnce": 2}, (
        "undefined is an answer, an edit that is absent asks nothing, a failure has none"
    )
    one = (scores.pairs["metric"] == "lpips") & (scores.pairs["editor"] == "Gaps") & (scores.pairs["value"] == 1.0)
    lacking = Scores(scores.pairs.drop(scores.pairs.index[one][:1]), scores.sets, scores.cards)
    assert scored(lacking) == {"Gaps": 2, "FailsOnce": 2}
    only_sets = Scores(scores.pairs[:0], scores.sets, scores.cards)
    assert scored(only_sets) == {"Gaps": 3, "FailsOnce": 2}, "where no metric is of single edits, none lacks an answer"


def test_mixed_fingerprints_are_refused(make_spec: SpecMaker, tmp_path: Path) -> None:
    _, plan, scores = done(make_spec(), tmp_path / "run")
    other = scores.pairs.assign(fingerprint="000000000000")
    mixed = Scores(pd.concat([scores.pairs, other]), scores.sets, scores.cards)
    with pytest.raises(ScoreError, match=r"metric clip has 2 fingerprints"):
        summary.curves(plan, mixed, AXES)


def curve_table(rows: list[tuple[str, bool, float, float, float]]) -> pd.DataFrame:
    found = []
    for name, anchor, value, clip, faithful in rows:
        for metric_name, mean in (("clip", clip), ("one_minus_lpips", faithful)):
            found.append({"editor": name, "anchor": anchor, "value": value, "metric": metric_name, "mean": mean})
    return pd.DataFrame(found)


def test_the_operating_point_balances_between_the_anchors(make_spec: SpecMaker, tmp_path: Path) -> None:
    _, plan, _ = done(make_spec(editor("Fade"), editor("Unchanged", label="copy")), tmp_path / "run")
    rows = [
        ("Fade", False, 0.0, 20.0, 1.0),
        ("Fade", False, 0.5, 26.0, 0.8),
        ("Fade", False, 1.0, 27.0, 0.3),
        ("copy", True, 0.0, 20.0, 1.0),
    ]
    assert operating_points(plan, curve_table(rows), AXES) == {"Fade": 0.5, "copy": 0.0}
    with_nan = [("Fade", False, 0.5, np.nan, 0.8) if row[2] == 0.5 else row for row in rows]
    assert operating_points(plan, curve_table(with_nan), AXES)["Fade"] != 0.5, "a point without a score is no point"


def test_anchors_fix_the_scale_whatever_else_runs(make_spec: SpecMaker, tmp_path: Path) -> None:
    """CLIP 20..40 and 1-LPIPS 0.2..1: a step of 4 in CLIP is worth a step of 0.16 in 1-LPIPS."""
    spec = make_spec(editor("Fade"), editor("Unchanged", label="copy"))
    _, plan, _ = done(spec, tmp_path / "run")
    regenerate = plan.entries[1].__class__(**(vars(plan.entries[1]) | {"name": "regenerate", "label": "regenerate"}))
    plan = Plan(**(vars(plan) | {"entries": (*plan.entries, regenerate)}))
    ends = [("copy", True, 0.0, 20.0, 1.0), ("regenerate", True, 0.0, 40.0, 0.2)]
    better = [("Fade", False, 0.0, 20.0, 1.0), ("Fade", False, 0.5, 24.1, 0.84), ("Fade", False, 1.0, 24.1, 0.83)]
    assert operating_points(plan, curve_table(ends + better), AXES)["Fade"] == 0.5
    worse = [("Fade", False, 0.0, 20.0, 1.0), ("Fade", False, 0.5, 23.9, 0.84), ("Fade", False, 1.0, 23.8, 0.84)]
    assert operating_points(plan, curve_table(ends + worse), AXES)["Fade"] == 0.0


def test_the_leaderboard_has_intervals_flags_costs_and_counts(make_spec: SpecMaker, tmp_path: Path) -> None:
    run, _, _ = done(make_spec(editor("Fade"), editor("FailsOnce"), editor("Unchanged"), metrics=ALL_METRICS), tmp_path / "run")
    board = report_data(run).leaderboard.set_index("editor")
    assert board["anchor"].tolist() == [False, False, True], "anchors come last"
    wanted = {"clip_low", "clip_high", "one_minus_lpips_low", "fid", "csfid", "candidates", "seconds_per_edit", "peak_memory_mb"}
    assert wanted <= set(board.columns)
    assert tuple(board.loc["FailsOnce", ["expected", "done", "failed", "scored"]]) == (3, 2, 1, 2)
    assert board.loc["Fade", "candidates"] == 3
    assert board.loc["Fade", "one_minus_lpips_n"] == 2, "the samples that FailsOnce has too"
    whole = report_data(done(make_spec(), tmp_path / "whole")[0]).leaderboard.loc[0]
    assert whole["clip_low"] <= whole["clip"] <= whole["clip_high"]


def test_seconds_per_edit_count_every_edit_of_a_unit_once(make_spec: SpecMaker, tmp_path: Path) -> None:
    run, plan, _ = done(make_spec(), tmp_path / "run")
    records = summary.records_by_unit(run, plan)
    total = sum(sum(record.seconds.values()) for record in records.values())
    board = report_data(run).leaderboard
    assert board.loc[0, "seconds_per_edit"] == pytest.approx(total / 9, rel=1e-9)  # one division


@pytest.mark.slow
def test_a_report_is_written_from_a_run_with_failures(make_spec: SpecMaker, tmp_path: Path) -> None:
    spec = make_spec(editor("Fade"), editor("FailsOnce"), editor("NeedsMask"), editor("Unchanged"), metrics=ALL_METRICS)
    run, _, _ = done(spec, tmp_path / "run")
    page = api.report(run)
    assert page == run.report / "index.html"
    assert "no zeros please" in page.read_text()
    curves = pd.read_csv(run.report / "curves.csv")
    assert {"editor", "knob", "value", "metric", "mean", "low", "high", "n", "expected", "fingerprint"} <= set(curves.columns)


@pytest.mark.slow
def test_the_viewer_has_every_sample_seed_and_edit(make_spec: SpecMaker, tmp_path: Path) -> None:
    """And what is not there with its reason."""
    spec = make_spec(editor("Fade"), editor("FailsOnce"), metrics=ALL_METRICS, seeds=[3, 4])
    run, plan, _ = done(spec, tmp_path / "run")
    gallery = report_data(run).gallery
    assert [sample.sample_id for sample in gallery] == [sample.id for sample in plan.samples]
    for sample in gallery:
        assert [(row.editor, row.seed) for row in sample.rows] == [("Fade", 3), ("Fade", 4), ("FailsOnce", 3), ("FailsOnce", 4)]
        assert [value for value, _ in sample.rows[0].edits] == [0.0, 0.5, 1.0]
        assert "noise" in sample.rows[0].extras
    assert sum(not row.edits for sample in gallery for row in sample.rows) == 2
    page = api.report(run, single_file=True)
    assert page == run.report / "report.html"
    assert "no zeros please" in (run.report / "viewer-data.js").read_text()
    assert len(list((run.report / "pictures").glob("*/*-*.png"))) == sum(
        len(row.edits) + len(row.extras) for sample in gallery for row in sample.rows
    )


def test_missing_edits_are_bounded_and_undefined_scores_are_no_gap(make_spec: SpecMaker, tmp_path: Path) -> None:
    metrics = [metric("ColourShift"), metric("Alignment"), metric("Distance", undefined_on="number 1")]
    _, plan, scores = done(make_spec(editor("Fade"), editor("FailsOnce"), metrics=metrics), tmp_path / "run")
    curves = summary.curves(plan, scores, AXES).set_index(["editor", "metric", "value"])
    failed = curves.loc[("FailsOnce", "colour_shift", 1.0)]
    assert (failed["n"], failed["expected"], failed["undefined"]) == (2, 3, 0)
    assert failed["coverage"] == pytest.approx(2 / 3)
    # The metric's range is 0..2, and one of three edits is missing.
    assert (failed["bound_low"], failed["bound_high"]) == pytest.approx((2 / 3 * failed["mean"], (2 * failed["mean"] + 2) / 3))
    undefined = curves.loc[("Fade", "lpips", 0.5)]
    assert (undefined["n"], undefined["undefined"], undefined["coverage"]) == (2, 1, 1.0)
    assert undefined["bound_low"] == undefined["bound_high"] == undefined["mean"]
    open_above, turned = curves.loc[("FailsOnce", "lpips", 0.5)], curves.loc[("FailsOnce", "one_minus_lpips", 0.5)]
    assert (np.isfinite(open_above["bound_low"]), open_above["bound_high"]) == (True, np.inf), "a range with one end"
    assert (turned["bound_low"], turned["bound_high"]) == (-np.inf, 1 - open_above["bound_low"])
    unbounded = curves.loc[("FailsOnce", "clip", 0.5)]
    assert (unbounded["bound_low"], unbounded["bound_high"]) == (-np.inf, np.inf), "the metric tells no range"


def test_set_metrics_have_intervals_and_tests_at_the_operating_points(make_spec: SpecMaker, tmp_path: Path) -> None:
    rows = [row(i) for i in range(6)]
    folder = write_folder(tmp_path / "six", rows, pictures=6)
    spec = make_spec(
        editor("Fade"), editor("Fade", label="loud", preset="loud"), metrics=ALL_METRICS, manifest={"path": str(folder)}
    )
    run, plan, scores = done(spec, tmp_path / "run")
    curves = summary.curves(plan, scores, AXES).set_index(["editor", "metric", "value"])
    point = curves.loc[("loud", "fid", 1.0)]
    assert point["low"] < point["mean"] < point["high"]
    data = report_data(run)
    tested = data.differences.set_index("metric").loc[["fid", "csfid"]]
    assert tested["p"].between(1 / 32, 1).all(), "six pictures have 32 distinct swaps"
    assert tested["p_least"].eq(1 / 32).all()
    again = api.score(run)
    pd.testing.assert_frame_equal(again.set_pairs, scores.set_pairs)
