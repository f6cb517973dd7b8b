"""The ci spec, run for real: curves that make sense, anchors where they must be, and nothing worse than the committed baseline.

ETABENCH_CI_RUN names a finished run of it, which `.ci/run` made of this very code; without that it is made here.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from typer.testing import CliRunner

import bench
from bench.cli import app
from bench.scoring import read_scores
from bench.store import Run
from bench.workers.crew import Options

BASELINE = Path(__file__).parent / "baselines" / "ci.json"
EDITORS = ("imagic", "diffedit", "blended_latent", "sdedit")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    if given := os.environ.get("ETABENCH_CI_RUN"):
        return Run.open(given)
    run = bench.run("ci", out=tmp_path_factory.mktemp("run") / "ci")
    bench.score(run)
    bench.report(run)
    return run


@pytest.fixture(scope="module")
def curves(finished: Run) -> pd.DataFrame:
    return pd.read_csv(finished.path / "report" / "curves.csv")


def _means(curves: pd.DataFrame, editor: str, metric: str) -> pd.Series[float]:
    rows = curves[(curves["editor"] == editor) & (curves["metric"] == metric)]
    return rows.set_index("value")["mean"].sort_index()


def test_every_unit_is_done(finished: Run, curves: pd.DataFrame) -> None:
    assert (curves["n"] == curves["expected"]).all()
    assert (finished.path / "report" / "index.html").stat().st_size > 100_000


@pytest.mark.parametrize("editor", EDITORS)
def test_more_knob_is_more_edit_and_less_fidelity(curves: pd.DataFrame, editor: str) -> None:
    clip, fidelity = _means(curves, editor, "clip"), _means(curves, editor, "one_minus_lpips")
    assert spearmanr(clip.index, clip).statistic >= 0.9, clip.to_dict()
    assert spearmanr(fidelity.index, fidelity).statistic <= -0.9, fidelity.to_dict()


def test_copy_is_exactly_faithful(curves: pd.DataFrame) -> None:
    assert _means(curves, "copy", "one_minus_lpips").iloc[0] == 1.0


def test_nothing_is_both_more_faithful_and_better_aligned_than_the_truth(curves: pd.DataFrame) -> None:
    clip, fidelity = (_means(curves, "oracle", metric).iloc[0] for metric in ("clip", "one_minus_lpips"))
    for editor in EDITORS:
        above = (_means(curves, editor, "clip") > clip) & (_means(curves, editor, "one_minus_lpips") > fidelity)
        assert not above.any(), editor


def test_imagic_reconstructs_at_zero(curves: pd.DataFrame) -> None:
    fidelity = _means(curves, "imagic", "one_minus_lpips")
    assert fidelity[0.0] > fidelity[1.0]


def test_sdedit_is_less_faithful_than_diffedit_at_equal_clip_score_on_object_changes(finished: Run) -> None:
    """At every CLIP score that both curves reach on the samples that change the object, compared by linear interpolation."""
    pairs = read_scores(finished).pairs
    pairs = pairs[(pairs["category"] == "object") & pairs["metric"].isin(["clip", "lpips"])]
    table = pairs.pivot_table(index=["editor", "value"], columns="metric", values="score").reset_index()
    curve = {name: rows.sort_values("clip") for name, rows in table.groupby("editor") if name in ("diffedit", "sdedit")}
    low = max(rows["clip"].min() for rows in curve.values())
    high = min(rows["clip"].max() for rows in curve.values())
    assert low < high, "the two curves have no CLIP score in common"
    levels = np.linspace(low, high, 9)
    lpips = {name: np.interp(levels, rows["clip"], rows["lpips"]) for name, rows in curve.items()}
    assert lpips["sdedit"].mean() > lpips["diffedit"].mean(), lpips


def test_no_regression_from_the_baseline(finished: Run) -> None:
    result = CliRunner().invoke(app, ["check", str(finished.path), "--baseline", str(BASELINE)])
    assert result.exit_code == 0, result.output


def test_the_same_spec_gives_the_same_pictures_and_scores(finished: Run, tmp_path: Path) -> None:
    """A sample from the middle of the run, made again by this process in a run of its own, where nothing comes before it."""
    samples = finished.plan.samples
    middle = f"samples=[{samples[len(samples) // 2].id}]"
    again = bench.run("ci", out=tmp_path / "again", overrides=[middle], options=Options(executor="inline"))
    pictures = {picture.relative_to(again.path): picture.read_bytes() for picture in again.path.glob("units/*/*.png")}
    assert len({picture.parent for picture in pictures}) == len(finished.plan.entries)
    assert {name: (finished.path / name).read_bytes() for name in pictures} == pictures
    first, second = (
        scores.pairs.set_index(["unit", "metric", "value"])["score"] for scores in (read_scores(finished), bench.score(again))
    )
    assert set(second.index.get_level_values("unit")) == {picture.parent.name for picture in pictures}
    # float32 networks in batches of other sizes; CLIP scores are hundredfold cosines
    np.testing.assert_allclose(second, first.loc[second.index], rtol=0, atol=1e-5)
