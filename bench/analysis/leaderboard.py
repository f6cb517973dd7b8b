"""The leaderboard: every editor at its operating point, ranked on common samples (`bench.analysis.ranking`), with costs and counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.ranking import Field, Standing, ahead, at_worst, common_ground, decided, firsts, rank_ranges
from bench.analysis.summary import curves
from bench.plan import Plan
from bench.scoring import Scores
from bench.scoring.axes import Axes, operating_points
from bench.store import Record

__all__ = ["Ground", "leaderboard"]


@dataclass(frozen=True)
class Ground:
    """On what a leaderboard stands: who is ranked, and which scores count for whom.

    had: editor to the samples of which it has every planned edit at its operating point.  field: the ranked editors on the samples that
    all of them have.  whole: all editors on all planned samples, with the scores of what each has.  pairs: scores of ranked editors and
    anchors on the common samples, of the others on what they have.
    """

    axes: Axes
    had: Mapping[str, set[str]]
    field: Field
    whole: Field
    pairs: pd.DataFrame

    @cached_property
    def tests(self) -> pd.DataFrame:
        """What sets pairs of ranked editors apart, as `Field.tests` has it."""
        return self.field.tests(self.axes)

    @classmethod
    def of(
        cls,
        plan: Plan,
        scores: Scores,
        records: Mapping[str, Record],
        axes: Axes,
        *,
        counts: pd.DataFrame,
        curve_table: pd.DataFrame,
    ) -> Ground:
        """The ground of the editors of a plan. `counts` and `curve_table` are those of `bench.analysis.summary`."""
        points = operating_points(plan, curve_table, axes)
        had = _had(plan, records, points)
        editors = [entry.label for entry in plan.entries if not entry.anchor]
        ranked, common = common_ground({name: had[name] for name in editors})
        coverage = dict(zip(counts["editor"], counts["coverage"], strict=True))
        aside, shared = scores.pairs["editor"].isin(set(editors) - set(ranked)), scores.pairs["sample_id"].isin(common)
        field = Field(plan, scores.pairs[~aside & shared], scores, points, ranked, sorted(common), coverage)
        has = [sample in had[label] for label, sample in zip(scores.pairs["editor"], scores.pairs["sample_id"], strict=True)]
        samples = [sample.id for sample in plan.samples]
        whole = replace(field, pairs=scores.pairs[np.array(has, dtype=bool)], ranked=editors, common=samples)
        return cls(axes, had, field, whole, scores.pairs[aside | shared] if ranked else scores.pairs)


def leaderboard(
    plan: Plan,
    scores: Scores,
    records: Mapping[str, Record],
    axes: Axes,
    *,
    units: pd.DataFrame,
    counts: pd.DataFrame,
    curve_table: pd.DataFrame,
    ground: Ground | None = None,
) -> pd.DataFrame:
    """One row per editor at its operating point: rank, metrics with intervals, fair-play flags, costs, counts; anchors last.

    Means of ranked editors and of anchors are over the common samples, those of the others over what they have; `<metric>_n` counts
    the edits and `<metric>_best` marks who is first. The value of a set metric is that of the whole set, and nobody is first
    where the ranked editors' sets hold different samples. The rank is by the mean of both axes, each on its scale; `rank_low`
    to `rank_high` are the ranks that the tests between editors leave open, `rank_at_worst` is the rank over all planned samples where
    what an editor lacks counts as worst, and `standing` says in words on what it stands. A
    metric that an axis turns round is there as the axis shows it and not a second time as it was scored.
    """
    ground = ground or Ground.of(plan, scores, records, axes, counts=counts, curve_table=curve_table)
    had, field = ground.had, ground.field
    points, ranked, coverage = field.points, field.ranked, field.coverage
    whole = len(ground.pairs) == len(scores.pairs)
    shown = curve_table if whole else curves(plan, replace(scores, pairs=ground.pairs), axes)
    own_points = shown["value"] == shown["editor"].map(points)
    at = {(row["editor"], row["metric"]): row for row in shown[own_points].to_dict("records")}
    best = {metric: firsts(standings) for metric, standings in field.by_metric().items()}
    best |= {axis.column: best.get(axis.metric, set()) for axis in axes}
    if len({frozenset(had[name]) for name in ranked}) == 1:
        best |= {metric: firsts(standings) for metric, standings in _of_sets(scores, at, ranked, coverage).items()}
    standings = field.balanced(axes)
    ranks = {name: 1 + sum(ahead(other, own) for other in standings.values()) for name, own in standings.items()}
    ranges = rank_ranges(ground.tests, ranks)
    worst = at_worst(ground.whole.balanced(axes))
    metrics = [name for name in dict.fromkeys(curve_table["metric"]) if name not in axes.made_of.values()]
    columns = {axis.column for axis in axes}
    rows = []
    for index, entry in enumerate(plan.entries):
        label, value = entry.label, points[entry.label]
        row: dict[str, Any] = {"editor": label, "anchor": entry.anchor, "rank": float(ranks.get(label, np.nan))}
        low, high = ranges.get(label, (np.nan, np.nan))
        row |= {"rank_low": float(low), "rank_high": float(high), "rank_at_worst": float(worst.get(label, np.nan))}
        row |= {
            "standing": "" if entry.anchor else "; ".join([*_words(label, ground, standings), *_at_worst(label, ground, worst)])
        }
        row |= {"knob": entry.knob or None, "value": value}
        for metric in metrics:
            point = at.get((label, metric), {})
            row[metric] = point.get("mean", np.nan)
            if metric in columns or np.isfinite(point.get("low", np.nan)):
                row[f"{metric}_low"], row[f"{metric}_high"] = point.get("low", np.nan), point.get("high", np.nan)
            row |= {f"{metric}_n": point.get("n", 0), f"{metric}_best": len(ranked) > 1 and label in best.get(metric, ())}
        done = [records[unit.key] for unit in plan.units if unit.entry == index and unit.key in records]
        told = next((record.fair_play for record in done if record.status == "done"), {})
        row |= {name: value for name, value in told.items() if name not in row}
        row |= _costs(units[(units["editor"] == label) & (units["status"] == "done")])
        own = counts[counts["editor"] == label].iloc[0].drop("editor").rename({"coverage": "edits_percent"})
        row |= {str(name): n for name, n in own.items()}
        middle = standings[label].low if label in standings else -np.inf
        rows.append(row | {"_aside": not entry.anchor and label not in ranked, "_coverage": -coverage[label], "_low": -middle})
    order = ["anchor", "_aside", "rank", "_low", "_coverage"]
    table = pd.DataFrame(rows).sort_values(order, kind="stable", na_position="last")
    return table.drop(columns=["_aside", "_coverage", "_low"]).reset_index(drop=True)


def _had(plan: Plan, records: Mapping[str, Record], points: Mapping[str, float]) -> dict[str, set[str]]:
    """Editor to the samples of which it has every planned edit at its operating point."""
    lacking: dict[str, set[str]] = {entry.label: set() for entry in plan.entries}
    planned: dict[str, set[str]] = {entry.label: set() for entry in plan.entries}
    for unit in plan.units:
        label, sample = plan.entries[unit.entry].label, plan.samples[unit.sample].id
        planned[label].add(sample)
        record = records.get(unit.key)
        if record is None or points[label] not in {edit.value for edit in record.edits}:
            lacking[label].add(sample)
    return {label: planned[label] - lacking[label] for label in planned}


def _of_sets(
    scores: Scores, at: Mapping[tuple[str, str], Mapping[Any, Any]], ranked: Sequence[str], coverage: Mapping[str, float]
) -> dict[str, dict[str, Standing]]:
    """Standings in each set metric of which every ranked editor has a value."""
    found = {}
    for metric in dict.fromkeys(scores.sets["metric"]):
        rows = {
            name: at[name, metric]
            for name in ranked
            if (name, metric) in at and not pd.isna(at[name, metric]["higher_is_better"])
        }
        values = {name: float(row["mean"]) * (1 if row["higher_is_better"] else -1) for name, row in rows.items()}
        if len(values) == len(ranked) and np.isfinite(list(values.values())).all():
            found[str(metric)] = {name: Standing(value, value, coverage[name]) for name, value in values.items()}
    return found


def _words(label: str, ground: Ground, standings: Mapping[str, Standing]) -> list[str]:
    """What the reader must know of a rank, or why there is none; nothing where it is the plain case."""
    field, planned = ground.field, len(ground.field.plan.samples)
    if label not in field.ranked:
        return [f"not ranked: has {len(ground.had[label])} of {planned} samples"]
    if label not in standings:
        return ["not ranked: no scores on both axes"]
    said = (
        [f"on the {len(field.common)} of {planned} samples that all ranked editors have"] if len(field.common) < planned else []
    )
    open_ = [name for name, other in standings.items() if name != label and not decided(standings[label], other)]
    if open_:
        said.append(f"undefined scores leave open whether before or after {', '.join(open_)}")
    return said


def _at_worst(label: str, ground: Ground, worst: Mapping[str, int]) -> list[str]:
    """Where an editor that lacks samples stands if these are counted as worst, and on what bounds."""
    from reports.names import metric_name

    lacks = len(ground.whole.common) - len(ground.had[label])
    if not lacks or label not in worst:
        return []
    bounds = []
    for axis in ground.axes:
        name = metric_name(axis.column, made_of=ground.axes.made_of.get(axis.column, "")).noun
        low = min(float(axis.position(end)) for end in ground.whole.bounds(axis.metric)[label])
        bounds.append(f"{name} {low:.4g}" if np.isfinite(low) else f"{name} has no lower end")
    return [f"rank {worst[label]} with the {lacks} it lacks counted as worst ({', '.join(bounds)})"]


def _costs(done: pd.DataFrame) -> dict[str, float]:
    edits = float(done["edits"].sum())
    return {
        "seconds_per_edit": float(done["seconds"].sum(min_count=1)) / edits if edits else np.nan,
        "unet_evaluations_per_edit": float(done["unet_evaluations"].sum(min_count=1)) / edits if edits else np.nan,
        "peak_memory_mb": float(done["peak_memory_mb"].max()) if len(done) else np.nan,
    }
