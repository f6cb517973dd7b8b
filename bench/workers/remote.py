"""Workers on other machines, which share the run folder: on Ray, or under Slurm."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from bench.errors import RunError, message_of
from bench.store import Run
from bench.workers.crew import Crew, Died, Options, Work
from bench.workers.process import work as work_on

__all__ = ["RayCrew", "SlurmCrew"]

MINUTES = 24 * 60
"""After which Slurm ends a worker; it is replaced while there is work."""


class RayCrew(Crew[Any]):
    """Ray tasks, one GPU each where there are GPUs. The folder must be shared."""

    def __init__(self, run: Run, devices: Sequence[str], options: Options, *more: Any) -> None:
        super().__init__(run, _whole(devices), options, *more)
        self._ray = _extra("ray", "ray")

    def start(self, work: Work) -> Any:
        if not self._ray.is_initialized():
            self._ray.init(log_to_driver=False)
        # no retries by Ray: who died over what is known here
        about = {"num_cpus": work.threads, "num_gpus": int(work.device == "cuda"), "max_retries": 0}
        return self._ray.remote(**about)(work_on).remote(work.folder, **work.settings())

    def outcome(self, worker: Any) -> str | Died | None:
        ended, _ = self._ray.wait([worker], num_returns=1, timeout=0)
        return _result(lambda: self._ray.get(worker)) if ended else None

    def kill(self, worker: Any) -> None:
        self._ray.cancel(worker, force=True)

    def stop(self, workers: Sequence[Any]) -> None:
        for worker in workers:
            self._ray.cancel(worker)


class SlurmCrew(Crew[Any]):
    """Slurm jobs through submitit, with the cluster's defaults (SBATCH_PARTITION, ...). The folder must be shared."""

    def __init__(self, run: Run, devices: Sequence[str], options: Options, *more: Any) -> None:
        super().__init__(run, _whole(devices), options, *more)
        self._executor = _extra("submitit", "slurm").AutoExecutor(folder=run.path / "slurm")
        gpu = self.devices[0] == "cuda"
        self._executor.update_parameters(
            name="etabench", timeout_min=MINUTES, cpus_per_task=options.threads if not gpu else 4, gpus_per_node=int(gpu)
        )
        if self._executor.cluster != "slurm":
            self.say(f"there is no Slurm here (no srun): submitit runs the workers on this machine ({self._executor.cluster})")

    def start(self, work: Work) -> Any:
        return self._executor.submit(work_on, work.folder, **work.settings())

    def outcome(self, worker: Any) -> str | Died | None:
        return _result(worker.result) if worker.done() else None

    def kill(self, worker: Any) -> None:
        worker.cancel(check=False)  # it may have ended by itself; Slurm kills what does not end

    def stop(self, workers: Sequence[Any]) -> None:
        for worker in workers:
            self.kill(worker)


def _whole(devices: Sequence[str]) -> list[str]:
    """Another machine counts the GPUs that a worker is given from 0."""
    return ["cuda" if device.startswith("cuda") else device for device in devices]


def _result(get: Callable[[], str]) -> str | Died:
    """What a worker that ended said, or that it died: then its executor raises an error of one kind or another."""
    try:
        return str(get())
    except Exception as error:
        return Died(f"{type(error).__name__}: {message_of(error)[:200]}")


def _extra(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RunError(f"executor {extra!r} needs the package {module}: pip install 'etabench[{extra}]'") from error
