"""Two runs side by side, sample by sample: what of the second is other than in the first.

Compared are the editors, knob values, pair metrics and samples that both have; what one of them lacks is named. All differences are second less
first, over samples that are numbers in both, seeds averaged. A cell (editor, knob value, metric) and the mean of a metric over the knob have
sign-flip tests over source pictures and Student's intervals (`bench.analysis.paired`, `bench.analysis.intervals`), whole curves those of
`bench.analysis.comparisons`. Nothing is chosen on the scores here, so that no point has to be chosen anew. Holm's correction is over all cells
of a metric, and over all editors of a number read off curves. Sets have a difference and no test.

The *worst* samples are those that lost most, in units of the standard deviation of the metric's scores in the first run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.analysis.alike import alone, common_samples, directions, same_numbers, settings
from bench.analysis.baseline import Measured, measured
from bench.analysis.baseline_file import Key
from bench.analysis.comparisons import gains, volume_differences
from bench.analysis.differences import powerless
from bench.analysis.intervals import mean_interval
from bench.analysis.kinds import loss_of
from bench.analysis.paired import holm, sign_flip
from bench.errors import RunError
from bench.plan import Entry, Plan, SampleInfo
from bench.scoring import Scores, read_scores
from bench.scoring.axes import Axes
from bench.scoring.swaps import signs
from bench.store import Run

__all__ = ["SIGNIFICANT", "Change", "Comparison", "Loss", "compare"]

Floats = NDArray[np.float64]

SIGNIFICANT = 0.05
WORST = 12
"""Samples that are shown, an editor each."""
ROUNDING = 1e-5
"""Share of a score within which two count as equal: what other machines make of one edit in single precision."""
GAIN, VOLUME = "gain at equal fidelity", "hypervolume"


@dataclass(frozen=True)
class Change:
    """The second run less the first in a cell, over the whole knob (`value` NaN), or of a set (no interval, no p).

    first, second: means over the `n` samples compared.  p: of the sign flips, or of the test that the number has.  p_holm: corrected.
    sign: 1 where higher is better, -1 where lower is, None without a direction.  strange: how many samples are undefined, infinite or
    missing on one side only; there is no p then.
    """

    editor: str
    value: float
    metric: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float
    n: int
    sign: float | None
    strange: Mapping[str, int]
    p_holm: float = math.nan
    p_least: float = math.nan

    @property
    def word(self) -> str:
        """`worse`, `better` or `other` where the test says so, `equal` where no sample differs, else nothing."""
        if self.difference == 0 and self.low == self.high == 0 and not self.strange:
            return "equal"
        if not self.p_holm <= SIGNIFICANT:
            return ""
        return "other" if self.sign is None else "worse" if self.sign * self.difference < 0 else "better"


@dataclass(frozen=True)
class Loss:
    """A sample on which an editor lost: where it lost most. `size` is in standard deviations of the metric."""

    sample: str
    editor: str
    value: float
    metric: str
    before: float
    after: float
    size: float


@dataclass(frozen=True)
class Comparison:
    """What two runs differ in.

    cells: of edits and of sets.  curves: per editor the means over the knob, the gain at equal fidelity and the hypervolume.
    settings: what was other about the runs.  alone: what only one of them has.  notes: what else a reader must know.
    """

    first: str
    second: str
    cells: tuple[Change, ...]
    curves: tuple[Change, ...]
    worst: tuple[Loss, ...]
    settings: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def of(self, word: str) -> list[Change]:
        """The cells of which a test says so, the surest first."""
        return sorted((each for each in self.cells if each.word == word), key=lambda each: (each.p_holm, -abs(each.difference)))


def compare(first: Run, second: Run) -> Comparison:
    """Lay `second` beside `first`.

    Raises RunError where the manifests differ, where a metric is not the same number in both, and where they have no sample, or no editor,
    in common; it says what differs.
    """
    scores = read_scores(first), read_scores(second)
    notes = same_numbers(first, second, *scores)
    samples, known = common_samples(first.plan, second.plan), directions(*scores)
    found = [measured(run, each, [info.id for info in samples]) for run, each in zip((first, second), scores, strict=True)]
    cells = _corrected([*_cells(found, samples, known), *_sets(found, known)])
    if not cells:
        raise RunError(
            f"{first.path} and {second.path} have no scores of the same editor, knob value and metric: nothing to compare"
        )
    curves = _corrected([*_means(found, samples, known), *_whole(first, second, scores, samples)])
    tested = pd.DataFrame([{"metric": each.metric, "p": each.p, "p_least": each.p_least, "n": each.n} for each in cells])
    notes += [
        f"{run.path}: {name} failed: {why}"
        for run, each in zip((first, second), scores, strict=True)
        for name, why in each.failed.items()
    ]
    return Comparison(
        first=str(first.path),
        second=str(second.path),
        cells=tuple(cells),
        curves=tuple(sorted(curves, key=lambda each: [entry.label for entry in first.plan.entries].index(each.editor))),
        worst=tuple(_worst(found, samples, known)[:WORST]),
        settings=settings(first, second, found),
        alone=alone(first, second, found),
        notes=(*powerless(tested), *notes),
    )


def _cells(found: Sequence[Measured], samples: Sequence[SampleInfo], known: Mapping[str, float | None]) -> Iterator[Change]:
    one, two = found
    keys = [key for key in one.pairs if key in two.pairs]
    kinds = [_strange(one.pairs[key], two.pairs[key], one.missing.get(key, ()), two.missing.get(key, ())) for key in keys]
    yield from _tested(keys, [(one.pairs[key], two.pairs[key]) for key in keys], samples, known, kinds)


def _means(found: Sequence[Measured], samples: Sequence[SampleInfo], known: Mapping[str, float | None]) -> Iterator[Change]:
    """The mean of every metric over the knob values that both have, for editors that have several."""
    one, two = found
    both = pd.DataFrame([key for key in one.pairs if key in two.pairs], columns=["editor", "value", "metric"])
    keys: list[Key] = []
    columns, kinds = [], []
    for (editor, metric), rows in both.groupby(["editor", "metric"], sort=False):
        own: list[Key] = [(str(editor), float(value), str(metric)) for value in rows["value"]]
        if len(own) > 1:
            keys.append((str(editor), math.nan, str(metric)))
            columns.append(tuple(np.mean([table.pairs[key] for key in own], axis=0) for table in found))
            lost = [tuple({place for key in own for place in table.missing.get(key, ())}) for table in found]
            kinds.append(_strange(*columns[-1], *lost))
    yield from _tested(keys, columns, samples, known, kinds)


def _tested(
    keys: Sequence[Key],
    columns: Sequence[tuple[Floats, ...]],
    samples: Sequence[SampleInfo],
    known: Mapping[str, float | None],
    strange: Sequence[Mapping[str, int]],
) -> Iterator[Change]:
    """Second less first for pairs of scores (samples,)."""
    names = [sample.source_id for sample in samples]
    groups = np.unique(names, return_inverse=True)[1]
    sums, rows = [], []
    for (_, _, metric), (a, b) in zip(keys, columns, strict=True):
        both = np.isfinite(a) & np.isfinite(b)
        told = both & ~np.isclose(a, b, rtol=ROUNDING)
        gaps = np.subtract(b, a, out=np.zeros(len(a)), where=told)
        sums.append(np.bincount(groups, weights=gaps))
        interval = mean_interval(gaps[both], [name for name, there in zip(names, both, strict=True) if there])
        means = (float(a[both].mean()), float(b[both].mean())) if both.any() else (math.nan, math.nan)
        rows.append((*means, interval.mean, interval.low, interval.high, int(both.sum()), known[metric]))
    p_values: Floats = sign_flip(np.array(sums)) if sums else np.zeros(0)
    least = 1 / len(signs(int(groups.max()) + 1))
    for key, row, p, odd in zip(keys, rows, p_values.tolist(), strange, strict=True):
        equal = row[2] == row[3] == row[4] == 0
        yield Change(*key, *row[:5], math.nan if odd or not row[5] else 1.0 if equal else p, *row[5:], odd, p_least=least)


def _sets(found: Sequence[Measured], known: Mapping[str, float | None]) -> Iterator[Change]:
    one, two = found
    for key in one.sets:
        if key in two.sets and key[2] in known:
            a, b, nan = one.sets[key], two.sets[key], math.nan
            odd = {"undefined": 1} if math.isnan(a) != math.isnan(b) else {}
            yield Change(
                *key, a, b, b - a if math.isfinite(a) and math.isfinite(b) else nan, nan, nan, nan, 0, known[key[2]], odd
            )


def _whole(first: Run, second: Run, scores: tuple[Scores, Scores], samples: Sequence[SampleInfo]) -> Iterator[Change]:
    """Gain at equal fidelity and hypervolume of every editor that both have, as of two editors of one run with the first run's anchors."""
    axes = Axes.of(first.spec.axes, scores[0])
    theirs = {entry.label: entry for entry in second.plan.entries}
    for entry in first.plan.entries:
        other = theirs.get(entry.label, entry)
        values = tuple(value for value in entry.values if value in other.values)
        if not entry.anchor and len(values) > 1 and entry.label in theirs:
            sides = ((second.plan, scores[1], other, values), (first.plan, scores[0], entry, values))
            plan, joint = _joined(sides, samples)
            yield from (_read(entry.label, GAIN, row, "gain") for row in gains(plan, joint, axes).to_dict("records"))
            yield from (_read(entry.label, VOLUME, row, "difference") for row in volume_differences(plan, joint, axes))


