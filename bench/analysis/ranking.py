"""Who stands before whom, and on which samples.

Editors are ranked on common samples, those that every ranked editor has edited with every planned seed at its operating point: an
editor that refused the hard ones is compared on the easy ones, with everybody else. While fewer than half as many samples are common as
the best of them has, the editors with the fewest samples are set aside; they are listed with what they have, and are not ranked.

Beside this rank stands the one *at worst* (`at_worst`), of all editors over all planned samples: what an editor lacks counts as the worst
end of its metric's range, so that its mean is no lower than that whatever became of the failed samples (Manski 1989). A metric without such
an end leaves no bound, and an editor without one stands behind all that have theirs. Nobody gains a place there by failing.

A score that a metric leaves undefined for some of the ranked editors (the PSNR of an edit that equals its source) is not dropped from
a mean: it could be anything in the metric's range, and bounds the mean by the ends of it. One editor stands before another if its
worst case is better than the other's best; between equals the one that made more of its planned edits. A sample whose score is
undefined for all of them has no say.

A rank has a range, from one more than the number of editors that are proven better to the number of those that are not proven worse:
a confidence set for all ranks at once (Mogstad, Romano, Shaikh and Wilhelm 2024, "Inference for Ranks with Applications to Mobility
across Neighbourhoods and Academic Achievement across Countries"). Proven is what the swap test of `bench.scoring.swaps` in the mean of
both axes says with p < 0.05 after Holm's correction over all pairs of ranked editors. Editors whose ranges meet may be tied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.analysis.intervals import missing_bounds
from bench.analysis.paired import holm
from bench.plan import Plan
from bench.scoring import Scores
from bench.scoring.axes import Axes, Axis, mean_table, scales
from bench.scoring.swaps import Duel, Ring, Tested, outcome

__all__ = ["TESTS", "Field", "Standing", "ahead", "at_worst", "common_ground", "decided", "firsts", "rank_ranges"]

SIGNIFICANT = 0.05
TESTS = ("first", "second", "difference", "low", "high", "p", "p_holm", "p_least", "n")
"""Columns of `Field.tests`."""


@dataclass(frozen=True)
class Standing:
    """Between what an editor's mean over the common samples lies, higher being better, and the share of its planned edits it made."""

    low: float
    high: float
    coverage: float

    @property
    def exact(self) -> bool:
        return self.low == self.high


def ahead(one: Standing, two: Standing) -> bool:
    """Whether the one stands before the other, whatever undefined scores would have been."""
    if one.exact and two.exact and one.low == two.low:
        return one.coverage > two.coverage
    return one.low > two.high


def decided(one: Standing, two: Standing) -> bool:
    """Whether undefined scores leave no doubt which of the two stands before the other, or that they are equal."""
    return one.low > two.high or two.low > one.high or (one.exact and two.exact)


def firsts(standings: Mapping[str, Standing]) -> set[str]:
    """Who is first: nobody stands before them, and they are at least equal to everybody. Empty where that is not decided."""
    return {
        name
        for name, own in standings.items()
        if all(own.low >= other.high and not ahead(other, own) for label, other in standings.items() if label != name)
    }


def at_worst(standings: Mapping[str, Standing]) -> dict[str, int]:
    """Ranks by the lower ends; between equal ones, two without an end among them, the one that made more of its edits stands first."""
    keys = {name: (each.low, each.coverage) for name, each in standings.items()}
    return {name: 1 + sum(other > own for other in keys.values()) for name, own in keys.items()}


