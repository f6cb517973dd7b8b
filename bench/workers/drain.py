"""Workers drain a run folder: claim units, make their edits, commit them, take the next. Any number may share one folder.

A unit's result depends on the unit alone: its noise is seeded by (run seed, sample id, editor), torch is asked for deterministic
algorithms, and on a CPU every worker computes with the same number of threads however many workers there are. Editors that can
work on several samples in one batch may be given them (`batch` of the spec): the edits are the same up to the rounding of
batched kernels, so the size of the batch is no part of a unit's key; the record tells it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from bench import registry
from bench.devices import deterministic, pick_device
from bench.errors import RunError
from bench.plan import Plan, Unit
from bench.store import Record, Run
from bench.workers.worker import Interrupted, Worker

__all__ = ["drain", "failure_line"]

POLL_SECONDS = 0.5
Watch = Callable[[Record], None]


def drain(
    folder: Path | str,
    *,
    device: str | None = None,
    threads: int = 1,
    batch: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    watch: Watch = lambda record: None,
    fail_on_error: bool = False,
) -> None:
    """Work on the run in `folder` until every unit of its plan has a record, sharing it with whoever else does.

    `device` and `batch` override the spec's, `stop` is asked between units and between steps, `watch` sees each record this worker
    commits. Raises RunError at the first failed unit if `fail_on_error`; KeyboardInterrupt leaves a clean folder.
    """
    run = Run.open(folder)
    worker = Worker(run, pick_device(device or run.spec.device), threads, stop, batch)
    todo = list({unit.key: unit for unit in run.plan.units}.values())
    for entry in run.plan.entries:
        registry.load_editor(entry.target)
    with deterministic(threads):
        while todo and not stop():
            waiting: list[Unit] = []
            for units in _batches((unit for unit in todo if run.record(unit.key) is None), worker):
                if stop():
                    return
                with contextlib.ExitStack() as claims, contextlib.suppress(Interrupted):
                    mine = []
                    for unit in units:
                        claim = run.claim(unit.key)
                        if claim is None:
                            waiting.append(unit)
                            continue
                        claims.enter_context(claim)
                        if run.record(unit.key) is None:
                            mine.append(unit)
                    for unit, (record, files) in zip(mine, worker.make(mine), strict=True):
                        run.commit(record, files)
                        watch(record)
                        if fail_on_error and record.status == "failed":
                            raise RunError(failure_line(unit, run.plan, record))
            if waiting and len(waiting) == len(todo):
                time.sleep(POLL_SECONDS)
            todo = waiting


def _batches(units: Iterable[Unit], worker: Worker) -> Iterator[list[Unit]]:
    """The units in their order, those of one editor gathered as far as it can take them together."""
    gathered: dict[int, list[Unit]] = {}
    for unit in units:
        mine = gathered.setdefault(unit.entry, [])
        mine.append(unit)
        if len(mine) >= worker.at_once(unit.entry):
            yield gathered.pop(unit.entry)
    yield from gathered.values()


def failure_line(unit: Unit, plan: Plan, record: Record) -> str:
    """One line about a failed unit."""
    reason = record.reason or {}
    where = f"sample {unit.identity['sample_id']}, editor {plan.entries[unit.entry].label}, seed {unit.seed}"
    return f"unit {unit.key} failed ({where}): {reason.get('type')}: {reason.get('message')}"
