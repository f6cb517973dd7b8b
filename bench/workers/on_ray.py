"""Workers on the machines of a Ray cluster, as they come and go.

A worker is an actor, which holds its GPU or its CPU cores, and the process that it starts there, the same as on one machine. An actor that the
cluster has no room for waits, and an autoscaler takes it for a demand: nothing else is asked of it, so that nothing is left asked for when a
run is killed. A machine that goes takes its workers along; they are started anew where there is room, and their units are given back.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import RunError, message_of
from bench.store import Run
from bench.workers.crew import Crew, Died, Options, Work
from bench.workers.extras import extra, without_numbers
from bench.workers.local import SECONDS_TO_END, Process, end

__all__ = ["RayCrew", "Supervisor"]

SECONDS_BETWEEN_LOOKS = 5.0
SECONDS_TO_MISS_A_MACHINE = 3.0
"""What a cluster may take to tell that a machine is gone after it told so of an actor on it."""
HANDED_ON = ("ETABENCH_SCRATCH",)
"""Variables that workers elsewhere have from who started them."""


class Supervisor:
    """An actor: starts a worker on its machine, and passes on what the crew tells it. When the actor goes, the worker hears that and stops."""

    def __init__(self, work: Work, variables: Mapping[str, str]) -> None:
        os.environ.update(variables)
        self._words = tempfile.TemporaryDirectory(prefix="etabench-")
        self._process = Process.start(work, Path(self._words.name))

    def machine(self) -> str:
        """The id of the machine."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def run(self) -> str | Died:
        """Wait for the worker's end; what `Crew.outcome` says of it."""
        self._process.process.wait()
        outcome = self._process.outcome()
        self._words.cleanup()
        return "" if outcome is None else outcome

    def finish(self) -> None:
        """Tell it to end after the unit in hand."""
        self._process.finish()

    def stop(self) -> None:
        """Tell it to stop, and wait a little."""
        end([self._process], tell=True)

    def kill(self) -> None:
        """End it though it hears nothing any more."""
        self._process.process.kill()


@dataclass
class Hired:
    """A worker as the crew knows it: the actor, what it will say of its machine and in the end, and since when it is known to be dead."""

    actor: Any
    machine: Any
    said: Any
    dead_since: float | None = None


class RayCrew(Crew[Hired]):
    """Actors on the cluster at `options.address`, on that of RAY_ADDRESS, or on one that is started here for the run."""

    def __init__(self, run: Run, devices: Sequence[str], options: Options, *more: Any) -> None:
        super().__init__(run, without_numbers(devices), options, *more)
        self._ray = extra("ray", "ray")
        self._needs = {"CPU": float(options.threads), "GPU": float(self.devices[0] == "cuda")}
        self._next_look = 0.0
        self._connect()
        if self.task.divided and not options.workers:  # shares are dealt once
            self.devices *= max(self._places(), 1)

    def start(self, work: Work) -> Hired:
        # no restarts by Ray: who died over what is known here
        about = {"num_cpus": self._needs["CPU"], "num_gpus": self._needs["GPU"], "max_restarts": 0, "max_concurrency": 4}
        variables = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
        actor = self._ray.remote(**about)(Supervisor).remote(work, variables)
        return Hired(actor, actor.machine.remote(), actor.run.remote())

    def outcome(self, worker: Hired) -> str | Died | None:
        ended, _ = self._ray.wait([worker.said], num_returns=1, timeout=0)
        if not ended:
            return None
        try:
            said: str | Died = self._ray.get(worker.said)
            return said
        except Exception as error:  # of one kind or another, where the actor died
            worker.dead_since = worker.dead_since or time.monotonic()
            lost = self._is_lost(worker)
            if lost is None:
                return None
            return Died(f"{type(error).__name__}: {message_of(error)[:200]}", lost)

    def kill(self, worker: Hired) -> None:
        worker.actor.kill.remote()

    def finish(self, workers: Sequence[Hired]) -> None:
        for worker in workers:
            worker.actor.finish.remote()

    def stop(self, workers: Sequence[Hired]) -> None:
        told = [worker.actor.stop.remote() for worker in workers]
        if told:
            self._ray.wait(told, num_returns=len(told), timeout=SECONDS_TO_END)
        for worker in workers:
            self._ray.kill(worker.actor)

    def leave(self, workers: Sequence[Hired]) -> None:
        started = [worker for worker in workers if self._ray.wait([worker.machine], num_returns=1, timeout=0)[0]]
        if started:
            self._ray.wait([worker.said for worker in started], num_returns=len(started), timeout=SECONDS_TO_END)
        for worker in workers:
            self._ray.kill(worker.actor)

    def room(self) -> int:
        if self.options.workers or self.task.divided or time.monotonic() < self._next_look:
            return 0
        self._next_look = time.monotonic() + SECONDS_BETWEEN_LOOKS
        return max(self._places() - sum(worker is not None for worker in self.workers), 0)

    def _connect(self) -> None:
        address = self.options.address
        if self._ray.is_initialized():
            return
        try:
            self._ray.init(address=address or None, log_to_driver=False)
        except Exception as error:
            where = address or os.environ.get("RAY_ADDRESS") or "this machine"
            raise RunError(f"no Ray cluster at {where}: {type(error).__name__}: {message_of(error)[:200]}") from error

    def _machines(self) -> list[dict[str, Any]]:
        return [machine for machine in self._ray.nodes() if machine["Alive"]]

    def _places(self) -> int:
        """How many workers the cluster has room for when it does nothing else."""
        needs = {name: number for name, number in self._needs.items() if number}
        each = (
            min(machine["Resources"].get(name, 0.0) // number for name, number in needs.items()) for machine in self._machines()
        )
        return int(sum(each))

    def _is_lost(self, worker: Hired) -> bool | None:
        """Whether a dead worker's machine is gone too; None while that may still turn out."""
        try:
            machine = self._ray.get(worker.machine, timeout=0)
        except Exception:
            return False  # it never came up
        if machine not in {each["NodeID"] for each in self._machines()}:
            return True
        assert worker.dead_since is not None
        return None if time.monotonic() - worker.dead_since < SECONDS_TO_MISS_A_MACHINE else False
