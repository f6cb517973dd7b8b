"""Finished units move from their folders into shards, while workers may be at work.

A shard is written under a temporary name, flushed and renamed; then its index; then the folders of its units go. Killed in between, a run
has some units in both forms, of which readers take one, and the next packing removes the folders. Nothing is in neither.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.errors import RunError
from bench.progress import Advance
from bench.store.files import appearing, flush_folder, remove_folder
from bench.store.record import Record
from bench.store.shards import Place, schema, write_index

if TYPE_CHECKING:
    from bench.store.run import Run
    from bench.store.units import Units

__all__ = ["Packing", "pack_units", "packing_along"]

SHARD_BYTES = 512 << 20
"""Pictures of a shard, about."""
GROUP_BYTES, GROUP_ROWS = 4 << 20, 128
"""Of a row group, which is what a reader of one picture reads; a unit lies in one."""


@dataclass
class Packing:
    """What was packed: units, shards and bytes of pictures; and units that were `left` in their folders since these do not hold what
    their records say."""

    units: int = 0
    shards: int = 0
    bytes: int = 0
    left: int = 0

    def __str__(self) -> str:
        left = f"; {self.left} stay as they are, their pictures differ from their records" if self.left else ""
        return f"{self.units} finished units were packed into {self.shards} shards of {self.bytes / 1e6:.0f} MB{left}"


@dataclass
class _Group:
    """The row group that is being filled."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    bytes: int = 0


def packing_along(run: Run, most: int, advance: Advance) -> Advance:
    """`advance` for units that are finished, which also packs them whenever more than `most` folders of units lie there; never for 0."""
    most = 0 if run.mirror is not None else most
    loose = sum(1 for _ in run.kept.loose()) if most else 0

    def advanced(steps: int = 1, note: str = "") -> None:
        nonlocal loose
        advance(steps, note)
        loose += steps
        if most and loose > most:
            loose = 0  # what cannot be packed, as failed units, is not tried again with every unit
            try:
                advance(0, str(pack_units(run, patience=0.0)))
            except RunError as error:  # another command packs, or the disk is full: the units are where they were
                advance(0, str(error))

    return advanced


def pack_units(run: Run, *, patience: float = 60.0) -> Packing:
    """Move the units that are done into shards, in the plan's order, those of no plan after them.

    Raises RunError where the run is at a URL, where another command packs for longer than `patience` seconds, or the disk is full: what is
    packed stays packed, and the rest where it is.
    """
    if run.mirror is not None:
        raise RunError(f"{run.name} is at a URL, where units are not packed; a run in a folder can be")
    packed, kept = Packing(), run.kept
    with kept.shards.locked(patience):
        loose = set(kept.loose())
        planned = [key for key in dict.fromkeys(unit.key for unit in run.plan.units) if key in loose]
        units = _whole_units(kept, [*planned, *sorted(loose.difference(planned))], packed)
        try:
            while _write_shard(kept, units, packed):
                pass
        except OSError as error:
            where = kept.shards.folder
            raise RunError(f"could not write to {where}: {error}; units that are not packed stay where they are") from error
    return packed


def _whole_units(kept: Units, keys: Iterable[str], packed: Packing) -> Iterator[tuple[Record, dict[str, bytes]]]:
    """The units that are done with the content of their files, as it was committed. What is packed already is only removed."""
    for key in keys:
        record = kept.loose_record(key)
        if record is None or record.status != "done":
            continue
        files = _files(kept, record)
        if files is None:
            packed.left += 1
        elif _is_packed(kept, record, files):
            remove_folder(kept.folder / key)
        else:
            yield record, files


def _files(kept: Units, record: Record) -> dict[str, bytes] | None:
    """The pictures of a unit by name; None where one is gone or no longer what it was, or the folder holds what no record names."""
    digests = {edit.file: edit.sha256 for edit in record.edits}
    found: dict[str, bytes] = {}
    try:
        for name in (*digests, *record.pictures.values()):
            found[name] = kept.read(record.key, name)
            if name in digests and hashlib.sha256(found[name]).hexdigest() != digests[name]:
                return None
        there = {path.name for path in (kept.folder / record.key).iterdir()}
    except (OSError, RunError):
        return None
    return found if there == {*found, "record.json"} else None


def _is_packed(kept: Units, record: Record, files: dict[str, bytes]) -> bool:
    key, shards = record.key, kept.shards
    return shards.record(key) == record.encoded() and all(shards.file(key, name) == data for name, data in files.items())


def _write_shard(kept: Units, units: Iterator[tuple[Record, dict[str, bytes]]], packed: Packing) -> bool:
    """Write the next shard and remove the folders of its units; whether there was anything to write."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = next(units, None)
    if first is None:
        return False
    number = max(kept.shards.numbers(), default=0) + 1
    path, places, total = kept.shards.path(number), dict[str, Place](), 0
    group, groups = _Group(), 0

    def flush() -> None:
        nonlocal group, groups
        writer.write_table(pa.Table.from_pylist(group.rows, schema()), row_group_size=len(group.rows))
        group, groups = _Group(), groups + 1

    plain = {name: "zstd" for name in schema().names if name != "image"} | {"image.bytes": "none", "image.path": "zstd"}
    with (
        appearing(path) as scratch,
        pq.ParquetWriter(
            scratch,
            schema(),
            compression=plain,
            dictionary_pagesize_limit=2 * GROUP_BYTES,  # equal pictures of a group are stored once
            write_page_checksum=True,
        ) as writer,
    ):
        following: tuple[Record, dict[str, bytes]] | None = first
        while following is not None:
            record, files = following
            rows = list(_rows(record, files))
            size = sum(map(len, files.values()))
            if group.rows and (group.bytes + size > GROUP_BYTES or len(group.rows) + len(rows) > GROUP_ROWS):
                flush()
            places[record.key] = Place(number, groups, len(group.rows), len(rows))
            group.rows += rows
            group.bytes += size
            total += size
            following = next(units, None) if total < SHARD_BYTES else None
        flush()
    flush_folder(path.parent)
    write_index(path, places)
    for key in places:
        remove_folder(kept.folder / key)
    packed.units, packed.shards, packed.bytes = packed.units + len(places), packed.shards + 1, packed.bytes + total
    return True


def _rows(record: Record, files: dict[str, bytes]) -> Iterator[dict[str, Any]]:
    """A row per file, and one of a unit without any."""
    values = {edit.file: edit.value for edit in record.edits}
    text: str | None = record.encoded().decode()
    identity = json.loads(text or "")["identity"]  # as it is written: without half of a surrogate pair
    told = {"unit": record.key} | {
        name: identity[name] for name in ("sample_id", "editor") if isinstance(identity.get(name), str)
    }
    told |= {"seed": seed} if type(seed := identity.get("seed")) is int and seed in range(2**63) else {}
    for name in files or (None,):
        image = None if name is None else {"bytes": files[name], "path": f"{record.key}/{name}"}
        yield told | {"file": name, "value": values.get(name) if name else None, "image": image, "record": text}
        text = None
