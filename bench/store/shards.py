"""Packed units: finished units of a run in a few large files that are never written to again, instead of a folder each.

    shards/000001.parquet   a row per picture, the rows of a unit together, its record in the first; `datasets` shows `image` as pictures
    shards/000001.index     which units of it count, and where their rows are; made anew from the shard where it is gone

A unit is taken from its folder where it has one, else from the last shard that has it. Shards are written by `bench.store.packing`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, KeysView, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import RunError
from bench.store.files import appearing, flush_folder, own
from bench.store.shapes import MOST_BYTES, check_regular

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Place", "Shards", "read_index", "schema", "write_index"]

SUFFIX, INDEX = ".parquet", ".index"
GROUPS_KEPT = 8
"""Row groups in memory: readers come in the plan's order, in which units are packed."""
MOST_BYTES_OF_A_SHARD = 2**40
SETTLED_NS = 2 * 10**9
"""Age from which on a folder's time tells every change, on file systems that count whole seconds too."""
LOCK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a unit's rows are: the shard's number, the row group, the first row in it, and how many they are."""

    shard: int
    group: int
    first: int
    rows: int


class Shards:
    """The packed units of a run. Other processes may pack and drop units at any time; whoever looks sees it."""

    def __init__(self, run: Path) -> None:
        self._run, self.folder = run, run / "shards"
        self._seen: int | None = None
        self._indices: dict[int, tuple[int, dict[str, Place]]] = {}
        """Shard to the time of its index and what it says."""
        self._places: dict[str, Place] = {}
        self._metadata: dict[int, Any] = {}
        self._group = lru_cache(maxsize=GROUPS_KEPT)(self._read_group)

    def keys(self) -> KeysView[str]:
        """The packed units."""
        self._look()
        return self._places.keys()

    def place(self, key: str) -> Place | None:
        """Where a unit is, if it is packed."""
        self._look()
        return self._places.get(key)

    def path(self, number: int) -> Path:
        """The shard of this number."""
        return self.folder / f"{number:06d}{SUFFIX}"

    def numbers(self) -> list[int]:
        """The shards that there are, in the order in which they were written."""
        found = self.folder.glob(f"[0-9]*{SUFFIX}")
        return sorted(int(path.stem) for path in found if path.stem.isdecimal())

    def record(self, key: str) -> bytes | None:
        """The record of a packed unit; None where it is not packed, or its shard is damaged."""
        place = self.place(key)
        rows = self._rows(place, "unit", "record") if place else ()
        return rows[0]["record"].encode() if rows and rows[0]["unit"] == key and rows[0]["record"] is not None else None

    def file(self, key: str, name: str) -> bytes | None:
        """A picture of a packed unit by its file name; None where there is none, or its shard is damaged."""
        place = self.place(key)
        rows = self._rows(place, "unit", "file", "image") if place else ()
        found = next((row["image"] for row in rows if (row["unit"], row["file"]) == (key, name)), None)
        return found["bytes"] if found else None

    def drop(self, keys: Iterable[str]) -> None:
        """Count packed units as not there from now on."""
        wanted = set(keys)
        if wanted.isdisjoint(self.keys()):
            return
        with self.locked(LOCK_SECONDS):
            self._look()
            for number, (_, places) in list(self._indices.items()):
                if not wanted.isdisjoint(places):
                    write_index(self.path(number), {key: place for key, place in places.items() if key not in wanted})
        self._seen = None

    @contextmanager
    def locked(self, seconds: float) -> Iterator[None]:
        """Keep the shards to oneself while the block runs. The lock is the system's: whoever dies gives it back.

        Raises RunError where another process keeps it for so long.
        """
        from filelock import FileLock, Timeout

        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=seconds)
        except Timeout:
            raise RunError(f"{self.folder} is being written to by another command; wait for it") from None
        try:
            yield
        finally:
            lock.release()

    def _look(self) -> None:
        """Read what is new; nothing is where the folder has not changed."""
        try:
            changed = self.folder.stat().st_mtime_ns
        except FileNotFoundError:
            self._indices, self._places = {}, {}
            return
        if changed == self._seen:
            return
        settled = time.time_ns() - changed > SETTLED_NS
        known, found = self._indices, dict[int, tuple[int, dict[str, Place]]]()
        for number in self.numbers():
            path = own(self._run, own(self._run, self.path(number)).with_suffix(INDEX))
            written = path.stat().st_mtime_ns if path.is_file() else 0
            same = number in known and known[number][0] == written
            found[number] = known[number] if same else (written, read_index(self.path(number), number))
        if any(found[number] is not known.get(number) for number in found) or found.keys() != known.keys():
            self._indices, self._places = found, {key: place for _, each in found.values() for key, place in each.items()}
        self._seen = changed if settled else None

    def _rows(self, place: Place, *columns: str) -> list[dict[str, Any]]:
        """The rows of a unit; none where the shard is gone or damaged."""
        table = self._group(place.shard, place.group, columns)
        return [] if table is None else table.slice(place.first, place.rows).to_pylist()

    def _read_group(self, number: int, group: int, columns: Sequence[str]) -> pa.Table | None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.path(number)
        try:
            if number not in self._metadata:
                self._metadata[number] = _checked_metadata(path)
            if self._metadata[number].row_group(group).total_byte_size > MOST_BYTES:
                return None
            with pq.ParquetFile(path, metadata=self._metadata[number], page_checksum_verification=True) as file:
                return file.read_row_group(group, columns=list(columns))
        except (OSError, ValueError, IndexError, pa.ArrowException):
            return None


@cache
def schema() -> pa.Schema:
    """Columns of a shard. What is not nullable is in every row."""
    import pyarrow as pa

    image = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
    kinds = {"unit": "string", "sample_id": "string", "editor": "string", "seed": "int64", "value": "float64", "file": "string"}
    columns = [pa.field(name, getattr(pa, kind)(), name != "unit") for name, kind in kinds.items()]
    shown = {name: {"dtype": kind, "_type": "Value"} for name, kind in (kinds | {"record": "string"}).items()}
    features = {"info": {"features": shown | {"image": {"_type": "Image"}}}}
    about = {b"huggingface": json.dumps(features).encode()}
    return pa.schema([*columns, pa.field("image", image), pa.field("record", pa.string())], about)


@cache
def _index_schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema({"unit": pa.string()} | dict.fromkeys(("group", "first", "rows"), pa.int32()))


def write_index(shard: Path, places: dict[str, Place]) -> None:
    """Write, atomically, which units of a shard count."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = [[getattr(place, name) for place in places.values()] for name in ("group", "first", "rows")]
    table = pa.table([list(places), *parts], schema=_index_schema())
    with appearing(shard.with_suffix(INDEX)) as scratch:
        pq.write_table(table, scratch)
    flush_folder(shard.parent)


