"""Where scores come from: maps beside them, kept, made again where they lack, and shown by the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_specs import SpecMaker, editor, metric
from PIL import Image

from bench import api, registry
from bench.commands.report import report_data, report_run
from bench.scoring.maps import HALF, MapStore, grey
from bench.store import Run
from bench.workers.crew import Options

INLINE = Options(executor="inline")
MAPPED = [metric("Alignment"), metric("Placed"), metric("Distance")]


@pytest.fixture
def run(make_spec: SpecMaker, tmp_path: Path) -> Run:
    spec = make_spec(editor("Fade"), editor("Unchanged"), metrics=MAPPED[:2])
    run = api.run(spec, tmp_path / "run", options=INLINE)
    api.score(run)
    return run


def placed() -> int:
    """How many edits the fake metric made a map of, as the registry sees its class."""
    number: int = registry.load_metric(metric("Placed")["name"]).placed  # type: ignore[union-attr]
    return number


def values(file: Path) -> np.ndarray[Any, Any]:
    with Image.open(file) as picture:
        shown = np.asarray(picture).astype(np.float64) / 255
    return HALF * shown / (1 - shown)


def test_the_mean_of_a_map_is_the_score_to_the_rounding_of_its_greys(run: Run) -> None:
    """A grey stands for values within half a step, HALF / (1 - g)^2 / 255 / 2 at g."""
    data = report_data(run)
    assert (data.heat.metric, data.heat.half, data.heat.why) == ("LPIPS", HALF, "")
    pairs = data.pairs[data.pairs["metric"] == "lpips"].set_index(["sample_id", "editor", "value"])["score"]
    seen = 0
    for sample in data.gallery:
        for row in sample.rows:
            assert list(row.maps) == [value for value, _ in row.edits]
            for value, file in row.maps.items():
                found, score = values(file), pairs[sample.sample_id, row.editor, value]
                step = ((found + HALF) ** 2 / HALF / 255).mean()
                assert abs(found.mean() - score) <= step / 2 + 1e-9
                seen += score > 0.01
    assert seen >= 6


def test_maps_are_made_once_and_again_where_they_lack(run: Run) -> None:
    made, before = placed(), (run.scores / "pairs.parquet").read_bytes()
    api.score(run)
    assert placed() == made
    files = sorted(run.scores.glob("maps/*/*.png"))
    files[0].unlink()
    api.score(run)
    assert placed() == made + sum(
        MapStore(run, files[0].parent.name).path(run.plan.samples[u.sample].digest, e.sha256) == files[0]
        for u in run.plan.units
        if (record := run.record(u.key))
        for e in record.edits
    )
    assert sorted(run.scores.glob("maps/*/*.png")) == files
    assert (run.scores / "pairs.parquet").read_bytes() == before, "scores that are known stay"


def test_workers_leave_maps_too(run: Run) -> None:
    from bench.scoring.score import score_share

    files = sorted(run.scores.glob("maps/*/*.png"))
    contents = [file.read_bytes() for file in files]
    for file in (*files, run.scores / "pairs.parquet"):
        file.unlink()
    for seat in (0, 1):
        score_share(run.path, share=(seat, 2), device="cpu", threads=1)
    assert [file.read_bytes() for file in sorted(run.scores.glob("maps/*/*.png"))] == contents


def test_a_report_is_drawn_anew_when_maps_have_come(run: Run) -> None:
    files = list(run.scores.glob("maps/*/*.png"))
    for file in files:
        file.rename(run.path / file.name)
    page, data = report_run(run)
    assert data.heat.why == "`etabench score run` makes them, with the metric's network at hand"
    assert "No map of distances" in page.read_text(encoding="utf-8")
    for file in files:
        (run.path / file.name).rename(file)
    assert 'data-mode="map"' in report_run(run, anew=False)[0].read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("metrics", "why"),
    [
        ([metric("Alignment"), metric("Distance")], "`etabench score run` makes them, with the metric's network at hand"),
        ([metric("Alignment"), metric("Succeeds")], "the run does not score LPIPS"),
        ([metric("Alignment"), {"name": "lpips", "params": {"weights": "nowhere.pth"}}], "lpips failed: lpips alex: no file at "),
    ],
)
def test_a_run_without_maps_says_why(make_spec: SpecMaker, tmp_path: Path, metrics: list[dict[str, Any]], why: str) -> None:
    axes = {} if "LPIPS" not in why else {"axes": {"fidelity": "success"}}
    run = api.run(make_spec(metrics=metrics, **axes), tmp_path / "run", options=INLINE, scorable=False)
    api.score(run)
    heat = report_data(run).heat
    assert heat.metric == ""
    assert heat.why.startswith(why)


def test_greys_keep_small_values_and_cut_no_large_ones() -> None:
    assert grey(np.array([0.0, HALF, 1e9])).tolist() == [0, 128, 255]
    assert (np.diff(grey(np.linspace(0, 0.05, 30)).astype(int)) >= 1).all(), "steps of 0.0017 are told apart"
