"""How far a run is and who works on it, from its folder alone: cheap, and right whichever process or machine does the work."""

from __future__ import annotations

import datetime
import json
import math
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.store import Run, claims
from bench.store.logs import ends, logs

__all__ = ["Claimed", "Status", "Watched", "WorkerState"]

SECONDS_OF_PACE = 600.0
"""The pace is that of the last units of so long a time."""


@dataclass(frozen=True)
class WorkerState:
    """A worker that is alive, as far as its log and its claims tell: `units` it has, `done` and `failed` so far, MiB that it held last."""

    worker: str
    host: str
    pid: int
    device: str
    units: int
    done: int
    failed: int
    memory_mb: float


@dataclass(frozen=True)
class Claimed:
    """A claim that is held: by whom, for how many `seconds`, and how many ago it was refreshed (`beat`)."""

    unit: str
    worker: str
    host: str
    seconds: float
    beat: float


@dataclass(frozen=True)
class Status:
    """Where a run stands.

    units: of the plan.  done, failed: those that have a record, the failed by the class of what was raised.  per_minute: units finished of
    late, NaN where fewer than two were.  seconds_left: at that pace, NaN where nobody works or none is known.  gone: workers that ended or
    died.
    """

    name: str
    units: int
    done: int
    failed: dict[str, int]
    per_minute: float
    seconds_left: float
    workers: tuple[WorkerState, ...]
    claims: tuple[Claimed, ...]
    gone: int

    @property
    def left(self) -> int:
        """Units without a record."""
        return self.units - self.done - sum(self.failed.values())


class Watched:
    """A run that is looked at again and again: what it knows of a unit that has not changed is not read again."""

    def __init__(self, run: Run) -> None:
        self.run, self._keys = run, frozenset(unit.key for unit in run.plan.units)
        self._known: dict[str, tuple[int, str]] = {}
        """Unit to the time of its folder and to "done", the class of what failed it, or "" where its record is unsound."""

    def look(self) -> Status:
        """The status now. Linear in the units; of those that were there before only the folder is looked at."""
        now, times = time.time(), list[float]()
        known: dict[str, tuple[int, str]] = dict.fromkeys(self.run.kept.shards.keys() & self._keys, (0, "done"))
        for key, changed in self._changed():
            seen = self._known.get(key)
            known[key] = seen if seen is not None and seen[0] == changed else (changed, self._state(key))
            if known[key][1] and now - changed / 1e9 < SECONDS_OF_PACE:
                times.append(changed / 1e9)
        self._known = known
        states = Counter(state for _, state in known.values() if state)
        done = states.pop("done", 0)
        held = claims.held(self.run.claims)
        workers, gone = self._workers(held)
        left = len(self._keys) - done - states.total()
        span = max(times) - min(times) if len(times) > 1 else 0.0
        pace = (len(times) - 1) / span if span > 0 else math.nan
        seconds = 0.0 if not left else left / pace if held else math.nan
        noted = tuple(
            Claimed(key, note.get("worker", ""), note["host"] or "", _age(note["since"], now), round(note["beat"], 1))
            for key, note in sorted(held.items())
        )
        return Status(self.run.spec.name, len(self._keys), done, dict(states), 60 * pace, seconds, workers, noted, gone)

    def _changed(self) -> Iterator[tuple[str, int]]:
        """Planned units that have a folder, or at a URL a mark, and when that was written (ns)."""
        if self.run.mirror is not None:
            marks = self.run.mirror.marks(anew=True)
            yield from ((key, int(1e9 * mark.modified)) for key, mark in marks.items() if key in self._keys)
            return
        if not self.run.units.is_dir():
            return
        with os.scandir(self.run.units) as found:
            for entry in found:
                if entry.name in self._keys:
                    try:
                        yield entry.name, entry.stat().st_mtime_ns
                    except FileNotFoundError:
                        continue

    def _state(self, key: str) -> str:
        """What became of a unit: "done", the class of what failed it, or "" where that cannot be told. At a URL done ones are not read."""
        if self.run.mirror is None:
            return _state(self.run.units / key)
        if (mark := self.run.mirror.marks().get(key)) is not None and mark.status == "done":
            return "done"
        record = self.run.record(key)
        return "" if record is None else (record.reason or {}).get("type", "done")

    def _workers(self, held: dict[str, dict[str, Any]]) -> tuple[tuple[WorkerState, ...], int]:
        self.run.refresh("logs")
        units = Counter(note.get("worker", "") for note in held.values())
        alive, gone = list[WorkerState](), 0
        for path in logs(self.run.logs):
            told = ends(path)
            if told is None:
                continue
            first, last = told
            worker = path.stem
            if last["event"] == "end" or not (units[worker] or _lives(first, path)):
                gone += 1
                continue
            numbers = {name: _number(last.get(name)) for name in ("done", "failed", "memory_mb")}
            where = (str(first.get("host", "")), int(_number(first.get("pid"))), str(first.get("device", "")))
            counts = (units[worker], int(numbers["done"]), int(numbers["failed"]))
            alive.append(WorkerState(worker, *where, *counts, numbers["memory_mb"]))
        return tuple(alive), gone


def _lives(first: dict[str, Any], path: Path) -> bool:
    """Whether a worker without a claim is between two units, or opens its model: a process of this host lives, another's log is fresh."""
    note = {"pid": first.get("pid"), "host": first.get("host"), "token": ""}
    if claims.died(note):
        return False
    return claims.is_here(note) or time.time() - path.stat().st_mtime < claims.LEASE_SECONDS


def _state(folder: Path) -> str:
    """What `record.json` says became of a unit, without looking into the rest of it."""
    try:
        record = json.loads((folder / "record.json").read_bytes())
        return "done" if record["status"] == "done" else str(record["reason"]["type"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _age(since: str | None, now: float) -> float:
    try:
        return max(now - datetime.datetime.strptime(since or "", "%Y-%m-%dT%H:%M:%S%z").timestamp(), 0.0)
    except ValueError:
        return math.nan
