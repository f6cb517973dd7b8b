"""Whether the scores of a bundle are true: those of drawn edits and of drawn sets are made again from the pictures in it.

Who packs a bundle does not know what is drawn. A set is made again whole, against its reference where that is in the bundle or comes with
this package; no other manifest and no folder is opened. Intervals and the tests between editors are not made again.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bench import registry
from bench.bundles.checks import TOLERANCE, Check, without_folder
from bench.bundles.opened import Bundle, BundledRun
from bench.errors import EtabenchError, RegistryError, message_of
from bench.progress import Progress
from bench.scoring import Scores, score_run
from bench.scoring.score import score_sets
from bench.scoring.tables import PAIR_COLUMNS, SET_COLUMNS, frame, read_failed

if TYPE_CHECKING:
    import pandas as pd

    from bench.plan import Plan
    from metrics.base import PairMetric, SetMetric

__all__ = ["Draw", "recomputed"]

SETS = 4
"""Sets of edits that are drawn."""
SHOWN_LETTERS = 200


@dataclass(frozen=True)
class Draw:
    """How many units are drawn, by what seed, and where their edits are scored."""

    units: int
    seed: int
    device: str
    progress: Progress


def recomputed(bundle: Bundle, scores: Scores, draw: Draw) -> Iterator[Check]:
    """Each metric of the tables, with what scoring drawn units and sets again says of it."""
    edits, sets = (
        {str(name): rows for name, rows in table.groupby("metric", sort=False)} for table in (scores.pairs, scores.sets)
    )
    if not bundle.listing.pictures:
        for metric in (*edits, *sets):
            yield Check(f"scores by {metric}", "unchecked", "there are no pictures to score")
        return
    fresh = _fresh(bundle)
    again, reasons = _edits_again(fresh, draw)
    yield from _beside(edits, again, reasons, ["unit", "value"], bundle)
    if sets:
        again, reasons = _sets_again(fresh, draw)
        yield from _beside(sets, again, reasons, ["editor", "value"], bundle)
    if len(scores.set_pairs):
        yield Check("comparisons of sets", "unchecked", "the tests between editors, and intervals of sets, are not made again")


def _beside(
    stated: Mapping[str, pd.DataFrame], again: pd.DataFrame, reasons: Mapping[str, str], key: Sequence[str], bundle: Bundle
) -> Iterator[Check]:
    for metric, rows in stated.items():
        own = again[again["fingerprint"] == str(rows["fingerprint"].iloc[0])]
        if len(own):
            yield _held_against(metric, rows, own, key)
        else:
            other = "here it has another fingerprint" if metric in set(again["metric"]) else "it is code, which is not run"
            yield Check(f"scores by {metric}", "unchecked", without_folder(reasons.get(metric, other), bundle))


def _fresh(bundle: Bundle) -> BundledRun:
    """The run without its scores. Its units and samples are moved there."""
    fresh = BundledRun(bundle.run.path / "again")
    for folder in ("units", "samples"):
        (bundle.run.path / folder).mkdir(exist_ok=True)
        fresh.path.mkdir(exist_ok=True)
        (bundle.run.path / folder).rename(fresh.path / folder)
    fresh.__dict__.update(plan=bundle.run.plan, spec=bundle.run.spec)
    return fresh


def _narrowed(fresh: BundledRun, plan: Plan, kind: type[PairMetric | SetMetric]) -> BundledRun:
    """The run with another plan, and with its registered metrics of a kind."""
    spec = fresh.spec
    own = [item for item in spec.metrics if item.name in registry.metrics() and _is_a(item.name, kind)]
    narrowed = BundledRun(fresh.path)
    narrowed.__dict__.update(plan=plan, spec=spec.model_copy(update={"metrics": own, "axes": type(spec.axes)()}))
    return narrowed


def _edits_again(fresh: BundledRun, draw: Draw) -> tuple[pd.DataFrame, dict[str, str]]:
    """Fresh scores of the edits of drawn units by the registered metrics of edits; and why there are none of a metric."""
    from metrics.base import PairMetric

    done = [unit for unit in fresh.plan.units if (record := fresh.record(unit.key)) is not None and record.edits]
    drawn = random.Random(draw.seed).sample(done, min(draw.units, len(done)))
    run = _narrowed(fresh, replace(fresh.plan, units=tuple(drawn)), PairMetric)
    try:
        return score_run(run, device=draw.device, progress=draw.progress).pairs, read_failed(run)
    except EtabenchError as error:
        return frame([], PAIR_COLUMNS), dict.fromkeys(_names(run), message_of(error)) | read_failed(run)


def _sets_again(fresh: BundledRun, draw: Draw) -> tuple[pd.DataFrame, dict[str, str]]:
    """Fresh scores of drawn sets, whole, by the registered metrics of sets; and why there are none of a metric."""
    from metrics.base import SetMetric

    plan, reference = fresh.plan, fresh.spec.reference
    places = [(index, value) for index, entry in enumerate(plan.entries) for value in entry.values]
    drawn = random.Random(draw.seed).sample(places, min(SETS, len(places)))
    values = {index: tuple(value for own, value in places if own == index and (own, value) in drawn) for index, _ in drawn}
    entries = tuple(replace(entry, values=values.get(index, ())) for index, entry in enumerate(plan.entries))
    units = tuple(unit for unit in plan.units if unit.entry in values and unit.seed == plan.first_seed)
    run = _narrowed(fresh, replace(plan, entries=entries, units=units), SetMetric)
    if reference is not None and reference.kind in ("manifest", "folder"):
        return frame([], SET_COLUMNS), dict.fromkeys(
            _names(run), f"its reference is a {reference.kind} of its own, and none is opened"
        )
    try:
        return score_sets(run, device=draw.device, progress=draw.progress)
    except EtabenchError as error:
        return frame([], SET_COLUMNS), dict.fromkeys(_names(run), message_of(error))


def _names(run: BundledRun) -> list[str]:
    """What its metrics are called in tables."""
    return list(run.spec.table_names(lambda name: str(registry.load_metric(name).name)))


def _is_a(name: str, kind: type[PairMetric | SetMetric]) -> bool:
    """Whether a registered metric is of a kind, and can be imported here."""
    with suppress(RegistryError):
        return issubclass(registry.load_metric(name), kind)
    return False


def _held_against(metric: str, stated: pd.DataFrame, again: pd.DataFrame, key: Sequence[str]) -> Check:
    """Stated scores beside fresh ones of the same edits or sets, which `key` names."""
    both = again.merge(stated, on=list(key), how="left", suffixes=("", "_stated"), indicator=True)
    lacking = int((both["_merge"] == "left_only").sum())
    mine, theirs = both["score"].to_numpy(dtype=np.float64), both["score_stated"].to_numpy(dtype=np.float64)
    most = TOLERANCE * np.maximum(np.fmax(np.abs(mine), np.abs(theirs)), 0.1)
    same = (np.abs(mine - theirs) <= most) | (np.isnan(mine) & np.isnan(theirs)) | (mine == theirs)
    wrong = int((~same).sum())
    if not wrong:
        return Check(f"scores by {metric}", "agrees", f"{len(both)} of {len(stated)} recomputed")
    worst = both.iloc[int(np.argmax(np.where(same, -1.0, np.nan_to_num(np.abs(mine - theirs), nan=np.inf))))]
    place = f"{worst['editor']} at {worst['value']:g}" + (f" on {worst['sample_id']}" if "sample_id" in both else "")
    told = f"is {worst['score']:.6g} and not {worst['score_stated']:.6g}"
    more = f", {lacking} of them not stated at all" if lacking else ""
    return Check(
        f"scores by {metric}", "contradicts", f"{wrong} of {len(both)} recomputed differ{more}: {place[:SHOWN_LETTERS]} {told}"
    )
