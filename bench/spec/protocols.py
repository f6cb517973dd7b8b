"""Protocols: how a published benchmark is run and averaged, as data; `protocol: pie-bench` in a spec asks for one.

A protocol is a file in `bench/specs/protocols`. It gives a spec its manifest, seeds, chain and metrics where the spec has none of its
own, and says which printed column is which metric, over which samples it is averaged and how, and what the corrected form of it is. A
column whose metric is not registered stays a column without values, with the reason. So does one that needs what only its user has, a judge
or a file that is not ours to pass on: parameters of a metric that stand as `{given: NAME}` come from the spec's key `given`, and under
`needs` the protocol says what they are.
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

__all__ = ["Asked", "Protocol", "ProtocolColumn", "expand_protocol", "fill_given", "protocol_of", "protocols"]

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
    def open(self) -> dict[str, str]:
        """Its parameters that only the user of the protocol has: to the names under which a spec gives them."""
        return {key: name for key, value in self.params.items() if (name := _given_name(value))}

    @property
    def needs(self) -> list[str]:
        """What is not given, by those names."""
        return list(dict.fromkeys(self.open.values()))

    def filled(self, given: Mapping[str, Any]) -> Asked:
        """With what is given in its place; what is not given stays as it is."""
        return Asked(self.name, {key: given.get(_given_name(value), value) for key, value in self.params.items()})

    @property
    def words(self) -> str:
        """For a person: `psnr (region: background)`; what is to be given stands in angle brackets."""
        said = {key: f"<{name}>" if (name := _given_name(value)) else value for key, value in self.params.items()}
        params = ", ".join(f"{name}: {value}" for name, value in said.items())
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
    needs: Mapping[str, str] = field(default_factory=dict)
    """What only its user has, in words, by the name that a spec gives it under."""
    reference: str = ""
    """The real pictures that its set metrics compare with, in words; a spec names them as `reference: {kind: manifest or folder, ...}`."""
    unverified: Mapping[str, str] = field(default_factory=dict)
    """What of it was not seen at its source."""

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Every metric that it asks for and that is registered, once, as a spec has them; what is to be given stands as `{given: NAME}`."""
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
            **({"give it, as given.NAME": dict(self.needs)} if self.needs else {}),
            **({"reference": self.reference} if self.reference else {}),
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


def fill_given(raw: dict[str, Any]) -> dict[str, Any]:
    """A copy of a spec's plain data with what it gives in the place of every `{given: NAME}`; metrics of which something is not given are
    left out. Raises SpecError for a name that the protocol does not ask for."""
    given = raw.get("given") or {}
    if not isinstance(given, dict) or not isinstance(raw.get("metrics"), list):
        return raw
    name = raw.get("protocol")
    known = protocol_of(name).needs if isinstance(name, str) else {}
    for each in given:
        if each not in known:
            raise SpecError(
                f"given.{each}: " + (did_you_mean(each, known) if known else "no protocol of this spec asks for anything")
            )
    kept = []
    for item in raw["metrics"]:
        params = item.get("params") if isinstance(item, dict) else None
        asked = Asked(str(item.get("name")), params) if isinstance(params, dict) else None
        if asked is None or not asked.needs:  # the schema says what is wrong with others
            kept.append(item)
        elif not set(asked.needs) - given.keys():
            kept.append(item | {"params": dict(asked.filled(given).params)})
    return raw | {"metrics": kept}


def _given_name(value: object) -> str:
    """The name in `{given: NAME}`; empty for any other parameter."""
    return str(value["given"]) if isinstance(value, dict) and value.keys() == {"given"} else ""


def _protocol(name: str, raw: Mapping[str, Any]) -> Protocol:
    columns = [
        {key: _long(value) if key in ("metric", "corrected") else value for key, value in each.items()} for each in raw["columns"]
    ]
    beside = [_long(each) for each in raw.get("beside", ())]
    return TypeAdapter(Protocol).validate_python({"name": name, **raw, "columns": columns, "beside": beside})


def _long(metric: str | Mapping[str, Any]) -> Mapping[str, Any]:
    return {"name": metric} if isinstance(metric, str) else metric
