"""A run at a URL, and the folder of this machine that stands for it: what was made here is sent there whole, what others made is brought.

There a run has the files of a run folder, and beside them

    finished/<key>-<digest>-<status>    that a unit has the record with this SHA-256 (its first 16 hex): one short listing tells what is done

A unit is written here first. Its pictures are sent, then its record, and last its mark; a kill between leaves a unit that is not there yet,
and the folder here still has it. It is taken away in the opposite order. Claims are objects, created only where there is none.

Here `.mirror/` says what is known to be there: `.mirror/units/<key>` of a unit, `.mirror/files.json` of other files.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.store.claims import LEASE_SECONDS
from bench.store.files import TEMPORARY, remove_folder, write_atomically
from bench.store.notes import ObjectFolder
from bench.store.objects import Objects, url_of
from bench.store.shared_files import SharedFiles

if TYPE_CHECKING:
    from bench.store.record import Record

__all__ = ["Mark", "Mirror", "mirror_of"]

SECONDS_OF_A_LOOK = 2.0
LOOKS = 20
"""How many times as long as a listing takes passes to the next, so that looking costs one part in so many of any run."""
SECONDS_BETWEEN_PROBES = 2.0
AT_A_TIME, PICTURES_OF = 1000, 16
"""Units whose records, or pictures, are brought together."""
RECORD = "record.json"
URL_FILE = ".mirror/url"


@dataclass(frozen=True)
class Mark:
    """That a unit has a record there: the beginning of its SHA-256, its status, and when it was sent (s, the store's clock)."""

    digest: str
    status: str
    modified: float


def mirror_of(place: Path | str) -> Mirror | None:
    """The mirror of the run at a place that is a URL, or the folder of this machine for one; None for any other folder."""
    if (url := url_of(place)) is not None:
        return Mirror(url, scratch_of(url))
    try:
        url = (Path(place) / URL_FILE).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    ours = url_of(url) == url and scratch_of(url).resolve() == Path(place).resolve()  # a folder from elsewhere leads nowhere
    return Mirror(url, Path(place)) if ours else None


def scratch_of(url: str) -> Path:
    """The folder of this machine for the run at a URL: below `$ETABENCH_SCRATCH`, else in the user's cache."""
    from editors.toolbox.files import cache_folder

    name = f"{url.rpartition('/')[2] or 'run'}-{hashlib.sha256(url.encode()).hexdigest()[:16]}"
    given = os.environ.get("ETABENCH_SCRATCH")
    return Path(given).expanduser() / name if given else cache_folder("runs") / name


class Mirror:
    """The run at `url` as far as `folder` has it. Methods raise RunError where the store refuses or cannot be reached."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.objects = Objects(url)
        self.files = SharedFiles(self.objects, folder)
        self.claims, self.holders = ObjectFolder(self.objects, "claims"), ObjectFolder(self.objects, "holders")
        self._units, self._known = folder / "units", folder / ".mirror"
        self._marks: dict[str, Mark] = {}
        self._next_look = self._next_probe = 0.0

    def remember(self) -> None:
        """Let the folder say what it stands for."""
        write_atomically(self.folder / URL_FILE, self.url.encode())

    def marks(self, *, anew: bool = False) -> Mapping[str, Mark]:
        """What is finished there, as it is, or unless `anew` was a moment ago at most.

        What this folder has of a unit goes where that was taken away there, or another was sent first.
        """
        begun = time.monotonic()
        if begun < self._next_look and not anew:
            return self._marks
        noted = {path.name for path in os.scandir(self._known / "units")} if (self._known / "units").is_dir() else set()
        found: dict[str, Mark] = {}
        for name, about in sorted(self.objects.listing("finished").items(), key=lambda item: item[1].modified):
            parts = name.rpartition("/")[2].split("-")
            if len(parts) == 3:
                found.setdefault(parts[0], Mark(parts[1], parts[2], about.modified))
        for key in noted - found.keys():
            self._forget(key)
        changed = [key for key, mark in found.items() if key not in self._marks or self._marks[key].digest != mark.digest]
        for key in changed:
            if self._digest(key) not in (None, found[key].digest):
                self._forget(key)
        self._marks = found
        self._next_look = time.monotonic() + max(SECONDS_OF_A_LOOK, LOOKS * (time.monotonic() - begun))
        return found

    def busy(self, key: str) -> bool:
        """Whether it is not worth while to try to claim a unit: it was claimed a moment ago. Now and then one is tried for all that, as its
        holder may be dead; of a fleet somebody soon finds that out, though nobody reads the claims of all others.
        """
        now = time.monotonic()
        if abs(self.claims.ages().get(key, math.inf)) > LEASE_SECONDS:
            return False
        if now < self._next_probe:
            return True
        self._next_probe = now + SECONDS_BETWEEN_PROBES
        return False

    def noted(self, key: str) -> bool:
        """Whether there was a claim, void or not, a moment ago."""
        return key in self.claims.ages()

    def give(self, record: Record) -> None:
        """Send a unit of the folder; where another was sent first, that one stands and this one goes."""
        key = record.key
        files = {path.name: path.read_bytes() for path in (self._units / key).iterdir() if not path.name.startswith(TEMPORARY)}
        mine, theirs = files.pop(RECORD), self._record(key)
        if theirs is None:
            self.objects.put({f"units/{key}/{name}": data for name, data in files.items()})
            self.objects.put({f"units/{key}/{RECORD}": mine})
        elif theirs != mine:
            self._forget(key)
            return
        self.mark(record)

    def mark(self, record: Record) -> None:
        """Say there that a unit is finished, whose record is there and here."""
        digest = self._digest(record.key)
        if digest is not None:
            mark = Mark(digest, record.status, self.objects.now())
            self.objects.put({f"finished/{record.key}-{mark.digest}-{mark.status}": b""})
            self._marks[record.key] = mark
            self._note(record.key)

    def adopt(self, key: str) -> bool:
        """Bring the record of a unit that has no mark, since its sender died between the two, and whether there was one."""
        data = self._record(key)
        if data is not None and self._digest(key) != _sha(data):
            self._forget(key)
            write_atomically(self._units / key / RECORD, data)
        return data is not None

    def unsent(self, keys: Iterable[str]) -> Iterator[str]:
        """Those of `keys` that this folder finished and could not send."""
        marks = self.marks(anew=True)
        yield from (key for key in keys if key not in marks and (self._units / key / RECORD).is_file())

    def fetch(self, keys: Iterable[str]) -> None:
        """Bring the records of those of `keys` that have one there and none here; their pictures stay where they are."""
        lacking = [key for key in keys if not (self._units / key / RECORD).is_file()]
        marks = self.marks() if lacking else {}
        lacking = [key for key in lacking if key in marks]
        for start in range(0, len(lacking), AT_A_TIME):
            part = lacking[start : start + AT_A_TIME]
            found = self.objects.get(f"units/{key}/{RECORD}" for key in part)
            for key in part:
                data = found.get(f"units/{key}/{RECORD}", b"")
                if _sha(data) == marks[key].digest:
                    write_atomically(self._units / key / RECORD, data)
                    self._note(key)
                else:
                    self._doubt(key, marks[key])

    def _doubt(self, key: str, mark: Mark) -> None:
        """Take away a unit whose record is gone or is not the one of its mark, unless it was taken away or made anew meanwhile."""
        if self.marks(anew=True).get(key) == mark and _sha(self._record(key) or b"") != mark.digest:
            self.discard(key)

    def bring(self, records: Iterable[Record]) -> None:
        """Bring the pictures of units that have none here. One that is gone there is an empty file here, which differs from its record."""
        lacking = [record for record in records if not self.has_pictures(record)]
        for start in range(0, len(lacking), PICTURES_OF):
            part = lacking[start : start + PICTURES_OF]
            names = [f"units/{record.key}/{file}" for record in part for file in _pictures(record)]
            found = self.objects.get(names)
            for name in names:
                write_atomically(self.folder / name, found.get(name, b""))

    def has_pictures(self, record: Record) -> bool:
        """Whether the pictures of a unit are here, be they what they were or not."""
        return all((self._units / record.key / file).is_file() for file in _pictures(record))

    def discard(self, key: str) -> None:
        """Take a unit away there and here: its mark first, then its record, then its pictures."""
        if (mark := self.marks(anew=key not in self._marks).get(key)) is not None:
            del self._marks[key]
            self.objects.delete([f"finished/{key}-{mark.digest}-{mark.status}"])
        self.objects.delete([f"units/{key}/{RECORD}"])
        self.objects.delete(self.objects.listing(f"units/{key}"))
        self._forget(key)

    def _record(self, key: str) -> bytes | None:
        name = f"units/{key}/{RECORD}"
        return self.objects.get([name]).get(name)

    def _note(self, key: str) -> None:
        """Know that a unit is there."""
        (self._known / "units").mkdir(parents=True, exist_ok=True)
        (self._known / "units" / key).touch()

    def _digest(self, key: str) -> str | None:
        try:
            return _sha((self._units / key / RECORD).read_bytes())
        except OSError:
            return None

    def _forget(self, key: str) -> None:
        """Let the folder have no such unit."""
        remove_folder(self._units / key)
        (self._known / "units" / key).unlink(missing_ok=True)


def _pictures(record: Record) -> list[str]:
    return [*(edit.file for edit in record.edits), *record.pictures.values()]


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
