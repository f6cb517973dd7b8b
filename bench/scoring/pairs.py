"""Scores of single edits: `scores/pairs.parquet`.

A metric that reads pictures is given them in the one walk over the edits. A metric that reads features (`metrics.toolbox.features`) is
computed from the feature store afterwards, once the walk has filled it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from bench.errors import ScoreError
from bench.manifest.pictures import pixel_hash
from bench.scoring.edits import PICTURES_AT_A_TIME, Edit, Finished, Job
from bench.scoring.features import FeatureStore, extraction, text_key
from bench.scoring.tables import PAIR_COLUMNS, Scores, frame, write_table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from metrics.base import PairBatch, PairMetric
    from metrics.networks.base import TextExtractor
    from metrics.toolbox.features import FeatureMetric

__all__ = ["PairScoring", "reads_features"]

SECONDS_BETWEEN_TABLES = 60.0
ROWS_AT_A_TIME = 4096


class PairScoring:
    """The scores of a run's edits by `metrics`: those of `before` with the same edit and fingerprint, and what they lack.

    Call order: walk over `jobs`, then `finish`.
    """

    def __init__(self, finished: Finished, metrics: Mapping[str, PairMetric], before: Scores, store: FeatureStore) -> None:
        self._finished, self._metrics, self._store = finished, metrics, store
        columns = before.pairs[["unit", "value", "fingerprint", "score"]].to_dict("records")
        self._known = {(row["unit"], row["value"], row["fingerprint"]): float(row["score"]) for row in columns}
        self._todo = {name: self._lacking(metric) for name, metric in metrics.items()}
        self._written_at = time.monotonic()

    @property
    def jobs(self) -> list[Job]:
        """What the walk has to do for them: score pictures, and extract the features of edits."""
        jobs = []
        for name, metric in self._metrics.items():
            if not self._todo[name]:
                continue
            if not reads_features(metric):
                jobs.append(Job({edit.name for edit in self._todo[name]}, self._scorer(name, metric)))
                continue
            jobs.append(extraction(self._store, metric.image_extractor.identity.key, metric.image_extractor, self._todo[name]))
        return jobs

    def finish(self) -> pd.DataFrame:
        """Score what is made of features; write the table and return it."""
        for name, metric in self._metrics.items():
            todo = self._todo[name]
            if reads_features(metric) and todo:
                sources = self._sources(metric, todo) if "sources" in metric.reads else {}
                texts = self._texts(metric, todo)
                for start in range(0, len(todo), ROWS_AT_A_TIME):
                    chunk = todo[start : start + ROWS_AT_A_TIME]
                    self._keep(name, metric, chunk, self._score_features(metric, chunk, sources, texts))
        return self._write()

    def _lacking(self, metric: PairMetric) -> list[Edit]:
        print_ = metric.card.fingerprint
        return [edit for edit in self._finished.edits if (*edit.name, print_) not in self._known]

    def _scorer(self, name: str, metric: PairMetric) -> Callable[[Sequence[Edit]], None]:
        def take(edits: Sequence[Edit]) -> None:
            self._keep(name, metric, edits, lambda: metric.score(_pairs(edits)))
            if time.monotonic() - self._written_at > SECONDS_BETWEEN_TABLES:
                self._write()

        return take

    def _keep(self, name: str, metric: PairMetric, edits: Sequence[Edit], score: Callable[[], NDArray[np.float64]]) -> None:
        import numpy as np

        from metrics.base import MetricError

        try:
            scores = np.asarray(score(), dtype=np.float64)
        except MetricError as error:
            raise ScoreError(f"metric {name}, edits of samples {edits[0].info.id} to {edits[-1].info.id}: {error}") from error
        if scores.shape != (len(edits),):
            raise ScoreError(f"metric {name} gave scores of shape {scores.shape} for {len(edits)} edits")
        print_ = metric.card.fingerprint
        self._known.update({(*edit.name, print_): float(value) for edit, value in zip(edits, scores, strict=True)})

    def _sources(self, metric: FeatureMetric, todo: Sequence[Edit]) -> dict[str, str]:
        """Sample id to the content key of its source, whose features the store has on return."""
        shelf = self._store.shelf(metric.image_extractor.identity.key)
        samples = list(dict.fromkeys(edit.info for edit in todo))
        keys: dict[str, str] = {}
        for start in range(0, len(samples), PICTURES_AT_A_TIME):
            chunk = samples[start : start + PICTURES_AT_A_TIME]
            images = [self._finished.load(sample).image for sample in chunk]
            keys |= {sample.id: pixel_hash(image) for sample, image in zip(chunk, images, strict=True)}
            shelf.fill([keys[sample.id] for sample in chunk], images, metric.image_extractor)
        return keys

    def _texts(self, metric: FeatureMetric, todo: Sequence[Edit]) -> dict[str, str]:
        """Text to its content key, of all texts that the metric reads; the store has their features on return."""
        members = [name for name in ("target_texts", "source_texts") if name in metric.reads]
        found = {text for edit in todo for name in members if (text := getattr(edit.info, name.removesuffix("s"))) is not None}
        keys = {text: text_key(text) for text in sorted(found)}
        if keys:
            extractor = _text_extractor(metric)
            self._store.shelf(extractor.identity.key).fill(list(keys.values()), list(keys), extractor)
        return keys

    def _score_features(
        self, metric: FeatureMetric, edits: Sequence[Edit], sources: Mapping[str, str], texts: Mapping[str, str]
    ) -> Callable[[], NDArray[np.float64]]:
        from metrics.toolbox.features import PairFeatures

        pictures = self._store.shelf(metric.image_extractor.identity.key)
        members = {"edits": pictures.rows([edit.content for edit in edits])}
        if "sources" in metric.reads:
            members["sources"] = pictures.rows([sources[edit.info.id] for edit in edits])
        for name in ("target_texts", "source_texts"):
            if name in metric.reads:
                given = [getattr(edit.info, name.removesuffix("s")) for edit in edits]
                shelf = self._store.shelf(_text_extractor(metric).identity.key)
                members[name] = shelf.rows([None if text is None else texts[text] for text in given])
        return lambda: metric.score_features(PairFeatures(**members))

    def _write(self) -> pd.DataFrame:
        table = frame(list(self._rows()), PAIR_COLUMNS)
        write_table(self._finished.run, "pairs", table)
        self._written_at = time.monotonic()
        return table

    def _rows(self) -> Iterator[dict[str, Any]]:
        for name, metric in self._metrics.items():
            print_ = metric.card.fingerprint
            for edit in self._finished.edits:
                if (*edit.name, print_) in self._known:
                    yield {
                        "unit": edit.record.key,
                        "sample_id": edit.info.id,
                        "source_id": edit.info.source_id,
                        "category": edit.info.category,
                        "editor": edit.entry.label,
                        "knob": edit.entry.knob or None,
                        "value": edit.name[1],
                        "seed": edit.unit.seed,
                        "metric": name,
                        "score": self._known[*edit.name, print_],
                        "fingerprint": print_,
                    }


def reads_features(metric: PairMetric) -> TypeGuard[FeatureMetric]:
    """Whether the metric is computed from features alone, which the store keeps."""
    from metrics.toolbox.features import FeatureMetric

    return isinstance(metric, FeatureMetric)


def _text_extractor(metric: FeatureMetric) -> TextExtractor:
    if metric.text_extractor is None:
        raise ScoreError(f"metric {metric.name} reads texts and has no text_extractor; give it one")
    return metric.text_extractor


def _pairs(edits: Sequence[Edit]) -> PairBatch:
    from metrics.base import PairBatch

    samples = [edit.sample for edit in edits]
    return PairBatch(
        edits=[edit.picture for edit in edits],
        sources=[sample.image for sample in samples],
        target_texts=[sample.target_text for sample in samples],
        source_texts=[sample.source_text for sample in samples],
        masks=[sample.mask for sample in samples],
        truths=[sample.truth for sample in samples],
        source_classes=[sample.source_class for sample in samples],
        target_classes=[sample.target_class for sample in samples],
    )
