"""Protocols: how a published benchmark is run and averaged, as data; `protocol: pie-bench` in a spec asks for one.

A protocol is a file in `bench/specs/protocols`. It gives a spec its manifest, seeds, chain and metrics where the spec has none of its
own, and says which printed column is which metric, over which samples it is averaged and how, and what the corrected form of it is. A
column whose metric is not registered stays a column without values, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from bench import registry
from bench.errors import SpecError
from bench.spec.reader import read_yaml
from bench.suggest import did_you_mean

__all__ = ["Asked", "Protocol", "ProtocolColumn", "expand_protocol", "protocol_of", "protocols"]

_FOLDER = Path(__file__).parent.parent / "specs" / "protocols"
GIVEN = ("manifest", "seeds", "chain", "metrics")
"""Keys of a spec that a protocol fills."""


@dataclass(frozen=True)
class Asked:
    """A metric with parameters, as an item of a spec's `metrics`."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def registered(self) -> bool:
        """Whether it can be asked for at all."""
        return self.name in registry.metrics()

    def as_item(self) -> dict[str, Any]:
        """As a spec has it."""
        return {"name": self.name, "params": dict(self.params)}


@dataclass(frozen=True)
class ProtocolColumn:
    """A printed column. Without a `metric` there is none here, and `why` says why."""

    name: str
    better: Literal["higher", "lower"]
    metric: Asked | None = None
    corrected: Asked | None = None
    """The sound form of the same quantity; none where the published one is sound."""
    scale: float = 1.0
    """Printed value = this x the metric's."""
    corrected_scale: float = 1.0
    """The same of the corrected form, so that both can be read side by side."""
    category: str = ""
    """The samples of this category alone."""
    captions: Literal["all", "differ"] = "all"
    """`differ` leaves out samples whose two captions are one."""
    why: str = ""


@dataclass(frozen=True)
class Protocol:
    """How a benchmark is run, scored and averaged as published."""

    name: str
    title: str
    source: str
    parts: str
    """Where the published form and the corrected one part, in one line."""
    manifest: Mapping[str, Any]
    columns: tuple[ProtocolColumn, ...]
    seeds: tuple[int, ...] = (0,)
    chain: Literal["truth", "own"] = "truth"
    samples: Literal["all", "last turn"] = "all"
    mean: Literal["samples", "categories"] = "samples"
    """`categories`: of the means of the categories, each counting once."""
    beside: tuple[Asked, ...] = ()
    """Metrics that are scored too, though nobody printed them."""
    unverified: Mapping[str, str] = field(default_factory=dict)
    """What of it was not seen at its source."""

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Every metric that it asks for and that is registered, once, as a spec has them."""
        columns = [each for column in self.columns for each in (column.metric, column.corrected) if each]
        items = [each.as_item() for each in (*self.beside, *columns) if each.registered]
        return [item for number, item in enumerate(items) if item not in items[:number]]

    @property
    def average(self) -> str:
        """Over what a column is averaged, in words."""
        what = "the last turns of sessions" if self.samples == "last turn" else "samples"
        return f"mean over {what}" if self.mean == "samples" else f"mean of the categories' means over {what}"

    def as_dict(self) -> dict[str, Any]:
        """For a person, without what has no value."""
        columns = [
            {"column": column.name, **_words(column), **({"why": column.why} if column.why else {})} for column in self.columns
        ]
        return {
            "title": self.title,
            "source": self.source,
            "manifest": dict(self.manifest),
            "seeds": list(self.seeds),
            "average": self.average,
            "chain": self.chain,
            "where they part": self.parts,
            "columns": columns,
            "unverified": dict(self.unverified),
        }


def _words(column: ProtocolColumn) -> dict[str, str]:
    forms = {"as published": column.metric, "corrected": column.corrected}
    return {name: f"{each.name} {dict(each.params) or ''}".strip() for name, each in forms.items() if each}


@cache
def protocols() -> dict[str, Protocol]:
    """All protocols by name."""
    return {file.stem: _protocol(file.stem, read_yaml(file)) for file in sorted(_FOLDER.glob("*.yaml"))}


def protocol_of(name: str) -> Protocol:
    """Raises SpecError where there is none of that name."""
    known = protocols()
    if name not in known:
        raise SpecError(f"no protocol '{name}'; {did_you_mean(name, known)}; `etabench list protocols` shows all")
    return known[name]


def expand_protocol(raw: dict[str, Any]) -> dict[str, Any]:
    """A copy of a spec's plain data, shorthands written out, in which its protocol has filled what it leaves open; the spec's own
    keys stay. Raises SpecError where there is no such protocol."""
    name = raw.get("protocol")
    if not isinstance(name, str):
        return raw
    protocol, data = protocol_of(name), dict(raw)
    given = data.get("manifest") or {}
    if isinstance(given, dict):
        data["manifest"] = {**protocol.manifest, **given}
    data.setdefault("seeds", list(protocol.seeds))
    data.setdefault("chain", protocol.chain)
    data.setdefault("metrics", protocol.metrics)
    return data


def _protocol(name: str, raw: Mapping[str, Any]) -> Protocol:
    columns = tuple(_columns(raw["columns"]))
    simple = {key: value for key, value in raw.items() if key not in ("columns", "beside", "seeds")}
    seeds = {"seeds": tuple(raw["seeds"])} if "seeds" in raw else {}
    return Protocol(name=name, columns=columns, beside=tuple(map(_asked, raw.get("beside", ()))), **seeds, **simple)


def _columns(raw: list[dict[str, Any]]) -> Iterator[ProtocolColumn]:
    for each in raw:
        metrics = {key: _asked(each[key]) for key in ("metric", "corrected") if key in each}
        yield ProtocolColumn(**{key: value for key, value in each.items() if key not in metrics}, **metrics)


def _asked(raw: str | Mapping[str, Any]) -> Asked:
    return Asked(raw) if isinstance(raw, str) else Asked(**raw)
