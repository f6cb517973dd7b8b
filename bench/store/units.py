"""The units of a run that have a record, each in a folder of its own (`units/<key>/`) or packed into a shard (`bench.store.shards`)."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from bench.errors import RunError
from bench.store.files import TEMPORARY, own, remove_folder, write_flushed
from bench.store.record import Record
from bench.store.shapes import flaw_of_record, parsed_as, read_as
from bench.store.shards import Shards

__all__ = ["Units"]


class Units:
    """The units in the run folder `run`. Of a unit in both forms the folder counts, if its record is sound."""

    def __init__(self, run: Path) -> None:
        self.run, self.folder, self.shards = run, run / "units", Shards(run)

    def loose(self) -> Iterator[str]:
        """The units that have a folder."""
        if self.folder.is_dir():
            with os.scandir(self.folder) as found:
                yield from (entry.name for entry in found if not entry.name.startswith("."))

    def keys(self) -> set[str]:
        """The units that have a folder or are packed."""
        return {*self.loose(), *self.shards.keys()}

    def record(self, key: str) -> Record | None:
        """The record of a unit, or None while it has none, or an unsound one."""
        if (found := self.loose_record(key)) is not None or (data := self.shards.record(key)) is None:
            return found
        with suppress(RunError):
            found = parsed_as(self.shards.folder, data, Record, "")
        return found if found is not None and not flaw_of_record(found, key) else None

    def loose_record(self, key: str) -> Record | None:
        """The sound record in a unit's folder."""
        file = self.folder / key / "record.json"
        if not os.path.lexists(file):
            return None
        try:
            record = read_as(file, Record, "")
        except RunError:
            return None
        return None if flaw_of_record(record, key) else record

    def read(self, key: str, name: str) -> bytes:
        """A file of a unit. Raises OSError where it cannot be read, RunError where it leads out of the run."""
        from editors.toolbox.files import MOST_BYTES, read_regular

        try:
            return read_regular(own(self.run, self.folder / key / name), MOST_BYTES)
        except FileNotFoundError:
            if (data := self.shards.file(key, name)) is None:
                raise
            return data

    def has(self, key: str, name: str) -> bool:
        """Whether a unit has the file."""
        return (self.folder / key / name).is_file() or self.shards.file(key, name) is not None

    def where(self, key: str, name: str) -> Path:
        """What to call a file of a unit: its path, or the shard that it is in."""
        path = self.folder / key / name
        place = None if os.path.lexists(path) else self.shards.place(key)
        return path if place is None else self.shards.path(place.shard)

    def remedy(self, where: Path) -> str:
        """What to do about a file of a unit that is not what it should be."""
        return "run again" if where.parent == self.shards.folder else f"delete {where.parent} and run again"

    def stamp(self, key: str) -> str:
        """What changes when the record of a unit does, or where it is: "" where it has none."""
        try:
            return str((self.folder / key / "record.json").stat().st_mtime_ns)
        except OSError:
            place = self.shards.place(key)
            return "" if place is None else f"{place.shard} {place.group} {place.first}"

    def path(self, key: str, name: str) -> Path:
        """The path of a file of a unit, for who needs one; of a packed unit that of a copy below `unpacked/`, made if need be."""
        from editors.toolbox.files import write_whole

        path = self.folder / key / name
        if os.path.lexists(path) or (data := self.shards.file(key, name)) is None:
            return path
        copy = own(self.run, self.run / "unpacked" / key / name)
        if not copy.is_file() or copy.read_bytes() != data:
            write_whole(copy, data)
        return copy

    def commit(self, record: Record, files: Mapping[str, bytes], known: Callable[[], bool]) -> bool:
        """Write a unit's folder (record and `files` by name), rename it into place unless the unit is `known` by then, and whether it was.

        A picture that is the run's copy of the sample, as the edit of an anchor is, becomes a link to it where the file system has links.
        """
        scratch = self.folder / f"{TEMPORARY}{record.key}-{uuid.uuid4().hex[:8]}"
        try:
            scratch.mkdir(parents=True)
            copies = self._copies(record)
            for name, data in files.items():
                if not _linked(scratch / name, data, copies):
                    write_flushed(scratch / name, data)
            write_flushed(scratch / "record.json", record.encoded())
            if known():
                return False
            self.discard(record.key)
            scratch.rename(self.folder / record.key)
        except OSError as error:
            if not known():
                raise RunError(f"could not write unit {record.key} to {self.folder}: {error}") from error
            return False
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return True

    def discard(self, *keys: str) -> None:
        """Forget units, whichever form they have."""
        for key in keys:
            remove_folder(self.folder / key)
        self.shards.drop(keys)

    def _copies(self, record: Record) -> list[tuple[int, Path]]:
        """The run's copies of the unit's sample, with their sizes."""
        digest = record.identity.get("sample")
        if not isinstance(digest, str) or not digest.isalnum():
            return []
        with suppress(OSError), os.scandir(self.run / "samples" / digest[:24]) as found:
            return [(entry.stat().st_size, Path(entry.path)) for entry in found if entry.name in ("source.png", "truth.png")]
        return []


def _linked(path: Path, data: bytes, copies: list[tuple[int, Path]]) -> bool:
    """Whether one of the copies holds the data, and `path` is now another name of it."""
    for size, copy in copies:
        with suppress(OSError):
            if size == len(data) and copy.read_bytes() == data:
                os.link(copy, path)
                return True
    return False
