"""The plan of a run as a file: `plan.parquet`, a row per sample with its units, written and read part by part.

What is no table (the editors with what their units share, digests, commits) stands as JSON in the file's head. Runs that were made before
have `plan.json`, which is read as ever.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from itertools import groupby, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import RunError
from bench.plan import Entry, Plan, SampleInfo, Unit
from bench.plan.plan import OWN
from bench.store.files import appearing
from bench.store.shapes import MOST_BYTES, check_regular, parsed_as, read_as, reason_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read_plan", "write_plan"]

HEAD = b"etabench.plan"
SAMPLES_AT_A_TIME = 4096


@dataclass(frozen=True)
class PlanHead:
    """The plan without samples and units. `settings` are what the units of each entry share of their identities."""

    manifest_hash: str
    model: str
    resolution: int | None
    dtype: str
    first_seed: int
    entries: tuple[Entry, ...]
    settings: tuple[dict[str, Any], ...]
    hub: dict[str, str] = field(default_factory=dict)
    pins: dict[str, str] = field(default_factory=dict)

    def plan(self, samples: Sequence[SampleInfo], units: Sequence[Unit]) -> Plan:
        told = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "settings"}
        return Plan(**told, samples=tuple(samples), units=tuple(units))


@dataclass(frozen=True)
class UnitOfJson:
    """A unit as `plan.json` has it."""

    key: str
    entry: int
    sample: int
    seed: int
    identity: dict[str, Any]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlanOfJson:
    """`plan.json`."""

    manifest_hash: str
    model: str
    resolution: int | None
    dtype: str
    first_seed: int
    entries: tuple[Entry, ...]
    samples: tuple[SampleInfo, ...]
    units: tuple[UnitOfJson, ...]
    hub: dict[str, str] = field(default_factory=dict)
    pins: dict[str, str] = field(default_factory=dict)


def write_plan(path: Path, plan: Plan) -> None:
    """Write a plan, whose units are in the order of its samples, atomically."""
    import pyarrow.parquet as pq

    settings = {unit.entry: unit.settings for unit in plan.units}
    head = {each.name: getattr(plan, each.name, None) for each in fields(PlanHead)} | {
        "entries": [asdict(entry) for entry in plan.entries],
        "settings": [settings.get(number, {}) for number in range(len(plan.entries))],
    }
    schema = _schema().with_metadata({HEAD: json.dumps(head, allow_nan=False).encode()})
    of_samples = groupby(plan.units, lambda unit: unit.sample)
    following = next(of_samples, None)
    with appearing(path) as scratch, pq.ParquetWriter(scratch, schema, compression="zstd") as writer:
        for start in range(0, len(plan.samples), SAMPLES_AT_A_TIME):
            samples = plan.samples[start : start + SAMPLES_AT_A_TIME]
            units: list[list[Unit]] = []
            for place in range(start, start + len(samples)):
                mine: list[Unit] = []
                if following is not None and following[0] == place:
                    mine, following = list(following[1]), next(of_samples, None)
                units.append(mine)
            writer.write_table(_table(samples, units, schema))


def read_plan(path: Path, advice: str) -> Plan:
    """The plan in a file, `plan.parquet` or `plan.json`, whatever it says. Raises RunError with `advice` where it cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix == ".json":
        return _from_json(read_as(path, PlanOfJson, advice))
    samples, units = list[SampleInfo](), list[Unit]()
    try:
        check_regular(path)
        with pq.ParquetFile(path) as file:
            head = _head(path, file, advice)
            for batch in file.iter_batches(SAMPLES_AT_A_TIME):
                units += _units(batch, len(samples), head)
                rows = batch.drop_columns("units").to_pylist()
                samples += (SampleInfo(**row | {"provenance": dict(row["provenance"])}) for row in rows)
    except (OSError, ValueError, RecursionError, pa.ArrowException) as error:
        raise RunError(f"{path} cannot be read ({reason_of(error)}); {advice}") from error
    return head.plan(samples, units)


