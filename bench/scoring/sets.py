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
from typing import TYPE_CHECKING, Any

from bench.errors import ScoreError
from bench.progress import Progress, silent
from bench.scoring.edits import PICTURES_AT_A_TIME, Edit, Finished, Job, walk
from bench.scoring.features import FeatureStore, extraction
from bench.scoring.tables import SET_COLUMNS, SET_PAIR_COLUMNS, Scores, frame

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from bench.manifest.reference import Reference
    from bench.plan import Entry
    from metrics.base import FeatureSet, SetMetric

__all__ = ["SetScoring"]

SWAPS = 1000


@dataclass(frozen=True)
class EditSet:
    """The edits of one editor at one knob value. `inputs` hashes them and their classes."""

    entry: Entry
    value: float
    edits: list[Edit]

    @cached_property
    def contents(self) -> list[str]:
        return [edit.content for edit in self.edits]

    @cached_property
    def classes(self) -> list[str | None]:
        return [edit.info.target_class for edit in self.edits]

    @cached_property
    def clusters(self) -> list[str]:
        return [edit.info.source_id for edit in self.edits]

    @cached_property
    def inputs(self) -> str:
        return hashlib.sha256(repr((self.contents, self.classes)).encode()).hexdigest()[:16]


class SetScoring:
    """The set scores of a run: those of `before` with the same edits, metric and reference, and what they lack.

    Call order: walk over `jobs`, then `finish`, then `compare`. The reference is part of a set metric's card and fingerprint.
    """

    def __init__(
        self, finished: Finished, metrics: Mapping[str, SetMetric], reference: Reference, before: Scores, store: FeatureStore
    ) -> None:
        from metrics.base import PROSE, fingerprint

        self._finished, self._metrics, self._reference, self._store = finished, metrics, reference, store
        self._before, self._sets = before, _sets(finished)
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
        return [
            extraction(self._store, metric.extractor, metric.features, [edit for edit_set in sets for edit in edit_set.edits])
            for name, metric in self._metrics.items()
            if (sets := [edit_set for edit_set in self._sets if (edit_set.inputs, self._prints[name]) not in self._known])
        ]

    def finish(self, progress: Progress) -> pd.DataFrame:
        """The table of set scores. Raises ScoreError where a metric refuses; what it only warns of goes into the column `note`."""
        rows = []
        with progress("score sets", len(self._sets) * len(self._metrics)) as advance:
            for name, metric in self._metrics.items():
                for edit_set in self._sets:
                    key = (edit_set.inputs, self._prints[name])
                    if key not in self._known:
                        self._known[key] = self._score(metric, edit_set)
                    found = dict(zip(("score", "low", "high", "note"), self._known[key], strict=True))
                    rows.append(_row(name, metric, edit_set) | found | {"fingerprint": self._prints[name]})
                    advance()
        return frame(rows, SET_COLUMNS)

    def compare(self, points: Mapping[str, float], progress: Progress) -> pd.DataFrame:
        """Swap tests of all pairs of editors, each at its knob value in `points`, on the samples that both have."""
        sets = [edit_set for edit_set in self._sets if points.get(edit_set.entry.label) == edit_set.value and edit_set.edits]
        pairs = [(one, two) for i, one in enumerate(sets) for two in sets[i + 1 :]]
        known = {tuple(row[key] for key in ("inputs", "fingerprint")): row for row in self._before.set_pairs.to_dict("records")}
        rows = []
        with progress("compare sets", len(pairs) * len(self._metrics)) as advance:
            for name, metric in self._metrics.items():
                for one, two in pairs:
                    key = (f"{one.inputs}{two.inputs}", self._prints[name])
                    tested = (
                        {k: known[key][k] for k in ("difference", "p", "n")} if key in known else self._test(metric, one, two)
                    )
                    ends = {"first": one.entry.label, "first_value": one.value}
                    ends |= {"second": two.entry.label, "second_value": two.value}
                    rows.append({"metric": name, "inputs": key[0], "fingerprint": key[1]} | ends | tested)
                    advance()
        return frame(rows, SET_PAIR_COLUMNS)

    def _score(self, metric: SetMetric, edit_set: EditSet) -> list[Any]:
        from metrics.base import FeatureSet, MetricError, MetricWarning
        from metrics.toolbox.two_sample import jackknife, subsample

        if len(edit_set.edits) < max(metric.min_samples, 1):
            few = f"{metric.name}: n = {len(edit_set.edits)} is fewer than the {max(metric.min_samples, 1)} it needs; no value"
            return [math.nan, math.nan, math.nan, few]
        edits, theirs = FeatureSet(self._features(metric, edit_set.edits), edit_set.classes), self._theirs(metric)
        try:
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
        except MetricError as error:
            raise ScoreError(f"metric {metric.name}, editor {edit_set.entry.label} at {edit_set.value:g}: {error}") from error
        notes = dict.fromkeys(str(item.message) for item in heard if issubclass(item.category, MetricWarning))
        if 0 < spread.defined < 1:
            lacking = f"{metric.name}: {1 - spread.defined:.0%} of the subsets behind the interval have no value"
            notes[f"{lacking}, and it stands on the rest" if math.isfinite(spread.low) else f"{lacking}: no interval"] = None
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
        if any(edit.content not in shelf for edit in edits):
            walk(self._finished, [extraction(self._store, metric.extractor, metric.features, edits)], silent)
        rows: NDArray[np.floating[Any]] = shelf.rows([edit.content for edit in edits])
        return rows

    def _theirs(self, metric: SetMetric) -> FeatureSet:
        from metrics.base import FeatureSet

        shelf, reference = self._store.shelf(metric.extractor), self._reference
        for start in range(0, len(reference.keys), PICTURES_AT_A_TIME):
            some = slice(start, start + PICTURES_AT_A_TIME)
            shelf.fill(reference.keys[some], reference.images[some], metric.features)
        return FeatureSet(shelf.rows(reference.keys), reference.classes)


def _sets(finished: Finished) -> list[EditSet]:
    """One set per editor and knob value, those without any edit included."""
    found: dict[tuple[int, float], list[Edit]] = {}
    for edit in finished.edits:
        if edit.unit.seed == finished.run.plan.first_seed:
            found.setdefault((edit.unit.entry, edit.name[1]), []).append(edit)
    entries = enumerate(finished.run.plan.entries)
    return [EditSet(entry, value, found.get((index, value), [])) for index, entry in entries for value in entry.values]


def _row(name: str, metric: SetMetric, edit_set: EditSet) -> dict[str, Any]:
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
