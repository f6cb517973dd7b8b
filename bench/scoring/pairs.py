"""Scores of single edits: `scores/pairs.parquet`.

A metric that reads pictures is given them in the one walk over the edits. A metric that reads features (`metrics.toolbox.features`) is
computed from the feature store afterwards, once the walk has filled it. An edit of which a judge (`metrics.judges`) gives no score has no row;
why it has none stands in `scores/unanswered.parquet`. The first metric that can say where in a picture its score comes from leaves a map of
each edit (`bench.scoring.maps`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from bench.errors import ScoreError
from bench.manifest.pictures import pixel_hash
from bench.scoring.edits import PICTURES_AT_A_TIME, Edit, Finished, Job
from bench.scoring.failed import Failed
from bench.scoring.features import FeatureStore, extraction, text_key
from bench.scoring.maps import MapStore, is_spatial
from bench.scoring.tables import (
    PAIR_COLUMNS,
    PAIR_KEY,
    UNANSWERED_COLUMNS,
    Scores,
    append_table,
    frame,
    locked,
    merged,
    read_table,
    write_table,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from metrics.base import PairBatch, PairMetric, SpatialMetric
    from metrics.judges.metric import JudgedMetric
    from metrics.networks.base import TextExtractor
    from metrics.toolbox.features import FeatureMetric

__all__ = ["PairScoring", "is_judged", "reads_features"]

SECONDS_BETWEEN_TABLES = 60.0
ROWS_IN_MEMORY = 1 << 16
"""New scores that are kept before they go to the disk."""
ROWS_AT_A_TIME = 4096


class PairScoring:
    """The scores of a run's edits by `metrics`: those of `before` of the same inputs and fingerprint, and what they lack.

    Call order: walk over `jobs`, then `finish`.
    """

    def __init__(
        self, finished: Finished, metrics: Mapping[str, PairMetric], *, before: Scores, store: FeatureStore, failed: Failed
    ) -> None:
        self._finished, self._metrics, self._store, self._failed = finished, metrics, store, failed
        columns = (before.pairs[name] for name in ("unit", "value", "inputs", "fingerprint"))
        self._known = set(zip(*columns, strict=True))
        self._mapped = next((name for name, metric in metrics.items() if is_spatial(metric)), "")
        self._maps = MapStore(finished.run, metrics[self._mapped].card.fingerprint) if self._mapped else None
        self._todo = {
            name: [edit for edit in finished.edits if not (self._scored(metric, edit) and self._has_map(name, edit))]
            for name, metric in metrics.items()
        }
        self._fresh: list[tuple[Any, ...]] = []
        self._unanswered: list[dict[str, Any]] = []
        self._written_at = time.monotonic()

    def _scored(self, metric: PairMetric, edit: Edit) -> bool:
        return (*edit.name, edit.inputs, metric.card.fingerprint) in self._known

    def _has_map(self, name: str, edit: Edit) -> bool:
        return self._maps is None or name != self._mapped or self._maps.has(edit)

    @property
    def jobs(self) -> list[Job]:
        """What the walk has to do for them: score pictures, and extract the features of edits."""
        jobs, every = [], frozenset(edit.name for edit in self._finished.edits)
        for name, metric in self._metrics.items():
            todo = self._todo[name]
            with self._failed.alone(name):
                if todo and not reads_features(metric):
                    jobs.append(Job(name, {edit.name for edit in todo}, self._scorer(name, metric), every))
                if todo and reads_features(metric):
                    extractor = metric.image_extractor
                    key = extractor.identity.key
                    jobs.append(extraction(name, self._store, key, extractor, todo, every=self._finished.edits))
        return jobs

    def finish(self) -> None:
        """Score what is made of features, and write the table."""
        for name, metric in self._metrics.items():
            todo = self._todo[name]
            if reads_features(metric) and todo and name not in self._failed:
                with self._failed.alone(name):
                    sources = self._sources(metric, todo) if "sources" in metric.reads else {}
                    texts = self._texts(metric, todo)
                    for start in range(0, len(todo), ROWS_AT_A_TIME):
                        chunk = todo[start : start + ROWS_AT_A_TIME]
                        self._keep(name, metric, chunk, self._score_features(metric, chunk, sources, texts))
        now = Finished.of(self._finished.run)
        with locked(now.run):
            pairs = self._table(now, merged(read_table(now.run, "pairs", anew=True), self._new(), PAIR_KEY))
            write_table(now.run, "pairs", pairs)
            unanswered = merged(
                read_table(now.run, "unanswered", anew=True), frame(self._unanswered, UNANSWERED_COLUMNS), PAIR_KEY
            )
            if len(unanswered) or (now.run.scores / "unanswered.parquet").is_file():
                write_table(now.run, "unanswered", self._without_scores(now, unanswered, pairs))

    def _scorer(self, name: str, metric: PairMetric) -> Callable[[Sequence[Edit]], None]:
        def take(edits: Sequence[Edit]) -> None:
            if is_judged(metric):
                self._keep_verdicts(name, metric, edits)
            elif self._maps is not None and name == self._mapped and is_spatial(metric):
                self._keep_mapped(name, metric, edits, self._maps)
            else:
                self._keep(name, metric, edits, metric.score(_pairs(edits)))
            if time.monotonic() - self._written_at > SECONDS_BETWEEN_TABLES or len(self._fresh) >= ROWS_IN_MEMORY:
                self.save()

        return take

    def _keep_mapped(self, name: str, metric: SpatialMetric, edits: Sequence[Edit], store: MapStore) -> None:
        """Keep the maps, and the scores that are not known: those that are stay what they are."""
        scores, maps = metric.score_maps(_pairs(edits))
        store.put(edits, maps)
        new = [place for place, edit in enumerate(edits) if not self._scored(metric, edit)]
        self._keep(name, metric, [edits[place] for place in new], scores[new])

    def _keep_verdicts(self, name: str, metric: JudgedMetric, edits: Sequence[Edit]) -> None:
        """Keep the scores of the edits that have one, and of the others why they have none."""
        import numpy as np

        verdicts = metric.verdicts(_pairs(edits))
        said = [(edit, each) for edit, each in zip(edits, verdicts, strict=True) if each.failure is None]
        self._keep(name, metric, [edit for edit, _ in said], np.array([each.score for _, each in said]))
        for edit, verdict in zip(edits, verdicts, strict=True):
            if verdict.failure is not None:
                about = {key: value for key, value in _row(edit).items() if key in UNANSWERED_COLUMNS}
                why = {"kind": verdict.failure.kind, "reason": str(verdict.failure)}
                self._unanswered.append(about | why | {"metric": name, "fingerprint": metric.card.fingerprint})

    def _keep(self, name: str, metric: PairMetric, edits: Sequence[Edit], scores: NDArray[np.float64]) -> None:
        import numpy as np

        scores = np.asarray(scores, dtype=np.float64)
        if scores.shape != (len(edits),):
            raise ScoreError(f"scores of shape {scores.shape} for {len(edits)} edits")
        about = {"metric": name, "fingerprint": metric.card.fingerprint}
        for edit, score in zip(edits, scores, strict=True):
            row = _row(edit) | about | {"score": float(score)}
            self._fresh.append(tuple(row[name] for name in PAIR_COLUMNS))

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
    ) -> NDArray[np.float64]:
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
        return metric.score_features(PairFeatures(**members))

    def _without_scores(self, now: Finished, unanswered: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
        """The rows that are of edits there `now`, of metrics in use or not opened, and have no score."""
        key = ["unit", "value", "inputs", "fingerprint"]
        scored = set(zip(*(pairs[name] for name in key), strict=True))
        edits = {(*edit.name, edit.inputs) for edit in now.edits}
        prints = {metric.card.fingerprint for metric in self._metrics.values()}
        unopened = self._failed.keys() - self._metrics.keys()
        rows = zip(*(unanswered[name] for name in (*key, "metric")), strict=True)
        kept = [row[:3] in edits and row[:4] not in scored and (row[3] in prints or row[4] in unopened) for row in rows]
        return unanswered[kept].reset_index(drop=True)

    def _new(self) -> pd.DataFrame:
        return frame(self._fresh, PAIR_COLUMNS)

    def save(self) -> None:
        """Append what is new to the table."""
        run = self._finished.run
        if self._fresh:
            with locked(run):
                append_table(run, "pairs", self._new())
        self._fresh.clear()
        self._written_at = time.monotonic()

    def _table(self, now: Finished, scores: pd.DataFrame) -> pd.DataFrame:
        """The scores of the edits that are there `now`, described as the plan has it, metric by metric in the plan's order.

        After them what cannot be told to be of no use: scores of units of the plan that have no record, and of metrics that did not open.
        """
        import pandas as pd

        about = [name for name in PAIR_COLUMNS if name not in ("metric", "fingerprint", "score")]
        rows = (_row(edit) for edit in now.edits)
        edits = frame([tuple(row[name] for name in about) for row in rows], about)
        known, parts = ["unit", "value", "inputs"], list[pd.DataFrame]()
        prints = {name: metric.card.fingerprint for name, metric in self._metrics.items()}
        for name, print_ in prints.items():
            same = scores.loc[scores["fingerprint"] == print_, [*known, "score"]].drop_duplicates(known, keep="last")
            parts.append(edits.merge(same, on=known).assign(metric=name, fingerprint=print_)[list(PAIR_COLUMNS)])
        undone = {unit.key for unit in now.run.plan.units} & set(scores["unit"]) - set(edits["unit"])
        gone = [key for key in undone if now.run.record(key) is None]
        unopened = self._failed.keys() - prints.keys()
        idle = (scores["unit"].isin(gone) & scores["fingerprint"].isin(prints.values())) | scores["metric"].isin(unopened)
        found = [part for part in (*parts, scores[idle]) if len(part)]
        return pd.concat(found, ignore_index=True) if found else frame([], PAIR_COLUMNS)


def _row(edit: Edit) -> dict[str, Any]:
    """What a table says of an edit."""
    return {
        "unit": edit.record.key,
        "sample_id": edit.info.id,
        "source_id": edit.info.source_id,
        "category": edit.info.category,
        "editor": edit.entry.label,
        "knob": edit.entry.knob or None,
        "value": edit.name[1],
        "seed": edit.unit.seed,
        "inputs": edit.inputs,
    }


def reads_features(metric: PairMetric) -> TypeGuard[FeatureMetric]:
    """Whether the metric is computed from features alone, which the store keeps."""
    from metrics.toolbox.features import FeatureMetric

    return isinstance(metric, FeatureMetric)


def is_judged(metric: PairMetric) -> TypeGuard[JudgedMetric]:
    """Whether a judge says the score, who may fail to."""
    from metrics.judges.metric import JudgedMetric

    return isinstance(metric, JudgedMetric)


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
        categories=[sample.category for sample in samples],
    )
