"""Protocols: how a published benchmark is run and averaged, as data; `protocol: pie-bench` in a spec asks for one.

A protocol is a file in `bench/specs/protocols`. It gives a spec its manifest, seeds, chain and metrics where the spec has none of its
own, and says which printed column is which metric, over which samples it is averaged and how, and what the corrected form of it is. A
column whose metric is not registered stays a column without values, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

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

    @property
    def words(self) -> str:
        """For a person: `psnr (region: background)`."""
        params = ", ".join(f"{name}: {value}" for name, value in self.params.items())
        return f"{self.name} ({params})" if params else self.name

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
        columns = {column.name: _words(column) for column in self.columns}
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


def _words(column: ProtocolColumn) -> str:
    forms = {"published": column.metric, "corrected": column.corrected}
    said = [f"{name} {each.words}" + ("" if each.registered else " (not registered)") for name, each in forms.items() if each]
    return "; ".join(filter(None, [*said, column.category and f"of {column.category}", column.why]))


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
    columns = [
        {key: _long(value) if key in ("metric", "corrected") else value for key, value in each.items()} for each in raw["columns"]
    ]
    beside = [_long(each) for each in raw.get("beside", ())]
    return TypeAdapter(Protocol).validate_python({"name": name, **raw, "columns": columns, "beside": beside})


def _long(metric: str | Mapping[str, Any]) -> Mapping[str, Any]:
    return {"name": metric} if isinstance(metric, str) else metric
