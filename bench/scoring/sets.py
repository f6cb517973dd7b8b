"""Scores of sets: all edits of one editor at one knob value against reference pictures, `scores/sets.parquet`.

A set holds the edits of the smallest seed, one per sample: more seeds of the same pictures would make a set larger, not richer.
Below a metric's smallest number of samples the score is NaN, and `n` tells why. Intervals and tests draw without replacement
(`metrics.toolbox.two_sample`), edits of one source picture together, and within classes where a metric uses these.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.progress import Progress
from bench.scoring.edits import PICTURES_AT_A_TIME, Edit, EditSet, Finished, Job
from bench.scoring.failed import Failed
from bench.scoring.features import FeatureStore, extraction
from bench.scoring.swaps import Duel, Ring, outcome
from bench.scoring.tables import SET_COLUMNS, SET_PAIR_COLUMNS, Scores, frame

if TYPE_CHECKING:
    import pandas as pd

    from bench.manifest.reference import Reference
    from metrics.base import FeatureSet, SetMetric

__all__ = ["SetScoring"]

SWAPS = 1000


@dataclass(frozen=True)
class Dealt:
    """Edits of two editors, and bool masks (2 r, edits) of the sets that r swaps make of them, the first editor's and then the second's.

    `cases` are in each set; `turned` (r,) is the mean sign of a swap.
    """

    edits: list[Edit]
    masks: NDArray[np.bool_]
    cases: int
    turned: NDArray[np.float64]

    @cached_property
    def inputs(self) -> str:
        """Hashes the edits, their classes and the swaps."""
        told = [(edit.content, edit.info.target_class) for edit in self.edits]
        return hashlib.sha256(repr(told).encode() + np.packbits(self.masks).tobytes()).hexdigest()[:16]


class SetScoring:
    """The set scores of a run: those of `before` with the same edits, metric and reference, and what they lack.

    Call order: walk over `jobs`, then `finish`, then `compare`. The reference is part of a set metric's card and fingerprint.
    """

    def __init__(
        self,
        finished: Finished,
        metrics: Mapping[str, SetMetric],
        reference: Reference,
        *,
        before: Scores,
        store: FeatureStore,
        failed: Failed,
    ) -> None:
        from metrics.card import PROSE, fingerprint

        self._metrics, self._reference, self._store, self._failed = metrics, reference, store, failed
        self._before, self._sets = before, finished.sets
        about = {name: asdict(metric.card) | {"reference": reference.identity} for name, metric in metrics.items()}
        self._prints = {
            name: fingerprint({key: value for key, value in card.items() if key not in PROSE}) for name, card in about.items()
        }
        self.cards = {self._prints[name]: card | {"bounds": list(metrics[name].bounds)} for name, card in about.items()}
        rows = before.sets.to_dict("records")
        self._known = {
            (row["inputs"], row["fingerprint"]): [row[key] for key in ("score", "low", "high", "note")] for row in rows
        }

    @property
    def jobs(self) -> list[Job]:
        """Extraction of the edits of the sets that have no score yet."""
        jobs, every = [], [edit for each in self._sets for edit in each.edits]
        for name, metric in self._metrics.items():
            sets = [each for each in self._sets if (each.inputs, self._prints[name]) not in self._known]
            edits = [edit for each in sets for edit in each.edits]
            with self._failed.alone(name):
                if edits:
                    jobs.append(extraction(name, self._store, metric.extractor, metric.features, edits, every=every))
        return jobs

    def finish(self, progress: Progress) -> pd.DataFrame:
        """The table of set scores; what a metric only warns of goes into the column `note`."""
        rows: list[dict[str, Any]] = []
        with progress("score sets", len(self._sets) * len(self._metrics)) as advance:
            for name, metric in self._metrics.items():
                for edit_set in self._sets:
                    if name not in self._failed:
                        with self._failed.alone(name, f"{edit_set.entry.label} at {edit_set.value:g}"):
                            rows.append(self._row(name, metric, edit_set))
                    advance()
        return frame(rows, SET_COLUMNS)

    def compare(self, ring: Ring, progress: Progress) -> pd.DataFrame:
        """Swap tests of all pairs of editors on their common samples, with operating points that are chosen anew under every swap."""
        known = {(row["inputs"], row["fingerprint"]): row for row in self._before.set_pairs.to_dict("records")}
        pairs = list(combinations(ring.editors, 2))
        rows: list[dict[str, Any]] = []
        with progress("compare sets", len(pairs) * len(self._metrics)) as advance:
            for one, two in pairs:
                duel = ring.duel(one, two, SWAPS)
                dealt = self._deal(duel, one, two)
                ends = {"first": one, "first_value": duel.values[0], "second": two, "second_value": duel.values[1]}
                for name, metric in self._metrics.items():
                    if name not in self._failed:
                        with self._failed.alone(name, f"{one} against {two}"):
                            key = (dealt.inputs, self._prints[name])
                            keep = ("difference", "p", "p_least", "n")
                            found = {k: known[key][k] for k in keep} if key in known else self._test(metric, dealt)
                            about = {"metric": name, "axes": ring.axes.name, "inputs": key[0], "fingerprint": key[1]}
                            rows.append(about | ends | found)
                    advance()
        return frame(rows, SET_PAIR_COLUMNS)

    def _row(self, name: str, metric: SetMetric, edit_set: EditSet) -> dict[str, Any]:
        key = (edit_set.inputs, self._prints[name])
        if key not in self._known:
            self._known[key] = self._score(metric, edit_set)
        found = dict(zip(("score", "low", "high", "note"), self._known[key], strict=True))
        return _about(name, metric, edit_set) | found | {"fingerprint": self._prints[name]}

    def _deal(self, duel: Duel, one: str, two: str) -> Dealt:
        """The edits of the two editors at the knob values that some swap chooses, and which of them each swap compares."""
        places = [np.unique(np.concatenate([duel.chosen[0], duel.places[1][duel.chosen[1]]]))]
        places.append(np.unique(np.concatenate([duel.chosen[1], duel.places[0][duel.chosen[0]]])))
        edits: list[Edit] = []
        starts = []
        for label, chosen in zip((one, two), places, strict=True):
            sets = [each for each in self._sets if each.entry.label == label]
            starts.append({int(at): len(edits) + n * len(duel.samples) for n, at in enumerate(chosen)})
            for at in chosen if len(duel.samples) else ():
                there = {edit.unit.sample: edit for edit in sets[int(at)].edits}
                edits += [there[int(number)] for number in duel.samples]
        kept = duel.kept[:, duel.clusters] if len(duel.samples) else np.zeros((len(duel.kept), 0), dtype=np.bool_)
        masks = np.zeros((2 * len(kept), len(edits)), dtype=np.bool_)
        for row, keeps in enumerate(kept if len(edits) else ()):
            for side, (mine, other) in enumerate(((0, 1), (1, 0))):
                at = int(duel.chosen[side][row])
                own, theirs = starts[mine][at], starts[other][int(duel.places[side][at])]
                masks[side * len(kept) + row, np.where(keeps, own, theirs) + np.arange(len(keeps))] = True
        return Dealt(edits, masks, len(duel.samples), duel.turned if len(edits) else np.ones(len(kept)))

    def _score(self, metric: SetMetric, edit_set: EditSet) -> list[Any]:
        from metrics.base import FeatureSet, MetricWarning
        from metrics.toolbox.two_sample import jackknife, subsample

        if len(edit_set.edits) < max(metric.min_samples, 1):
            few = f"{metric.name}: n = {len(edit_set.edits)} is fewer than the {max(metric.min_samples, 1)} it needs; no value"
            return [math.nan, math.nan, math.nan, few]
        edits, theirs = FeatureSet(self._features(metric, edit_set.edits), edit_set.classes), self._theirs(metric)
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always", MetricWarning)
            score = float(metric.value(edits, theirs))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MetricWarning)
            values = partial(metric.values, edits, theirs)
            spread = (
                jackknife(values, len(edits), units=edit_set.clusters, strata=edit_set.classes)
                if metric.uses_classes
                else subsample(values, len(edits), units=edit_set.clusters)
            )
        notes = dict.fromkeys(str(item.message) for item in heard if issubclass(item.category, MetricWarning))
        if 0 < spread.defined < 1:
            lacking = f"{metric.name}: {1 - spread.defined:.0%} of the subsets behind the interval have no value"
            notes[f"{lacking}, and it stands on the rest" if math.isfinite(spread.low) else f"{lacking}: no interval"] = None
        return [score, spread.low, spread.high, "; ".join(notes)]

    def _test(self, metric: SetMetric, dealt: Dealt) -> dict[str, float]:
        """Difference and p value on the samples that both have."""
        from metrics.base import FeatureSet, MetricWarning

        nothing = {"difference": math.nan, "p": math.nan, "p_least": 2 / len(dealt.masks), "n": dealt.cases}
        if dealt.cases < max(metric.min_samples, 2):
            return nothing
        both = FeatureSet(self._features(metric, dealt.edits), [edit.info.target_class for edit in dealt.edits])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MetricWarning)
            values = np.asarray(metric.values(both, self._theirs(metric), dealt.masks), dtype=np.float64)
        first, second = np.split(values, 2)
        if not np.isfinite(values).all():
            return nothing | {"difference": float(first[0] - second[0])}
        found = outcome(first - second, dealt.turned)
        return nothing | {"difference": found.difference, "p": found.p, "p_least": found.least}

    def _features(self, metric: SetMetric, edits: Sequence[Edit]) -> NDArray[np.floating[Any]]:
        """From the store; what it lost meanwhile is extracted again."""
        shelf = self._store.shelf(metric.extractor)
        lost = list({edit.content: edit for edit in edits if edit.content not in shelf}.values())
        for start in range(0, len(lost), PICTURES_AT_A_TIME):
            chunk = [edit.alone for edit in lost[start : start + PICTURES_AT_A_TIME]]
            shelf.fill([edit.content for edit in chunk], [edit.picture for edit in chunk], metric.features)
        rows: NDArray[np.floating[Any]] = shelf.rows([edit.content for edit in edits])
        return rows

    def _theirs(self, metric: SetMetric) -> FeatureSet:
        from metrics.base import FeatureSet

        shelf, reference = self._store.shelf(metric.extractor), self._reference
        for start in range(0, len(reference.keys), PICTURES_AT_A_TIME):
            some = slice(start, start + PICTURES_AT_A_TIME)
            shelf.fill(reference.keys[some], reference.images[some], metric.features)
        return FeatureSet(shelf.rows(reference.keys), reference.classes)


def _about(name: str, metric: SetMetric, edit_set: EditSet) -> dict[str, Any]:
    n, classes = len(edit_set.edits), len(set(edit_set.classes))
    grouped = metric.uses_classes and classes
    return {
        "editor": edit_set.entry.label,
        "knob": edit_set.entry.knob or None,
        "value": edit_set.value,
        "metric": name,
        "n": n,
        "per_class": n / classes if grouped else math.nan,
        "inputs": edit_set.inputs,
    }
