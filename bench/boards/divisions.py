"""The tables of a board: editors among their equals, each division on its own common samples.

Editors with the same fair-play flags form a division: who is shown the mask, the truth or a caption of the source, or picks the best of
several candidates, is not ranked with who is not. Ranks, ties and common samples are those of `bench.analysis.ranking`; beside them
stand two numbers of whole curves, on the same samples and of ranked editors only: the hypervolume, and the gain in editability at equal
fidelity on the editor that is ranked first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from bench.analysis import comparisons, summary
from bench.analysis.differences import powerless
from bench.analysis.leaderboard import Ground, leaderboard
from bench.boards.merge import Merged
from bench.scoring import Scores
from bench.scoring.axes import Axes
from reports import Plane, ReportData
from reports.boards import DivisionData
from reports.boards.data import CATEGORY_COLUMNS
from reports.leaderboard import badges_of

__all__ = ["divisions"]

PLAIN = "picture and target text only"
UNKNOWN = "nothing finished, so that flags are not known"


def divisions(merged: Merged, title: str) -> list[DivisionData]:
    """The divisions of all editors, the largest first."""
    groups: dict[str, list[str]] = {}
    for index, entry in enumerate(merged.plan.entries):
        if not entry.anchor:
            keys = (unit.key for unit in merged.plan.units if unit.entry == index)
            done = (record for key in keys if (record := merged.records.get(key)) and record.status == "done")
            flags = next((json.dumps(record.fair_play, sort_keys=True) for record in done), "")
            groups.setdefault(flags, []).append(entry.label)
    ordered = sorted(groups.items(), key=lambda item: (not item[0], -len(item[1]), item[0]))
    return [_division(_only(merged, labels), _words(flags), title) for flags, labels in ordered]


def _words(flags: str) -> str:
    return ", ".join(title for title, _ in badges_of(json.loads(flags))) or PLAIN if flags else UNKNOWN


def _only(merged: Merged, labels: Sequence[str]) -> Merged:
    """The board with these editors and the anchors alone."""
    plan, scores = merged.plan, merged.scores
    kept = [index for index, entry in enumerate(plan.entries) if entry.anchor or entry.label in labels]
    place = {index: number for number, index in enumerate(kept)}
    names = {plan.entries[index].label for index in kept}
    units = tuple(replace(unit, entry=place[unit.entry]) for unit in plan.units if unit.entry in place)
    scores = replace(
        scores,
        pairs=scores.pairs[scores.pairs["editor"].isin(names)],
        sets=scores.sets[scores.sets["editor"].isin(names)],
        set_pairs=scores.set_pairs[scores.set_pairs[["first", "second"]].isin(names).all(axis=1)],
    )
    entries = tuple(plan.entries[index] for index in kept)
    return replace(merged, plan=replace(plan, entries=entries, units=units), scores=scores)


def _division(merged: Merged, name: str, title: str) -> DivisionData:
    plan, scores, records, axes = merged.plan, merged.scores, merged.records, merged.axes
    units = summary.units(plan, records)
    counts, curves = summary.counts(plan, units, scores), summary.curves(plan, scores, axes)
    ground = Ground.of(plan, scores, records, axes, counts=counts, curve_table=curves)
    table = leaderboard(plan, scores, records, axes, units=units, counts=counts, curve_table=curves, ground=ground)
    table = _of_curves(table, merged, replace(scores, pairs=ground.field.pairs))
    table["device"] = [merged.runs[str(label)].device for label in table["editor"]]
    data = ReportData(
        title=title,
        plane=Plane(axes.editability.column, axes.fidelity.column, axes.made_of),
        pairs=scores.pairs,
        sets=scores.sets,
        units=units,
        curves=curves,
        leaderboard=table,
        counts=counts,
        cards=scores.cards,
        powerless=powerless(ground.tests.assign(metric="ranks")),
    )
    return DivisionData(name, data, ground.tests, _by_category(ground, merged))


def _of_curves(table: pd.DataFrame, merged: Merged, shared: Scores) -> pd.DataFrame:
    """The leaderboard with hypervolumes and gains on the first, each with its interval; NaN for who has none."""
    volumes = comparisons.hypervolumes(merged.plan, shared, merged.axes).set_index("editor")
    gains = comparisons.gains(merged.plan, shared, merged.axes)
    first = next((str(label) for label, rank in zip(table["editor"], table["rank"], strict=True) if rank == 1), "")
    over = {row["second"]: (-row["gain"], -row["high"], -row["low"]) for row in gains[gains["first"] == first].to_dict("records")}
    over |= {row["first"]: (row["gain"], row["low"], row["high"]) for row in gains[gains["second"] == first].to_dict("records")}
    nothing = (np.nan, np.nan, np.nan)
    columns: Mapping[str, Mapping[str, Sequence[float]]] = {
        "hypervolume": {str(label): tuple(row[["hypervolume", "low", "high"]]) for label, row in volumes.iterrows()},
        "matched_gain": {str(label): ends for label, ends in over.items()},
    }
    for name, known in columns.items():
        rows = [known.get(str(label), nothing) for label in table["editor"]]
        for place, column in enumerate((name, f"{name}_low", f"{name}_high")):
            table[column] = [float(row[place]) for row in rows]
    return table


def _by_category(ground: Ground, merged: Merged) -> pd.DataFrame:
    """Both axes at the operating points, for each category of which there are samples, on the samples of the leaderboard."""
    plan, axes, points = merged.plan, merged.axes, ground.field.points
    names = sorted({sample.category for sample in plan.samples if sample.category})
    rows = []
    for category in names if len(names) > 1 else ():
        scores = replace(merged.scores, pairs=ground.pairs[ground.pairs["category"] == category], sets=merged.scores.sets[:0])
        table = summary.curves(plan, scores, axes)
        for row in table[table["value"] == table["editor"].map(points)].to_dict("records"):
            if row["metric"] in _columns(axes):
                rows.append({"category": category} | {name: row[name] for name in CATEGORY_COLUMNS[1:]})
    return pd.DataFrame(rows, columns=list(CATEGORY_COLUMNS))


def _columns(axes: Axes) -> list[str]:
    return [axis.column for axis in axes]
