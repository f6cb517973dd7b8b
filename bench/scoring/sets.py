"""Scores of sets: all edits of one editor at one knob value against reference pictures, `scores/sets.parquet`.

A set holds the edits of the smallest seed, one per sample: more seeds of the same pictures would make a set larger, not richer.
Below a metric's smallest number of samples the score is NaN, and `n` tells why. Intervals and tests draw without replacement
(`metrics.toolbox.two_sample`), edits of one source picture together.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bench.progress import Progress
from bench.scoring.edits import PICTURES_AT_A_TIME, Edit, EditSet, Finished, Job
from bench.scoring.failed import Failed
from bench.scoring.features import FeatureStore, extraction
from bench.scoring.tables import SET_COLUMNS, SET_PAIR_COLUMNS, Scores, frame

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from bench.manifest.reference import Reference
    from metrics.base import FeatureSet, SetMetric

__all__ = ["SetScoring"]

SWAPS = 1000


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
        from metrics.base import PROSE, fingerprint

        self._metrics, self._reference, self._store, self._failed = metrics, reference, store, failed
        self._before, self._sets = before, finished.sets
        about = {name: asdict(metric.card) | {"reference": reference.identity} for name, metric in metrics.items()}
        self._prints = {
            name: fingerprint({key: value for key, value in card.items() if key not in PROSE}) for name, card in about.items()
        }
        self.cards = {self._prints[name]: card for name, card in about.items()}
        rows = before.sets.to_dict("records")
        self._known = {
            (row["inputs"], row["fingerprint"]): [row[key] for key in ("score", "low", "high", "note")] for row in rows
        }

    @property
    def jobs(self) -> list[Job]:
        """Extraction of the edits of the sets that have no score yet."""
        jobs = []
        for name, metric in self._metrics.items():
            sets = [each for each in self._sets if (each.inputs, self._prints[name]) not in self._known]
            edits = [edit for each in sets for edit in each.edits]
            with self._failed.alone(name):
                if edits:
                    jobs.append(extraction(name, self._store, metric.extractor, metric.features, edits))
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

    def compare(self, points: Mapping[str, float], progress: Progress) -> pd.DataFrame:
        """Swap tests of all pairs of editors, each at its knob value in `points`, on the samples that both have."""
        sets = [edit_set for edit_set in self._sets if points.get(edit_set.entry.label) == edit_set.value and edit_set.edits]
        pairs = [(one, two) for i, one in enumerate(sets) for two in sets[i + 1 :]]
        known = {tuple(row[key] for key in ("inputs", "fingerprint")): row for row in self._before.set_pairs.to_dict("records")}
        rows: list[dict[str, Any]] = []
        with progress("compare sets", len(pairs) * len(self._metrics)) as advance:
            for name, metric in self._metrics.items():
                for one, two in pairs:
                    ends = {"first": one.entry.label, "first_value": one.value}
                    ends |= {"second": two.entry.label, "second_value": two.value}
                    if name not in self._failed:
                        with self._failed.alone(name, f"{one.entry.label} against {two.entry.label}"):
                            key = (f"{one.inputs}{two.inputs}", self._prints[name])
                            before = {k: known[key][k] for k in ("difference", "p", "n")} if key in known else None
                            tested = before or self._test(metric, one, two)
                            rows.append({"metric": name, "inputs": key[0], "fingerprint": key[1]} | ends | tested)
                    advance()
        return frame(rows, SET_PAIR_COLUMNS)

    def _row(self, name: str, metric: SetMetric, edit_set: EditSet) -> dict[str, Any]:
        key = (edit_set.inputs, self._prints[name])
        if key not in self._known:
            self._known[key] = self._score(metric, edit_set)
        found = dict(zip(("score", "low", "high", "note"), self._known[key], strict=True))
        return _about(name, metric, edit_set) | found | {"fingerprint": self._prints[name]}

    def _score(self, metric: SetMetric, edit_set: EditSet) -> list[Any]:
        from metrics.base import FeatureSet, MetricWarning
        from metrics.toolbox.two_sample import subsample

        if len(edit_set.edits) < max(metric.min_samples, 1):
            few = f"{metric.name}: n = {len(edit_set.edits)} is fewer than the {max(metric.min_samples, 1)} it needs; no value"
            return [math.nan, math.nan, math.nan, few]
        edits, theirs = FeatureSet(self._features(metric, edit_set.edits), edit_set.classes), self._theirs(metric)
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always", MetricWarning)
            score = float(metric.value(edits, theirs))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MetricWarning)
            spread = subsample(lambda masks: metric.values(edits, theirs, masks), len(edits), units=edit_set.clusters)
        notes = dict.fromkeys(str(item.message) for item in heard if issubclass(item.category, MetricWarning))
        return [score, spread.low, spread.high, "; ".join(notes)]

    def _test(self, metric: SetMetric, one: EditSet, two: EditSet) -> dict[str, float]:
        """Difference and p value on the samples that both have."""
        from metrics.base import FeatureSet, MetricWarning
        from metrics.toolbox.two_sample import swap_test

        mine = {edit.info.id: edit for edit in one.edits}
        theirs = [edit for edit in two.edits if edit.info.id in mine]
        if len(theirs) < max(metric.min_samples, 2):
            return {"difference": math.nan, "p": math.nan, "n": len(theirs)}
        edits = [*(mine[edit.info.id] for edit in theirs), *theirs]
        both, reference = (
            FeatureSet(self._features(metric, edits), [edit.info.target_class for edit in edits]),
            self._theirs(metric),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MetricWarning)
            tested = swap_test(
                lambda masks: metric.values(both, reference, masks),
                len(theirs),
                units=[edit.info.source_id for edit in theirs],
                permutations=SWAPS,
            )
        return {"difference": tested.difference, "p": tested.p_value, "n": len(theirs)}

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
