"""Run -> score tables. Only what is new is computed: a score is known by its unit, its knob value and the metric's fingerprint."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from bench import models, registry
from bench.errors import EtabenchError, ScoreError
from bench.plan import Plan, SampleInfo, Unit
from bench.progress import Progress, silent
from bench.reference import Reference, open_reference
from bench.runner import deterministic, open_planned_manifest, read_spec
from bench.store import Record, Run, write_atomically
from bench.tables import PAIR_COLUMNS, SET_COLUMNS, Scores, frame, read_scores, write_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.manifest import Manifest, Sample
    from bench.spec import MetricSpec, Spec

__all__ = ["open_metrics", "score_run"]



def score_run(run: Run, *, device: str | None = None, progress: Progress = silent) -> Scores:
    """Bring `scores/` up to date with the finished units and the metrics of the spec, and return the tables.

    Raises ScoreError where a metric cannot score what it is given.
    """
    spec, plan, before = read_spec(run), Plan.from_dict(run.read_json("plan.json")), read_scores(run)
    manifest = open_planned_manifest(spec, plan)
    done = [(unit, record) for unit in plan.units if (record := run.record(unit.key)) is not None and record.status == "done"]
    metrics = open_metrics(spec, models.pick_device(device or spec.device))
    with deterministic():
        pair_metrics = {name: metric for name, metric in metrics.items() if hasattr(metric, "score")}
        set_metrics = {name: metric for name, metric in metrics.items() if name not in pair_metrics}
        cards = {metric.card.fingerprint: asdict(metric.card) for metric in pair_metrics.values()}
        pairs = _score_pairs(run, plan, manifest, done, pair_metrics, before, progress)
        rows: list[dict[str, Any]] = []
        if set_metrics and done:
            reference = open_reference(spec.reference, plan, manifest)
            rows, set_cards = score_sets(done, set_metrics, reference, before, progress)
            cards |= set_cards
    sets = frame(rows, SET_COLUMNS)
    write_table(run, "pairs", pairs)
    write_table(run, "sets", sets)
    run.write_json("scores/cards.json", cards)
    return Scores(pairs, sets, cards)


def open_metrics(spec: Spec, device: str) -> dict[str, Any]:
    """The spec's metrics by the name they have in tables: their own, with parameters added where two share it."""
    opened: dict[str, Any] = {}
    for item in spec.metrics:
        cls = registry.load_metric(item.name)
        try:
            metric = cls(**_parameters(item, spec), device=device)
        except EtabenchError:
            raise
        except TypeError as error:
            raise ScoreError(f"metric {item.name}: {error}; see `etabench list metrics`") from error
        name = str(cls.name)
        if name in opened:
            name += f"[{','.join(f'{key}={value}' for key, value in sorted(item.params.items()))}]"
        opened[name] = metric
    return opened


def _parameters(item: MetricSpec, spec: Spec) -> dict[str, Any]:
    """The metric's parameters; on ToyBox a metric without any takes the embedded networks, which the generator never saw."""
    networks = {
        "clip": {"model": f"local-dir:{models.TOYBOX / 'judge'}"},
        "lpips": {"net": f"folder:{models.TOYBOX / 'features'}"},
        "fid": {"features": f"folder:{models.TOYBOX / 'features'}"},
        "csfid": {"features": f"folder:{models.TOYBOX / 'features'}"},
    }
    return networks.get(item.name, {}) if spec.model.name == "toybox" and not item.params else dict(item.params)


def _score_pairs(
    run: Run, plan: Plan, manifest: Manifest, done: Sequence[Done], metrics: dict[str, Any], before: Scores, progress: Progress
) -> Any:
    known = {(u, v, p): s for u, v, p, s in before.pairs[["unit", "value", "fingerprint", "score"]].itertuples(index=False)}
    load = lru_cache(maxsize=EDITS_AT_A_TIME)(lambda id_: manifest.load(manifest.index(id_)))
    for name, metric in metrics.items():
        print_ = metric.card.fingerprint
        todo = {
            (record.key, edit.value): (unit, record, index)
            for unit, record in done
            for index, edit in enumerate(record.edits)
            if (record.key, edit.value, print_) not in known
        }
        with progress(f"score {name}", len(todo)) as advance:
            for chunk in _chunks(list(todo.values())):
                batch = [(run.read_edit(record, index), load(unit.identity["sample_id"])) for unit, record, index in chunk]
                for (_, record, index), score in zip(chunk, _pair_scores(name, metric, batch), strict=True):
                    known[record.key, record.edits[index].value, print_] = float(score)
                advance(len(chunk))
        write_table(run, "pairs", frame(list(_pair_rows(plan, done, metrics, known)), PAIR_COLUMNS))
    return frame(list(_pair_rows(plan, done, metrics, known)), PAIR_COLUMNS)


def _pair_scores(name: str, metric: Any, batch: Sequence[tuple[Any, Sample]]) -> NDArray[np.float64]:
    import numpy as np

    from metrics.base import MetricError, PairBatch

    edits, samples = [edit for edit, _ in batch], [sample for _, sample in batch]
    pairs = PairBatch(
        edits=edits,
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
    if scores.shape != (len(edits),):
        raise ScoreError(f"metric {name} gave scores of shape {scores.shape} for {len(edits)} edits")
    return scores


def _pair_rows(
    plan: Plan, done: Sequence[Done], metrics: dict[str, Any], known: dict[tuple[str, float, str], float]
) -> Iterator[dict[str, Any]]:
    for name, metric in metrics.items():
        print_ = metric.card.fingerprint
        for unit, record in done:
            entry, sample = plan.entries[unit.entry], plan.samples[unit.sample]
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


