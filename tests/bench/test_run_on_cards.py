"""A whole `etabench run` on two emulated CUDA devices: made by a worker for each, scored on the first, reported."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.benchmarks.emulated import on_card, unavailable

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(unavailable()), reason=unavailable())]

SPEC = """
name: cards
manifest: toybox-mini
model: toybox
seeds: [0]
limit: 2
editors:
  - {name: sdedit, params: {steps: 3}, grid: [0.4, 1.0]}
  - {name: diffedit, params: {steps: 2, mask_maps: 2}, grid: [1.0]}
metrics: [clip, lpips]
anchors: [copy]
"""
GREYS = {"float32": 0.0, "float16": 0.2}
"""Mean grey levels that a run's edits may lie from the CPU's: none, since the CPU's kernels run; twice what rounding to halves moves."""
SCORES = {"float32": 1e-5, "float16": 0.02}
"""How far scores may lie from the CPU's, as a share: float32 sums in another order; what the greys of halves move."""


def etabench(*arguments: str) -> None:
    """The command, in this process."""
    from bench.cli import main

    sys.argv = ["etabench", *arguments]
    with pytest.raises(SystemExit) as done:
        main()
    assert not done.value.code


def made(folder: str) -> dict[str, Any]:
    """What a run has: its edits, its devices, its scores, its page."""
    from bench.scoring import read_scores
    from bench.store import Run

    run = Run.open(folder)
    records = list(run.records(unit.key for unit in run.plan.units))
    edits = {
        f"{record.identity['editor']} {record.identity['sample']} {number}": run.read_edit(record, number).tolist()
        for record in records
        for number in range(len(record.edits))
    }
    return {
        "status": [record.status for record in records],
        "workers": sorted({(record.worker["device"], record.worker["dtype"]) for record in records}),
        "peaks": [record.peak_memory for record in records],
        "edits": edits,
        "scores": sorted(
            [f"{row.metric} {row.editor} {row.sample_id} {row.value}", row.score] for row in read_scores(run).pairs.itertuples()
        ),
        "page": (Path(folder) / "report" / "index.html").stat().st_size,
    }


def runs(card: Any, spec: str, folder: str) -> dict[str, Any]:
    """The run in each dtype, on all devices that there are."""
    for dtype in GREYS:
        etabench("run", spec, "--out", f"{folder}/{dtype}", "--set", "device=cuda", "--set", f"dtype={dtype}", "--strict")
    return {"launched": sum(card.operators.values())}


def test_a_run_on_two_cards_has_the_edits_and_scores_of_one_on_a_cpu(tmp_path: Path) -> None:
    spec = tmp_path / "cards.yaml"
    spec.write_text(SPEC)
    etabench("run", str(spec), "--out", str(tmp_path / "cpu"), "--set", "device=cpu", "--executor", "inline", "--strict")
    expected = made(str(tmp_path / "cpu"))
    assert on_card(runs, devices=2, spec=str(spec), folder=str(tmp_path))[
        "launched"
    ]  # the metrics' networks, in the command's own process
    for dtype, grey in GREYS.items():
        found = made(str(tmp_path / dtype))
        assert set(found["status"]) == {"done"}
        assert {device for device, _ in found["workers"] if device != "cpu"} == {"cuda:0", "cuda:1"}, json.dumps(found["workers"])
        assert found["page"] > 1000
        assert found["edits"].keys() == expected["edits"].keys()
        gaps = {key: np.abs(np.subtract(edit, expected["edits"][key])).mean() for key, edit in found["edits"].items()}
        assert max(gaps.values()) <= grey, gaps
        assert [name for name, _ in found["scores"]] == [name for name, _ in expected["scores"]]
        ours, theirs = ([score for _, score in rows["scores"]] for rows in (found, expected))
        assert ours == pytest.approx(theirs, rel=SCORES[dtype])
