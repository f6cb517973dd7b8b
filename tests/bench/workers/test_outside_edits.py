"""Edits made elsewhere on one board with an editor of ours, on the embedded model."""

from __future__ import annotations

import pandas as pd
import pytest
from fake_specs import PAIR_METRICS, metric
from PIL import Image

import bench
from bench.commands.report import report_data
from bench.manifest import open_manifest
from bench.spec import Spec
from bench.store import Run
from bench.toybox.embedded import TOYBOX
from bench.workers.crew import Options

pytestmark = pytest.mark.slow

SAMPLES = 3


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Ground truths as the outside method's edits at strength 1 and sources at 0; one of them was not delivered."""
    outside = tmp_path_factory.mktemp("outside")
    manifest = open_manifest("toybox-mini", 64)
    for sample in (manifest.load(i) for i in range(SAMPLES)):
        (outside / sample.id).mkdir()
        Image.fromarray(sample.image).save(outside / sample.id / "0.0.png")
        assert sample.truth is not None
        Image.fromarray(sample.truth).resize((128, 128)).save(outside / sample.id / "1.png")
    (outside / manifest.ids[1] / "1.png").unlink()
    content = {
        "name": "outside",
        "manifest": "toybox-mini",
        "limit": SAMPLES,
        "model": {"path": str(TOYBOX / "generator")},
        "device": "cpu",
        "editors": [
            {"name": "sdedit", "params": {"steps": 2, "guidance": 1.0}, "grid": [0.5, 1.0]},
            {"name": "folder", "label": "theirs", "params": {"path": str(outside), "knob": "strength", "fine_tunes": True}},
        ],
        "metrics": [*PAIR_METRICS, metric("ColourGap")],
        "batch": 2,
    }
    run = bench.run(Spec.model_validate(content), tmp_path_factory.mktemp("run"), options=Options(executor="inline"))
    bench.score(run)
    bench.report(run)
    return run


def test_a_picture_that_was_not_delivered_is_missing_on_the_board(finished: Run) -> None:
    data = report_data(finished)
    counts = data.counts.set_index("editor")
    assert counts.loc["theirs", ["expected", "done", "failed", "scored"]].tolist() == [3, 3, 0, 3]
    assert counts["coverage"].to_dict() == {"sdedit": 100.0, "theirs": pytest.approx(100 * 5 / 6)}
    assert any(text.startswith("theirs lacks 1 of 6 edits") for text in data.warnings)
    curves = data.curves.set_index(["editor", "metric", "value"])
    for name in ("clip", "lpips", "fid"):
        assert [curves.loc[("theirs", name, value), "n"] for value in (0.0, 1.0)] == [3, 2], name
        assert curves.loc[("theirs", name, 1.0), "expected"] == 3, name
    assert curves.loc[("theirs", "lpips", 0.0), "mean"] == 0.0, "the delivered sources were taken as they are"


def test_the_outside_method_has_its_own_knob_and_declarations_and_no_costs(finished: Run) -> None:
    board = report_data(finished).leaderboard.set_index("editor")
    assert board.loc["theirs", "knob"] == "strength"
    assert bool(board.loc["theirs", "fine_tunes"])
    assert pd.isna(board.loc["theirs", ["seconds_per_edit", "unet_evaluations_per_edit", "peak_memory_mb"]].astype(float)).all()
    assert board.loc["sdedit", "seconds_per_edit"] > 0


def test_the_record_says_how_a_picture_came_to_the_grid(finished: Run) -> None:
    records = [r for path in finished.units.iterdir() if (r := finished.record(path.name)) and r.identity["editor"] == "folder"]
    whole = [record for record in records if not record.absent]
    assert [record.absent for record in records if record.absent] == [(1.0,)]
    assert {record.facts["transform"] for record in whole} == {"none; resize 128x128 to 64x64, lanczos"}
    assert all(record.facts["made"] == "elsewhere" for record in records)


def test_sdedit_shares_a_batch_evenly_if_it_works_in_batches(finished: Run) -> None:
    """Two steps at full strength and one at half, without guidance: three samples through the U-Net per unit, batched or not."""
    records = [r for path in finished.units.iterdir() if (r := finished.record(path.name)) and r.identity["editor"] == "sdedit"]
    assert [record.unet_evaluations for record in records] == [3, 3, 3]
