"""Printed numbers of published benchmarks, and a run laid beside them.

`published.json` holds tables as they were printed: the value, what it is of (a metric here with its masking and scale, or why there is
none), the source, whether it was seen there (`certain`) or through others, what re-runs of the same method differed by (`tolerance`),
and doubts. A run agrees with a printed value where its own interval, widened by the tolerance, holds it. Pictures that were made
elsewhere stand beside the method that their label names.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.errors import EtabenchError
from bench.suggest import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from bench.plan import Plan
    from bench.store import Run

__all__ = ["Beside", "Column", "Printed", "beside", "published"]

FILE = Path(__file__).with_name("published.json")
DELIVERED = "folder"
"""The editor whose pictures were made elsewhere: its label says by which method."""
ROUNDING = 0.0051
"""By how much a printed total of two decimals may differ from the mean of its own row."""


@dataclass(frozen=True)
class Column:
    """What a printed column holds. `metric` is a metric here, or empty and `why` says why there is none."""

    name: str
    better: Literal["higher", "lower"]
    metric: str = ""
    masking: str = ""
    """Words that the metric's card must have under `masking`; empty for any."""
    network: str = ""
    """Words that it must have under `network`; empty for any. They tell the architecture: of its weights nothing is asked."""
    scale: float = 1.0
    """Printed value = this x the metric's."""
    tolerance: float = 0.0
    """What re-runs of one method differed by, in printed units; 0 where nobody has published it."""
    why: str = ""


@dataclass(frozen=True)
class Printed:
    """One printed value. `editor` is the method's name here, empty where there is none; `value` the knob value it was printed for,
    `split` that of the benchmark, empty where it has one only."""

    benchmark: str
    table: str
    method: str
    column: Column
    number: float
    source: str
    certain: bool
    editor: str = ""
    value: float | None = None
    split: str = ""
    doubt: str = ""
    protocol: str = ""
    """The protocol by which alone it was averaged; empty where a plain mean over all samples is."""


@cache
def published(benchmark: str = "") -> tuple[Printed, ...]:
    """All printed values, or those of one benchmark. Raises EtabenchError where nothing is known of it."""
    tables = json.loads(FILE.read_text(encoding="utf-8"))["tables"]
    known = dict.fromkeys(table["benchmark"] for table in tables)
    if benchmark and benchmark not in known:
        raise EtabenchError(f"no published numbers of '{benchmark}'; {did_you_mean(benchmark, known) or ', '.join(known)}")
    return tuple(each for table in tables if benchmark in ("", table["benchmark"]) for each in _printed(table))


def _printed(table: Mapping[str, Any]) -> Iterator[Printed]:
    columns = [Column(**column) for column in table["columns"]]
    about = {"benchmark": table["benchmark"], "table": table["title"], "source": table["source"], "certain": table["certain"]}
    about |= {"split": table.get("split", ""), "protocol": table.get("protocol", "")}
    for row in table["rows"]:
        given = {name: row[name] for name in ("editor", "value") if name in row}
        for column, number in zip(columns, row["values"], strict=True):
            if number is not None:
                doubts = [row.get("doubt", ""), _contradiction(table, row, column)]
                doubt = "; ".join(filter(None, doubts))
                yield Printed(**about, method=row["method"], column=column, number=float(number), doubt=doubt, **given)


def _contradiction(table: Mapping[str, Any], row: Mapping[str, Any], column: Column) -> str:
    """What is wrong with a printed total that is not the mean of its row."""
    if column.name != table.get("total"):
        return ""
    parts = row["values"][:-1]
    mean = math.fsum(parts) / len(parts)
    return f"the mean of its row is {mean:.2f}" if abs(mean - row["values"][-1]) > ROUNDING else ""


