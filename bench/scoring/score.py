"""Run -> score tables. Only what is new is computed: a score is known by the content of its picture and by the fingerprint of its metric."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.devices import deterministic, pick_device
from bench.errors import EtabenchError, ManifestError, RegistryError, RunError, ScoreError, SpecError, origin_of
from bench.interrupts import exits_are_errors
from bench.manifest.reference import check_reference, collect
from bench.plan import Plan
from bench.progress import Progress, silent
from bench.scoring import validations
from bench.scoring.answers import AnswerBook
from bench.scoring.axes import Axes
from bench.scoring.current import hidden, of_set_pairs, of_sets, on_disk
from bench.scoring.edits import Finished, Share, walk
from bench.scoring.failed import Failed
from bench.scoring.features import FeatureStore
from bench.scoring.maps import is_spatial
from bench.scoring.pairs import PairScoring, is_judged, reads_features
from bench.scoring.sets import SetScoring
from bench.scoring.swaps import Ring
from bench.scoring.tables import (
    PAIR_COLUMNS,
    SET_COLUMNS,
    SET_KEY,
    SET_PAIR_COLUMNS,
    SET_PAIR_KEY,
    Scores,
    frame,
    locked,
    merged,
    read_cards,
    write_table,
)
from bench.store import Run
from bench.toybox import embedded

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

    from bench.manifest.reference import Reference
    from bench.spec import MetricSpec, Spec
    from metrics.base import PairMetric, SetMetric

__all__ = ["open_metrics", "preflight", "score_run", "score_sets", "score_share"]

ROWS_ON_CUDA = 64
"""Rows per forward pass on a GPU, unless the spec says `batch_size`."""


def score_run(run: Run, *, device: str | None = None, progress: Progress = silent) -> Scores:
    """Bring `scores/` up to date with the finished units and the metrics of the spec, and return the tables.

    Every edit is decoded once for all metrics, and goes through an extractor once for all that share it. An interruption keeps
    the features that are done and, but for a minute's work, the scores. A metric that fails costs its own column and stands in
    `Scores.failed`; the scores that it gave before it failed stay in the folder, for the time when it is mended.

    Raises RunError where no unit is done, or pictures are gone or differ from their records, ScoreError where every metric fails,
    SpecError where an axis is no pair metric of the spec.
    """
    finished, store, failed = Finished.of(run), FeatureStore(run), Failed()
    if not finished.units:
        raise RunError(
            f"{run.path}: none of {len(run.plan.units)} units is done; scores stay as they are until `etabench run` made them"
        )
    finished.verify()
    sets, set_pairs = frame([], SET_COLUMNS), frame([], SET_PAIR_COLUMNS)
    with deterministic():
        metrics, cards, singles, whole = _scorings(finished, pick_device(device or run.spec.device), store, failed)
        try:
            walk(finished, [*singles.jobs, *(whole.jobs if whole else ())], progress, failed)
            singles.finish()
            if whole:
                sets = whole.finish(progress)
                so_far = hidden(replace(on_disk(finished, anew=True), failed=failed))
                edits = ((edit.unit.entry, edit.unit.sample, edit.name[1]) for edit in finished.edits)
                ring = Ring(run.plan, so_far.pairs, Axes.of(run.spec.axes, so_far), edits)
                set_pairs = whole.compare(ring, progress)
        finally:
            store.save()
    scores = _written(run, sets, set_pairs, cards, failed)
    if failed and not metrics.keys() - failed.keys():
        first = next(iter(failed))
        raise ScoreError(f"{run.path}: all {len(failed)} metrics failed; the first: {first}: {failed[first]}")
    return scores


def score_share(
    folder: Path | str,
    *,
    share: Sequence[int],
    device: str,
    threads: int,
    worker: str = "",
    enough: Callable[[], bool] = lambda: False,
) -> None:
    """What one of several workers does of a scoring: features and scores of its `share` of the edits, a seat and the number of seats.
    It ends where it was `enough`, between two batches.

    `score_run` finds them afterwards and makes the rest. What fails here fails there again, and is told there.
    """
    run = Run.open(folder)
    finished, store, failed = Finished.of(run), FeatureStore(run), Failed()
    with deterministic(threads):
        _, _, singles, whole = _scorings(finished, pick_device(device), store, failed)
        try:
            jobs = [*singles.jobs, *(whole.jobs if whole else ())]
            walk(finished, jobs, silent, failed, share=Share(*share), stop=enough)
        finally:
            singles.save()
            store.save()


def score_sets(run: Run, *, device: str, progress: Progress = silent) -> tuple[pd.DataFrame, Failed]:
    """Scores of the sets of a run's finished edits, columns `SET_COLUMNS`, made anew; and why metrics have none. No table is written.

    Raises RunError where pictures are gone or differ from their records.
    """
    from metrics.base import SetMetric

    finished, store, failed = Finished.of(run), FeatureStore(run), Failed()
    with deterministic():
        metrics, _ = _opened(run, pick_device(device), failed)
        sets = {name: metric for name, metric in metrics.items() if isinstance(metric, SetMetric)}
        if (reference := _reference(run, sets, failed)) is None:
            return frame([], SET_COLUMNS), failed
        nothing = Scores(frame([], PAIR_COLUMNS), frame([], SET_COLUMNS))
        whole = SetScoring(finished, sets, reference, before=nothing, store=store, failed=failed)
        walk(finished, whole.jobs, progress, failed)
        return whole.finish(progress), failed


def _scorings(
    finished: Finished, device: str, store: FeatureStore, failed: Failed
) -> tuple[dict[str, PairMetric | SetMetric], dict[str, Any], PairScoring, SetScoring | None]:
    """The metrics of a run that can be opened, their cards, which the run has on return, and who scores edits and sets with them."""
    from metrics.base import PairMetric, SetMetric

    run = finished.run
    before = on_disk(finished, anew=True)
    metrics, cards = _opened(run, device, failed)
    pair_metrics = {name: metric for name, metric in metrics.items() if isinstance(metric, PairMetric)}
    set_metrics = {name: metric for name, metric in metrics.items() if isinstance(metric, SetMetric)}
    mistake = run.spec.axes.mistake({*pair_metrics, *failed}, set_metrics, _undirected(pair_metrics))
    if mistake:
        raise SpecError(f"{run.path}: {mistake}")
    singles, whole = PairScoring(finished, pair_metrics, before=before, store=store, failed=failed), None
    if (reference := _reference(run, set_metrics, failed)) is not None:
        whole = SetScoring(finished, set_metrics, reference, before=before, store=store, failed=failed)
        cards |= whole.cards
    with locked(run):
        run.write_json("scores/cards.json", read_cards(run, anew=True) | cards)
    return metrics, cards, singles, whole


def _written(run: Run, sets: pd.DataFrame, set_pairs: pd.DataFrame, cards: dict[str, Any], failed: Failed) -> Scores:
    """Write the tables of sets, cards and failures over what another scoring may have written meanwhile; what is there then."""
    with locked(run):
        now = Finished.of(run)
        old = on_disk(now, anew=True)

        def mine(table: pd.DataFrame) -> pd.DataFrame:
            return table[table["fingerprint"].isin(cards) | table["metric"].isin(failed)]

        sets = of_sets(sets, now)
        tables = {
            "sets": merged(mine(old.sets), sets, SET_KEY),
            "set_pairs": merged(mine(old.set_pairs), of_set_pairs(set_pairs, sets, now), SET_PAIR_KEY),
        }
        for name, table in tables.items():
            write_table(run, name, table)
        prints = {print_ for table in (old.pairs, *tables.values()) for print_ in table["fingerprint"]}
        run.write_json("scores/cards.json", {name: card for name, card in old.cards.items() if name in prints} | cards)
        run.write_json("scores/failed.json", failed)
        return hidden(on_disk(now))


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
    unclassed = [sample.id for sample in plan.samples if sample.target_class is None]
    by_class = [name for name, metric in sets.items() if metric.uses_classes]
    if by_class and unclassed:
        raise ScoreError(
            f"metric {by_class[0]} needs a target_class of every sample; {len(unclassed)} have none (first: {unclassed[0]}); "
            "add them to the manifest, or in a sidecar of yours"
        )
    if sets or (spec.reference is not None and spec.reference.kind in ("manifest", "folder")):
        check_reference(spec.reference, plan.samples, by_class=bool(by_class))


def open_metrics(spec: Spec, device: str) -> dict[str, PairMetric | SetMetric]:
    """The spec's metrics by the name they have in tables: their own, with parameters added where two share it."""
    names = spec.table_names(lambda name: str(registry.load_metric(name).name))
    return {name: _open(item, spec, device) for item, name in zip(spec.metrics, names, strict=True)}


