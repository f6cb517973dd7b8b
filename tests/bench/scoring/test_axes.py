"""The axes of a run: how a metric becomes one, and that all that is drawn and compared follows them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from fake_specs import ALL_METRICS, PAIR_METRICS, SpecMaker, editor, metric

from bench import api
from bench.commands.report import report_data
from bench.errors import SpecError
from bench.scoring import Scores, read_scores
from bench.scoring.axes import Axes, Axis, anchor_ends, mean_table, operating_points
from bench.scoring.tables import PAIR_COLUMNS, SET_COLUMNS, frame
from bench.spec import AxesSpec, Spec
from bench.store import Run
from bench.workers.crew import Options
from reports import ReportData

INLINE = Options(executor="inline")
OTHERS: list[dict[str, Any]] = [{"name": "psnr"}, {"name": "l1"}]
TURNED = {"editability": "psnr", "fidelity": "l1"}
"""Of the copies that `Unchanged` and `Fade` at 0 make, PSNR has no value."""


def scored(spec: Spec, folder: Path) -> Run:
    run = api.run(spec, folder, options=INLINE)
    api.score(run)
    return run


@pytest.mark.parametrize(
    ("axis", "column", "positions"),
    [
        (Axis("clip"), "clip", [0.0, 0.25]),
        (Axis("lpips", higher_is_better=False, bounds=(0.0, None)), "one_minus_lpips", [1.0, 0.75]),
        (Axis("dino_structure", higher_is_better=False, bounds=(0.0, 4.0)), "one_minus_dino_structure", [1.0, 0.75]),
        (Axis("loss", higher_is_better=False), "minus_loss", [0.0, -0.25]),
        (Axis("loss", higher_is_better=False, bounds=(-1.0, 1.0)), "minus_loss", [0.0, -0.25]),
    ],
    ids=["higher is better", "distance", "distance with an end", "no range", "another range"],
)
def test_more_is_better_on_every_axis(axis: Axis, column: str, positions: list[float]) -> None:
    assert axis.column == column
    assert axis.position(np.array([0.0, 0.25])).tolist() == positions
    assert [axis.position(score) for score in (0.0, 0.25)] == positions
    assert np.isnan(axis.position(np.nan))


def scores_with(cards: dict[str, dict[str, Any]], sets: tuple[str, ...] = ()) -> Scores:
    rows = [dict.fromkeys(PAIR_COLUMNS) | {"metric": name, "fingerprint": name, "score": 0.5, "seed": 0} for name in cards]
    of_sets = [dict.fromkeys(SET_COLUMNS) | {"metric": name, "n": 1} for name in sets]
    return Scores(frame(rows, PAIR_COLUMNS), frame(of_sets, SET_COLUMNS), cards)


def test_a_metric_without_a_direction_is_no_axis(make_spec: SpecMaker, tmp_path: Path) -> None:
    words = "axes.fidelity: undirected has no direction, and on an axis more is better; name another metric"
    with pytest.raises(SpecError, match=words):
        Axes.of(AxesSpec(fidelity="undirected"), scores_with({"clip": {}, "undirected": {"higher_is_better": None}}))
    spec = make_spec(metrics=[*PAIR_METRICS, metric("Undirected")], axes={"fidelity": "undirected"})
    with pytest.raises(SpecError, match=words):
        api.run(spec, tmp_path / "run", options=INLINE)
    assert not list((tmp_path / "run").glob("units/*")), "found before the first edit"


def test_direction_and_range_come_from_the_card() -> None:
    scores = scores_with(
        {"up": {"higher_is_better": True, "bounds": [0, None]}, "down": {"higher_is_better": False, "bounds": [None, 1]}}
    )
    axes = Axes.of(AxesSpec(editability="up", fidelity="down"), scores)
    assert [axis.column for axis in axes] == ["up", "minus_down"]
    assert axes.made_of == {"minus_down": "down"}


def test_a_card_of_the_first_runs_tells_no_range() -> None:
    scores = scores_with({"clip": {"higher_is_better": True}, "lpips": {"higher_is_better": False}})
    assert Axes.of(AxesSpec(), scores).made_of == {"one_minus_lpips": "lpips"}


def test_a_metric_of_sets_is_no_axis() -> None:
    scores = scores_with({"clip": {"higher_is_better": True}}, sets=("fid",))
    with pytest.raises(
        SpecError, match=r"^axes.fidelity: fid scores sets, an axis needs a score of every edit; choose from clip$"
    ):
        Axes.of(AxesSpec(fidelity="fid"), scores)


def test_means_have_the_positions_beside_the_scores() -> None:
    scores = scores_with({"clip": {"higher_is_better": True}, "lpips": {"higher_is_better": False}})
    pairs = scores.pairs.assign(editor="a", value=0.0, score=[30.0, 0.25])
    means = mean_table(pairs, Axes.of(AxesSpec(), scores)).set_index("metric")["mean"]
    assert means.to_dict() == {"clip": 30.0, "lpips": 0.25, "one_minus_lpips": 0.75}


def test_anchors_that_do_not_lie_apart_give_no_scale(make_spec: SpecMaker) -> None:
    """Regenerate below copy in editability would turn the scale round, and the worst point would be listed."""
    plan = api.plan(make_spec(editor("Fade"), editor("Unchanged", label="copy")))[0]
    again = replace(plan.entries[1], name="regenerate", label="regenerate")
    plan = replace(plan, entries=(*plan.entries, again))
    axes = Axes(Axis("clip"), Axis("ssim"))
    points = {
        ("Fade", 0.0): (20.0, 1.0),
        ("Fade", 0.5): (28.0, 0.9),
        ("Fade", 1.0): (20.0, 0.2),
        ("regenerate", 0.0): (22.0, 0.2),
    }

    def means(copy: float) -> pd.DataFrame:
        table = points | {("copy", 0.0): (copy, 1.0)}
        rows = [(*point, name, mean) for point, both in table.items() for name, mean in zip(("clip", "ssim"), both, strict=True)]
        return pd.DataFrame(rows, columns=["editor", "value", "metric", "mean"])

    assert anchor_ends(plan, means(20.0), axes) == {"clip": (20.0, 22.0), "ssim": (0.2, 1.0)}
    for copy in (24.0, 22.0, np.nan):
        assert anchor_ends(plan, means(copy), axes) == {}
        assert operating_points(plan, means(copy), axes)["Fade"] == 0.5


@pytest.mark.slow
def test_all_that_is_drawn_follows_the_axes(make_spec: SpecMaker, tmp_path: Path) -> None:
    spec = make_spec(editor("Fade"), editor("Unchanged", label="copy"), metrics=[*ALL_METRICS, *OTHERS], axes=TURNED)
    run = scored(spec, tmp_path / "run")
    data, pairs = report_data(run), read_scores(run).pairs
    assert data.plane.columns == ("psnr", "one_minus_l1")
    assert set(data.curves["metric"]) == {"clip", "lpips", "psnr", "l1", "one_minus_l1", "fid", "csfid"}
    curves = data.curves.set_index(["editor", "metric", "value"])
    fade = pairs[pairs["editor"] == "Fade"].pivot_table(index=["unit"], columns=["metric", "value"], values="score")
    for value in (0.5, 1.0):
        assert curves.loc[("Fade", "one_minus_l1", value), "mean"] == pytest.approx(
            1 - fade["l1", value].mean(), abs=1e-12
        )  # a sum
        point = data.tradeoff.set_index(["editor", "value"]).loc[("Fade", value)]
        assert point["x_mean"] == curves.loc[("Fade", "one_minus_l1", value), "mean"]
        assert point["y_mean"] == curves.loc[("Fade", "psnr", value), "mean"]
    assert data.tradeoff.set_index(["editor", "value"]).loc[("Fade", 0.0), "n"] == 0, "PSNR of equal pictures"
    # Of the two points that both metrics have, 0.5 is the best on both axes.
    board = data.leaderboard.set_index("editor")
    assert (board.loc["Fade", "value"], board.loc["Fade", "psnr"]) == (0.5, curves.loc[("Fade", "psnr", 0.5), "mean"])
    columns = list(board.columns)
    assert {"psnr_low", "one_minus_l1_low", "lpips_low"} <= set(columns)
    assert not {"l1", "one_minus_lpips"} & set(columns), "an axis stands for its metric, and no other metric is turned"
    assert data.meta["operating_point"] == (
        "highest mean of PSNR and 1 − L1, scaled between the smallest and the largest mean of any editor"
    )
    page = api.report(run).read_text()
    for text in ("PSNR to the source", "1 − L1 (right axis)", "L1 to the source"):
        assert text in page
    assert "CLIP score (left axis)" not in page
    drawn = pd.read_csv(run.report / "knob_curves.csv")
    assert set(drawn["metric"]) == {"psnr", "one_minus_l1"}
    assert {path.name for path in run.report.glob("*_csfid.csv")} == {"l1_csfid.csv"}


def tables(data: ReportData) -> dict[str, pd.DataFrame]:
    names = ("curves", "tradeoff", "leaderboard", "differences", "hypervolumes", "gains", "attainment", "counts")
    return {name: getattr(data, name) for name in names}


def test_the_axes_can_be_changed_and_changed_back(make_spec: SpecMaker, tmp_path: Path) -> None:
    parts = (editor("Fade"), editor("Fade", label="loud", preset="loud"))
    metrics = [*ALL_METRICS, *OTHERS]
    before = report_data(scored(make_spec(*parts, metrics=metrics), tmp_path / "run"))
    other = report_data(scored(make_spec(*parts, metrics=metrics, axes=TURNED), tmp_path / "run"))
    named = {"editability": "clip", "fidelity": "lpips"}
    again = report_data(scored(make_spec(*parts, metrics=metrics, axes=named), tmp_path / "run"))
    for name, table in tables(before).items():
        pd.testing.assert_frame_equal(table, getattr(again, name), check_exact=True)
    assert before.meta["operating_point"] == again.meta["operating_point"] != other.meta["operating_point"]
    for name in ("curves", "tradeoff", "leaderboard", "differences"):
        assert not getattr(before, name).equals(getattr(other, name)), name
    assert len(before.gains) == 1
    assert other.gains.empty, "at 0 both editors copy, PSNR of copies has no value, and a curve that lacks a point is none"


def write_axes(run: Run, **axes: str) -> Run:
    """The run opened anew, with other axes in its spec and nothing scored again."""
    file = run.path / "spec.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"axes": axes}))
    return Run.open(run.path)


@pytest.mark.slow
def test_set_tests_at_other_points_are_left_out_until_they_are_made(make_spec: SpecMaker, tmp_path: Path) -> None:
    spec = make_spec(editor("Fade"), editor("Fade", label="loud", preset="loud"), metrics=[*ALL_METRICS, *OTHERS])
    run = scored(spec, tmp_path / "run")
    stale = "set metrics were compared at other operating points than this report's: score the run again to compare them here."
    assert stale not in report_data(run).warnings
    run = write_axes(run, **TURNED)
    data = report_data(run)
    assert data.leaderboard["value"].tolist() != report_data(scored(spec, tmp_path / "same")).leaderboard["value"].tolist()
    assert stale in data.warnings
    assert "fid" not in set(data.differences["metric"])
    api.score(run)
    data = report_data(run)
    assert stale not in data.warnings
    assert "fid" in set(data.differences["metric"])


def test_a_run_made_before_the_key_was_has_the_default_axes(make_spec: SpecMaker, tmp_path: Path) -> None:
    run = scored(make_spec(editor("Fade"), metrics=[*PAIR_METRICS, *OTHERS]), tmp_path / "run")
    file = run.path / "spec.yaml"
    content = yaml.safe_load(file.read_text())
    assert content.pop("axes") == {"editability": "clip", "fidelity": "lpips"}
    file.write_text(yaml.safe_dump(content))
    before = report_data(run)
    data = report_data(Run.open(run.path))
    assert data.plane.columns == ("clip", "one_minus_lpips")
    for name, table in tables(before).items():
        pd.testing.assert_frame_equal(table, getattr(data, name), check_exact=True)


@pytest.mark.parametrize(
    ("metrics", "missing"),
    [
        ([*OTHERS], "CLIP score and LPIPS"),
        ([PAIR_METRICS[1]], "CLIP score and 1 − LPIPS"),
        ([PAIR_METRICS[0]], "CLIP score and LPIPS"),
    ],
    ids=["both", "no clip", "no lpips"],
)
@pytest.mark.slow
def test_without_the_default_metrics_a_run_has_no_plane_and_says_by_what_rule_it_lists(
    make_spec: SpecMaker, tmp_path: Path, metrics: list[dict[str, Any]], missing: str
) -> None:
    run = scored(make_spec(editor("Fade"), metrics=metrics), tmp_path / "run")
    data = report_data(run)
    assert data.meta["operating_point"] == f"middle of each grid, for lack of edits with scores of both {missing}"
    assert data.leaderboard["value"].tolist() == [0.5]
    assert all(getattr(data, name).empty for name in ("tradeoff", "gains", "hypervolumes", "attainment"))
    assert "No edit of this run has scores of both" in api.report(run).read_text()
    assert not (run.report / "tradeoff.csv").exists()


def test_an_editor_without_both_scores_is_named_in_the_rule(make_spec: SpecMaker, tmp_path: Path) -> None:
    run = scored(make_spec(editor("Fade"), editor("NeedsMask", label="fails"), samples=["sample-2"]), tmp_path / "run")
    rule = report_data(run).meta["operating_point"]
    assert rule.endswith("mean of any editor; middle of the grid where there is no such mean (fails)")


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"fidelity": "lpsi"}, r"^axes.fidelity: no metric of the spec is called 'lpsi'; did you mean 'lpips'\?$"),
        ({"editability": "ssim"}, r"^axes.editability: no metric of the spec is called 'ssim'; add it to metrics$"),
        (
            {"editability": "fid"},
            r"^axes.editability: fid scores sets, an axis needs a score of every edit; choose from clip, lpips$",
        ),
    ],
    ids=["mistyped", "not in the spec", "of sets"],
)
def test_what_cannot_be_an_axis_is_refused_before_edits_and_before_scores(
    make_spec: SpecMaker, tmp_path: Path, axes: dict[str, str], message: str
) -> None:
    """Here, where metrics come from a file, their names are known when it is read; registered ones are refused as the spec is."""
    with pytest.raises(SpecError, match=message):
        api.plan(make_spec(metrics=ALL_METRICS, axes=axes))
    run = write_axes(api.run(make_spec(metrics=ALL_METRICS), tmp_path / "run", options=INLINE), **axes)
    with pytest.raises(SpecError, match=message.replace("^", "^.*run: ")):
        api.score(run)


def test_two_metrics_of_one_name_are_told_apart(make_spec: SpecMaker, tmp_path: Path) -> None:
    metrics = [*PAIR_METRICS, metric("Distance", undefined_on="number 1")]
    name = "lpips[undefined_on=number 1]"
    data = report_data(scored(make_spec(metrics=metrics, axes={"fidelity": name}), tmp_path / "run"))
    assert data.plane.made_of == {f"one_minus_{name}": name}
    assert data.tradeoff["n"].eq(2).all()
    assert "1 − LPIPS (number 1)" in data.meta["operating_point"]
