"""A run by the printed columns of its protocol: each as published, averaged as published, with the corrected form beside it.

The mean over categories is that of the categories' means, each counting once. Its interval is that of the mean of the scores moved to
it, `mean + N / (K n_k) (score - mean of category k)`: what categories differ by is no error, what differs within them is, weighted as it
enters, and edits of one picture stay together whichever category they are in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench import registry
from bench.analysis.intervals import Interval, Range, mean_interval
from bench.errors import RegistryError
from bench.spec.protocols import Asked, Protocol, ProtocolColumn, protocol_of
from reports.frames import COLUMNS

if TYPE_CHECKING:
    from bench.plan import Plan, SampleInfo
    from bench.scoring import Scores
    from bench.spec import Spec

__all__ = ["by_protocol", "departures", "note", "protocol_in"]

NETWORKS = frozenset({"net", "model", "pretrained", "weights", "quick_gelu", "features"})
"""Parameters that say where a network lies; a run may have the same one from elsewhere."""
NOWHERE = Interval(np.nan, np.nan, np.nan, 0, 0)


def protocol_in(spec: Spec) -> Protocol | None:
    """The protocol that a spec names; None where it names none. Raises SpecError where it is not known any more."""
    return protocol_of(spec.protocol) if spec.protocol else None


def by_protocol(spec: Spec, plan: Plan, scores: Scores) -> pd.DataFrame:
    """One row per printed column, editor and knob value, in printed units; columns as `reports.frames.COLUMNS["protocol"]`.

    A column that has no metric, or whose metric the run does not have, has NaN and a reason. Empty where the run has no protocol.
    """
    protocol = protocol_in(spec)
    if protocol is None:
        return pd.DataFrame(columns=list(COLUMNS["protocol"]))
    run = _Run(spec, plan, scores, protocol)
    rows = [
        {"editor": entry.label, "knob": entry.knob or None, "value": value, "column": column.name, "better": column.better}
        | run.published(column, entry.label, value)
        | run.corrected(column, entry.label, value)
        for column in protocol.columns
        for entry in plan.entries
        for value in entry.values
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS["protocol"]))


def departures(spec: Spec, plan: Plan) -> list[str]:
    """In what a run is other than its protocol, in words; nothing where it follows it, or has none."""
    protocol = protocol_in(spec)
    if protocol is None:
        return []
    asked, own = dict(protocol.manifest), spec.manifest.model_dump()
    found = [f"{key} {own[key]} instead of {value}" for key, value in asked.items() if own.get(key) != value]
    if spec.seeds != list(protocol.seeds):
        found.append(f"seeds {', '.join(map(str, spec.seeds))} instead of {', '.join(map(str, protocol.seeds))}")
    if spec.chain != protocol.chain:
        found.append(f"turns from the {spec.chain} chain")
    if protocol.reference and (spec.reference is None or spec.reference.kind not in ("manifest", "folder")):
        found.append(
            f"set metrics compare with {spec.reference.kind if spec.reference else 'truths'} instead of {protocol.reference}"
        )
    beside = Counter(name for sample in plan.samples for name in sample.provenance)
    found += [f"{name} of {number} samples from a sidecar" for name, number in beside.items()]
    if spec.partial:
        found.append(f"{len(plan.samples)} samples, a part of the set")
    return found


def note(spec: Spec, plan: Plan) -> str:
    """The protocol of a run in one line: what it is, where it and the corrected form part, and where the run departs from it."""
    protocol = protocol_in(spec)
    if protocol is None:
        return ""
    own = departures(spec, plan)
    said = [f"{protocol.title}; {protocol.average}", f"where published and corrected part: {protocol.parts}"]
    return "; ".join([*said, *([f"this run departs from it: {', '.join(own)}"] if own else [])])


class _Run:
    """The scores of a run as a protocol asks for them."""

    def __init__(self, spec: Spec, plan: Plan, scores: Scores, protocol: Protocol) -> None:
        self._plan, self._scores, self._protocol, self._given = plan, scores, protocol, spec.given
        self._items = [Asked(item.name, item.params) for item in spec.metrics]
        self._names = spec.table_names(_own_name)
        groups: Any = scores.pairs.groupby(["editor", "value", "metric"], sort=False)
        self._cells = {(str(editor), float(value), str(metric)): cell for (editor, value, metric), cell in groups}
        sets: Any = scores.sets.to_dict("records")
        self._sets = {(str(row["editor"]), float(row["value"]), str(row["metric"])): row for row in sets}
        self._followed = {sample.previous for sample in plan.samples}
        self._prints = dict(zip(scores.pairs["metric"], scores.pairs["fingerprint"], strict=True))

    def published(self, column: ProtocolColumn, editor: str, value: float) -> dict[str, Any]:
        """Metric, mean, interval, n, expected and reason of the published form."""
        metric, interval, reason = self._of(column.metric, column, editor, value)
        expected = len(self._units(column, editor, first_seed=(editor, value, metric) in self._sets))
        if column.metric and not reason and interval.n < expected:
            reason = f"{interval.n} of {expected} edits have a finite score"
        return {
            "metric": metric,
            **_scaled("", interval, column.scale),
            "n": interval.n,
            "expected": expected,
            "reason": reason or ("" if column.metric else column.why),
        }

    def corrected(self, column: ProtocolColumn, editor: str, value: float) -> dict[str, Any]:
        """Metric, mean and interval of the corrected form; NaN where there is none."""
        metric, interval, _ = self._of(column.corrected, column, editor, value)
        return {"corrected_metric": metric, **_scaled("corrected_", interval, column.corrected_scale)}

    def _of(self, asked: Asked | None, column: ProtocolColumn, editor: str, value: float) -> tuple[str, Interval, str]:
        """Name in tables, mean with interval, and why there is none."""
        if asked is None:
            return "", NOWHERE, ""
        asked = asked.filled(self._given)
        name = self._named(asked)
        if reason := self._lacking(asked, name):
            return name, NOWHERE, reason
        if (editor, value, name) in self._sets:
            return name, *self._of_set(column, self._sets[editor, value, name])
        cell = self._cells.get((editor, value, name))
        if cell is None:
            return name, NOWHERE, "not scored"
        counted = cell[cell["unit"].isin(self._units(column, editor))]
        low, high = self._scores.cards.get(self._prints[name], {}).get("bounds", (None, None))
        macro = self._protocol.mean == "categories" and not column.category
        scores, clusters = counted["score"].to_numpy(dtype=np.float64), counted["source_id"].to_numpy()
        if macro:
            finite = np.isfinite(scores)
            scores, clusters = _moved(scores[finite], counted["category"].to_numpy()[finite]), clusters[finite]
        return name, _within(mean_interval(scores, clusters.tolist()), Range(low, high)), ""

    def _lacking(self, asked: Asked, name: str) -> str:
        """Why there are no scores of a metric of that name in tables, empty for one that the run has none of."""
        if not asked.registered:
            return f"no metric {asked.name} is registered"
        if not name and asked.needs:
            wanted = "; ".join(f"{need}: {self._protocol.needs[need]}" for need in asked.needs)
            return f"it needs what only you have, `--set given.{asked.needs[0]}=...`: {wanted}"
        if not name:
            return f"the run does not score {asked.words}"
        return f"the metric failed: {self._scores.failed[name]}" if name in self._scores.failed else ""

    def _of_set(self, column: ProtocolColumn, row: Mapping[str, Any]) -> tuple[Interval, str]:
        """The value of a set metric with its interval, and why there is none; it knows whole sets alone."""
        if column.category or column.captions != "all" or self._protocol.samples != "all":
            return NOWHERE, "a set metric has no value of a part of the samples"
        n = int(row["n"])
        interval = Interval(float(row["score"]), float(row["low"]), float(row["high"]), n, n)
        return interval, "" if np.isfinite(interval.mean) else str(row["note"] or f"undefined for {n} edits")

    def _named(self, asked: Asked) -> str:
        """What the run's tables call a metric of this name and these parameters, empty for none; networks, and what nobody gave, may be
        from elsewhere."""
        pairs = list(zip(self._items, self._names, strict=True))
        free = NETWORKS | set(asked.open)
        exact = [name for item, name in pairs if item == asked]
        alike = [name for item, name in pairs if item.name == asked.name and _told(item, free) == _told(asked, free)]
        return next(iter(exact or alike), "")

    def _units(self, column: ProtocolColumn, editor: str, *, first_seed: bool = False) -> set[str]:
        """Keys of the planned units of an editor that a column is averaged over; sets hold those of the first seed alone."""
        counted = {place for place, sample in enumerate(self._plan.samples) if self._counts(column, sample)}
        own = [unit for unit in self._plan.units if self._plan.entries[unit.entry].label == editor and unit.sample in counted]
        return {unit.key for unit in own if not first_seed or unit.seed == self._plan.first_seed}

    def _counts(self, column: ProtocolColumn, sample: SampleInfo) -> bool:
        """Whether a column is averaged over a sample."""
        if self._protocol.samples == "last turn" and sample.id in self._followed:
            return False
        if column.captions == "differ" and _plainly(sample.source_text) == _plainly(sample.target_text):
            return False
        return column.category in ("", sample.category)


def _moved(scores: np.ndarray, categories: np.ndarray) -> np.ndarray:
    """Scores whose mean is that of the categories' means and whose spread is that with which they enter it."""
    names, place, sizes = np.unique(categories.astype(str), return_inverse=True, return_counts=True)
    means = np.bincount(place, weights=scores, minlength=len(names)) / sizes
    weights = len(scores) / (len(names) * sizes[place])
    moved: np.ndarray = means.mean() + weights * (scores - means[place])
    return moved


def _within(interval: Interval, ends: Range) -> Interval:
    low, high = ends.clip(np.array([interval.low, interval.high]))
    return Interval(interval.mean, float(low), float(high), interval.n, interval.clusters)


def _scaled(prefix: str, interval: Interval, scale: float) -> Mapping[str, float]:
    return {f"{prefix}{name}": getattr(interval, name) * scale for name in ("mean", "low", "high")}


def _told(asked: Asked, free: Set[str]) -> dict[str, Any]:
    return {name: value for name, value in asked.params.items() if name not in free}


def _plainly(text: str | None) -> str:
    return " ".join((text or "").casefold().split()).rstrip(".")


def _own_name(name: str) -> str:
    with suppress(RegistryError):
        return str(registry.load_metric(name).name)
    return name