@cache
def _schema() -> pa.Schema:
    import pyarrow as pa

    text, number = pa.string(), pa.int64()
    unit = [("key", text), ("entry", pa.int32()), ("seed", number), ("unit_seed", number), ("extra", text)]
    of_a_unit = [pa.field(name, kind, name == "extra") for name, kind in (*unit, ("missing", pa.list_(text)))]
    texts = ("id", "digest", "source_id", "target_text")
    kinds = {each.name: pa.string() for each in fields(SampleInfo)} | {
        "row": number,
        "has_mask": pa.bool_(),
        "has_truth": pa.bool_(),
    }
    kinds |= {"provenance": pa.map_(text, text), "units": pa.list_(pa.struct(of_a_unit))}
    return pa.schema([pa.field(name, kind, kind == text and name not in texts) for name, kind in kinds.items()])


def _table(samples: Sequence[SampleInfo], units: Sequence[Sequence[Unit]], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    flat = [unit for each in units for unit in each]
    ends = [0]
    for each in units:
        ends.append(ends[-1] + len(each))
    columns = {
        "key": [unit.key for unit in flat],
        "entry": [unit.entry for unit in flat],
        "seed": [unit.seed for unit in flat],
        "unit_seed": [unit.unit_seed for unit in flat],
        "extra": [json.dumps(unit.extra) if unit.extra else None for unit in flat],
        "missing": [list(unit.missing) for unit in flat],
    }
    kind = schema.field("units").type
    parts = [pa.array(columns[each.name], each.type) for each in kind.value_type]
    of_samples = pa.ListArray.from_arrays(
        pa.array(ends, pa.int32()), pa.StructArray.from_arrays(parts, fields=list(kind.value_type)), type=kind
    )
    own = [
        pa.array(
            [list(sample.provenance.items()) if each.name == "provenance" else getattr(sample, each.name) for sample in samples],
            each.type,
        )
        for each in schema
        if each.name != "units"
    ]
    return pa.Table.from_arrays([*own, of_samples], schema=schema)


def _head(path: Path, file: Any, advice: str) -> PlanHead:
    """The head of a plan's file, once it is one. Raises ValueError and RunError."""
    schema, about = file.schema_arrow, file.metadata
    if not schema.remove_metadata().equals(_schema()) or HEAD not in (schema.metadata or {}):
        raise ValueError("it is no plan of this version")
    if (size := sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))) > MOST_BYTES:
        raise ValueError(f"{size} bytes; a file of a run has {MOST_BYTES} at most")
    head = parsed_as(path, schema.metadata[HEAD], PlanHead, advice)
    if len(head.settings) != len(head.entries):
        raise ValueError("settings: not one for each entry")
    return head


def _units(batch: pa.RecordBatch, first: int, head: PlanHead) -> Iterator[Unit]:
    """The units of samples, the first of which is sample `first` of the plan. Raises ValueError."""
    lists = batch.column("units")
    found = lists.flatten()
    columns = (found.field(name).to_pylist() for name in ("key", "entry", "seed", "unit_seed", "extra", "missing"))
    digests, names = batch.column("digest").to_pylist(), batch.column("id").to_pylist()
    places = (place for place, many in enumerate(lists.value_lengths().to_pylist()) for _ in repeat(None, many))
    for place, key, entry, seed, unit_seed, extra, missing in zip(places, *columns, strict=True):
        if not 0 <= entry < len(head.entries):
            raise ValueError(f"unit {key}: no entry {entry}")
        more = json.loads(extra) if extra else {}
        if not isinstance(more, dict):
            raise ValueError(f"unit {key}: extra: expected a mapping")
        own = (digests[place], names[place], seed, unit_seed)
        yield Unit(key, entry, first + place, *own, head.settings[entry], more, tuple(missing))


def _from_json(plan: PlanOfJson) -> Plan:
    units, settings = list[Unit](), dict[int, dict[str, Any]]()
    for unit in plan.units:
        shared = {name: value for name, value in unit.identity.items() if name not in (*OWN, "real", "before")}
        extra = {name: value for name, value in unit.identity.items() if name in ("real", "before")}
        if settings.setdefault(unit.entry, shared) == shared:
            shared = settings[unit.entry]
        own: list[Any] = [unit.identity.get(name) for name in OWN]
        units.append(Unit(unit.key, unit.entry, unit.sample, own[0], own[1], own[2], own[3], shared, extra, unit.missing))
    told = {each.name: getattr(plan, each.name) for each in fields(plan)} | {"units": tuple(units)}
    return Plan(**told)
