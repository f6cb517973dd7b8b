"""Score rows -> the tables a report shows: curves and tradeoff with intervals, counts, costs of units.

Missing scores are dropped from a mean and shown: every point has `n` beside `expected`, its coverage (the share of planned edits that
were made and scored) and, where that is below 1, the bounds between which the mean over all planned edits lies, as far as the metric
has a range. Scores that a metric leaves undefined by its own rule are counted apart (`undefined`): they are no gap in the run. Every
editor has its counts of units that were expected, done, failed and scored.

Every interval is made here once, in the metric's own direction and range, and turned round where an axis turns the metric round: the
curves, the plane, the leaderboard and the figures show the same numbers for the same edits. Those of a point of the plane are the
edits that have both scores, as its n says. Beside each mean's own interval stands the one for comparing editors (`within_low`,
`within_high`, see `bench.analysis.within`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench.analysis.intervals import Interval, Range, joint_intervals, mean_interval, missing_bounds
from bench.analysis.within import Levels, within_interval
from bench.plan import Plan
from bench.scoring import Scores
from bench.scoring.axes import Axes, Axis
from bench.scoring.tables import check_unmixed
from bench.store import Record, Run
from bench.store.record import NOTHING
from reports.cells import finite
from reports.frames import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["counts", "curves", "records_by_unit", "tradeoff", "units"]


def records_by_unit(run: Run, plan: Plan) -> dict[str, Record]:
    """The records of the plan's units that have one, without their identities: the plan has these."""
    found = run.records(dict.fromkeys(unit.key for unit in plan.units))
    return {record.key: replace(record, identity=NOTHING) for record in found}


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
                "prompt_tokens_cut": int(finite(record.facts.get("prompt_tokens_cut")) or 0) if record else 0,
                "seconds": sum(record.seconds.values()) if record and record.seconds else np.nan,
                "unet_evaluations": record.unet_evaluations if record and record.seconds else np.nan,
                "peak_memory_mb": record.peak_memory.get("mb", np.nan) if record else np.nan,
            }
        )
    return pd.DataFrame(rows)


def counts(plan: Plan, unit_table: pd.DataFrame, scores: Scores) -> pd.DataFrame:
    """Units expected, done, failed and scored per editor.

    Scored is a unit of whose every edit every pair metric has said what it says, a number or that there is none: a table has a row,
    with NaN, where a metric leaves a score undefined by its own rule. `coverage` is the percentage of the planned edits that were made
    or delivered.
    """
    metrics, answers = scores.pairs["metric"].nunique(), scores.pairs.groupby("unit").size()
    rows = []
    for entry in plan.entries:
        mine = unit_table[unit_table["editor"] == entry.label]
        answered = mine["unit"].map(answers).fillna(0) >= metrics * mine["edits"]
        rows.append(
            {
                "editor": entry.label,
                "expected": len(mine),
                "done": int((mine["status"] == "done").sum()),
                "failed": int((mine["status"] == "failed").sum()),
                "scored": int((answered & (mine["edits"] > 0)).sum()),
                "coverage": 100.0 * float(mine["edits"].sum()) / max(len(mine) * len(entry.values), 1),
            }
        )
    return pd.DataFrame(rows)


def curves(plan: Plan, scores: Scores, axes: Axes) -> pd.DataFrame:
    """One row per editor, knob value and metric; a metric that an axis turns round also appears under the axis's column."""
    check_unmixed(scores.pairs)
    check_unmixed(scores.sets)
    cells = _cells(scores.pairs)
    prints, ranges = dict(zip(scores.pairs["metric"], scores.pairs["fingerprint"], strict=True)), _ranges(scores)
    levels = Levels(plan.entries, scores.pairs)
    sets = {(row["editor"], row["metric"], row["value"]): row for row in scores.sets.to_dict("records")}
    rows: list[dict[str, Any]] = []
    for index, entry in enumerate(plan.entries):
        planned = [unit for unit in plan.units if unit.entry == index]
        first = sum(unit.seed == plan.first_seed for unit in planned)
        for value in entry.values:
            base = {"editor": entry.label, "anchor": entry.anchor, "knob": entry.knob or None, "value": value}
            for metric, print_ in prints.items():
                here = cells.get((entry.label, value, metric), scores.pairs[:0])
                point = _point(metric, here, len(planned), ranges[metric])
                point |= _inner(levels, entry.label, value, metric, here, within=ranges[metric])
                higher = scores.cards.get(print_, {}).get("higher_is_better", False)
                point |= {"fingerprint": print_, "higher_is_better": higher}
                rows.append(base | point)
                rows += [base | _placed(point, axis) for axis in axes if metric == axis.metric != axis.column]
            for metric in dict.fromkeys(scores.sets["metric"]):
                row = sets.get((entry.label, metric, value))
                if row is not None:
                    rows.append(base | _set_point(row, first, scores.cards.get(row["fingerprint"], {})))
    return pd.DataFrame(rows, columns=list(COLUMNS["curves"]))