def rank_ranges(tests: pd.DataFrame, ranks: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Editor to the smallest and the largest rank that the `tests` (columns `TESTS`) leave it; its own rank is always among them."""
    proven = tests[tests["p_holm"] < SIGNIFICANT]
    ahead_, behind = proven["difference"] > 0, proven["difference"] < 0
    better = [*proven.loc[ahead_, "first"], *proven.loc[behind, "second"]]
    worse = [*proven.loc[ahead_, "second"], *proven.loc[behind, "first"]]
    ends = {name: (1 + worse.count(name), len(ranks) - better.count(name)) for name in ranks}
    return {name: (min(low, ranks[name]), max(high, ranks[name])) for name, (low, high) in ends.items()}


def common_ground(had: Mapping[str, set[str]]) -> tuple[list[str], set[str]]:
    """The editors that are ranked, and the samples that all of them have; `had` is what each has. Both empty where none are common."""
    most, inside = max(map(len, had.values()), default=0), dict(had)
    while inside:
        common = set.intersection(*inside.values())
        if common and 2 * len(common) >= most:
            return list(inside), common
        fewest = min(map(len, inside.values()))
        inside = {name: samples for name, samples in inside.items() if len(samples) > fewest}
    return [], set()


@dataclass(frozen=True)
class Field:
    """The ranked editors with their scores on the common samples, at their operating points.

    Or, to bound what all of them lack, all editors with the samples that were planned.
    """

    plan: Plan
    pairs: pd.DataFrame
    scores: Scores
    points: Mapping[str, float]
    ranked: Sequence[str]
    common: Sequence[str]
    coverage: Mapping[str, float]

    def by_metric(self) -> dict[str, dict[str, Standing]]:
        """Metric to the standings in it, of every pair metric that has a direction and a score of each ranked editor."""
        found = {}
        for metric, print_ in dict(zip(self.pairs["metric"], self.pairs["fingerprint"], strict=True)).items():
            up = self.scores.cards.get(print_, {}).get("higher_is_better", False)
            bounds = self.bounds(metric)
            if up is not None and bounds:
                found[metric] = {name: self._standing(name, *ends, up=up) for name, ends in bounds.items()}
        return found

    def bounds(self, metric: str) -> dict[str, tuple[float, float]]:
        """Editor to the ends between which its mean lies; empty where one has no score."""
        rows = self.pairs[(self.pairs["metric"] == metric) & (self.pairs["value"] == self.pairs["editor"].map(self.points))]
        if not len(rows) or not self.ranked:
            return {}
        # Seeds of one sample count as one, their mean, which is not defined where one of them is not.
        cells = rows.groupby(["editor", "sample_id"])["score"].agg(lambda each: each.mean(skipna=False)).unstack()
        cells = cells.reindex(index=list(self.ranked), columns=list(self.common))
        cells = cells.loc[:, cells.notna().any(axis=0)]
        if not cells.shape[1]:
            return {}
        card = self.scores.cards.get(str(rows["fingerprint"].iloc[0]), {})
        low, high = card.get("bounds", (None, None))
        found = {}
        for name, own in cells.iterrows():
            known = int(own.notna().sum())
            found[str(name)] = missing_bounds(float(own.mean()), known, len(own) - known, (low, high))
        return found

    def balanced(self, axes: Axes) -> dict[str, Standing]:
        """Standings in the mean of both axes; empty where there is none."""
        means = mean_table(self.pairs, axes)
        both = [self.bounds(axis.metric) for axis in axes]
        if not all(both):
            return {}
        ends = scales(self.plan, means, axes)
        found = {}
        for name in self.ranked:
            places = []
            for axis, bounds in zip(axes, both, strict=True):
                low, high = ends[axis.column]
                reach = sorted(float(axis.position(end)) for end in bounds[name])
                places.append([(place - low) / (high - low if high != low else 1.0) for place in reach])
            worst, best = (sum(each) / 2 for each in zip(*places, strict=True))
            found[name] = self._standing(name, worst, best, up=True)
        return found

    def tests(self, axes: Axes) -> pd.DataFrame:
        """Per pair of ranked editors the first's mean of both axes less the second's, tested by swaps; columns are `TESTS`.

        Both on the common samples that they have over their whole grids, at operating points that are chosen anew under every swap, on
        scales that stay. There is no p where a score on an axis is undefined for one of the two only.
        """
        ring, ends = Ring(self.plan, self.pairs, axes), scales(self.plan, mean_table(self.pairs, axes), axes)
        rows = []
        for one, two in combinations(self.ranked, 2):
            duel = ring.duel(one, two)
            found = Tested(*[np.nan] * 5)
            if all(duel.has(axis.metric) for axis in axes):
                found = outcome(np.mean([_apart(duel, axis, *ends[axis.column]) for axis in axes], axis=0), duel.turned)
                sides = [duel.scores(axis.metric) for axis in axes]
                if any((np.isfinite(a) != np.isfinite(b)).any() for a, b in sides):
                    found = replace(found, low=np.nan, high=np.nan, p=np.nan)
            rows.append([one, two, found.difference, found.low, found.high, found.p, np.nan, found.least, len(duel.samples)])
        table = pd.DataFrame(rows, columns=list(TESTS)).astype({"p": "float64", "p_holm": "float64"})
        return table.assign(p_holm=holm(table["p"].to_numpy()))

    def _standing(self, name: str, low: float, high: float, *, up: bool) -> Standing:
        return Standing(*((low, high) if up else (-high, -low)), self.coverage[name])


def _apart(duel: Duel, axis: Axis, low: float, high: float) -> NDArray[np.float64]:
    """How far the first is ahead on an axis that runs from `low` to `high`, under each pattern of swaps."""
    ahead_ = duel.apart(axis.metric) * (1 if axis.higher_is_better else -1)
    return ahead_ / (high - low if high != low else 1.0)
