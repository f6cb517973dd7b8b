"""Which commands work on a run folder now, and on which plan: all on the same. One note a command, `holders/<name>`, held like a claim."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import RunError
from bench.store import claims
from bench.store.files import TEMPORARY
from bench.store.notes import Folder, notes_in

__all__ = ["hold"]

GATE_TRIES, GATE_SECONDS = 300, 0.1


@contextmanager
def hold(run: Path, holders: Folder, plan: str) -> Iterator[None]:
    """Keep the folder `run` for the plan with this digest while the block runs; `holders` is where commands say that they do.

    Raises RunError that names who holds it for another plan.
    """
    with _alone(run, holders):
        others = 0
        for path, *_ in notes_in(holders, anew=True):
            note = claims.holder(path)
            if note is None:
                claims.remove(path)
            elif note.get("plan") != plan:
                who = f"process {note['pid']} on {note['host']} since {note['since']}"
                raise RunError(f"{run} is in use for another spec ({who}); wait for it, or choose another --out")
            else:
                others += 1
        if not others:
            _sweep(run)
        mine = claims.take(holders / uuid.uuid4().hex, plan=plan)
    if mine is None:
        raise RunError(f"{holders} cannot be written to")
    with mine:
        yield


@contextmanager
def _alone(run: Path, holders: Folder) -> Iterator[None]:
    """One process at a time looks who holds the folder and writes that it does."""
    for _ in range(GATE_TRIES):
        gate = claims.take(holders / ".gate")
        if gate is not None:
            with gate:
                yield
            return
        time.sleep(GATE_SECONDS)
    raise RunError(f"{holders / '.gate'} is not given back; delete it if no command works on {run}")


def _sweep(run: Path) -> None:
    """Remove what dead commands were writing; no other command may be at work. What workers write, see `Run.clean`."""
    for place in ("", "scores/", "scores/features/*/", "scores/maps/*/", "report/", "shards/"):
        for path in run.glob(f"{place}{TEMPORARY}*"):
            path.unlink(missing_ok=True)
