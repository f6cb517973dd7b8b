"""Score rows -> the tables that compare editors: paired differences, numbers read off curves, and what seeds add.

Editors are compared at their operating points, on the samples that both have; a sample with several seeds counts once, with its mean.
Anchors are no competitors and are left out. Holm's correction is over all pairs of editors of one metric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.analysis.frontier import Box, attainment, matched_gain, spread_over
from bench.analysis.intervals import mean_interval, seed_spread, weighted_interval
from bench.analysis.paired import cluster_sums, holm, sign_flip
from bench.plan import Plan
from bench.scoring import Scores
from bench.scoring.axes import Axes, anchor_ends, mean_table
from reports.data import COLUMNS, empty

__all__ = ["attained", "differences", "gains", "hypervolumes", "seeds"]

Floats = NDArray[np.float64]

SIGNS: Mapping[bool | None, float] = {True: 1.0, False: -1.0, None: np.nan}
SHARES = (0.75, 0.5, 0.25)
LEVELS = 61


def differences(plan: Plan, scores: Scores, points: Mapping[str, float]) -> pd.DataFrame:
    """First less second, per metric and pair of editors: interval, p value, Holm's p value, and which is better.

    Pair metrics: mean over samples, interval by source picture, sign-flip test. Set metrics: swap test, no interval; a test that was
    made at other knob values than `points`, as before the axes changed, is left out.
    """
    editors = [entry.label for entry in plan.entries if not entry.anchor]
    cells = _cells(scores.pairs, points)
    rows = []
    for metric in dict.fromkeys(scores.pairs["metric"]):
        here = {name: cells[name, metric] for name in editors if (name, metric) in cells}
        rows += _paired(str(metric), here, points)
    for row in scores.set_pairs.to_dict("records"):
        ends = {row["first"]: row["first_value"], row["second"]: row["second_value"]}
        if ends.keys() <= set(editors) and all(points[name] == value for name, value in ends.items()):
            keep = ("metric", "first", "first_value", "second", "second_value", "difference", "p", "n")
            rows.append({key: row[key] for key in keep} | {"low": np.nan, "high": np.nan, "test": "swap"})
    table = pd.DataFrame(rows, columns=list(COLUMNS["differences"]))
    for _, group in table.groupby("metric", sort=False):
        table.loc[group.index, "p_holm"] = holm(group["p"].to_numpy(dtype=np.float64))
    higher = _directions(scores)
    signs = table["metric"].map({metric: SIGNS[up] for metric, up in higher.items()})
    ahead = np.sign(table["difference"].astype(float)) * signs.astype(float)
    table["better"] = np.select([ahead > 0, ahead < 0], [table["first"], table["second"]], default="")
    return table.astype({"p_holm": "float64"})


def hypervolumes(plan: Plan, scores: Scores, axes: Axes) -> pd.DataFrame:
    """Per editor the share of the box between copy and regenerate that its step hull covers, at one number of knob values for all.

    That number is the smallest of any editor with a knob; of longer grids evenly spread values are taken. Empty without the anchors,
    and where they span no box.
    """
    if not anchor_ends(plan, mean_table(scores.pairs, axes), axes):
        return empty("hypervolumes")
    names = sorted({sample.source_id for sample in plan.samples})
    box, found = _box(plan, scores, axes, names), _curves(plan, scores, axes)
    several = [len(curve.values) for curve in found.values() if len(curve.values) > 1]
    rows = []
    for label, curve in found.items():
        chosen = spread_over(len(curve.values), min(several, default=1))
        interval = weighted_interval(partial(_volume, box, curve.at(chosen), names), len(names), ends=(0.0, 1.0))
        rows.append([label, *interval, len(chosen), len(curve.x)])
    return pd.DataFrame(rows, columns=list(COLUMNS["hypervolumes"]))


def gains(plan: Plan, scores: Scores, axes: Axes) -> pd.DataFrame:
    """Per pair of editors the editability of the first less that of the second at equal fidelity, over what both curves reach."""
    found, rows = _curves(plan, scores, axes), []
    for one, two in combinations(found, 2):
        first, second = _common(found[one], found[two])
        interval = weighted_interval(partial(_gain, first, second), len(first.names))
        whole = np.ones((1, len(first.names)))
        reach = _matched(first, second, whole)[0][1:] if len(first.x) else (np.nan, np.nan)
        rows.append([one, two, *interval, *reach, len(first.x)])
    return pd.DataFrame(rows, columns=list(COLUMNS["gains"]))


def attained(plan: Plan, scores: Scores, axes: Axes) -> pd.DataFrame:
    """Per editor and fidelity the editability that three quarters, half and a quarter of the samples reach there or at a better one."""
    found = {label: curve for label, curve in _curves(plan, scores, axes).items() if len(curve.x)}
    if not found:
        return empty("attainment")
    reach = np.concatenate([curve.x.mean(axis=0) for curve in found.values()])
    levels = np.linspace(reach.min(), reach.max(), LEVELS)
    tables = []
    for label, curve in found.items():
        low, median, high = attainment(curve.x, curve.y, levels, SHARES)
        columns = {"editor": label, "fidelity": levels, "low": low, "median": median, "high": high, "n": len(curve.x)}
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def seeds(plan: Plan, scores: Scores, points: Mapping[str, float]) -> pd.DataFrame:
    """Per editor and pair metric, at the operating point, how much of the spread is the seed's. Empty where a run has one seed."""
    rows = []
    for (editor, metric), cell in _cells(scores.pairs, points, mean=False).items():
        spread = seed_spread(cell["score"].to_numpy(), cell["sample_id"].tolist())
        if spread is not None:
            rows.append({"editor": editor, "value": points[editor], "metric": metric} | vars(spread))
    return pd.DataFrame(rows, columns=list(COLUMNS["seeds"]))