def read_index(shard: Path, number: int) -> dict[str, Place]:
    """The units of a shard that count; all that it holds where its index is gone or damaged, none where it is damaged itself."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    index = shard.with_suffix(INDEX)
    try:
        if index.is_file():
            table = pq.read_table(index)
            if table.schema.equals(_index_schema()):
                columns = [table.column(name).to_pylist() for name in table.column_names]
                return {key: Place(number, *numbers) for key, *numbers in zip(*columns, strict=True) if min(numbers) >= 0}
    except (OSError, ValueError, pa.ArrowException):
        pass
    try:
        found: dict[str, list[int]] = {}
        with pq.ParquetFile(shard, metadata=_checked_metadata(shard)) as file:
            for group in range(file.num_row_groups):
                for row, key in enumerate(file.read_row_group(group, columns=["unit"]).column("unit").to_pylist()):
                    found.setdefault(key, [group, row, 0])[2] += 1
        return {key: Place(number, *numbers) for key, numbers in found.items()}
    except (OSError, ValueError, pa.ArrowException):
        return {}


def _checked_metadata(shard: Path) -> Any:
    """The head of a shard. Raises ValueError for another table."""
    import pyarrow.parquet as pq

    check_regular(shard, MOST_BYTES_OF_A_SHARD)
    found = pq.read_metadata(shard)
    if not found.schema.to_arrow_schema().remove_metadata().equals(schema().remove_metadata()):
        raise ValueError("it is no shard of this version")
    return found
