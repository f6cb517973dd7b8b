"""Run -> score tables. Only what is new is computed: a score is known by its edit and by the fingerprint of its metric."""

from __future__ import annotations

import inspect
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.devices import deterministic, pick_device
from bench.errors import EtabenchError, ScoreError, SpecError
from bench.manifest.reference import check_reference, collect
from bench.plan import Plan
from bench.progress import Progress, silent
from bench.scoring.axes import Axes
from bench.scoring.edits import Finished, walk
from bench.scoring.features import FeatureStore
from bench.scoring.pairs import PairScoring, reads_features
from bench.scoring.sets import SetScoring
from bench.scoring.swaps import Ring
from bench.scoring.tables import SET_COLUMNS, SET_PAIR_COLUMNS, Scores, frame, read_scores, write_table
from bench.store import Run
from bench.toybox import embedded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.spec import MetricSpec, Spec
    from metrics.base import PairMetric, SetMetric

__all__ = ["open_metrics", "preflight", "score_run"]

ROWS_ON_CUDA = 64
"""Rows per forward pass on a GPU, unless the spec says `batch_size`."""


def score_run(run: Run, *, device: str | None = None, progress: Progress = silent) -> Scores:
    """Bring `scores/` up to date with the finished units and the metrics of the spec, and return the tables.

    Every edit is decoded once for all metrics, and goes through an extractor once for all that share it. An interruption keeps
    the features that are done and, but for a minute's work, the scores.

    Raises ScoreError where a metric cannot score what it is given, SpecError where an axis is no pair metric of the spec.
    """
    from metrics.base import PairMetric, SetMetric

    spec, before = run.spec, read_scores(run, anew=True)
    finished, store = Finished.of(run), FeatureStore(run)
    metrics = open_metrics(spec, pick_device(device or spec.device))
    pair_metrics = {name: metric for name, metric in metrics.items() if isinstance(metric, PairMetric)}
    set_metrics = {name: metric for name, metric in metrics.items() if isinstance(metric, SetMetric)}
    mistake = spec.axes.mistake(pair_metrics, set_metrics, _undirected(pair_metrics))
    if mistake:
        raise SpecError(f"{run.path}: {mistake}")
    cards = {metric.card.fingerprint: _card(metric, run.plan) for metric in pair_metrics.values()}
    sets, set_pairs = frame([], SET_COLUMNS), frame([], SET_PAIR_COLUMNS)
    with deterministic():
        singles = PairScoring(finished, pair_metrics, before, store)
        whole = None
        if set_metrics and finished.units:
            reference = collect(spec.reference, map(run.sample, run.plan.samples), run.plan.resolution)
            whole = SetScoring(finished, set_metrics, reference, before, store)
            cards |= whole.cards
        try:
            walk(finished, [*singles.jobs, *(whole.jobs if whole else ())], progress)
            pairs = singles.finish()
            if whole:
                sets = whole.finish(progress)
                axes = Axes.of(spec.axes, Scores(pairs, sets, cards))
                edits = ((edit.unit.entry, edit.unit.sample, edit.name[1]) for edit in finished.edits)
                set_pairs = whole.compare(Ring(run.plan, pairs, axes, edits), progress)
        finally:
            store.save()
    write_table(run, "sets", sets)
    write_table(run, "set_pairs", set_pairs)
    run.write_json("scores/cards.json", cards)
    return Scores(pairs, sets, cards, set_pairs)


def preflight(spec: Spec, plan: Plan) -> None:
    """Find out before any edit is made whether the edits of a plan can be scored: opens every metric on the CPU and lets it go again.

    Raises what scoring would raise later: ScoreError, MetricError or SpecError for metrics, their weights and parameters, axes, and a
    reference that lacks pictures or classes.
    """
    from metrics.base import PairMetric, SetMetric

    metrics = open_metrics(spec, "cpu")
    pairs = {name: metric for name, metric in metrics.items() if isinstance(metric, PairMetric)}
    sets = {name: metric for name, metric in metrics.items() if isinstance(metric, SetMetric)}
    mistake = spec.axes.mistake(pairs, sets, _undirected(pairs))
    if mistake:
        raise SpecError(mistake)
    if sets or (spec.reference is not None and spec.reference.kind == "manifest"):
        check_reference(spec.reference, plan.samples)
    unclassed = [sample.id for sample in plan.samples if sample.target_class is None]
    for name, metric in sets.items():
        if metric.uses_classes and unclassed:
            raise ScoreError(
                f"metric {name} needs a target_class of every sample; {len(unclassed)} have none (first: {unclassed[0]})"
            )


def open_metrics(spec: Spec, device: str) -> dict[str, PairMetric | SetMetric]:
    """The spec's metrics by the name they have in tables: their own, with parameters added where two share it."""
    opened: dict[str, PairMetric | SetMetric] = {}
    names = spec.table_names(lambda name: str(registry.load_metric(name).name))
    for item, name in zip(spec.metrics, names, strict=True):
        cls: type[Any] = registry.load_metric(item.name)
        try:
            metric = cls(**_parameters(cls, item, spec, device))
        except EtabenchError:
            raise
        except TypeError as error:
            raise ScoreError(f"metric {item.name}: {error}; see `etabench list metrics`") from error
        opened[name] = metric
    return opened


def _undirected(metrics: Mapping[str, PairMetric]) -> list[str]:
    return [name for name, metric in metrics.items() if metric.card.higher_is_better is None]


def _card(metric: PairMetric, plan: Plan) -> dict[str, Any]:
    """The card, with what is no part of the fingerprint: ends of the range, and how many of the run's texts lose their end."""
    about: dict[str, Any] = {"bounds": list(metric.bounds)}
    if reads_features(metric) and (extractor := metric.text_extractor) is not None:
        sides = [name.removesuffix("s") for name in ("target_texts", "source_texts") if name in metric.reads]
        texts = dict.fromkeys(text for sample in plan.samples for side in sides if (text := getattr(sample, side)) is not None)
        about |= {"texts": len(texts), "texts_cut": len(extractor.over_context(list(texts)))}
    return asdict(metric.card) | about


def _parameters(cls: type[Any], item: MetricSpec, spec: Spec, device: str) -> dict[str, Any]:
    """The metric's parameters. On ToyBox the networks that it leaves open are the embedded ones, which the generator never saw."""
    takes = inspect.signature(cls).parameters
    params = embedded.metric_networks(cls) if embedded.on_toybox(spec) else {}
    ours: dict[str, Any] = {"device": device} | ({"batch_size": ROWS_ON_CUDA} if device.startswith("cuda") else {})
    return params | {name: value for name, value in ours.items() if name in takes} | item.params
