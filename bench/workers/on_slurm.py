"""Workers as jobs of Slurm, which share the run folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.errors import message_of
from bench.store import Run
from bench.workers.crew import Crew, Died, Options, Work
from bench.workers.extras import extra, without_numbers
from bench.workers.process import work as work_on

__all__ = ["SlurmCrew"]

MINUTES = 24 * 60
"""After which Slurm ends a worker; it is replaced while there is work."""


class SlurmCrew(Crew[Any]):
    """Slurm jobs through submitit, with the cluster's defaults (SBATCH_PARTITION, ...). The folder must be shared."""

    def __init__(self, run: Run, devices: Sequence[str], options: Options, *more: Any) -> None:
        super().__init__(run, without_numbers(devices), options, *more)
        self._executor = extra("submitit", "slurm").AutoExecutor(folder=run.path / "slurm")
        gpu = self.devices[0] == "cuda"
        self._executor.update_parameters(
            name="etabench", timeout_min=MINUTES, cpus_per_task=options.threads if not gpu else 4, gpus_per_node=int(gpu)
        )
        if self._executor.cluster != "slurm":
            self.say(f"there is no Slurm here (no srun): submitit runs the workers on this machine ({self._executor.cluster})")

    def start(self, work: Work) -> Any:
        return self._executor.submit(work_on, work.folder, **work.settings())

    def outcome(self, worker: Any) -> str | Died | None:
        if not worker.done():
            return None
        try:
            return str(worker.result())
        except Exception as error:  # of one kind or another, where the worker died
            return Died(f"{type(error).__name__}: {message_of(error)[:200]}")

    def kill(self, worker: Any) -> None:
        worker.cancel(check=False)  # it may have ended by itself; Slurm kills what does not end

    def stop(self, workers: Sequence[Any]) -> None:
        for worker in workers:
            self.kill(worker)
