"""Files of a run at a URL beside its units: brought where they are other there, sent where they are other here."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from bench.errors import RunError
from bench.store.files import remove_folder, write_atomically
from bench.store.objects import Found, Objects

__all__ = ["SharedFiles"]

T = TypeVar("T")
SECONDS_BETWEEN_TELLS = 30.0
KNOWN = ".mirror/files.json"


class SharedFiles:
    """The files that `folder` shares with a store. `.mirror/files.json` in it says which versions it knows to be the same here and there.

    Hidden files stay where they are. Methods raise RunError where the store refuses or cannot be reached.
    """

    def __init__(self, objects: Objects, folder: Path) -> None:
        self.objects, self.folder = objects, folder
        self._next_tell: dict[str, float] = {}

    def exchange(self, folder: str, last: str, make: Callable[[], T]) -> T:
        """What `make` gives, which makes a folder that is never changed and whole with its file `last`: brought before if it is there and not
        here, sent afterwards if it was neither."""
        if (self.folder / folder / last).is_file():
            return make()
        remove_folder(self.folder / folder)  # of a kill
        there = self.objects.get(self.objects.listing(folder))
        if f"{folder}/{last}" not in there:
            made = make()
            self.offer(folder, last)
            return made
        for name, data in there.items():
            write_atomically(self.folder / name, data)
        return make()

    def offer(self, folder: str, last: str) -> None:
        """Send all files of a folder, `last` in the end."""
        files = {
            path.relative_to(self.folder).as_posix(): path for path in (self.folder / folder).iterdir() if not _hidden(path.name)
        }
        end = {f"{folder}/{last}": files.pop(f"{folder}/{last}")}
        for part in (files, end):
            self.objects.put({name: path.read_bytes() for name, path in part.items()})

    def pull(self, folder: str = "", *, deep: bool = False) -> None:
        """Bring the files of a folder that are other there than when they were last sent or brought.

        Of lines that are only ever added (`.jsonl`), those stay too that the folder here alone has.
        """
        known = self._files()
        listed = {name: about for name, about in self.objects.listing(folder, deep=deep).items() if not _hidden(name)}
        self._follow(known, folder, listed)
        lacking = [
            name for name, about in listed.items() if known.get(name, "") != about.version or not (self.folder / name).is_file()
        ]
        stamps = {}
        for name, data in self.objects.get(lacking).items():
            path = self.folder / name
            content = _lines_of_both(data, path) if name.endswith(".jsonl") else data
            write_atomically(path, content)
            os.utime(path, (listed[name].modified, listed[name].modified))
            stamps[name] = _stamp(path) if content == data else "more than there"
        self._keep({name: listed[name] for name in stamps}, stamps)

    def _follow(self, known: dict[str, str], folder: str, listed: Mapping[str, Found]) -> None:
        """Remove here what was taken away there, unless it was written again since."""
        for name in [name for name in known if name.rpartition("/")[0] == folder and not name.startswith("here ")]:
            path = self.folder / name
            if name not in listed and path.is_file() and known.get(f"here {name}") == _stamp(path):
                path.unlink()

    def push(self, folder: str = "", *, deep: bool = False) -> None:
        """Send the files of a folder that were written here since they were last sent or brought."""
        place = self.folder / folder
        if not place.is_dir():
            return
        paths = [path for path in (place.rglob("*") if deep else place.iterdir()) if path.is_file()]
        names = [name for path in paths if not _hidden(name := path.relative_to(self.folder).as_posix())]
        self.send(*names)

    def send(self, *names: str) -> None:
        """Send those of these files that were written here since they were last sent or brought."""
        known = self._files()
        stamps = {name: _stamp(self.folder / name) for name in names}
        changed = [name for name in names if known.get(f"here {name}") != stamps[name]]
        if not changed:
            return
        self.objects.put({name: (self.folder / name).read_bytes() for name in changed})
        self._keep({name: about for name in changed if (about := self.objects.about(name)) is not None}, stamps)

    def tell(self, path: Path, *, last: bool = False) -> None:
        """Send a log, now and then or for the `last` time; a store that cannot be reached costs news and no work."""
        now, name = time.monotonic(), path.relative_to(self.folder).as_posix()
        if path.is_file() and (last or now >= self._next_tell.get(name, 0.0)):
            self._next_tell[name] = now + SECONDS_BETWEEN_TELLS
            with suppress(RunError):
                self.objects.put({name: path.read_bytes()})

    def _files(self) -> dict[str, str]:
        """File to its version there; `here` and the file to its stamp here."""
        try:
            found = json.loads((self.folder / KNOWN).read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def _keep(self, there: Mapping[str, Found], stamps: Mapping[str, str]) -> None:
        if there:
            here = {f"here {name}": stamps[name] for name in there}
            known = self._files() | {name: about.version for name, about in there.items()} | here
            write_atomically(self.folder / KNOWN, json.dumps(known, sort_keys=True).encode())


def _lines_of_both(data: bytes, path: Path) -> bytes:
    """The lines of `data`, and of the file those that it lacks."""
    theirs = data.splitlines()
    known = set(theirs)
    mine = path.read_bytes().splitlines() if path.is_file() else []
    return b"".join(line + b"\n" for line in [*theirs, *(line for line in mine if line not in known)])


def _stamp(path: Path) -> str:
    about = path.stat()
    return f"{about.st_size} {about.st_mtime_ns}"


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))
