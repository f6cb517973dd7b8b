"""Run files as they are read back: in the shape in which they are written, or refused in one line that names file and field.

A file can be cut by a full disk, mended by hand, or come from a stranger. Nothing of it is used before all of it is checked: types (numbers are
no texts, nothing is NaN), places in lists, names of files, which stay inside their folder, and keys, which hash what they stand for.
"""

from __future__ import annotations

import json
import math
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bench.errors import RunError
from bench.store.record import SCHEMA, Record
from bench.suggest import kind_of

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from bench.plan import Plan

__all__ = ["MOST_BYTES", "Head", "check_regular", "flaw_of_plan", "flaw_of_record", "parsed_as", "read_as", "reason_of"]

T = TypeVar("T")
_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}

LONGEST_REASON = 300
MOST_BYTES = 2**30
"""A run of a million units has a plan of this size; what is larger is no file of a run."""
HEX = re.compile(r"[0-9a-f]{16,64}")
PICTURE = re.compile(r"[^./\\:\x00-\x1f][^/\\:\x00-\x1f]*\.png")
"""A PNG in the folder itself: no path, no hidden file."""


@dataclass(frozen=True)
class Head:
    """`manifest.json`: what of a manifest a run remembers; `ids` are those of all its samples."""

    name: str
    content_hash: str
    policy: dict[str, Any]
    ids: tuple[str, ...]
    about: str = ""
    """What was found beside what a whole copy of a published benchmark holds."""


def read_as(path: Path, shape: type[T], advice: str) -> T:
    """The content of a JSON file as `shape`, a dataclass or any type that pydantic knows; nothing is converted.

    Raises RunError with `advice` where it is absent, no regular file, too large, damaged or of another shape.
    """
    try:
        check_regular(path)
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({reason_of(error)}); {advice}") from error
    return parsed_as(path, data, shape, advice)


def parsed_as(path: Path, data: bytes, shape: type[T], advice: str) -> T:
    """JSON that stands in the file `path` as `shape`. Raises RunError as `read_as` does."""
    from pydantic import BaseModel, ValidationError

    from bench.spec.messages import one_line

    try:
        json.loads(data, parse_float=_finite, parse_constant=_refuse)
        content: T = _adapter(shape).validate_json(data, strict=True)
        return content
    except ValidationError as error:
        model: Any = shape if BaseModel in getattr(shape, "__mro__", ()) else BaseModel
        raise RunError(f"{one_line(error, model, str(path), {})}; {advice}") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read ({reason_of(error)}); {advice}") from error


def check_regular(path: Path, most: int = MOST_BYTES) -> None:
    """Raise OSError where a file is absent, ValueError where it is no regular file or larger than `most` bytes."""
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise ValueError("not a regular file")
    if about.st_size > most:
        raise ValueError(f"{about.st_size} bytes; a file of a run has {most} at most")


def reason_of(error: BaseException) -> str:
    """Why a file cannot be read, in a phrase."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:LONGEST_REASON] if isinstance(error, ValueError) else type(error).__name__


def flaw_of_plan(plan: Plan) -> str:
    """Why a plan that has the right shape is none; "" where it is sound."""
    return next(_flaws_of_plan(plan), "")


def flaw_of_record(record: Record, key: str) -> str:
    """Why a record that has the right shape is none of the unit `key`; "" where it is sound."""
    return next(_flaws_of_record(record, key), "")


def _flaws_of_plan(plan: Plan) -> Iterator[str]:
    """Only the first counts: what is looked at later relies on what was looked at before."""
    yield from (f"{name}: empty" for name in ("entries", "samples", "units") if not getattr(plan, name))
    for place, entry in enumerate(plan.entries):
        if not entry.values or list(entry.values) != sorted(set(entry.values)):
            yield f"entries[{place}].values: expected ascending knob values, got {kind_of(list(entry.values))}"
    for place, sample in enumerate(plan.samples):
        if not HEX.fullmatch(sample.digest):
            yield f"samples[{place}].digest: expected a digest, got {kind_of(sample.digest)}"
    for place, unit in enumerate(plan.units):
        if not (0 <= unit.entry < len(plan.entries) and 0 <= unit.sample < len(plan.samples)):
            yield f"units[{place}]: no entry {unit.entry} or no sample {unit.sample}"
        sample = plan.samples[unit.sample]
        if (unit.digest, unit.sample_id) != (sample.digest, sample.id) or not isinstance(unit.unit_seed, int):
            yield f"units[{place}].identity: not that of sample {sample.id!r} and seed {unit.seed}"
        if not unit.whole:
            yield f"units[{place}].key: {kind_of(unit.key)} is not the hash of its identity"


def _flaws_of_record(record: Record, key: str) -> Iterator[str]:
    if record.schema != SCHEMA:
        yield f"schema {record.schema}, this version reads {SCHEMA}"
    if record.key != key:
        yield f"key: that of unit {kind_of(record.key)}"
    if record.status == "failed" and not {"type", "message"} <= (record.reason or {}).keys():
        yield "reason: a failure has a type and a message"
    files = [edit.file for edit in record.edits] + list(record.pictures.values())
    yield from (f"{kind_of(file)} is no PNG of the unit's folder" for file in files if not PICTURE.fullmatch(file))
    if len(set(files)) < len(files):
        yield "two pictures share one file"
    made = [edit.value for edit in record.edits]
    wanted = record.identity.get("values", made) if record.status == "done" else made
    if sorted((*made, *record.absent)) != wanted or made != sorted(set(made)):
        yield "edits: not one for each knob value"
    costs = [*record.seconds.values(), record.unet_evaluations, record.peak_memory.get("mb", 0)]
    if not all(isinstance(cost, int | float) and not isinstance(cost, bool) and cost >= 0 for cost in costs):
        yield "costs: expected numbers of at least 0"


def _adapter(shape: Any) -> TypeAdapter[Any]:
    """What validates a shape; made once, since a run has thousands of records."""
    from pydantic import TypeAdapter

    if shape not in _ADAPTERS:
        _ADAPTERS[shape] = TypeAdapter(shape)
    return _ADAPTERS[shape]


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is no finite number")
    return number


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is no JSON")