@dataclass(frozen=True)
class _Curve:
    """Fidelity x and editability y (n, k) of the samples that have both at each of k knob values; the source picture of each."""

    values: tuple[float, ...]
    samples: list[str]
    clusters: list[str]
    x: Floats
    y: Floats

    @property
    def names(self) -> list[str]:
        return sorted(set(self.clusters))

    def means(self, weights: Floats) -> tuple[Floats, Floats]:
        """The mean curve (r, k) and (r, k) under weights (r, clusters) of the clusters, which are in the order of `names`."""
        place = {name: number for number, name in enumerate(self.names)}
        each = weights[:, [place[name] for name in self.clusters]]
        total = each.sum(axis=1, keepdims=True)
        return each @ self.x / total, each @ self.y / total

    def at(self, chosen: Sequence[int]) -> _Curve:
        """The curve at the `chosen` knob values."""
        values = tuple(self.values[i] for i in chosen)
        return _Curve(values, self.samples, self.clusters, self.x[:, chosen], self.y[:, chosen])

    def only(self, samples: Sequence[str]) -> _Curve:
        place = {name: row for row, name in enumerate(self.samples)}
        rows = [place[name] for name in samples]
        return _Curve(self.values, list(samples), [self.clusters[row] for row in rows], self.x[rows], self.y[rows])


def _box(plan: Plan, scores: Scores, axes: Axes, names: Sequence[str]) -> Box:
    """The square between copy and regenerate, by the clusters in `names`."""
    labels = {entry.name: entry.label for entry in plan.entries if entry.anchor}
    corners = [
        (axes.fidelity, "regenerate"),
        (axes.fidelity, "copy"),
        (axes.editability, "copy"),
        (axes.editability, "regenerate"),
    ]
    sums, counts = [], []
    for axis, anchor in corners:
        pairs = scores.pairs
        rows = pairs[(pairs["editor"] == labels[anchor]) & (pairs["metric"] == axis.metric) & np.isfinite(pairs["score"])]
        groups = axis.position(rows["score"]).groupby(rows["source_id"])
        sums.append(groups.sum().reindex(names, fill_value=0.0))
        counts.append(groups.size().reindex(names, fill_value=0))
    return Box(np.stack(sums).astype(np.float64), np.stack(counts).astype(np.float64))


