"""Ray and submitit as far as crews use them: their workers are threads of this process, and some die over the first unit they claim."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from bench.store import Run


class CrashedError(Exception):
    """Stands for WorkerCrashedError of Ray and for UncompletedJobError of submitit."""


class Job:
    """A call in a thread. One of the first `deaths` on the cluster claims the unit with the smallest key and dies, as a killed process."""

    def __init__(self, cluster: Cluster, function: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.value: Any = None
        self.error: Exception | None = None
        self.cancelled = False
        cluster.jobs.append(self)
        self.settings = named
        if len(cluster.jobs) <= cluster.deaths:
            run = Run.open(arguments[0])
            if cluster.over_a_unit:
                key = min(unit.key for unit in run.plan.units)
                assert run.claim(key, named["worker"]) is not None
            self.error = CrashedError("the worker was killed")
        self._thread = threading.Thread(target=self._work, args=(function, arguments, named), daemon=True)
        if self.error is None:
            self._thread.start()

    def _work(self, function: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        try:
            self.value = function(*arguments, **named)
        except Exception as error:
            self.error = error

    def done(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value

    def cancel(self, check: bool = True) -> None:
        assert not check, "a job that ended by itself cannot be cancelled"
        self.cancelled = True


class Cluster:
    """What both have in common: the jobs started, how many of the first die, and whether they had claimed a unit."""

    def __init__(self, deaths: int = 0, over_a_unit: bool = True) -> None:
        self.deaths, self.over_a_unit = deaths, over_a_unit
        self.jobs: list[Job] = []
        self.options: dict[str, Any] = {}

    def module(self) -> Any:
        """The module that is imported."""
        raise NotImplementedError


class Ray(Cluster):
    """`import ray`."""

    def module(self) -> Any:
        def remote(**options: Any) -> Callable[..., Any]:
            self.options = options
            return lambda function: SimpleNamespace(remote=lambda *a, **named: Job(self, function, a, named))

        def wait(jobs: Sequence[Job], *, num_returns: int, timeout: float) -> tuple[list[Job], list[Job]]:
            assert num_returns <= len(jobs)
            return [job for job in jobs if job.done()], [job for job in jobs if not job.done()]

        started: list[bool] = []
        return SimpleNamespace(
            is_initialized=lambda: bool(started),
            init=lambda *, log_to_driver: started.append(log_to_driver),
            remote=remote,
            wait=wait,
            get=lambda job: job.result(),
            cancel=lambda job: job.cancel(check=False),
        )


class Submitit(Cluster):
    """`import submitit`, where there is a Slurm or not."""

    cluster = "slurm"

    def module(self) -> Any:
        def executor(folder: Any) -> Any:
            return SimpleNamespace(
                cluster=self.cluster,
                update_parameters=lambda **options: self.options.update(options),
                submit=lambda function, *arguments, **named: Job(self, function, arguments, named),
            )

        return SimpleNamespace(AutoExecutor=executor)
