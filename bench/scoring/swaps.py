"""Two editors under swaps: what their comparison would have been, had chance dealt the edits of each source picture.

If two editors are exchangeable, all edits of a picture, over the whole range of the knob, might as well be the other editor's. Every
pattern of swaps gives two editors that might have been; their operating points are chosen anew from their scores, as those of the real
ones are. With the points held fixed a test would find an editor different from itself more often than not: where the balance of both
axes is flat, two runs choose different knob values, and at different knob values scores differ. Only where nothing is chosen, for
editors without a knob, this is the plain sign-flip test.

Knob values take each other's place by their rank in the grid, from the first to the last. Compared are the samples that both editors
have, with every planned seed and at every knob value at which they have any; seeds count as one, their mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.plan import Entry, Plan
from bench.scoring.axes import Axes, anchor_ends, mean_table

__all__ = ["PATTERNS", "Duel", "Grid", "Ring", "Tested", "grids", "outcome", "places_by_rank", "signs"]

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

MOST_CLUSTERS_FOR_ALL = 14
PATTERNS = 10_000
"""Sign patterns that are tried where there are too many to try all."""
TIE = 1e-9
"""Statistics within this share of the observed one count as equal to it: rounding must not decide a tie."""


def signs(count: int, most: int = PATTERNS, seed: int = 0) -> Floats:
    """Patterns (r, count) of signs, the first of them all 1: every one that differs by more than turning all, or `most` random ones."""
    if count <= MOST_CLUSTERS_FOR_ALL and 2 ** max(count - 1, 0) <= most:
        # Turning all signs turns the statistic's, so one of them may stay.
        turned = np.arange(2 ** max(count - 1, 0))[:, None] >> np.arange(count)[None, :] & 1
        return np.asarray(1.0 - 2.0 * turned, dtype=np.float64)
    drawn = np.random.default_rng(seed).choice((-1.0, 1.0), size=(most, count))
    drawn[0] = 1.0
    return drawn


_signs = lru_cache(maxsize=4)(signs)


@dataclass(frozen=True)
class Tested:
    """A difference of two editors with its 95 % interval, p value, and the smallest p value that the swaps could have given."""

    difference: float
    low: float
    high: float
    p: float
    least: float


def outcome(apart: Floats, turned: Floats, *, level: float = 0.95) -> Tested:
    """The test of a statistic under swaps.

    Args:
        apart: the statistic under each pattern (r,), as it is first. NaN where it has none, which counts as far apart.
        turned: the mean sign of the samples under each pattern (r,), -1..1.
        level: of the interval: the constant differences between the editors that the test does not reject. If one is d, taking it
            away takes d times the mean sign from the statistic of a pattern. NaN where so few swaps can reject nothing.
    """
    value, least = float(apart[0]), 1 / len(apart)
    if not np.isfinite(value):
        return Tested(value, np.nan, np.nan, np.nan, least)
    lost = np.isnan(apart)
    far = lost | (np.abs(apart) >= abs(value) * (1 - TIE))
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.stack([(value + apart) / (1 + turned), (value - apart) / (1 - turned)])
    ends[:, lost | (np.abs(turned) > 1 - TIE)] = np.nan
    below, above = np.nan_to_num(ends.min(axis=0), nan=-np.inf), np.nan_to_num(ends.max(axis=0), nan=np.inf)
    beyond = int((1 - level) * len(apart) + TIE)
    low, high = np.sort(below)[beyond], np.sort(above)[-1 - beyond]
    bounded = np.isfinite(low) and np.isfinite(high)
    return Tested(value, *((float(low), float(high)) if bounded else (np.nan, np.nan)), float(far.mean()), least)


@dataclass(frozen=True)
class Grid:
    """The scores of one editor over its knob values: metric to (samples, knob values), NaN where undefined.

    `made` marks what is there, likewise.
    """

    entry: Entry
    scores: Mapping[str, Floats]
    made: NDArray[np.bool_]

    @property
    def samples(self) -> NDArray[np.bool_]:
        """Which samples it has at every knob value at which it has any."""
        return np.asarray(self.made[:, self.made.any(axis=0)].all(axis=1) & self.made.any())


class Ring:
    """All editors of a run, any two of which can be compared.

    `edits` are (entry, sample, knob value) of all edits, which are asked for where no pair metric has scored them.
    """

    def __init__(self, plan: Plan, pairs: pd.DataFrame, axes: Axes, edits: Iterable[tuple[int, int, float]] = ()) -> None:
        self.plan, self.axes = plan, axes
        self.means = mean_table(pairs, axes)
        self.ends = anchor_ends(plan, self.means, axes)
        self.editors = grids(plan, pairs, edits)

    def duel(self, one: str, two: str, most: int = PATTERNS) -> Duel:
        return Duel(self, self.editors[one], self.editors[two], most)


class Duel:
    """Two editors on their common samples, under every pattern of swaps.

    Attributes:
        samples: numbers of the common samples in the plan.
        clusters: of each of them the number of its source picture, 0, 1, ...
        kept: which of the source pictures keep their editor, bool (r, clusters), all of them in the first pattern.
        places: of either editor's knob values the other's that takes its place.
        chosen: where the operating point of either is in its grid, (r,).
    """

    def __init__(self, ring: Ring, one: Grid, two: Grid, most: int) -> None:
        self._ring, self._two = ring, (one, two)
        self.samples = np.flatnonzero(one.samples & two.samples)
        names = [ring.plan.samples[number].source_id for number in self.samples]
        self.clusters: Places = np.unique(names, return_inverse=True)[1] if names else np.zeros(0, dtype=np.intp)
        count = int(self.clusters.max()) + 1 if names else 0
        self.kept: NDArray[np.bool_] = _signs(count, most) > 0
        k, m = (len(each.entry.values) for each in (one, two))
        self.places = places_by_rank(k, m), places_by_rank(m, k)
        self.chosen = self._choose()

    @property
    def values(self) -> tuple[float, float]:
        """The operating points of the two as they are."""
        first, second = (each.entry.values[int(at[0])] for each, at in zip(self._two, self.chosen, strict=True))
        return first, second

    @property
    def turned(self) -> Floats:
        """The mean sign of the samples under each pattern."""
        sizes = np.bincount(self.clusters).astype(np.float64)
        return np.asarray(2 * (self.kept @ sizes) / sizes.sum() - 1)

    def scores(self, metric: str) -> tuple[Floats, Floats]:
        """Of either editor the common samples' scores at its operating point, (n,); NaN where undefined."""
        first, second = (each.scores[metric][self.samples, int(at[0])] for each, at in zip(self._two, self.chosen, strict=True))
        return first, second

    def has(self, metric: str) -> bool:
        return bool(len(self.samples)) and all(metric in each.scores for each in self._two)

    def apart(self, metric: str) -> Floats:
        """First less second at their operating points under each pattern, (r,)."""
        rows = np.arange(len(self.kept))
        first, second = (means[rows, at] for means, at in zip(self.means(metric), self.chosen, strict=True))
        return first - second

    def means(self, metric: str) -> tuple[Floats, Floats]:
        """Mean scores of the two under each pattern, (r, k) and (r, m), over what is defined."""
        mine, theirs = (self._sums(each.scores[metric][self.samples]) for each in self._two)
        kept = self.kept.astype(np.float64)
        found = []
        for own, other, places in ((mine, theirs, self.places[0]), (theirs, mine, self.places[1])):
            # A picture that does not keep its editor has the other's scores.
            sums, counts = (b[:, places].sum(axis=0) + kept @ (a - b[:, places]) for a, b in zip(own, other, strict=True))
            with np.errstate(divide="ignore", invalid="ignore"):
                found.append(sums / counts)
        return found[0], found[1]

    def _sums(self, scores: Floats) -> tuple[Floats, Floats]:
        """Sums and numbers of the defined scores of each source picture, (clusters, k)."""
        shape = (self.kept.shape[1], scores.shape[1])
        sums, counts = np.zeros(shape), np.zeros(shape)
        np.add.at(sums, self.clusters, np.nan_to_num(scores))
        np.add.at(counts, self.clusters, np.isfinite(scores))
        return sums, counts

    def _choose(self) -> tuple[Places, Places]:
        """As `bench.scoring.axes.operating_points` chooses, but for every pattern."""
        middle = [np.full(len(self.kept), len(each.entry.values) // 2) for each in self._two]
        if not all(self.has(axis.metric) for axis in self._ring.axes):
            return middle[0], middle[1]
        balances: list[Floats] = [np.zeros(1), np.zeros(1)]
        for axis in self._ring.axes:
            places = [axis.position(means) for means in self.means(axis.metric)]
            low, high = self._ends(axis.column, places)
            extent = np.where(high != low, high - low, 1.0)
            balances = [sum_ + (place - low) / extent for sum_, place in zip(balances, places, strict=True)]
        best = [np.where(np.isfinite(each), each, -np.inf).argmax(axis=1) for each in balances]
        first, second = (
            np.where(np.isfinite(each).any(axis=1), at, centre) for each, at, centre in zip(balances, best, middle, strict=True)
        )
        return first, second

    def _ends(self, column: str, places: Sequence[Floats]) -> tuple[Floats, Floats]:
        """What is 0 and what is 1 of an axis, (r, 1) or (1, 1): the anchors', or the smallest and largest mean of any editor."""
        if self._ring.ends:
            low, high = self._ring.ends[column]
            return np.array([[low]]), np.array([[high]])
        means = self._ring.means
        rest = means[(means["metric"] == column) & ~means["editor"].isin([each.entry.label for each in self._two])][
            "mean"
        ].to_numpy()
        all_ = np.concatenate([*places, np.broadcast_to(rest, (len(self.kept), len(rest)))], axis=1)
        return np.fmin.reduce(all_, axis=1, keepdims=True), np.fmax.reduce(all_, axis=1, keepdims=True)


def places_by_rank(own: int, other: int) -> Places:
    """Of each of `own` knob values which of `other` ones has its rank."""
    if own == 1:
        return np.array([other // 2])
    return np.rint(np.linspace(0, other - 1, own)).astype(np.intp)


def grids(plan: Plan, pairs: pd.DataFrame, edits: Iterable[tuple[int, int, float]] = ()) -> dict[str, Grid]:
    """The scores of every editor that is no anchor, seeds averaged; `edits` as for a `Ring`."""
    found, counted = {}, Counter(edits)
    samples, rows = {sample.id: n for n, sample in enumerate(plan.samples)}, dict(list(pairs.groupby("editor", sort=False)))
    for index, entry in enumerate(plan.entries):
        if not entry.anchor:
            planned = Counter(unit.sample for unit in plan.units if unit.entry == index)
            seeds = np.array([[max(planned[number], 1)] for number in range(len(samples))])
            made = np.ones((len(samples), len(entry.values)), dtype=np.bool_)
            scores = {}
            for metric, own in rows.get(entry.label, pairs[:0]).groupby("metric", sort=False):
                scores[str(metric)], counts = _filled(own, samples, entry.values)
                made &= counts >= seeds
            if not scores:
                counts = np.array([[counted[index, row, value] for value in entry.values] for row in range(len(samples))])
                made = counts.reshape(made.shape) >= seeds
            found[entry.label] = Grid(entry, scores, made)
    return found


def _filled(rows: pd.DataFrame, samples: Mapping[str, int], values: Sequence[float]) -> tuple[Floats, Floats]:
    """Mean scores (samples, values) of an editor by a metric, NaN where one is undefined, and how many there are."""
    columns = {value: number for number, value in enumerate(values)}
    at = rows["sample_id"].map(samples).to_numpy(), rows["value"].map(columns).to_numpy()
    sums, counts = np.zeros((len(samples), len(values))), np.zeros((len(samples), len(values)))
    np.add.at(sums, at, rows["score"].to_numpy(dtype=np.float64))
    np.add.at(counts, at, 1)
    return np.where(np.isfinite(sums) & (counts > 0), sums / np.maximum(counts, 1), np.nan), counts