def _joined(sides: Sequence[tuple[Plan, Scores, Entry, tuple[float, ...]]], samples: Sequence[SampleInfo]) -> tuple[Plan, Scores]:
    """A plan and its scores in which the editor of either side, at the values given, is one of its own, with the anchors of the last side."""
    place = {sample.id: number for number, sample in enumerate(samples)}
    units, tables, entries = [], [], []
    for number, (plan, scores, own, values) in enumerate(sides):
        index, pairs = plan.entries.index(own), scores.pairs[scores.pairs["sample_id"].isin(list(place))]
        kept = [unit for unit in plan.units if unit.entry == index and plan.samples[unit.sample].id in place]
        units += [replace(unit, entry=number, sample=place[plan.samples[unit.sample].id]) for unit in kept]
        entries.append(replace(own, label=str(number), values=values))
        tables.append(pairs[(pairs["editor"] == own.label) & pairs["value"].isin(values)].assign(editor=str(number)))
    anchors = [entry for entry in plan.entries if entry.anchor]
    tables.append(pairs[pairs["editor"].isin([entry.label for entry in anchors])])
    joint = replace(plan, entries=(*entries, *anchors), samples=tuple(samples), units=tuple(units))
    return joint, replace(scores, pairs=pd.concat(tables, ignore_index=True))