@dataclass(frozen=True)
class Beside:
    """A printed value and the run's, in printed units; NaN where the run has none. `reason` says why it is not comparable."""

    printed: Printed
    label: str
    knob: float
    verdict: Literal["agrees", "differs", "not comparable"]
    mean: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    reason: str = ""
    metric: str = ""
    """Name in the run's tables of what is laid beside the printed value; empty where nothing is."""
    beside: str = ""
    """What of the run's samples is not the benchmark's own, and where the run departs from its protocol; empty where all is as it was."""

    def as_row(self) -> dict[str, Any]:
        """A row of a table for people."""
        ours = "" if math.isnan(self.mean) else f"{self.mean:.4g} [{self.low:.4g}, {self.high:.4g}]"
        printed = self.printed
        tolerance = f" ± {printed.column.tolerance:g}" if printed.column.tolerance else ""
        unseen = "" if printed.certain else "not seen at its source"
        said = "; ".join(filter(None, (self.reason, self.beside, printed.doubt, unseen)))
        return {
            "editor": self.label,
            "knob": self.knob,
            "method": printed.method,
            "column": printed.column.name,
            "metric": self.metric,
            "printed": f"{printed.number:g}{tolerance}",
            "run": ours,
            "verdict": self.verdict,
            "note": said,
        }


def beside(run: Run, benchmark: str) -> list[Beside]:
    """Every printed value of the methods that the run has, beside the run's.

    Raises EtabenchError where nothing of the benchmark is known, or no method of it is among the run's editors.
    """
    numbers, scored = published(benchmark), _Scored(run, benchmark)
    found = [
        each
        for entry in scored.plan.entries
        for number in numbers
        if number.editor == entry.name or (entry.name == DELIVERED and number.method == entry.label)
        for each in _of(number, entry.label, entry.values, scored)
    ]
    if not found:
        methods = ", ".join(dict.fromkeys(number.editor for number in numbers if number.editor)) or "none"
        labels = [entry.label for entry in scored.plan.entries if entry.name == DELIVERED]
        named = f"; of the label '{labels[0]}': {did_you_mean(labels[0], {each.method for each in numbers})}" if labels else ""
        raise EtabenchError(f"{run.path}: no editor of it has printed numbers on {benchmark}; there are some of {methods}{named}")
    return [replace(each, beside=scored.beside) for each in found]


def _of(printed: Printed, label: str, values: tuple[float, ...], run: _Scored) -> Iterator[Beside]:
    """A printed value beside every knob value that it may belong to."""
    for knob in values if printed.value is None else [each for each in values if math.isclose(each, printed.value)]:
        point = run.point(label, knob, printed)
        other = run.reason or run.other_split(printed) or run.other_protocol(printed)
        reason = other or run.lacking(label, knob, printed, point)
        if point is None or reason:
            yield Beside(printed, label, knob, "not comparable", reason=reason)
            continue
        mean, low, high = _in_print(point, 1.0 if printed.protocol else printed.column.scale)
        n, expected, metric = int(point["n"]), int(point["expected"]), str(point["metric"])
        if n < expected:
            said = f"scored on {n} of {expected} edits"
            yield Beside(printed, label, knob, "not comparable", mean, low, high, n, said, metric)
            continue
        within = low - printed.column.tolerance <= printed.number <= high + printed.column.tolerance
        yield Beside(printed, label, knob, "agrees" if within else "differs", mean, low, high, n, metric=metric)


def _in_print(point: Mapping[str, Any], scale: float) -> tuple[float, float, float]:
    """Mean and interval of a point of a curve in printed units; the mean stands for an end that is not known."""
    mean = float(point["mean"]) * scale
    ends = [float(point[end]) * scale for end in ("low", "high")]
    low, high = (mean if math.isnan(end) else end for end in ends)
    return mean, low, high


def _absent(column: Column) -> str:
    words = " and ".join(f"'{word}'" for word in (column.masking, column.network) if word)
    return f"the run has no {column.metric}" + (f" of which the card says {words}" if words else "")


