"""Ray and submitit as far as crews use them: their workers are threads of this process, and some die over the first unit they claim."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from bench.store import Run
from bench.workers.crew import Work
from bench.workers.process import work as work_on


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


class Actor:
    """A supervisor, whose worker is a job."""

    def __init__(self, cluster: Cluster, work: Work, variables: Mapping[str, str]) -> None:
        self.variables = variables
        self.job = Job(cluster, work_on, (work.folder,), work.settings())
        self.run = SimpleNamespace(remote=lambda: self.job)
        self.machine = SimpleNamespace(remote=lambda: f"machine of {work.worker}")
        self.stop = self.finish = self.kill = SimpleNamespace(remote=self._cancel)

    def _cancel(self) -> Job:
        self.job.cancel(check=False)
        return self.job


class Ray(Cluster):
    """`import ray`. `machines` are those that are there, one worker each."""

    def __init__(self, deaths: int = 0, over_a_unit: bool = True, lost: bool = False, machines: int = 1) -> None:
        super().__init__(deaths, over_a_unit)
        self.lost, self.machines = lost, machines
        self.actors: list[Actor] = []

    def module(self) -> Any:
        def remote(**options: Any) -> Callable[..., Any]:
            self.options = options

            def hire(work: Work, variables: Mapping[str, str]) -> Actor:
                self.actors.append(Actor(self, work, variables))
                return self.actors[-1]

            return lambda cls: SimpleNamespace(remote=hire)

        def wait(jobs: Sequence[Any], *, num_returns: int, timeout: float) -> tuple[list[Job], list[Job]]:
            assert num_returns <= len(jobs)
            if not isinstance(jobs[0], Job):
                return [*jobs], []
            until = time.monotonic() + timeout
            while sum(job.done() for job in jobs) < num_returns and time.monotonic() < until:
                time.sleep(0.01)
            return [job for job in jobs if job.done()], [job for job in jobs if not job.done()]

        def nodes() -> list[dict[str, Any]]:
            """Where workers are, unless they are lost with it."""
            names = [actor.machine.remote() for actor in self.actors if not (self.lost and actor.job.error)]
            names += [f"machine {number}" for number in range(len(names), self.machines)]
            resources = {"CPU": 1.0, "GPU": 0.0}
            gone = {"NodeID": "gone", "Alive": False, "Resources": resources}
            return [gone, *({"NodeID": name, "Alive": True, "Resources": resources} for name in names)]

        started: list[bool] = []
        return SimpleNamespace(
            is_initialized=lambda: bool(started),
            init=lambda *, address, log_to_driver: started.append(log_to_driver),
            remote=remote,
            wait=wait,
            get=lambda found, timeout=None: found.result() if isinstance(found, Job) else found,
            kill=lambda actor: None if actor.job.done() else actor.job.cancel(check=False),
            nodes=nodes,
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
