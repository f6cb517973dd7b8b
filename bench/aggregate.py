"""Score rows -> the tables a report shows: curves and tradeoff with intervals, leaderboard, counts, costs.

Missing scores are dropped from a mean and shown: every point has `n` beside `expected`, every editor its counts of units that
were expected, done, failed and scored.

Operating point of an editor: the value of its grid with the highest mean of CLIP score and 1-LPIPS after both are put on one
scale. Where the run has the anchors copy and regenerate, 0 and 1 of the CLIP scale are copy and regenerate, and 0 and 1 of the
1-LPIPS scale are regenerate and copy; otherwise both scales run from the smallest to the largest mean of any editor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench.plan import Entry, Plan
from bench.statistics import Interval, joint_intervals, mean_interval
from bench.store import Record, Run
from bench.tables import Scores, check_unmixed

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["counts", "curves", "leaderboard", "operating_points", "records_by_unit", "tradeoff", "units"]

CURVE_COLUMNS = (
    *("editor", "anchor", "knob", "value", "metric", "mean", "low", "high", "n", "expected", "fingerprint", "higher_is_better"),
)
BAND_COLUMNS = ("editor", "knob", "value", "x_mean", "x_low", "x_high", "y_mean", "y_low", "y_high", "n")


def records_by_unit(run: Run, plan: Plan) -> dict[str, Record]:
    """The records of the plan's units that have one."""
    return {record.key: record for record in run.records(dict.fromkeys(unit.key for unit in plan.units))}


def units(plan: Plan, records: Mapping[str, Record]) -> pd.DataFrame:
    """One row per planned unit with status (done, failed, missing), reason, what is absent or cut, and costs."""
    rows = []
    for unit in plan.units:
        record = records.get(unit.key)
        reason = (record.reason or {}) if record else {}
        rows.append(
            {
                "unit": unit.key,
                "sample_id": plan.samples[unit.sample].id,
                "editor": plan.entries[unit.entry].label,
                "seed": unit.seed,
                "status": record.status if record else "missing",
                "reason": f"{reason['type']}: {reason['message']}" if reason else "",
                "edits": len(record.edits) if record else 0,
                "absent": len(record.absent) if record else 0,
                "prompt_tokens_cut": record.facts.get("prompt_tokens_cut", 0) if record else 0,
                "seconds": sum(record.seconds.values()) if record and record.seconds else np.nan,
                "unet_evaluations": record.unet_evaluations if record and record.seconds else np.nan,
                "peak_memory_mb": record.peak_memory.get("mb", np.nan) if record else np.nan,
            }
        )
    return pd.DataFrame(rows)


def counts(plan: Plan, unit_table: pd.DataFrame, scores: Scores) -> pd.DataFrame:
    """Units expected, done, failed and scored per editor; scored has a finite score of every pair metric at every knob value.

    `coverage` is the percentage of the planned edits that were made or delivered.
    """
    pairs = scores.pairs
    metrics = pairs["metric"].nunique()
    rows = []
    for entry in plan.entries:
        mine = unit_table[unit_table["editor"] == entry.label]
        finite = pairs[(pairs["editor"] == entry.label) & np.isfinite(pairs["score"])]
        full = finite.groupby("unit").size() >= metrics * len(entry.values) if metrics else pd.Series(dtype=bool)
        rows.append(
            {
                "editor": entry.label,
                "expected": len(mine),
                "done": int((mine["status"] == "done").sum()),
                "failed": int((mine["status"] == "failed").sum()),
                "scored": int(full.sum()),
                "coverage": 100.0 * float(mine["edits"].sum()) / max(len(mine) * len(entry.values), 1),
            }
        )
    return pd.DataFrame(rows)


def curves(plan: Plan, scores: Scores) -> pd.DataFrame:
    """One row per editor, knob value and metric; `lpips` also appears as `one_minus_lpips`, higher is better."""
    check_unmixed(scores.pairs)
    check_unmixed(scores.sets)
    metrics = list(dict.fromkeys(scores.pairs["metric"]))
    sets = {(row["editor"], row["metric"], row["value"]): row for row in scores.sets.to_dict("records")}
    rows: list[dict[str, Any]] = []
    for index, entry in enumerate(plan.entries):
        planned = [unit for unit in plan.units if unit.entry == index]
        first = sum(unit.seed == plan.first_seed for unit in planned)
        for value in entry.values:
            base = {"editor": entry.label, "anchor": entry.anchor, "knob": entry.knob or None, "value": value}
            for metric in metrics:
                here = _cell(scores.pairs, entry, value, metric)
                print_ = here["fingerprint"].iloc[0] if len(here) else ""
                higher = bool(scores.cards.get(print_, {}).get("higher_is_better", False))
                interval = mean_interval(here["score"].to_numpy(), here["source_id"].tolist())
                common = base | {"expected": len(planned), "fingerprint": print_}
                rows.append(common | _point(metric, interval) | {"higher_is_better": higher})
                if metric == "lpips":
                    flipped = Interval(1 - interval.mean, 1 - interval.high, 1 - interval.low, interval.n, interval.clusters)
                    rows.append(common | _point("one_minus_lpips", flipped) | {"higher_is_better": True})
            for metric in dict.fromkeys(scores.sets["metric"]):
                row = sets.get((entry.label, metric, value))
                if row is not None:
                    higher = bool(scores.cards.get(row["fingerprint"], {}).get("higher_is_better", False))
                    point = {"metric": metric, "mean": row["score"], "low": np.nan, "high": np.nan, "n": int(row["n"])}
                    rest = {"expected": first, "fingerprint": row["fingerprint"], "higher_is_better": higher}
                    rows.append(base | point | rest)
    return pd.DataFrame(rows, columns=list(CURVE_COLUMNS))


