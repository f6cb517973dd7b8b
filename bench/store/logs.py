"""What workers tell while they work: `logs/<worker>.jsonl`, one line of JSON an event, whole or cut by a kill and never mended.

Every line has `time` (UTC) and `event`; `start` says who works where, `unit` what became of a unit, `end` how the work ended. Each line
carries the totals so far, so that who wants to know how a worker stands reads the first line and the last.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.store.record import Record

__all__ = ["WorkerLog", "ends", "logs"]

MOST_BYTES = 1 << 16
"""Of a line, and of what is read from a log's end."""


class WorkerLog:
    """The log of one worker. A disk that is full costs lines and no work."""

    def __init__(self, folder: Path, worker: str, **about: Any) -> None:
        self.path = folder / f"{worker}.jsonl"
        self._totals = {"done": 0, "failed": 0}
        self._write("start", {"worker": worker} | about)

    def unit(self, record: Record, **about: Any) -> None:
        """Tell what became of a unit."""
        self._totals[record.status] += 1
        told = {"unit": record.key, "status": record.status, "seconds": round(sum(record.seconds.values()), 3)}
        reason = {name: record.reason[name][:300] for name in ("type", "message")} if record.reason else {}
        self._write("unit", told | reason | ({"retries": len(record.retries)} if record.retries else {}) | about)

    def end(self, why: str) -> None:
        """Tell that the worker ends, and why."""
        self._write("end", {"why": why})

    def _write(self, event: str, about: Mapping[str, Any]) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "event": event} | self._totals | dict(about), allow_nan=False) + "\n"
        try:
            self.path.parent.mkdir(exist_ok=True)
            with self.path.open("ab", buffering=0) as file:
                file.write(line.encode("ascii"))
        except OSError:
            return


def logs(folder: Path) -> Iterator[Path]:
    """The logs in a folder, one a worker, by name."""
    yield from sorted(folder.glob("[!.]*.jsonl")) if folder.is_dir() else ()


def ends(path: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The first and the last whole line of a log; None where it has none. Reads no more of it."""
    try:
        with path.open("rb") as file:
            first = file.readline(MOST_BYTES)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - MOST_BYTES, 0))
            tail = file.read(MOST_BYTES)
    except OSError:
        return None
    lines = [event for line in (first, *tail.splitlines()[-2:]) if (event := _event(line)) is not None]
    return (lines[0], lines[-1]) if lines and lines[0].get("event") == "start" else None


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("event"), str) else None
