"""Scores of single edits: `scores/pairs.parquet`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from bench.errors import ScoreError
from bench.progress import Progress
from bench.tables import PAIR_COLUMNS, Scores, frame, write_table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from bench.finished import Finished
    from bench.manifest import Sample

__all__ = ["score_pairs"]

EDITS_AT_A_TIME = 64
Known = dict[tuple[str, float, str], float]


def score_pairs(finished: Finished, metrics: Mapping[str, Any], before: Scores, progress: Progress) -> pd.DataFrame:
    """The table of pair scores by `metrics`, with the scores of `before` where unit, value and fingerprint are the same.

    The table is written after every metric, so that an interruption loses one metric at the most.
    """
    columns = before.pairs[["unit", "value", "fingerprint", "score"]].to_dict("records")
    known: Known = {(row["unit"], row["value"], row["fingerprint"]): row["score"] for row in columns}
    manifest = finished.manifest
    load = lru_cache(maxsize=EDITS_AT_A_TIME)(lambda id_: manifest.load(manifest.index(id_)))
    for name, metric in metrics.items():
        print_ = metric.card.fingerprint
        todo = {
            (record.key, edit.value): (unit, record, index)
            for unit, record in finished.units
            for index, edit in enumerate(record.edits)
            if (record.key, edit.value, print_) not in known
        }
        items = list(todo.values())
        with progress(f"score {name}", len(items)) as advance:
            for start in range(0, len(items), EDITS_AT_A_TIME):
                chunk = items[start : start + EDITS_AT_A_TIME]
                batch = [(finished.run.read_edit(record, i), load(unit.identity["sample_id"])) for unit, record, i in chunk]
                for (_, record, index), score in zip(chunk, _scores(name, metric, batch), strict=True):
                    known[record.key, record.edits[index].value, print_] = float(score)
                advance(len(chunk))
        write_table(finished.run, "pairs", frame(list(_rows(finished, metrics, known)), PAIR_COLUMNS))
    return frame(list(_rows(finished, metrics, known)), PAIR_COLUMNS)


def _scores(name: str, metric: Any, batch: Sequence[tuple[NDArray[np.uint8], Sample]]) -> NDArray[np.float64]:
    import numpy as np

    from metrics.base import MetricError, PairBatch

    samples = [sample for _, sample in batch]
    pairs = PairBatch(
        edits=[edit for edit, _ in batch],
        sources=[sample.image for sample in samples],
        target_texts=[sample.target_text for sample in samples],
        source_texts=[sample.source_text for sample in samples],
        masks=[sample.mask for sample in samples],
        truths=[sample.truth for sample in samples],
    )
    try:
        scores = np.asarray(metric.score(pairs), dtype=np.float64)
    except MetricError as error:
        raise ScoreError(f"metric {name}, edits of samples {samples[0].id} to {samples[-1].id}: {error}") from error
    if scores.shape != (len(batch),):
        raise ScoreError(f"metric {name} gave scores of shape {scores.shape} for {len(batch)} edits")
    return scores


def _rows(finished: Finished, metrics: Mapping[str, Any], known: Known) -> Iterator[dict[str, Any]]:
    for name, metric in metrics.items():
        print_ = metric.card.fingerprint
        for unit, record in finished.units:
            entry, sample = finished.plan.entries[unit.entry], finished.plan.samples[unit.sample]
            for edit in record.edits:
                if (record.key, edit.value, print_) in known:
                    yield {
                        "unit": record.key,
                        "sample_id": sample.id,
                        "source_id": sample.source_id,
                        "category": sample.category,
                        "editor": entry.label,
                        "knob": entry.knob or None,
                        "value": edit.value,
                        "seed": unit.seed,
                        "metric": name,
                        "score": known[record.key, edit.value, print_],
                        "fingerprint": print_,
                    }
