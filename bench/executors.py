"""Where workers run: in this process, in processes of this machine, on Ray, or under Slurm.

All of them start `bench.runner.drain` on the same run folder and nothing else. What is done, by whom, and what happens when a
worker dies follows from the store, so that executors can be mixed, killed and resumed.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Protocol

from bench.devices import pick_device
from bench.errors import EtabenchError, RunError
from bench.plan import Plan
from bench.progress import Advance
from bench.runner import drain, failure_line
from bench.store import Record, Run, claims

__all__ = ["EXECUTORS", "Options", "execute"]

MOST_CPU_WORKERS = 4
POLL_SECONDS = 0.2
FRUITLESS_DEATHS = 3
REMOTE = ("ray", "slurm")


@dataclass(frozen=True)
class Options:
    """How to work on a run.

    `workers` 0 is one per GPU of this machine, or one per CPU core up to four, and one for remote executors. Remote workers get a
    GPU each when `device` says cuda. `threads` is per worker on a CPU; another number can change results in the last bits.
    """

    executor: str = "auto"
    workers: int = 0
    device: str = "auto"
    threads: int = 1
    fail_on_error: bool = False


class Crew(Protocol):
    """A set of workers; a context manager that lets them end when the work is done, and ends them on an error."""

    def __enter__(self) -> Crew: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def check(self) -> bool:
        """Whether anyone still works; raises what stopped a worker for good, replaces those that merely died."""
        ...


def execute(run: Run, plan: Plan, options: Options, advance: Advance) -> None:
    """Work until every unit has a record; `advance` is called once per record. Raises what stops a worker for good."""
    devices = _devices(options)
    name = options.executor if options.executor != "auto" else "inline" if len(devices) == 1 else "local"
    if name not in EXECUTORS:
        raise RunError(f"unknown executor {name!r}: choose one of auto, {', '.join(EXECUTORS)}")
    units = {unit.key: unit for unit in plan.units}

    def watch(record: Record) -> None:
        advance(1, failure_line(units[record.key], plan, record) if record.status == "failed" else "")

    if name == "inline":
        drain(run.path, device=devices[0], threads=options.threads, watch=watch, fail_on_error=options.fail_on_error)
        return
    pending = {key for key in units if run.record(key) is None}
    with EXECUTORS[name](run, devices, options) as crew:
        while pending:
            working = crew.check()
            for record in list(run.records(pending)):
                pending.discard(record.key)
                watch(record)
            if pending and not working:
                raise RunError(f"all workers ended with {len(pending)} units to do; run again to continue")
            time.sleep(POLL_SECONDS if pending else 0)


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


class LocalCrew:
    """Spawned processes. One that dies while it holds a unit turns that unit into a failed record and is replaced.

    From one that dies over a batch nobody can tell which unit it was: it fails none, and its successors take single units.
    """

    def __init__(self, run: Run, devices: Sequence[str], options: Options) -> None:
        self._run, self._devices, self._options = run, devices, options
        self._context = multiprocessing.get_context("spawn")
        self._errors: Any = self._context.SimpleQueue()
        self._processes: list[Any] = []
        self._fruitless = 0
        self._batch: int | None = None

    def __enter__(self) -> LocalCrew:
        self._processes = [self._start(device) for device in self._devices]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in self._processes:
            if error is not None:
                process.terminate()
        for process in self._processes:
            process.join(timeout=10)
            if process.is_alive():
                process.kill()
                process.join()

    def check(self) -> bool:
        if not self._errors.empty():
            raise RunError(self._errors.get())
        for number, process in enumerate(self._processes):
            if process.exitcode not in (None, 0):
                self._bury(process)
                self._processes[number] = self._start(self._devices[number])
        return any(process.exitcode is None for process in self._processes)

    def _start(self, device: str) -> Any:
        options = self._options
        how = {"device": device, "threads": options.threads, "batch": self._batch, "fail_on_error": options.fail_on_error}
        process = self._context.Process(target=_work, args=(str(self._run.path), how, self._errors), daemon=True)
        process.start()
        return process

    def _bury(self, process: Any) -> None:
        held = [path for path in self._run.claims.glob("*") if claims.claimant(path) == process.pid]
        if len(held) > 1:
            self._batch = 1
            for path in held:
                path.unlink(missing_ok=True)
            return
        for path in held:
            text = f"the worker process ended with exit code {process.exitcode} (out of memory?)"
            identity = next((unit.identity for unit in self._run.plan.units if unit.key == path.name), {})
            self._run.commit(
                Record(key=path.name, status="failed", identity=identity, reason={"type": "WorkerDied", "message": text})
            )
            path.unlink(missing_ok=True)
        self._fruitless += not held
        if self._fruitless > FRUITLESS_DEATHS:
            code = process.exitcode
            raise RunError(f"worker processes keep dying before they take a unit (exit code {code}); try --executor inline")


def _work(folder: str, how: dict[str, Any], errors: Any) -> None:
    signal.signal(signal.SIGTERM, _interrupt)
    parent = multiprocessing.parent_process()
    with suppress(KeyboardInterrupt):
        try:
            drain(folder, stop=_orphaned(parent), **how)
        except EtabenchError as error:
            errors.put(str(error))
        except Exception as error:
            errors.put(f"a worker stopped: {type(error).__name__}: {' '.join(str(error).split())[:300]}")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _orphaned(parent: Any) -> Callable[[], bool]:
    return lambda: parent is not None and not parent.is_alive()


class RayCrew:
    """Ray tasks, one GPU each where there are GPUs; Ray restarts a task whose node is lost. The folder must be shared."""

    def __init__(self, run: Run, devices: Sequence[str], options: Options) -> None:
        self._ray = _extra("ray", "ray")
        self._folder, self._devices, self._options = run.path.resolve(), devices, options
        self._tasks: list[Any] = []

    def __enter__(self) -> RayCrew:
        if not self._ray.is_initialized():
            self._ray.init(log_to_driver=False)
        gpu = self._devices[0].startswith("cuda")
        work = self._ray.remote(num_cpus=self._options.threads, num_gpus=int(gpu), max_retries=3)(_drain_remotely)
        device, fail = "cuda" if gpu else self._devices[0], self._options.fail_on_error
        self._tasks = [work.remote(str(self._folder), device, self._options.threads, fail) for _ in self._devices]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for task in self._tasks if error is not None else ():
            self._ray.cancel(task)

    def check(self) -> bool:
        done, self._tasks = self._ray.wait(self._tasks, num_returns=len(self._tasks), timeout=0) if self._tasks else ([], [])
        _raise_first(self._ray.get(done))
        return bool(self._tasks)


class SlurmCrew:
    """A Slurm job array through submitit, with the cluster's defaults (SBATCH_PARTITION, ...). The folder must be shared."""

    def __init__(self, run: Run, devices: Sequence[str], options: Options) -> None:
        submitit = _extra("submitit", "slurm")
        self._executor = submitit.AutoExecutor(folder=run.path / "slurm")
        gpu = devices[0].startswith("cuda")
        self._executor.update_parameters(
            name="etabench", timeout_min=24 * 60, cpus_per_task=options.threads if not gpu else 4, gpus_per_node=int(gpu)
        )
        arguments = (str(run.path.resolve()), "cuda" if gpu else devices[0], options.threads, options.fail_on_error)
        self._columns = [[argument] * len(devices) for argument in arguments]
        self._jobs: list[Any] = []

    def __enter__(self) -> SlurmCrew:
        self._jobs = self._executor.map_array(_drain_remotely, *self._columns)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for job in self._jobs if error is not None else ():
            job.cancel()

    def check(self) -> bool:
        done = [job for job in self._jobs if job.done()]
        self._jobs = [job for job in self._jobs if job not in done]
        _raise_first([job.result() for job in done])
        return bool(self._jobs)


def _drain_remotely(folder: str, device: str, threads: int, fail_on_error: bool) -> str:
    """`drain` on another machine; what stopped it for good comes back as text, since its type may not travel."""
    try:
        drain(Path(folder), device=device, threads=threads, fail_on_error=fail_on_error)
    except EtabenchError as error:
        return str(error)
    return ""


def _raise_first(messages: Sequence[str]) -> None:
    for message in messages:
        if message:
            raise RunError(message)


def _extra(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RunError(f"executor {extra!r} needs the package {module}: pip install 'etabench[{extra}]'") from error


EXECUTORS: dict[str, Any] = {"inline": None, "local": LocalCrew, "ray": RayCrew, "slurm": SlurmCrew}
