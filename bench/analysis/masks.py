"""How well the masks that editors make for themselves cover those of the manifest.

intersection over union   pixels in both masks by pixels in one of them
precision                 share of the editor's mask that lies in the manifest's
recall                    share of the manifest's mask that lies in the editor's

Each is 0..1, higher is better, and undefined where it would be nothing by nothing. A mask depends on no knob value, so a unit counts once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from bench.analysis.intervals import Range, mean_interval
from bench.plan import Plan
from bench.store import Record, Run
from reports.frames import COLUMNS

__all__ = ["mask_quality", "overlap"]

MADE_ELSEWHERE = "manifest"
"""What an editor's facts call a mask that it was given."""


def overlap(made: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> dict[str, float]:
    """Intersection over union, precision and recall of a mask (H, W) against the wanted one of its size; NaN where undefined."""
    both, mine, theirs = int((made & wanted).sum()), int(made.sum()), int(wanted.sum())
    wholes = {"intersection over union": mine + theirs - both, "precision": mine, "recall": theirs}
    return {name: both / whole if whole else np.nan for name, whole in wholes.items()}


def mask_quality(run: Run, plan: Plan, records: Mapping[str, Record]) -> pd.DataFrame:
    """One row per editor that makes masks and measure: mean over units with its interval, clustered by source picture.

    Counted are samples whose mask the manifest gives in the size in which the editor gives its own.
    """
    found: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for unit in plan.units:
        record, sample = records.get(unit.key), plan.samples[unit.sample]
        if record is None or not sample.has_mask or "mask" not in record.pictures:
            continue
        wanted = run.keep(sample).get("mask")
        if record.facts.get("mask_from") == MADE_ELSEWHERE or wanted is None:
            continue
        made, truth = _read(run.picture(record, record.pictures["mask"])), _read(run.own(wanted))
        if made is None or truth is None or made.shape != truth.shape:
            continue
        for measure, value in overlap(made, truth).items():
            found.setdefault((plan.entries[unit.entry].label, measure), []).append((value, sample.source_id))
    order = {entry.label: number for number, entry in enumerate(plan.entries)}
    rows: list[dict[str, Any]] = []
    for (editor, measure), values in sorted(found.items(), key=lambda item: order[item[0][0]]):
        scores, clusters = zip(*values, strict=True)
        interval = mean_interval(scores, clusters, within=Range(0.0, 1.0))
        numbers = {"mean": interval.mean, "low": interval.low, "high": interval.high, "n": interval.n}
        rows.append({"editor": editor, "metric": measure, **numbers, "undefined": len(values) - interval.n})
    return pd.DataFrame(rows, columns=list(COLUMNS["masks"]))


def _read(path: Path) -> NDArray[np.bool_] | None:
    """A mask, white where the edit is; None where there is no such file."""
    if not path.is_file():
        return None
    with Image.open(path) as picture:
        return np.asarray(np.asarray(picture.convert("L")) > 127)