def _opened(run: Run, device: str, failed: Failed) -> tuple[dict[str, PairMetric | SetMetric], dict[str, Any]]:
    """The metrics of a run that can be opened, and the cards of those that score single edits."""
    from metrics.base import PairMetric

    def own(name: str) -> str:
        with suppress(RegistryError):
            return str(registry.load_metric(name).name)
        return name

    metrics: dict[str, PairMetric | SetMetric] = {}
    cards: dict[str, Any] = {}
    book: AnswerBook | None = None
    for item, name in zip(run.spec.metrics, run.spec.table_names(own), strict=True):
        with failed.alone(name):
            metric = _open(item, run.spec, device)
            print_ = metric.card.fingerprint
            if isinstance(metric, PairMetric):
                cards[print_] = _card(metric, run.plan)
                if is_judged(metric):
                    book = book or AnswerBook(run.own(run.scores / "answers.jsonl"))
                    metric.panel.journal = book
            metrics[name] = metric
    return metrics, cards


def _open(item: MetricSpec, spec: Spec, device: str) -> PairMetric | SetMetric:
    from metrics.base import MetricError

    cls: type[Any] = registry.load_metric(item.name)
    try:
        with exits_are_errors():
            metric: PairMetric | SetMetric = cls(**_parameters(cls, item, spec, device))
    except TypeError as error:
        raise ScoreError(f"metric {item.name}: {error}; see `etabench list metrics`") from error
    except (EtabenchError, MetricError, OSError):
        raise
    except Exception as error:
        raise ScoreError(f"metric {item.name} cannot be made: {origin_of(error)}") from error
    return metric


def _reference(run: Run, metrics: Collection[str], failed: Failed) -> Reference | None:
    """The pictures that set metrics compare with, None where there is no such metric. What is wrong with them is the failure of all."""
    if not metrics:
        return None
    try:
        return collect(run.spec.reference, map(run.sample, run.plan.samples), run.plan.resolution)
    except (ScoreError, ManifestError) as error:
        failed.update(dict.fromkeys(metrics, str(error)))
        return None


def _undirected(metrics: Mapping[str, PairMetric]) -> list[str]:
    return [name for name, metric in metrics.items() if metric.card.higher_is_better is None]


def _card(metric: PairMetric, plan: Plan) -> dict[str, Any]:
    """The card, with what is no part of the fingerprint: what is known of the range, whether there are maps of the scores, what speaks against
    a judge, and how many of the run's texts lose their end.
    """
    about: dict[str, Any] = {"bounds": list(metric.bounds), "binary": metric.binary, "spatial": is_spatial(metric)}
    if is_judged(metric):
        about |= {"doubt": validations.doubt(metric.card.fingerprint)}
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
    return params | {name: value for name, value in ours.items() if name in takes} | embedded.named(cls, item.params)
