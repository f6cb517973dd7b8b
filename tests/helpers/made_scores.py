"""Plans and score tables without a run, made up so that the answers are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.plan import Entry, Plan, SampleInfo
from bench.scoring import Scores
from bench.scoring.axes import Axes, Axis
from bench.scoring.tables import PAIR_COLUMNS, frame

VALUES = (0.0, 0.5, 1.0)
CARDS = {"c": {"higher_is_better": True}, "l": {"higher_is_better": False}, "f": {"higher_is_better": False}}
AXES = Axes(Axis("clip"), Axis("lpips", higher_is_better=False, bounds=(0.0, None)))
PRINTS = {"clip": "c", "lpips": "l", "fid": "f"}


def entry(label: str, values: tuple[float, ...] = VALUES, anchor: bool = False) -> Entry:
    knob = "" if anchor else "amount"
    return Entry(label, label, label, "1", {}, knob, values, anchor, (), needs_model=False, deterministic=anchor)


def plan_of(*entries: Entry, samples: int = 12) -> Plan:
    infos = [SampleInfo(f"s{i}", i, "", f"p{i // 2}", "t", None, None, None, None, False, False) for i in range(samples)]
    return Plan("m", "", None, "float32", 0, entries, tuple(infos), ())


def scores_of(plan: Plan, make: Any, seeds: int = 1) -> Scores:
    """`make(label, value, sample number, seed)` gives CLIP score and LPIPS."""
    rows = []
    for each in plan.entries:
        for value in each.values:
            for number, sample in enumerate(plan.samples):
                for seed in range(1 if each.anchor else seeds):
                    about = {"unit": f"{each.label}-{number}-{seed}", "sample_id": sample.id, "source_id": sample.source_id}
                    about |= {"editor": each.label, "knob": each.knob or None, "value": value, "seed": seed, "category": None}
                    for metric, score in zip(("clip", "lpips"), make(each.label, value, number, seed), strict=True):
                        rows.append(about | {"metric": metric, "score": score, "fingerprint": PRINTS[metric]})
    return Scores(frame(rows, PAIR_COLUMNS), pd.DataFrame(columns=["metric", "fingerprint"]), CARDS)


def curves_as_scores(plan: Plan, clip: dict[str, NDArray[np.float64]], lpips: dict[str, NDArray[np.float64]]) -> Scores:
    """Scores from tables (samples, knob values) of each editor, with no loop over edits; one seed."""
    parts = []
    for each in plan.entries:
        for metric, table in (("clip", clip[each.label]), ("lpips", lpips[each.label])):
            n, k = table.shape
            about = {"unit": "", "sample_id": np.repeat([sample.id for sample in plan.samples], k)}
            about |= {"source_id": np.repeat([sample.source_id for sample in plan.samples], k), "category": None}
            about |= {"editor": each.label, "knob": each.knob or None, "value": np.tile(each.values, n), "seed": 0}
            parts.append(pd.DataFrame(about | {"metric": metric, "score": table.ravel(), "fingerprint": PRINTS[metric]}))
    return Scores(pd.concat(parts, ignore_index=True), pd.DataFrame(columns=["metric", "fingerprint"]), CARDS)
