"""The knob value at which an editor is listed and compared.

It is the value of its grid with the highest mean of CLIP score and 1-LPIPS after both are put on one scale. Where the run has the
anchors copy and regenerate, 0 and 1 of the CLIP scale are copy and regenerate, and 0 and 1 of the 1-LPIPS scale are regenerate and
copy; otherwise both scales run from the smallest to the largest mean of any editor.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.plan import Plan

__all__ = ["anchor_ends", "balance", "mean_table", "operating_points"]


def mean_table(pairs: pd.DataFrame) -> pd.DataFrame:
    """Means of all pair metrics: editor, value, metric, mean; `lpips` also as `one_minus_lpips`."""
    finite = pairs[np.isfinite(pairs["score"])]
    means = finite.groupby(["editor", "value", "metric"], sort=False)["score"].mean().rename("mean").reset_index()
    flipped = means[means["metric"] == "lpips"].assign(metric="one_minus_lpips", mean=lambda rows: 1 - rows["mean"])
    return pd.concat([means, flipped], ignore_index=True)


def operating_points(plan: Plan, means: pd.DataFrame) -> dict[str, float]:
    """Editor to knob value. Without both metrics it is the middle of the grid.

    `means` has columns editor, value, metric and mean, as `mean_table` gives them.
    """
    rated = balance(plan, means)
    chosen = {}
    for entry in plan.entries:
        finite = {value: score for value in entry.values if np.isfinite(score := rated.get((entry.label, value), np.nan))}
        chosen[entry.label] = max(finite, key=lambda value: finite[value]) if finite else entry.values[len(entry.values) // 2]
    return chosen


def balance(plan: Plan, means: pd.DataFrame) -> dict[tuple[str, float], float]:
    """Mean of scaled CLIP score and scaled 1-LPIPS per (editor, value)."""
    series = {
        metric: means[means["metric"] == metric].set_index(["editor", "value"])["mean"] for metric in ("clip", "one_minus_lpips")
    }
    if not all(len(each) for each in series.values()):
        return {}
    ends, scaled = anchor_ends(plan, means), []
    for metric, each in series.items():
        low, high = ends[metric] if ends else (each.min(), each.max())
        scaled.append((each - low) / (high - low if high != low else 1.0))
    both = ((scaled[0] + scaled[1]) / 2).rename("score").reset_index()
    return {(str(row["editor"]), float(row["value"])): float(row["score"]) for row in both.to_dict("records")}


def anchor_ends(plan: Plan, means: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Worst and best of each axis as the anchors have it: copy and regenerate in CLIP score, regenerate and copy in 1-LPIPS.

    Empty where an anchor or one of its scores is lacking.
    """
    labels = {entry.name: entry.label for entry in plan.entries if entry.anchor}
    rows = zip(means["editor"], means["metric"], means["mean"], strict=True)
    found = {(editor, metric): float(mean) for editor, metric, mean in rows}
    copy, new = (
        [found.get((labels.get(name, ""), metric), np.nan) for metric in ("clip", "one_minus_lpips")]
        for name in ("copy", "regenerate")
    )
    if not np.isfinite([*copy, *new]).all():
        return {}
    return {"clip": (copy[0], new[0]), "one_minus_lpips": (new[1], copy[1])}
