"""A whole `etabench run` on emulated CUDA devices: made by a worker for each, scored on the first, reported; and one at the size of Stable
Diffusion 1.5, dry.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hollow_checkpoints import hollow

from bench.benchmarks.emulated import on_card, unavailable
from bench.benchmarks.sizes import SIZES
from bench.toybox.embedded import network

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
  - {name: blended_latent, params: {steps: 2, candidates: 2, background_reconstruction_steps: 1}, grid: [1.0]}
  - {name: imagic, params: {steps: 2, embedding_steps: 2, unet_steps: 2}, grid: [1.0]}
metrics: [clip, lpips]
anchors: [copy]
"""
GREYS = {"float32": 0.01, "float16": 0.5, "bfloat16": 4.0}
"""Mean grey levels that a run's edits may lie from the CPU's: sums over another batch, whose order is another; twice what rounding to
halves moves at the most."""
SCORES = {"float32": 1e-3, "float16": 0.03, "bfloat16": 0.15}
"""How far scores may lie from the CPU's, as a share: what these greys move."""


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
        "batches": [record.worker for record in records if record.peak_memory.get("kind", "").startswith("cuda")],
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
        etabench("run", spec, "--out", f"{folder}/{dtype}", "--device", "cuda", "--set", f"dtype={dtype}", "--strict")
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
        # auto: two samples of one value or two fit into a call by far, and are given to who takes several at once
        assert {each["max_batch"] for each in found["batches"]} == {64}
        assert {each["batch"] for each in found["batches"]} == {1, 2}
        assert found["edits"].keys() == expected["edits"].keys()
        gaps = {key: np.abs(np.subtract(edit, expected["edits"][key])).mean() for key, edit in found["edits"].items()}
        assert max(gaps.values()) <= grey, gaps
        assert [name for name, _ in found["scores"]] == [name for name, _ in expected["scores"]]
        ours, theirs = ([score for _, score in rows["scores"]] for rows in (found, expected))
        assert ours == pytest.approx(theirs, rel=SCORES[dtype])


def dry_run(card: Any, spec: str, model: str, folder: str) -> dict[str, Any]:
    """The command of who has a card and a checkpoint: all is asked of the card, and nothing computed."""
    place = ("--set", f"model.path={model}", "--set", "dtype=float16", "--device", "cuda", "--executor", "inline", "--strict")
    etabench("run", spec, "--out", folder, *place)
    return {
        "convolutions": card.operators["convolution"],
        "attention": sum(n for name, n in card.operators.items() if "scaled_dot" in name),
    }


def test_a_run_at_the_size_of_stable_diffusion_is_made_scored_and_reported(tmp_path: Path) -> None:
    spec = tmp_path / "cards.yaml"
    content = yaml.safe_load(SPEC) | {"limit": 1}
    content["editors"][2]["params"]["clip"] = network("ranker")
    content["metrics"] = [{"name": "clip", "params": {"model": "toybox"}}, {"name": "lpips", "params": {"net": "toybox"}}]
    spec.write_text(yaml.safe_dump(content))
    model = hollow(SIZES["SD 1.5"], tmp_path / "model")
    seen = on_card(dry_run, gib=16, dry=True, spec=str(spec), model=str(model), folder=str(tmp_path / "run"))
    assert min(seen.values()) > 100
    found = made(str(tmp_path / "run"))
    assert set(found["status"]) == {"done"}
    assert {workers for workers in found["workers"] if workers[0] != "cpu"} == {("cuda:0", "float16")}
    assert found["page"] > 1000
    assert {name.split()[0] for name, _ in found["scores"]} == {"clip", "lpips"}
    assert {np.shape(edit) for edit in found["edits"].values()} == {(512, 512, 3)}
    # a full fit of Imagic has the weights, four U-Nets in float32 and its activations: it fits 16 GiB, and fills them
    assert 8 * 1024 < max(peak["mb"] for peak in found["peaks"]) < 14 * 1024
