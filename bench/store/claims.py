"""Who works on which unit: lock files with a heartbeat, so that workers need no coordinator and the dead hold nothing for long.

A claim is a file created exclusively, naming process and host, whose modification time its holder refreshes. It is void when the
holder was a process of this host that no longer lives, or when it was not refreshed for a whole lease. Two workers can in rare
races believe that they hold the same claim; then both compute the same unit and the store keeps the first. Only time is lost.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["LEASE_SECONDS", "Claim", "claimant", "holder", "take"]

LEASE_SECONDS = 120.0
BEAT_SECONDS = 15.0


class Claim:
    """A held claim; a context manager that keeps it fresh inside and gives it back on leaving."""

    def __init__(self, path: Path, token: str) -> None:
        self.path = path
        self._token = token
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"claim {path.stem}", daemon=True)

    def __enter__(self) -> Claim:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()
        if (_read(self.path) or {}).get("token") == self._token:
            self.path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._done.wait(BEAT_SECONDS):
            with suppress(OSError):
                os.utime(self.path)


def take(path: Path, **about: str) -> Claim | None:
    """Claim `path`, or None while a live process holds it; a void claim is moved out of the way first. `about` goes into the note."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and holder(path) is None:
        grave = path.with_name(f".void-{uuid.uuid4().hex}")
        with suppress(FileNotFoundError):
            path.rename(grave)
            grave.unlink()
    token = uuid.uuid4().hex
    note = {
        "token": token,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    } | about
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return None
    with os.fdopen(handle, "w") as file:
        json.dump(note, file)
    return Claim(path, token)


def holder(path: Path) -> dict[str, Any] | None:
    """Who holds the claim (`pid`, `host`, `since`, what was said), or None where it is absent or void. One being written counts as held."""
    try:
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return None
    note = _read(path) or {}
    if age > LEASE_SECONDS or (note.get("host") == socket.gethostname() and not _alive(int(note["pid"]))):
        return None
    return {"pid": None, "host": None, "since": None} | note


def claimant(path: Path) -> int | None:
    """The process of this host that wrote the claim, alive or not; None where there is none."""
    note = _read(path) or {}
    return note["pid"] if note.get("host") == socket.gethostname() else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read(path: Path) -> dict[str, Any] | None:
    try:
        note = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) and "pid" in note else None