def tradeoff(plan: Plan, scores: Scores) -> pd.DataFrame:
    """1-LPIPS (x) and CLIP score (y) per editor and knob value over the edits that have both, under the same resamples."""
    rows = []
    if {"clip", "lpips"} <= set(scores.pairs["metric"]):
        for entry in plan.entries:
            for value in entry.values:
                both = _joined(_cell(scores.pairs, entry, value, "clip"), _cell(scores.pairs, entry, value, "lpips"))
                x, y = joint_intervals([1 - both["score_lpips"].to_numpy(), both["score"].to_numpy()], both["source_id"].tolist())
                ends = {"x_mean": x.mean, "x_low": x.low, "x_high": x.high, "y_mean": y.mean, "y_low": y.low, "y_high": y.high}
                rows.append({"editor": entry.label, "knob": entry.knob or None, "value": value, **ends, "n": x.n})
    return pd.DataFrame(rows, columns=list(BAND_COLUMNS))


def operating_points(plan: Plan, curve_table: pd.DataFrame) -> dict[str, float]:
    """The knob value at which each editor is listed; see the module's text. Without both metrics it is the middle of the grid."""
    balance = _balance(plan, curve_table)
    chosen = {}
    for entry in plan.entries:
        rated = {value: balance.get((entry.label, value), np.nan) for value in entry.values}
        finite = {value: score for value, score in rated.items() if np.isfinite(score)}
        chosen[entry.label] = max(finite, key=lambda value: finite[value]) if finite else entry.values[len(entry.values) // 2]
    return chosen


def leaderboard(
    plan: Plan, records: Mapping[str, Record], unit_table: pd.DataFrame, count_table: pd.DataFrame, curve_table: pd.DataFrame
) -> pd.DataFrame:
    """One row per editor at its operating point: metrics with intervals, fair-play flags, costs, counts. Best balance first."""
    points, balance = operating_points(plan, curve_table), _balance(plan, curve_table)
    metrics = [name for name in dict.fromkeys(curve_table["metric"]) if name != "lpips"]
    rows = []
    for index, entry in enumerate(plan.entries):
        value = points[entry.label]
        row: dict[str, Any] = {"editor": entry.label, "anchor": entry.anchor, "knob": entry.knob or None, "value": value}
        for metric in metrics:
            here = curve_table[
                (curve_table["editor"] == entry.label) & (curve_table["metric"] == metric) & (curve_table["value"] == value)
            ]
            point = here.iloc[0] if len(here) else {}
            row[metric] = point.get("mean", np.nan)
            if metric in {"clip", "one_minus_lpips"} or np.isfinite(point.get("low", np.nan)):
                row[f"{metric}_low"], row[f"{metric}_high"] = point.get("low", np.nan), point.get("high", np.nan)
        done = [records[unit.key] for unit in plan.units if unit.entry == index and unit.key in records]
        row |= next((record.fair_play for record in done if record.status == "done"), {})
        row |= _costs(unit_table[(unit_table["editor"] == entry.label) & (unit_table["status"] == "done")])
        row |= {str(name): n for name, n in count_table[count_table["editor"] == entry.label].iloc[0].drop("editor").items()}
        rows.append(row | {"_order": -balance.get((entry.label, value), -np.inf)})
    table = pd.DataFrame(rows).sort_values(["anchor", "_order"], kind="stable", na_position="last")
    return table.drop(columns="_order").reset_index(drop=True)


def _balance(plan: Plan, curve_table: pd.DataFrame) -> dict[tuple[str, float], float]:
    """Mean of scaled CLIP score and scaled 1-LPIPS per (editor, value)."""
    means = {
        metric: curve_table[curve_table["metric"] == metric].set_index(["editor", "value"])["mean"]
        for metric in ("clip", "one_minus_lpips")
    }
    if not all(len(series) for series in means.values()):
        return {}
    labels = {entry.name: entry.label for entry in plan.entries if entry.anchor}
    ends = [(labels.get(name, ""), 0.0) for name in ("copy", "regenerate")]
    scaled = []
    for metric, series in means.items():
        low, high = series.min(), series.max()
        if all(end in means["clip"].index and np.isfinite([each[end] for each in means.values()]).all() for end in ends):
            low, high = series[ends[0]], series[ends[1]]
            low, high = (low, high) if metric == "clip" else (high, low)
        scaled.append((series - low) / (high - low if high != low else 1.0))
    return {(str(editor), float(value)): float(score) for (editor, value), score in ((scaled[0] + scaled[1]) / 2).items()}


def _costs(done: pd.DataFrame) -> dict[str, float]:
    edits = float(done["edits"].sum())
    return {
        "seconds_per_edit": float(done["seconds"].sum(min_count=1)) / edits if edits else np.nan,
        "unet_evaluations_per_edit": float(done["unet_evaluations"].sum(min_count=1)) / edits if edits else np.nan,
        "peak_memory_mb": float(done["peak_memory_mb"].max()) if len(done) else np.nan,
    }


def _cell(pairs: pd.DataFrame, entry: Entry, value: float, metric: str) -> pd.DataFrame:
    return pairs[(pairs["editor"] == entry.label) & (pairs["value"] == value) & (pairs["metric"] == metric)]


def _joined(clip: pd.DataFrame, lpips: pd.DataFrame) -> pd.DataFrame:
    keys: Sequence[str] = ("unit", "value")
    return clip.merge(lpips[[*keys, "score"]], on=list(keys), suffixes=("", "_lpips"))


def _point(metric: str, interval: Interval) -> dict[str, Any]:
    return {"metric": metric, "mean": interval.mean, "low": interval.low, "high": interval.high, "n": interval.n}
