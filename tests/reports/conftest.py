"""A synthetic run: two editors with three knob values, two anchors, two samples, one failed unit. Tests must not change it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reports import EditRow, GalleryRow, Plane, ReportData, write_report

NAN = float("nan")
PRINTS = {"clip": "c11p00000001", "lpips": "1p1p50000001", "one_minus_lpips": "1p1p50000001", "csfid": "c5f1d0000001"}
PLANE = Plane("clip", "one_minus_lpips", {"one_minus_lpips": "lpips"})
HIGHER = {"clip": True, "lpips": False, "one_minus_lpips": True, "csfid": False}


def _curve_rows(editor: str, anchor: bool, knob: str | None, value: float, scores: dict[str, float]) -> list[dict[str, object]]:
    return [
        {
            "editor": editor, "anchor": anchor, "knob": knob, "value": value, "metric": metric, "mean": mean,
            "low": NAN if metric == "csfid" else mean - 0.05, "high": NAN if metric == "csfid" else mean + 0.04,
            "within_low": NAN if anchor or metric == "csfid" else mean - 0.02,
            "within_high": NAN if anchor or metric == "csfid" else mean + 0.01,
            "n": 2, "expected": 2, "undefined": 0, "coverage": 1.0,
            "bound_low": mean, "bound_high": mean, "fingerprint": PRINTS[metric], "higher_is_better": HIGHER[metric],
        }
        for metric, mean in scores.items()
    ]  # fmt: skip


@pytest.fixture(scope="session")
def curves() -> pd.DataFrame:
    rows: list[dict[str, object]] = []
    for editor, knob, shift in (("alpha", "eta", 0.0), ("beta<&>", "strength", 0.1)):
        for value, clip, keep in ((0.0, 0.2, 0.95), (0.5, 0.26, 0.8), (1.0, 0.31, 0.4)):
            keep_, clip_ = keep - shift, clip + shift / 3
            rows += _curve_rows(editor, False, knob, value, {
                "clip": clip_, "lpips": 1 - keep_, "one_minus_lpips": keep_, "csfid": 100 * keep_,
            })  # fmt: skip
    for editor, clip, keep in (("copy", 0.19, 1.0), ("oracle", 0.4, 0.7)):
        rows += _curve_rows(editor, True, None, 0.0, {
            "clip": clip, "lpips": 1 - keep, "one_minus_lpips": keep, "csfid": 90 * keep,
        })  # fmt: skip
    return pd.DataFrame(rows)


def _picture(path: Path, seed: int, side: int = 8) -> Path:
    noise = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


@pytest.fixture(scope="session")
def data(curves: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    pictures = tmp_path_factory.mktemp("pictures")
    gallery = []
    for i, category in enumerate(("add", "remove")):
        edits = [(v, _picture(pictures / f"{i}-{v}.png", 10 * i + n)) for n, v in enumerate((0.0, 0.5, 1.0))]
        rows = [EditRow("alpha", 0, edits, {"difference": _picture(pictures / f"{i}-d.png", 99)})]
        rows += [EditRow("beta<&>", 0, edits if i == 0 else [])]
        gallery.append(GalleryRow(f"s{i}", category, "a dog", f"a cat number {i}", edits[0][1], edits[-1][1], None, rows))
    own = curves[~curves["anchor"]]
    wide = {metric: own[own["metric"] == metric].reset_index(drop=True) for metric in ("one_minus_lpips", "clip")}
    tradeoff = wide["clip"][["editor", "knob", "value"]].copy()
    for axis, metric in (("x", "one_minus_lpips"), ("y", "clip")):
        for end in ("mean", "low", "high", "within_low", "within_high"):
            tradeoff[f"{axis}_{end}"] = wide[metric][end]
    tradeoff["n"] = 2
    names = ["alpha", "beta<&>", "copy", "oracle"]
    leaderboard = pd.DataFrame({
        "editor": names, "rank": [2.0, 1.0, NAN, NAN], "standing": ["on the 1 of 2 samples that all ranked editors have", "", "", ""],
        "clip_best": [False, True, False, False], "csfid_best": [False, True, False, False],
        "value": [0.5, 0.5, NAN, NAN], "uses_mask": [False, True, False, False],
        "fine_tunes": [True, False, False, False],
        "candidates": [1, 4, 1, 1], "selector": ["", "clip", "", ""],
        "clip": [0.26, 0.29333, 0.19, 0.4], "clip_low": [0.21, 0.24, 0.14, 0.35], "clip_high": [0.3, 0.33, 0.23, 0.44],
        "csfid": [80.0, 70.0, 90.0, 63.0], "seconds_per_edit": [9.25, 0.5, 0.01, 0.01],
        "peak_memory_mb": [812.0, 640.0, 300.0, 300.0],
    })  # fmt: skip
    counts = pd.DataFrame(
        {"editor": names, "expected": [2] * 4, "done": [2, 1, 2, 2], "failed": [0, 1, 0, 0], "scored": [2, 1, 2, 2]}
    )
    units = pd.DataFrame({
        "unit": ["u0", "u1", "u2", "u3"], "sample_id": ["s0", "s1", "s0", "s1"],
        "editor": ["alpha", "alpha", "beta<&>", "beta<&>"],
        "seed": 0, "status": ["done", "done", "done", "failed"], "reason": ["", "", "", "NotFinite at step 3"],
    })  # fmt: skip
    pairs = pd.DataFrame({
        "unit": "u0", "sample_id": "s0", "source_id": "0" * 16, "category": "add", "editor": "alpha", "knob": "eta",
        "value": [0.5, 0.5],
        "seed": [0, 1], "metric": "clip", "score": [0.2625, 0.9], "fingerprint": PRINTS["clip"],
    })  # fmt: skip
    sets = pd.DataFrame({
        "editor": ["alpha"], "knob": ["eta"], "value": [0.5], "metric": ["csfid"], "score": [80.0], "n": [2],
        "fingerprint": [PRINTS["csfid"]], "per_class": [1.25],
    })  # fmt: skip
    samples = pd.DataFrame({"sample_id": ["s0", "s1"], "source_id": ["a", "b"], "category": ["add", "remove"],
                            "source_text": "a dog", "target_text": ["a cat number 0", "a cat number 1"]})  # fmt: skip
    differences = pd.DataFrame({
        "metric": ["clip", "csfid"], "first": "alpha", "first_value": 0.5, "second": "beta<&>", "second_value": 0.5,
        "difference": [-0.0333, 10.0], "low": [-0.06, NAN], "high": [-0.01, NAN], "p": [0.01, 0.3], "p_holm": [0.02, 0.6],
        "p_least": 0.001, "undefined": 0,
        "n": [2, 2], "test": ["swap", "swap"], "better": ["beta<&>", "beta<&>"],
    })  # fmt: skip
    hypervolumes = pd.DataFrame({"editor": ["alpha", "beta<&>"], "hypervolume": [0.4, 0.5], "low": [0.3, 0.4], "high": [0.5, 0.6],
                                 "knob_values": 3, "n": 2})  # fmt: skip
    gains = pd.DataFrame({"first": ["alpha"], "second": ["beta<&>"], "gain": [-0.02], "low": [-0.03], "high": [0.01], "p": 0.3, "p_holm": 0.3,
                          "p_least": 0.001,
                          "fidelity_low": [0.4], "fidelity_high": [0.85], "n": [2]})  # fmt: skip
    levels = np.linspace(0.4, 0.9, 5)
    attainment = pd.concat([
        pd.DataFrame({"editor": name, "fidelity": levels, "low": [0.2, 0.2, 0.19, NAN, NAN], "median": 0.3 - levels / 10,
                      "high": 0.35 - levels / 10, "n": 2})
        for name in ("alpha", "beta<&>")
    ])  # fmt: skip
    seeds = pd.DataFrame({"editor": ["alpha"], "value": [0.5], "metric": ["clip"], "seed_sd": [0.02], "sample_sd": [0.05],
                          "share": [0.14], "shift": [0.01], "samples": [2], "seeds": [2.0]})  # fmt: skip
    return ReportData(
        title="small run", plane=PLANE, differences=differences, hypervolumes=hypervolumes, gains=gains, attainment=attainment, seeds=seeds,
        pairs=pairs, sets=sets, units=units, samples=samples, curves=curves, tradeoff=tradeoff,
        leaderboard=leaderboard, counts=counts, gallery=gallery, warnings=["Only two samples."],
        cards={PRINTS["clip"]: {"name": "clip", "network": "judge", "definition": "Cosine of picture and text."}},
        meta={"date": "2026-01-02", "manifest_hash": "ab" * 32, "environment.torch": "2.15.0"},
    )  # fmt: skip


@pytest.fixture(scope="session")
def report(data: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the report of ``data``, written once; tests only read it."""
    return write_report(tmp_path_factory.mktemp("report") / "deep" / "report", data).parent
