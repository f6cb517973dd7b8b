"""Who works on which unit: lock files with a heartbeat, so that workers need no coordinator and the dead hold nothing for long.

A claim is a file created exclusively, naming process and host, whose modification time its holder refreshes. It is void when the
holder was a process of this host that no longer lives, when it was not refreshed for a whole lease (or is dated further ahead than one),
and when it is no note and not just being written. Two workers can in rare races believe that they hold the same claim; then both compute
the same unit and the store keeps the first. Only time is lost.

A claim whose holder is known to have died tells so to whoever takes it next, and it to the next: a unit that kills its workers is found
out, whichever process tries it. `bury` leaves such a note in the place of a claim; lost in a race, a death is not counted.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = [
    "LEASE_SECONDS",
    "Claim",
    "Deaths",
    "bury",
    "deaths",
    "died",
    "held",
    "holder",
    "is_here",
    "is_void",
    "of_worker",
    "remove",
    "take",
]

LEASE_SECONDS = 120.0
BEAT_SECONDS = 15.0
WRITING_SECONDS = 5.0
"""How old a file without a note may be before it counts as left behind: by a full disk, or by no command of ours."""
VOID = ".void-"
MOST_BYTES = 1 << 16
"""Of a note."""
WORD_OF_DEATH = frozenset({"deaths", "cause"})
"""What `bury` leaves: a note of no holder."""


@dataclass(frozen=True)
class Deaths:
    """How many holders in a row died over what a claim stands for, and what is known of how the last one did."""

    count: int = 0
    cause: str = ""


class Claim:
    """A held claim; a context manager that keeps it fresh inside and gives it back on leaving. `deaths` are those before it."""

    def __init__(self, path: Path, token: str, before: Deaths) -> None:
        self.path, self.deaths = path, before
        self._token = token
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"claim {path.stem}", daemon=True)

    def __enter__(self) -> Claim:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        if _read(self.path).get("token") == self._token:
            self.path.unlink(missing_ok=True)
        self._thread.join()

    def _beat(self) -> None:
        while not self._done.wait(BEAT_SECONDS):
            with suppress(OSError):
                os.utime(self.path)


def take(path: Path, **about: str) -> Claim | None:
    """Claim `path`, or None while a live process holds it; a void claim is moved out of the way first. `about` goes into the note.

    Raises OSError where it cannot be written, and leaves nothing then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    before = Deaths()
    if os.path.lexists(path) and holder(path) is None:
        before = deaths(path)
        remove(path)
    token = uuid.uuid4().hex
    note = {
        "token": token,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    } | about
    return Claim(path, token, before) if _write(path, note | _told(before)) else None


def holder(path: Path) -> dict[str, Any] | None:
    """Who holds the claim (`pid`, `host`, `since`, what was said), or None where it is absent or void. One being written counts as held."""
    try:
        age = time.time() - path.stat().st_mtime
    except OSError:
        return None
    note = _read(path)
    if not note and not os.path.lexists(path):
        return None  # given back between the two looks
    abandoned = abs(age) > (LEASE_SECONDS if "pid" in note else WRITING_SECONDS)
    if abandoned or died(note) or note.keys() == WORD_OF_DEATH:
        return None
    return {"pid": None, "host": None, "since": None} | note


def held(folder: Path) -> dict[str, dict[str, Any]]:
    """Those claims in a folder that somebody holds, by name: as `holder` gives them, and `beat`, the seconds since they were refreshed."""
    found = {}
    for path in folder.glob("[!.]*"):
        with suppress(OSError):
            if (note := holder(path)) is not None:
                found[path.name] = note | {"beat": max(time.time() - path.stat().st_mtime, 0.0)}
    return found


def is_void(path: Path) -> bool:
    """Whether the claim may be cleaned away: nobody holds it, and it tells of no death."""
    return path.name.startswith(VOID) or (holder(path) is None and not deaths(path).count)


def deaths(path: Path) -> Deaths:
    """Those that the claim tells of, its own holder's included where that is a process of this host that no longer lives."""
    note = _read(path)
    return Deaths(note.get("deaths", 0) + died(note), note.get("cause", ""))


def of_worker(folder: Path, worker: str) -> list[Path]:
    """The claims in a folder that were taken with `worker=` this."""
    return [path for path in folder.glob("[!.]*") if _read(path).get("worker") == worker] if worker else []


def bury(path: Path, worker: str, cause: str) -> None:
    """Void the claim of a worker that is known to have died, and leave word of it; nothing happens where it is held by another by now."""
    note = _read(path)
    if note.get("worker") == worker and remove(path):
        _write(path, _told(Deaths(note.get("deaths", 0) + 1, cause)))


def _told(before: Deaths) -> dict[str, Any]:
    return {"deaths": before.count, "cause": before.cause} if before.count else {}


def _write(path: Path, note: Mapping[str, Any]) -> bool:
    """Create the file with the note, or tell that somebody else has."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(note, file)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return True


def remove(path: Path) -> bool:
    """Move what is there out of the way in one step, then delete it; whether it was there."""
    grave = path.with_name(f"{VOID}{uuid.uuid4().hex}")
    try:
        path.rename(grave)
    except FileNotFoundError:
        return False
    if grave.is_dir() and not grave.is_symlink():
        shutil.rmtree(grave, ignore_errors=True)
    else:
        grave.unlink(missing_ok=True)
    return True


def is_here(note: Mapping[str, Any]) -> bool:
    """Whether the note is that of a process of this host."""
    return note.get("host") == socket.gethostname() and type(note.get("pid")) is int and note["pid"] > 0


def died(note: Mapping[str, Any]) -> bool:
    """Whether the note is that of a process of this host that no longer lives."""
    if not is_here(note):
        return False
    try:
        os.kill(note["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


SHAPE: Mapping[str, type] = {
    "token": str,
    "pid": int,
    "host": str,
    "since": str,
    "worker": str,
    "plan": str,
    "deaths": int,
    "cause": str,
}


def _read(path: Path) -> dict[str, Any]:
    """The note; empty where there is none, or nothing that could be one of ours."""
    from editors.toolbox.files import read_regular

    try:
        note = json.loads(read_regular(path, MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(note, dict) or any(type(note[name]) is not kind for name, kind in SHAPE.items() if name in note):
        return {}
    whole = {"pid", "host", "token"} <= note.keys() and 0 < note["pid"] < 2**31
    return note if whole or (note.keys() == WORD_OF_DEATH and note["deaths"] > 0) else {}
