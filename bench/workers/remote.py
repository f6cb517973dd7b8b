"""Workers on other machines, which share the run folder: on Ray, or under Slurm."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.errors import EtabenchError, RunError
from bench.store import Run
from bench.workers.crew import Options
from bench.workers.drain import drain

__all__ = ["RayCrew", "SlurmCrew"]


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