def _read(editor: str, metric: str, row: Mapping[Any, Any], column: str) -> Change:
    difference, low, high, p, least = (float(row[name]) for name in (column, "low", "high", "p", "p_least"))
    p = 1.0 if abs(difference) <= ROUNDING else p
    nan = math.nan
    return Change(editor, nan, metric, nan, nan, difference, low, high, p, int(row["n"]), 1.0, {}, p_least=least)


def _corrected(changes: Sequence[Change]) -> list[Change]:
    """With Holm's p values, over all of a metric."""
    found = list(changes)
    for metric in dict.fromkeys(each.metric for each in found):
        places = [place for place, each in enumerate(found) if each.metric == metric]
        for place, p in zip(places, holm([found[place].p for place in places]), strict=True):
            found[place] = replace(found[place], p_holm=float(p))
    return found


def _worst(found: Sequence[Measured], samples: Sequence[SampleInfo], known: Mapping[str, float | None]) -> list[Loss]:
    """The largest loss of every sample and editor that lost, the largest first."""
    one, two = found
    spread: dict[str, float] = {}
    for metric in known:
        scores = np.concatenate([np.zeros(0), *(cell for key, cell in one.pairs.items() if key[2] == metric)])
        spread[metric] = float(scores[np.isfinite(scores)].std()) if np.isfinite(scores).any() else 0.0
    largest: dict[tuple[str, str], Loss] = {}
    for key in (key for key in one.pairs if key in two.pairs and known[key[2]] is not None and spread[key[2]]):
        for sample, before, after in zip(samples, one.pairs[key].tolist(), two.pairs[key].tolist(), strict=True):
            if math.isfinite(before) and math.isfinite(after) and not math.isclose(before, after, rel_tol=ROUNDING):
                size = loss_of(before, after, known[key[2]]) / spread[key[2]]
                if size > max(0.0, largest[sample.id, key[0]].size if (sample.id, key[0]) in largest else 0.0):
                    largest[sample.id, key[0]] = Loss(sample.id, *key, before, after, size)
    return sorted(largest.values(), key=lambda each: -each.size)


def _strange(a: Floats, b: Floats, lost_a: Sequence[int], lost_b: Sequence[int]) -> dict[str, int]:
    """How many samples are no number on one side only, by what they are."""
    made = np.ones((2, len(a)), dtype=np.bool_)
    made[0, list(lost_a)] = made[1, list(lost_b)] = False
    both = made.all(axis=0)
    counts = {
        "missing": int((made[0] != made[1]).sum()),
        "undefined": int((both & (np.isnan(a) != np.isnan(b))).sum()),
        "infinite": int((both & (np.isinf(a) | np.isinf(b)) & ~np.isnan(a) & ~np.isnan(b) & (a != b)).sum()),
    }
    return {word: count for word, count in counts.items() if count}
