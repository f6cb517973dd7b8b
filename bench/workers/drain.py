"""Workers drain a run folder: claim units, make their edits, commit them, take the next. Any number may share one folder.

A unit's result depends on the unit alone: its noise is seeded by (run seed, sample id, editor), torch is asked for deterministic
algorithms, and on a CPU every worker computes with the same number of threads however many workers there are. Editors that can
work on several samples in one batch may be given them (`batch` of the spec): the edits are the same up to the rounding of
batched kernels, so the size of the batch is no part of a unit's key; the record tells it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from bench import registry
from bench.devices import deterministic, pick_device, resident_mb
from bench.errors import message_of
from bench.interrupts import told_to_stop
from bench.plan import Plan, Unit
from bench.store import Record, Run
from bench.store.claims import Claim
from bench.store.logs import WorkerLog
from bench.workers.chain import ready
from bench.workers.waiting import Waiting
from bench.workers.worker import Interrupted, Worker

__all__ = ["LAST_UNIT", "drain", "failure_line"]

POLL_SECONDS = 0.5
MOST_DEATHS = 2
"""Workers that may die over a unit before it is a failure: the first may have been killed for its neighbour's sake."""
LAST_UNIT = "finishing the unit in hand; Ctrl-C again leaves at once"
Watch = Callable[[Record], None]
Take = Callable[[Unit, contextlib.ExitStack], Claim | None]
Commit = Callable[[Unit, Record, Mapping[str, bytes]], None]


def drain(
    folder: Path | str,
    *,
    device: str | None = None,
    threads: int = 1,
    batch: int | str | None = None,
    worker: str = "",
    stop: Callable[[], bool] = lambda: False,
    enough: Callable[[], bool] = lambda: False,
    patient: bool = False,
    watch: Watch = lambda record: None,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Work on the run in `folder` until every unit of its plan has a record, sharing it with whoever else does.

    `device` and `batch` override the spec's, `worker` is the name that claims bear, `stop` is asked between units and between steps,
    `enough` between units, `watch` sees each record this worker commits and may raise to end the work, `say` gets a line about what a user
    may wonder at. Ctrl-C and SIGTERM end the work at once, the first Ctrl-C of a `patient` worker after the unit in hand; each raises
    KeyboardInterrupt and leaves a clean folder.
    """
    run, worker = Run.open(folder), worker or f"{uuid.uuid4().hex[:12]}-1"
    with told_to_stop(first=(lambda: say(LAST_UNIT)) if patient else None) as told:

        def ended() -> bool:
            return maker.stop() or told.enough or enough()

        maker = Worker(run, pick_device(device or run.spec.device), threads, lambda: told() or stop(), batch)
        todo = run.order({unit.key: unit for unit in run.plan.units}, worker)
        run.settle(unit.key for unit in todo)
        for entry in run.plan.entries:
            registry.load_editor(entry.target)
        waiting = Waiting(run, say)

        def claim(unit: Unit, held: contextlib.ExitStack) -> Claim | None:
            with told.later():  # no claim is left that nobody gives back
                found = run.claim(unit.key, worker)
                return None if found is None else held.enter_context(found)

        def commit(unit: Unit, record: Record, files: Mapping[str, bytes]) -> None:
            run.commit(record, files)
            log.unit(record, memory_mb=resident_mb())
            run.tell(log.path)
            watch(record)

        log = WorkerLog(run.logs, worker, host=socket.gethostname(), pid=os.getpid(), device=maker.device, threads=threads)
        with deterministic(threads), _ended(log, run):
            while todo and not ended():
                held: list[Unit] = []
                for units in _batches(_makeable(todo, run, held), maker):
                    if ended():
                        break
                    held += _work(maker, units, claim, commit, say)
                if held and len(held) == len(todo):
                    waiting.go_on({unit.key for unit in held})
                    time.sleep(POLL_SECONDS)
                else:
                    waiting.over()
                todo = held
        if told.error is not None:  # whatever became of it where it was raised
            raise told.error
        if told.enough:
            raise KeyboardInterrupt


@contextlib.contextmanager
def _ended(log: WorkerLog, run: Run) -> Iterator[None]:
    """Write into the log how the block ends."""
    run.tell(log.path)
    why = "nothing is left to do, or it was told to end"
    try:
        yield
    except BaseException as error:
        why = f"{type(error).__name__}: {message_of(error)[:300]}"
        raise
    finally:
        log.end(why)
        run.tell(log.path, last=True)


def _work(maker: Worker, units: Sequence[Unit], take: Take, commit: Commit, say: Callable[[str], None]) -> list[Unit]:
    """Claim units, make and commit them; returns those that others hold. One over which workers died is a failure in the end."""
    run, held = maker.run, list[Unit]()
    with contextlib.ExitStack() as claims, contextlib.suppress(Interrupted):
        mine: list[Unit] = []
        for unit in units:
            claim = take(unit, claims)
            if claim is None:
                held.append(unit)
                continue
            if run.record(unit.key) is not None:
                continue
            cause = claim.deaths.cause or "killed, crashed or out of memory"
            if claim.deaths.count >= MOST_DEATHS:
                text = f"{claim.deaths.count} workers in a row died over it ({cause})"
                commit(unit, maker.failed(unit, {"type": "WorkerDied", "message": text}), {})
                continue
            if claim.deaths.count:
                say(f"a worker died ({cause}) over unit {unit.key} ({_where(unit, run.plan)}); it is tried once more")
            mine.append(unit)
        for unit, (record, files) in zip(mine, maker.make(mine), strict=True):
            commit(unit, record, files)
    return held


def _makeable(units: Iterable[Unit], run: Run, held: list[Unit]) -> Iterator[Unit]:
    """The units without a record, those put aside in `held` whose turn before has none yet."""
    for unit in units:
        if not run.finished(unit.key):
            if ready(run, unit):
                yield unit
            else:
                held.append(unit)


def _batches(units: Iterable[Unit], worker: Worker) -> Iterator[list[Unit]]:
    """The units in their order, those of one editor gathered as far as it can take them together; one that may kill is by itself."""
    gathered: dict[int, list[Unit]] = {}
    for unit in units:
        if worker.at_once(unit.entry) > 1 and worker.run.deaths(unit.key):
            yield [unit]
            continue
        mine = gathered.setdefault(unit.entry, [])
        mine.append(unit)
        if len(mine) >= worker.at_once(unit.entry):
            yield gathered.pop(unit.entry)
    yield from gathered.values()


def failure_line(unit: Unit, plan: Plan, record: Record) -> str:
    """One line about a failed unit."""
    reason = record.reason or {}
    return f"unit {unit.key} failed ({_where(unit, plan)}): {reason.get('type')}: {reason.get('message')}"


def _where(unit: Unit, plan: Plan) -> str:
    return f"sample {unit.identity['sample_id']}, editor {plan.entries[unit.entry].label}, seed {unit.seed}"
