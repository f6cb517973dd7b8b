"""Run -> score tables. Only what is new is computed: a score is known by its edit and by the fingerprint of its metric."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bench import models, registry
from bench.compute import deterministic
from bench.errors import EtabenchError, ScoreError
from bench.finished import Finished
from bench.pair_scoring import score_pairs
from bench.progress import Progress, silent
from bench.reference import open_reference
from bench.runner import read_spec
from bench.set_scoring import score_sets
from bench.store import Run
from bench.tables import SET_COLUMNS, Scores, frame, read_scores, write_table

if TYPE_CHECKING:
    from bench.spec import MetricSpec, Spec

__all__ = ["open_metrics", "score_run"]


def score_run(run: Run, *, device: str | None = None, progress: Progress = silent) -> Scores:
    """Bring `scores/` up to date with the finished units and the metrics of the spec, and return the tables.

    Raises ScoreError where a metric cannot score what it is given.
    """
    spec, before = read_spec(run), read_scores(run)
    finished = Finished.of(run, spec)
    metrics = open_metrics(spec, models.pick_device(device or spec.device))
    pair_metrics = {name: metric for name, metric in metrics.items() if hasattr(metric, "score")}
    set_metrics = {name: metric for name, metric in metrics.items() if name not in pair_metrics}
    cards = {metric.card.fingerprint: asdict(metric.card) for metric in pair_metrics.values()}
    sets = frame([], SET_COLUMNS)
    with deterministic():
        pairs = score_pairs(finished, pair_metrics, before, progress)
        if set_metrics and finished.units:
            reference = open_reference(spec.reference, finished.plan, finished.manifest)
            sets, set_cards = score_sets(finished, set_metrics, reference, before, progress)
            cards |= set_cards
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
    judge, features = f"local-dir:{models.TOYBOX / 'judge'}", f"folder:{models.TOYBOX / 'features'}"
    embedded = {
        "clip": {"model": judge},
        "lpips": {"net": features},
        "fid": {"features": features},
        "csfid": {"features": features},
    }
    return dict(embedded.get(item.name, {})) if spec.model.name == "toybox" and not item.params else dict(item.params)