def tradeoff(plan: Plan, scores: Scores, axes: Axes) -> pd.DataFrame:
    """Fidelity (x) and editability (y) per editor and knob value over the edits that have both."""
    rows, cells, ranges, levels = [], _cells(scores.pairs), _ranges(scores), Levels(plan.entries, scores.pairs)
    if {axis.metric for axis in axes} <= set(scores.pairs["metric"]):
        for entry in plan.entries:
            for value in entry.values:
                vertical, horizontal = (cells.get((entry.label, value, axis.metric), scores.pairs[:0]) for axis in axes)
                both = vertical.merge(horizontal[["unit", "value", "score"]], on=["unit", "value"], suffixes=("_y", "_x"))
                columns = [both[name].to_numpy() for name in ("score_x", "score_y")]
                known = [ranges[axis.metric] for axis in (axes.fidelity, axes.editability)]
                found = joint_intervals(columns, both["source_id"].tolist(), within=known)
                both = both[np.isfinite(both["score_x"]) & np.isfinite(both["score_y"])]
                ends: dict[str, float] = {}
                for name, axis, interval in zip("xy", (axes.fidelity, axes.editability), found, strict=True):
                    cell = both.rename(columns={f"score_{name}": "score"})
                    inner = _inner(levels, entry.label, value, axis.metric, cell, within=ranges[axis.metric])
                    ends |= _coordinate(name, axis, interval, inner)
                rows.append({"editor": entry.label, "knob": entry.knob or None, "value": value, **ends, "n": found[0].n})
    return pd.DataFrame(rows, columns=list(COLUMNS["tradeoff"]))


def _cells(pairs: pd.DataFrame) -> dict[tuple[str, float, str], pd.DataFrame]:
    """The scores of each editor, knob value and metric."""
    groups: Any = pairs.groupby(["editor", "value", "metric"], sort=False)
    return {(str(editor), float(value), str(metric)): cell for (editor, value, metric), cell in groups}


def _ranges(scores: Scores) -> dict[str, Range]:
    """The range of each pair metric, by its card."""
    prints = dict(zip(scores.pairs["metric"], scores.pairs["fingerprint"], strict=True))
    return {str(name): _range(scores.cards.get(print_, {})) for name, print_ in prints.items()}


def _range(card: Mapping[str, Any]) -> Range:
    low, high = card.get("bounds", (None, None))
    return Range(low, high, card.get("binary", False))


def _point(metric: str, cell: pd.DataFrame, expected: int, within: Range) -> dict[str, Any]:
    interval = mean_interval(cell["score"].to_numpy(), cell["source_id"].tolist(), within=within)
    undefined, missing = len(cell) - interval.n, expected - len(cell)
    low, high = missing_bounds(interval.mean, interval.n, missing, (within.low, within.high))
    return {
        "metric": metric,
        "mean": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "n": interval.n,
        "expected": expected,
        "undefined": undefined,
        "coverage": 1 - missing / expected if expected else np.nan,
        "bound_low": low,
        "bound_high": high,
    }


def _coordinate(name: str, axis: Axis, interval: Interval, inner: Mapping[str, float]) -> dict[str, float]:
    """Both intervals of a metric as a coordinate `name` of the plane, as its axis has it."""
    found = {"mean": interval.mean, "low": interval.low, "high": interval.high, **inner}
    turned = found if axis.higher_is_better else _mirrored(found, axis)
    return {f"{name}_{key}": value for key, value in turned.items()}


def _inner(levels: Levels, label: str, value: float, metric: str, cell: pd.DataFrame, *, within: Range) -> dict[str, float]:
    """The within-sample interval of the finite scores of a cell; of set metrics, anchors and lonely editors there is none."""
    known = cell[np.isfinite(cell["score"])]
    samples = known["sample_id"].tolist()
    beside = levels.beside(label, value, metric, samples)
    found = within_interval(known["score"].to_numpy(), samples, known["source_id"].tolist(), beside, within=within)
    return {"within_low": found.low, "within_high": found.high}


def _placed(point: dict[str, Any], axis: Axis) -> dict[str, Any]:
    """The point of a metric of which lower is better, as the axis turns it round."""
    return point | _mirrored(point, axis) | {"metric": axis.column, "higher_is_better": True}


def _mirrored(point: Mapping[str, Any], axis: Axis) -> dict[str, float]:
    """The mean and the ends of a point on an axis that turns the metric round, where low ends become high ones."""
    turns = (("low", "high"), ("bound_low", "bound_high"), ("within_low", "within_high"))
    others = {"mean": "mean"} | {one: two for pair in turns for one, two in (pair, pair[::-1])}
    return {name: axis.position(point[other]) for name, other in others.items() if other in point}


def _set_point(row: Mapping[Any, Any], expected: int, card: dict[str, Any]) -> dict[str, Any]:
    """The point of a set metric; a set is scored as it is, and what it would be with all its edits is not bounded."""
    n = int(row["n"])
    complete = row["score"] if n == expected else np.nan
    low, high = _range(card).clip(np.array([row["low"], row["high"]]))
    return {
        "metric": row["metric"],
        "mean": row["score"],
        "low": float(low),
        "high": float(high),
        "within_low": np.nan,
        "within_high": np.nan,
        "n": n,
        "expected": expected,
        "undefined": 0,
        "coverage": n / expected if expected else np.nan,
        "bound_low": complete,
        "bound_high": complete,
        "fingerprint": row["fingerprint"],
        "higher_is_better": card.get("higher_is_better", False),
    }