class _Scored:
    """The scored run as tables, and why it cannot be held against the benchmark at all."""

    def __init__(self, run: Run, benchmark: str) -> None:
        from bench.analysis.protocol import by_protocol, departures
        from bench.analysis.summary import curves
        from bench.manifest.benchmarks import benchmarks
        from bench.scoring import read_scores
        from bench.scoring.axes import Axes

        self.plan: Plan = run.plan
        scores = read_scores(run)
        self._cards = scores.cards
        self._curves: pd.DataFrame = curves(self.plan, scores, Axes.of(run.spec.axes, scores))
        self._protocol, self._own_chain = run.spec.protocol or "", run.spec.chain == "own"
        self._by_protocol = by_protocol(run.spec, self.plan, scores)
        written = sorted({name for sample in self.plan.samples for name in sample.provenance})
        own = departures(run.spec, self.plan) if self._protocol else [f"{name} from a sidecar" for name in written]
        self.beside = f"{'departs from its protocol: ' if self._protocol and own else ''}{', '.join(own)}"
        name, samples = run.head.name, len(self.plan.samples)
        known = benchmarks().get(benchmark)
        first = next(iter(known.card.splits)) if known else ""
        self.split = run.spec.manifest.split or first
        found = known.card.splits.get(self.split) if known else None
        whole = found.rows if found else None
        self.reason = ""
        if name.rpartition("/")[2] != benchmark:
            self.reason = f"the run edits {name}"
        elif whole is not None and samples < whole:
            self.reason = f"the run edits {samples} of {whole} samples"
        elif whole is None and run.spec.partial:
            self.reason = f"the run is limited to {samples} samples, and how many a whole copy has is not known"

    def other_split(self, printed: Printed) -> str:
        """Why a value of another split says nothing of the run; empty where it is of the run's."""
        if printed.split in ("", self.split):
            return ""
        return f"printed of the split {printed.split}, the run edits {self.split or 'one without a name'}"

    def other_protocol(self, printed: Printed) -> str:
        """Why a value of another way of running or averaging says nothing of the run; empty where it is the run's."""
        if printed.protocol in ("", self._protocol):
            return "later turns of the run edit its own pictures" if self._own_chain and not printed.protocol else ""
        return f"averaged by the protocol {printed.protocol}; `etabench run SPEC --protocol {printed.protocol}` has it"

    def lacking(self, label: str, knob: float, printed: Printed, point: Mapping[str, Any] | None) -> str:
        """Why a printed value has nothing beside it; empty where the `point` is what it is to be compared with."""
        if printed.column.why or point is not None:
            return printed.column.why
        rows = self._in_protocol(label, knob, printed.column)
        reason = str(rows[0]["reason"]) if printed.protocol and rows else ""
        return reason or _absent(printed.column)

    def _in_protocol(self, label: str, knob: float, column: Column) -> list[dict[str, Any]]:
        table = self._by_protocol
        here = (table["editor"] == label) & (table["value"] == knob) & (table["column"] == column.name)
        return [{str(key): value for key, value in row.items()} for row in table[here].to_dict("records")]

    def point(self, label: str, knob: float, printed: Printed) -> Mapping[str, Any] | None:
        """The run's mean for a printed value, by its protocol in printed units; None where it has none, or no value there."""
        column = printed.column
        here = self._curves[(self._curves["editor"] == label) & (self._curves["value"] == knob)]
        asked = [row for row in here.to_dict("records") if self._is(column, self._cards.get(row["fingerprint"], {}))]
        if printed.protocol:
            names = {row["metric"] for row in asked}
            rows = [row for row in self._in_protocol(label, knob, column) if math.isfinite(row["mean"])]
            return next((row for row in rows if row["metric"] in names), None)
        found = (row for row in asked if math.isfinite(row["mean"]))
        return next(({str(key): value for key, value in row.items()} for row in found), None)

    @staticmethod
    def _is(column: Column, card: Mapping[str, Any]) -> bool:
        """Whether a card is that of what was printed."""
        told = all(getattr(column, field) in card.get(field, "") for field in ("masking", "network"))
        return told and card.get("name") == column.metric
