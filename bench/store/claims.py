"""Who works on which unit: lock files with a heartbeat, so that workers need no coordinator and the dead hold nothing for long.

A claim is a note created exclusively, a file or an object of a store, naming process and host, which its holder refreshes. It is void when the
holder was a process of this host that no longer lives, when it was not refreshed for a whole lease (or is dated further ahead than one),
and when it is no note and not just being written. Two workers can in rare races believe that they hold the same claim; then both compute
the same unit and the store keeps the first. Only time is lost.

A claim whose holder is known to have died tells so to whoever takes it next, and it to the next: a unit that kills its workers is found
out, whichever process tries it. `bury` leaves such a note in the place of a claim; lost in a race, a death is not counted.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from bench.errors import RunError
from bench.store.notes import VOID, Folder, Place, note_at, notes_in

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
    "release",
    "remove",
    "take",
]

LEASE_SECONDS = 120.0
BEAT_SECONDS = 15.0
WRITING_SECONDS = 5.0
"""How old a file without a note may be before it counts as left behind: by a full disk, or by no command of ours."""
WORD_OF_DEATH = frozenset({"deaths", "cause"})
"""What `bury` leaves: a note of no holder."""


@dataclass(frozen=True)
class Deaths:
    """How many holders in a row died over what a claim stands for, and what is known of how the last one did."""

    count: int = 0
    cause: str = ""


class Claim:
    """A held claim; a context manager that keeps it fresh inside and gives it back on leaving. `deaths` are those before it."""

    def __init__(self, path: Place, content: bytes, before: Deaths) -> None:
        self.path, self.deaths = path, before
        self._note, self._content = note_at(path), content
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"claim {path.name}", daemon=True)

    def __enter__(self) -> Claim:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()
        if _noted(self.path).get("token") == _read(self._content)["token"]:
            with suppress(RunError):  # it is void after its lease
                self._note.remove()

    def _beat(self) -> None:
        while not self._done.wait(BEAT_SECONDS):
            self._note.refresh(self._content)


def take(path: Place, **about: str) -> Claim | None:
    """Claim `path`, or None while a live process holds it; a void claim is moved out of the way first. `about` goes into the note.

    Raises OSError, of a store RunError, where it cannot be written, and leaves nothing then.
    """
    mine = {
        "token": uuid.uuid4().hex,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    } | about
    note, before = note_at(path), Deaths()
    content = _content(mine)
    if not note.create(content):
        if holder(path) is not None:
            return None
        before = deaths(path)
        remove(path)
        content = _content(mine | _told(before))
        if not note.create(content):
            return None
    return Claim(path, content, before)


def holder(path: Place) -> dict[str, Any] | None:
    """Who holds the claim (`pid`, `host`, `since`, what was said), or None where it is absent or void. One being written counts as held."""
    found = note_at(path).read()
    return None if found is None else _standing(*found)


def held(folder: Folder) -> dict[str, dict[str, Any]]:
    """Those claims in a folder that somebody holds, by name: as `holder` gives them, and `beat`, the seconds since they were refreshed."""
    found = {place.name: (_standing(content, age), age) for place, content, age in notes_in(folder)}
    return {name: note | {"beat": max(age, 0.0)} for name, (note, age) in found.items() if note is not None}


def is_void(path: Place) -> bool:
    """Whether the claim may be cleaned away: nobody holds it, and it tells of no death."""
    return path.name.startswith(VOID) or (holder(path) is None and not deaths(path).count)


def deaths(path: Place) -> Deaths:
    """Those that the claim tells of, its own holder's included where that is a process of this host that no longer lives."""
    note = _noted(path)
    return Deaths(note.get("deaths", 0) + died(note), note.get("cause", ""))


def of_worker(folder: Folder, worker: str) -> list[Place]:
    """The claims in a folder that were taken with `worker=` this."""
    return (
        [place for place, content, _ in notes_in(folder, anew=True) if _read(content).get("worker") == worker] if worker else []
    )


def bury(path: Place, worker: str, cause: str) -> None:
    """Void the claim of a worker that is known to have died, and leave word of it; nothing happens where it is held by another by now."""
    note = _noted(path)
    if note.get("worker") == worker and remove(path):
        note_at(path).create(_content(_told(Deaths(note.get("deaths", 0) + 1, cause))))


def remove(path: Place) -> bool:
    """Move what is there out of the way in one step, then delete it; whether it was there."""
    return note_at(path).remove()


def release(path: Place, worker: str) -> None:
    """Give back the claim of a worker that is gone through no fault of the unit; nothing happens where it is held by another by now."""
    if _noted(path).get("worker") == worker:
        remove(path)


def _told(before: Deaths) -> dict[str, Any]:
    return {"deaths": before.count, "cause": before.cause} if before.count else {}


def _standing(content: bytes, age: float) -> dict[str, Any] | None:
    """The note, if it still holds what it stands for."""
    note = _read(content)
    abandoned = abs(age) > (LEASE_SECONDS if "pid" in note else WRITING_SECONDS)
    if abandoned or died(note) or note.keys() == WORD_OF_DEATH:
        return None
    return {"pid": None, "host": None, "since": None} | note


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


def _content(note: Mapping[str, Any]) -> bytes:
    return json.dumps(note).encode()


def _noted(path: Place) -> dict[str, Any]:
    found = note_at(path).read()
    return {} if found is None else _read(found[0])


def _read(content: bytes) -> dict[str, Any]:
    """The note; empty where it is nothing that could be one of ours."""
    try:
        note = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(note, dict) or any(type(note[name]) is not kind for name, kind in SHAPE.items() if name in note):
        return {}
    whole = {"pid", "host", "token"} <= note.keys() and 0 < note["pid"] < 2**31
    return note if whole or (note.keys() == WORD_OF_DEATH and note["deaths"] > 0) else {}
