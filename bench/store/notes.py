"""Where the notes of claims lie: files of a folder, or objects of a store. Both are created exclusively, kept fresh, read, and taken away."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bench.errors import RunError
from bench.store.files import create_file
from bench.store.objects import Found, Objects

__all__ = ["VOID", "FileNote", "Folder", "Note", "ObjectFolder", "ObjectNote", "Place", "note_at", "notes_in"]

VOID = ".void-"
"""How the names begin of what is taken away in one step and deleted in another."""
MOST_BYTES = 1 << 16
SECONDS_OF_A_LOOK = 2.0
LOOKS = 20
"""How many times as long as a listing of a store takes passes to the next."""


class Note(ABC):
    """One note, there or not. `name` is that of what is claimed."""

    name: str

    @abstractmethod
    def read(self) -> tuple[bytes, float] | None:
        """The content, empty where it is none of ours, and how many seconds ago it was written or refreshed; None where there is none."""

    @abstractmethod
    def create(self, content: bytes) -> bool:
        """Write it where there is none, and whether there was none. Raises OSError or RunError where it cannot be written."""

    @abstractmethod
    def refresh(self, content: bytes) -> None:
        """Say that the one with this content is still meant; nothing happens where it is gone, another's is left as it is or is refreshed."""

    @abstractmethod
    def remove(self) -> bool:
        """Take away what is there, and whether anything was."""


class FileNote(Note):
    """A file. Its time is this machine's, or its file server's."""

    def __init__(self, path: Path) -> None:
        self._path, self.name = path, path.name

    def read(self) -> tuple[bytes, float] | None:
        from editors.toolbox.files import read_regular

        try:
            age = time.time() - self._path.stat().st_mtime
        except OSError:
            return None
        try:
            return read_regular(self._path, MOST_BYTES), age
        except FileNotFoundError:
            return None  # given back between the two looks
        except OSError:
            return b"", age

    def create(self, content: bytes) -> bool:
        return create_file(self._path, content)

    def refresh(self, content: bytes) -> None:
        with suppress(OSError):
            os.utime(self._path)

    def remove(self) -> bool:
        grave = self._path.with_name(f"{VOID}{uuid.uuid4().hex}")
        try:
            self._path.rename(grave)
        except FileNotFoundError:
            return False
        if grave.is_dir() and not grave.is_symlink():
            shutil.rmtree(grave, ignore_errors=True)
        else:
            grave.unlink(missing_ok=True)
        return True


class ObjectNote(Note):
    """An object. Its time is the store's; who refreshes it writes it again."""

    def __init__(self, objects: Objects, path: str) -> None:
        self._objects, self._path, self.name = objects, path, path.rpartition("/")[2]

    def __str__(self) -> str:
        return f"{self._objects.url}/{self._path}"

    def read(self) -> tuple[bytes, float] | None:
        found = self._objects.about(self._path)
        data = self._objects.get([self._path]) if found is not None and found.size <= MOST_BYTES else {}
        if found is None or (self._path not in data and found.size <= MOST_BYTES):
            return None
        return data.get(self._path, b""), self._objects.now() - found.modified

    def create(self, content: bytes) -> bool:
        return self._objects.create(self._path, content)

    def refresh(self, content: bytes) -> None:
        with suppress(RunError):
            if self._objects.get([self._path]).get(self._path) == content:
                self._objects.put({self._path: content})

    def remove(self) -> bool:
        there = self._objects.about(self._path) is not None
        self._objects.delete([self._path])
        return there


class ObjectFolder:
    """Notes of a store below one name. What a listing shows is known for a moment; of notes that did not change none is read twice."""

    def __init__(self, objects: Objects, path: str) -> None:
        self._objects, self._path = objects, path
        self._contents: dict[tuple[str, str], bytes] = {}
        self._listed: dict[str, Found] = {}
        self._next_look = 0.0

    def __truediv__(self, name: str) -> ObjectNote:
        return ObjectNote(self._objects, f"{self._path}/{name}")

    def __str__(self) -> str:
        return f"{self._objects.url}/{self._path}"

    def ages(self) -> dict[str, float]:
        """The names that notes have, whatever they say, and their ages (s), as they were a moment ago at most: one listing."""
        now = self._objects.now()
        return {path.rpartition("/")[2]: now - about.modified for path, about in self._look(anew=False).items()}

    def read(self, *, anew: bool = False) -> list[tuple[ObjectNote, bytes, float]]:
        """All notes with content and age (s), as they are, or unless `anew` were a moment ago at most."""
        listed = self._look(anew=anew)
        known = {(path, about.version): self._contents.get((path, about.version)) for path, about in listed.items()}
        fresh = self._objects.get(path for (path, _), content in known.items() if content is None)
        self._contents = {key: fresh.get(key[0], b"") if content is None else content for key, content in known.items()}
        now = self._objects.now()
        return [
            (ObjectNote(self._objects, path), self._contents[path, about.version], now - about.modified)
            for path, about in listed.items()
        ]

    def _look(self, *, anew: bool) -> dict[str, Found]:
        begun = time.monotonic()
        if anew or begun >= self._next_look:
            listed = self._objects.listing(self._path)
            self._listed = {path: about for path, about in listed.items() if about.size <= MOST_BYTES}
            self._next_look = time.monotonic() + max(SECONDS_OF_A_LOOK, LOOKS * (time.monotonic() - begun))
        return self._listed


Place = Path | ObjectNote
Folder = Path | ObjectFolder


def note_at(place: Place) -> Note:
    """The note at a path, or of a store."""
    return FileNote(place) if isinstance(place, Path) else place


def notes_in(folder: Folder, *, anew: bool = False, hidden: bool = False) -> Iterator[tuple[Place, bytes, float]]:
    """The notes in a folder with content and age (s), `hidden` ones too or not; of a store as they were a moment ago, unless `anew`."""
    if isinstance(folder, ObjectFolder):
        yield from (each for each in folder.read(anew=anew) if hidden or not each[0].name.startswith("."))
        return
    for path in folder.glob("*" if hidden else "[!.]*"):
        if (found := FileNote(path).read()) is not None:
            yield path, *found