def _volume(box: Box, curve: _Curve, names: Sequence[str], weights: Floats) -> Floats:
    """Under weights of all the clusters in `names`, of which the curve may lack some."""
    own = set(curve.clusters)
    return box.hypervolume(*curve.means(weights[:, [name in own for name in names]]), weights)


def _matched(first: _Curve, second: _Curve, weights: Floats) -> list[tuple[float, float, float]]:
    return [matched_gain(*row) for row in zip(*first.means(weights), *second.means(weights), strict=True)]


def _gain(first: _Curve, second: _Curve, weights: Floats) -> Floats:
    return np.array([gain for gain, _, _ in _matched(first, second, weights)])


def _curves(plan: Plan, scores: Scores, axes: Axes) -> dict[str, _Curve]:
    """The curve of each editor that has one: seeds averaged, samples in the plan's order."""
    metrics = [axis.metric for axis in axes]
    pairs = scores.pairs[scores.pairs["metric"].isin(metrics)]
    if set(pairs["metric"]) != set(metrics):
        return {}
    table = pairs.pivot_table(index=["editor", "sample_id"], columns=["metric", "value"], values="score", aggfunc="mean")
    found = {}
    for entry in plan.entries:
        wanted = [(metric, value) for metric in metrics for value in entry.values]
        if entry.anchor or entry.label not in table.index.get_level_values(0) or not set(wanted) <= set(table.columns):
            continue
        own = table.loc[entry.label][wanted].dropna()
        about = {sample.id: sample.source_id for sample in plan.samples if sample.id in own.index}
        points, half = own.loc[list(about)].to_numpy(dtype=np.float64), len(entry.values)
        x, y = axes.fidelity.position(points[:, half:]), axes.editability.position(points[:, :half])
        found[entry.label] = _Curve(entry.values, list(about), list(about.values()), x, y)
    return found


def _common(first: _Curve, second: _Curve) -> tuple[_Curve, _Curve]:
    theirs = set(second.samples)
    both = [name for name in first.samples if name in theirs]
    return first.only(both), second.only(both)


def _cells(pairs: pd.DataFrame, points: Mapping[str, float], mean: bool = True) -> dict[tuple[str, str], pd.DataFrame]:
    """Finite scores per (editor, metric) at the operating point; one row per sample with its mean over seeds, or all seeds."""
    rows = pairs[np.isfinite(pairs["score"]) & (pairs["value"] == pairs["editor"].map(points))]
    if mean:
        keys = ["editor", "metric", "sample_id", "source_id"]
        rows = rows.groupby(keys, sort=False)["score"].mean().reset_index()
    return {(str(editor), str(metric)): cell for (editor, metric), cell in rows.groupby(["editor", "metric"], sort=False)}


def _paired(metric: str, cells: Mapping[str, pd.DataFrame], points: Mapping[str, float]) -> list[dict[str, Any]]:
    names = sorted({name for cell in cells.values() for name in cell["source_id"]})
    rows: list[dict[str, Any]] = []
    sums: list[Floats] = []
    for one, two in combinations(cells, 2):
        both = cells[one].merge(cells[two][["sample_id", "score"]], on="sample_id", suffixes=("", "_other"))
        gaps, clusters = (both["score"] - both["score_other"]).to_numpy(), both["source_id"].tolist()
        interval = mean_interval(gaps, clusters)
        sums.append(cluster_sums(gaps, clusters, names))
        ends = {"first": one, "first_value": points[one], "second": two, "second_value": points[two]}
        found = {"difference": interval.mean, "low": interval.low, "high": interval.high, "n": interval.n}
        rows.append({"metric": metric, "test": "sign-flip"} | ends | found)
    tested = sign_flip(np.stack(sums)) if sums else np.empty(0)
    equal = [row["difference"] == 0 and row["n"] > 0 for row in rows]
    return [row | {"p": 1.0 if same else float(p)} for row, p, same in zip(rows, tested, equal, strict=True)]


def _directions(scores: Scores) -> dict[str, bool | None]:
    prints = pd.concat([scores.pairs[["metric", "fingerprint"]], scores.sets[["metric", "fingerprint"]]]).drop_duplicates()
    return {m: scores.cards.get(p, {}).get("higher_is_better", False) for m, p in prints.itertuples(index=False)}
