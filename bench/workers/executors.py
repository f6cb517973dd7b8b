"""Where workers run: in this process, in processes of this machine, on Ray, or under Slurm.

All of them start one function on the same run folder and nothing else, `bench.workers.drain.drain` or another task. What is done, by
whom, and what happens when a worker dies follows from the store, so that executors can be mixed, killed and resumed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from bench.devices import pick_device
from bench.errors import RunError
from bench.interrupts import told_to_stop
from bench.plan import Plan
from bench.progress import Advance, Progress
from bench.spec.policy import failures_allowed
from bench.store import Record, Run
from bench.workers.crew import Crew, Options, Task
from bench.workers.drain import LAST_UNIT, drain, failure_line
from bench.workers.local import LocalCrew
from bench.workers.on_ray import RayCrew
from bench.workers.on_slurm import SlurmCrew
from bench.workers.waiting import Waiting

__all__ = ["CREWS", "execute", "share_out"]

MOST_CPU_WORKERS = 4
POLL_SECONDS = 0.2
LOOKS = 20
"""How many times as long as a look for finished units takes passes to the next, so that looking costs one part in so many of any run."""
REMOTE = ("ray", "slurm")


def execute(run: Run, plan: Plan, options: Options, advance: Advance) -> None:
    """Work until every unit has a record; `advance` is called once per record. Raises what stops a worker for good, and RunError where more
    units fail than the spec's `on_error` lets. Ctrl-C ends it after the units in hand, a second one at once.

    Where every unit has one already nothing is started. With fewer units to do than workers asked for, only as many are.
    """
    _check(options)
    units = {unit.key: unit for unit in plan.units}
    pending = {key for key in units if run.record(key) is None}
    if not pending:
        return
    devices = _devices(options)[: len(pending)]
    name = options.executor if options.executor != "auto" else "inline" if len(devices) == 1 else "local"

    allowed, failed = failures_allowed(run.spec.on_error, len(units)), 0

    def watch(record: Record) -> None:
        nonlocal failed
        line = failure_line(units[record.key], plan, record) if record.status == "failed" else ""
        failed += bool(line)
        advance(1, line)
        if failed > allowed:
            budget = f"; {failed} of {len(units)} units failed, on_error allows {allowed:g}" if allowed else ""
            raise RunError(f"{line}{budget}; run again to continue")

    def say(line: str) -> None:
        advance(0, line)

    if name == "inline":
        drain(run.path, device=devices[0], threads=options.threads, watch=watch, say=say, patient=True)
        return
    told_last, next_look = False, 0.0
    with told_to_stop(first=lambda: say(LAST_UNIT)) as told, CREWS[name](run, devices, options, say) as crew:
        waiting = Waiting(run, say, mine=crew.name)
        while pending:
            if told.enough and not told_last:
                crew.enough()
                told_last = True
            crew.wanted = len(pending)
            working, found, now = crew.check(), list[Record](), time.monotonic()
            if now >= next_look or not working:
                found = list(run.records(pending))
                next_look = time.monotonic() + LOOKS * (time.monotonic() - now)
            for record in found:
                pending.discard(record.key)
                watch(record)
            if told.enough and not working:
                raise KeyboardInterrupt
            if pending and not working:
                raise RunError(f"all workers ended with {len(pending)} units to do; run again to continue")
            waiting.over() if found else waiting.go_on(pending)
            time.sleep(POLL_SECONDS if pending else 0)


def share_out(run: Run, options: Options, task: Task, progress: Progress) -> None:
    """Let workers do a divided task, in processes of this machine unless `options` say otherwise. Raises what stops a worker for good."""
    _check(options)
    name, devices = options.executor if options.executor in REMOTE else "local", _devices(options)
    with progress(task.what, left := len(devices)) as advance, told_to_stop():
        with CREWS[name](run, devices, options, lambda line: advance(0, line), task) as crew:
            while crew.check():
                time.sleep(POLL_SECONDS)
                now = sum(worker is not None for worker in crew.workers)
                advance(left - now)
                left = now
        advance(left)


def _check(options: Options) -> None:
    if options.executor not in ("auto", "inline", *CREWS):
        raise RunError(f"unknown executor {options.executor!r}: choose one of auto, inline, {', '.join(CREWS)}")
    if options.address and options.executor != "ray":
        raise RunError(f"the address {options.address} is that of a Ray cluster: say --executor ray")


def _devices(options: Options) -> list[str]:
    """The device of each worker; remote workers look for themselves what `auto` means."""
    if options.executor in REMOTE:
        return [options.device] * (options.workers or 1)
    device = pick_device(options.device)
    if device == "cuda":
        import torch

        count = torch.cuda.device_count()
        return [f"cuda:{number % count}" for number in range(options.workers or count)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [device] * (options.workers or (min(cores, MOST_CPU_WORKERS) if device == "cpu" else 1))


CREWS: Mapping[str, type[Crew[Any]]] = {"local": LocalCrew, "ray": RayCrew, "slurm": SlurmCrew}
"""Executors beside `inline`, which works in this process."""
