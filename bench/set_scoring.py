"""Scores of sets: all edits of one editor at one knob value against reference pictures, `scores/sets.parquet`.

A set holds the edits of the smallest seed, one per sample: more seeds of the same pictures would make a set larger, not richer.
Below a metric's smallest number of samples the score is NaN, and `n` tells why.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import ScoreError
from bench.features import FeatureStore
from bench.progress import Progress
from bench.tables import SET_COLUMNS, Scores, frame

if TYPE_CHECKING:
    import pandas as pd

    from bench.finished import Finished
    from bench.plan import Entry, SampleInfo
    from bench.reference import Reference
    from bench.store import Record, Run

__all__ = ["score_sets"]


@dataclass(frozen=True)
class _Cell:
    """The edits of one editor at its `number`-th knob value. `inputs` hashes them and their classes."""

    entry: Entry
    number: int
    members: list[tuple[Record, SampleInfo]]

    @property
    def value(self) -> float:
        return self.entry.values[self.number]

    @property
    def keys(self) -> list[str]:
        return [record.edits[self.number].sha256 for record, _ in self.members]

    @property
    def classes(self) -> list[str | None]:
        return [sample.target_class for _, sample in self.members]

    @property
    def inputs(self) -> str:
        return hashlib.sha256(repr((self.keys, self.classes)).encode()).hexdigest()[:16]


def score_sets(
    finished: Finished, metrics: Mapping[str, Any], reference: Reference, before: Scores, progress: Progress
) -> tuple[pd.DataFrame, dict[str, dict[str, Any]]]:
    """The table of set scores and the cards behind it. The reference is part of a set metric's card and fingerprint.

    Raises ScoreError where a metric refuses; what it only warns of goes into the column `note`.
    """
    from metrics.base import PROSE, fingerprint

    known = {(row["inputs"], row["fingerprint"]): (row["score"], row["note"]) for row in before.sets.to_dict("records")}
    store, cells = FeatureStore(finished.run), _cells(finished)
    cards: dict[str, dict[str, Any]] = {}
    rows = []
    with progress("score sets", len(cells) * len(metrics)) as advance:
        for name, metric in metrics.items():
            card = asdict(metric.card) | {"reference": reference.identity}
            print_ = fingerprint({key: value for key, value in card.items() if key not in PROSE})
            cards[print_] = card
            for cell in cells:
                found = known.get((cell.inputs, print_))
                score, note = found or _score(metric, cell, reference, finished.run, store)
                rows.append(_row(name, metric, cell) | {"score": score, "note": note, "fingerprint": print_})
                advance()
            store.save()
    return frame(rows, SET_COLUMNS), cards


def _cells(finished: Finished) -> list[_Cell]:
    plan, cells = finished.plan, []
    for index, entry in enumerate(plan.entries):
        mine = [
            (record, plan.samples[u.sample]) for u, record in finished.units if u.entry == index and u.seed == plan.first_seed
        ]
        cells += [_Cell(entry, number, mine) for number in range(len(entry.values))]
    return cells


def _score(metric: Any, cell: _Cell, reference: Reference, run: Run, store: FeatureStore) -> tuple[float, str]:
    from metrics.base import FeatureSet, MetricError, MetricWarning

    if len(cell.members) < max(metric.min_samples, 1):
        return math.nan, ""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", MetricWarning)
        try:
            edits = store.features(metric, cell.keys, lambda i: run.read_edit(cell.members[i][0], cell.number))
            theirs = store.features(metric, reference.keys, lambda i: reference.images[i])
            score = float(metric.value(FeatureSet(edits, cell.classes), FeatureSet(theirs, reference.classes)))
        except MetricError as error:
            raise ScoreError(f"metric {metric.name}, editor {cell.entry.label} at {cell.value:g}: {error}") from error
    notes = dict.fromkeys(str(item.message) for item in heard if issubclass(item.category, MetricWarning))
    return score, "; ".join(notes)


def _row(name: str, metric: Any, cell: _Cell) -> dict[str, Any]:
    n, classes = len(cell.members), len(set(cell.classes))
    grouped = getattr(metric, "uses_classes", name == "csfid") and classes
    return {
        "editor": cell.entry.label,
        "knob": cell.entry.knob or None,
        "value": cell.value,
        "metric": name,
        "n": n,
        "per_class": n / classes if grouped else math.nan,
        "inputs": cell.inputs,
    }
