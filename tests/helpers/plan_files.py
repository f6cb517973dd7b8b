"""Plans' files, taken apart and put together as who mends or forges one would."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.plan import Plan
from bench.store.plans import HEAD

__all__ = ["as_json", "changed_plan", "content_of"]


def content_of(data: bytes) -> dict[str, Any]:
    """What stands in `plan.parquet`: its head, and `samples` with their `units`."""
    table = pq.read_table(io.BytesIO(data))
    return json.loads(table.schema.metadata[HEAD]) | {"samples": table.to_pylist()}


def changed_plan(data: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """The file with another content; `change` changes it, or gives another."""
    schema, content, buffer = pq.read_schema(io.BytesIO(data)), content_of(data), io.BytesIO()
    content = change(content) or content
    samples = content.pop("samples")
    pq.write_table(pa.Table.from_pylist(samples, schema.with_metadata({HEAD: json.dumps(content).encode()})), buffer)
    return buffer.getvalue()


def as_json(plan: Plan) -> bytes:
    """The plan as runs of before have it: `plan.json`."""
    names = ("key", "entry", "sample", "seed", "identity", "missing")
    units = [{name: getattr(unit, name) for name in names} for unit in plan.units]
    parts = {"entries": [asdict(entry) for entry in plan.entries], "samples": [asdict(sample) for sample in plan.samples]}
    return json.dumps(vars(plan) | parts | {"units": units}).encode()
