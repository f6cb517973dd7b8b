"""Score rows -> the tables that compare editors over their whole curves, and what seeds add.

Pairs of editors are compared on the samples that both have; a sample with several seeds counts once, with its mean. Anchors are no
competitors and are left out. Holm's correction is over all pairs of editors of one number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.analysis.frontier import Box, attainment, hypervolume, matched_gain, spread_over
from bench.analysis.intervals import seed_spread, weighted_interval
from bench.analysis.paired import holm, pseudo_values, sign_flip
from bench.plan import Plan
from bench.scoring import Scores
from bench.scoring.axes import Axes, anchor_ends, mean_table
from bench.scoring.swaps import grids, outcome, signs
from reports.frames import COLUMNS, empty

__all__ = ["VOLUME", "attained", "gains", "hypervolumes", "seeds", "volume_differences"]

Floats = NDArray[np.float64]

VOLUME = "hypervolume"
"""What the table of differences calls it."""
SHARES = (0.75, 0.5, 0.25)
LEVELS = 61


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


def volume_differences(plan: Plan, scores: Scores, axes: Axes) -> list[dict[str, Any]]:
    """The hypervolume of the first less that of the second, per pair of editors: rows of the table of differences.

    Both on the samples that both have, in the square of the anchors' means, which swaps leave as it is: swapped are the two editors'
    whole curves of a source picture, knob values by their rank.
    """
    ends, found = anchor_ends(plan, mean_table(scores.pairs, axes), axes), _curves(plan, scores, axes)
    several = [len(curve.values) for curve in found.values() if len(curve.values) > 1]
    rows: list[dict[str, Any]] = []
    for one, two in combinations(found, 2) if ends else ():
        both = _common(found[one], found[two])
        chosen = [spread_over(len(curve.values), min(several, default=1)) for curve in both]
        if not both[0].samples:
            continue
        names, sizes = both[0].names, Counter(both[0].clusters)
        kept = (signs(len(names)) + 1) / 2
        swapped = _swapped(both, chosen, kept)
        areas = []
        for x, y in swapped:
            (left, right), (bottom, top) = ends[axes.fidelity.column], ends[axes.editability.column]
            areas.append(hypervolume((x - left) / (right - left), (y - bottom) / (top - bottom)))
        turned = (2 * kept - 1) @ np.array([sizes[name] for name in names]) / len(both[0].samples)
        test = outcome(areas[0] - areas[1], turned)
        about = {"metric": VOLUME, "test": "swap", "first": one, "first_value": np.nan, "second": two, "second_value": np.nan}
        numbers = {"difference": test.difference, "low": test.low, "high": test.high, "p": test.p, "p_least": test.least}
        rows.append(about | numbers | {"n": len(both[0].samples), "undefined": 0})
    return rows


def gains(plan: Plan, scores: Scores, axes: Axes) -> pd.DataFrame:
    """Per pair of editors the editability of the first less that of the second at equal fidelity, over what both curves reach.

    The p value is by sign flips of the pseudo-values of the pictures; Holm's correction is over all pairs.
    """
    found, rows = _curves(plan, scores, axes), []
    for one, two in combinations(found, 2):
        first, second = _common(found[one], found[two])
        gain = partial(_gain, first, second)
        interval = weighted_interval(gain, len(first.names))
        whole = np.ones((1, len(first.names)))
        reach = _matched(first, second, whole)[0][1:] if len(first.x) else (np.nan, np.nan)
        p = float(sign_flip(pseudo_values(gain, len(first.names))[None])[0]) if interval[0] else 1.0
        rows.append([one, two, *interval, p, np.nan, 1 / len(signs(len(first.names))), *reach, len(first.x)])
    table = pd.DataFrame(rows, columns=list(COLUMNS["gains"])).astype({"p": "float64", "p_holm": "float64"})
    return table.assign(p_holm=holm(table["p"].to_numpy()))


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
    for (editor, metric), cell in _cells(scores.pairs, points).items():
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
    found = {}
    for label, grid in grids(plan, scores.pairs).items():
        if not all(axis.metric in grid.scores for axis in axes):
            continue
        y, x = (axis.position(grid.scores[axis.metric]) for axis in axes)
        there = np.isfinite(x) & np.isfinite(y) & grid.made
        rows = np.flatnonzero(there.all(axis=1))
        if there.any(axis=0).all():
            samples = [plan.samples[row] for row in rows]
            about = [sample.id for sample in samples], [sample.source_id for sample in samples]
            found[label] = _Curve(grid.entry.values, *about, x[rows], y[rows])
    return found


def _common(first: _Curve, second: _Curve) -> tuple[_Curve, _Curve]:
    theirs = set(second.samples)
    both = [name for name in first.samples if name in theirs]
    return first.only(both), second.only(both)


def _swapped(curves: tuple[_Curve, _Curve], chosen: Sequence[Sequence[int]], kept: Floats) -> list[tuple[Floats, Floats]]:
    """Mean x and y (r, k) of both curves of the same samples, where pictures that are not `kept` (r, clusters) have the other's."""
    found = []
    for mine, other in ((0, 1), (1, 0)):
        places = np.rint(np.linspace(0, len(chosen[other]) - 1, len(chosen[mine]))).astype(int)
        columns = chosen[mine], [chosen[other][place] for place in places]
        own, theirs = ((curves[which].x[:, at], curves[which].y[:, at]) for which, at in zip((mine, other), columns, strict=True))
        number = {name: n for n, name in enumerate(curves[mine].names)}
        each = kept[:, [number[name] for name in curves[mine].clusters]]
        x, y = (b.mean(axis=0) + each @ (a - b) / len(a) for a, b in zip(own, theirs, strict=True))
        found.append((x, y))
    return found


def _cells(pairs: pd.DataFrame, points: Mapping[str, float]) -> dict[tuple[str, str], pd.DataFrame]:
    """Finite scores per (editor, metric) at the operating point."""
    rows = pairs[np.isfinite(pairs["score"]) & (pairs["value"] == pairs["editor"].map(points))]
    return {(str(editor), str(metric)): cell for (editor, metric), cell in rows.groupby(["editor", "metric"], sort=False)}
