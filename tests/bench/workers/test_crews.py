"""Workers that die, on every executor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from fake_clusters import Cluster, Ray, Submitit
from fake_specs import SpecMaker, editor

from bench import api
from bench.errors import RunError
from bench.plan import Plan
from bench.store import Record, Run
from bench.workers import executors, local, on_ray
from bench.workers.crew import Options

CLUSTERS = pytest.mark.parametrize(("executor", "module", "kind"), [("ray", "ray", Ray), ("slurm", "submitit", Submitit)])


@pytest.fixture
def planned(make_spec: SpecMaker, tmp_path: Path) -> tuple[Run, Plan]:
    """A run folder with a plan of three units and nothing done."""
    spec = make_spec()
    plan, manifest = api.plan(spec)
    run = Run.create(tmp_path / "run")
    run.begin(spec, plan, manifest)
    return run, plan


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(on_ray, "SECONDS_TO_MISS_A_MACHINE", 0.05)
    monkeypatch.setattr(on_ray, "SECONDS_BETWEEN_LOOKS", 0.0)


def work(run: Run, plan: Plan, options: Options) -> tuple[list[Record], list[str]]:
    """The records, in the order of their keys, and what was said."""
    said: list[str] = []
    executors.execute(run, plan, options, lambda steps=1, note="": said.append(note) if note else None)
    return list(run.records(sorted(unit.key for unit in plan.units))), said


@CLUSTERS
def test_a_remote_worker_that_dies_is_replaced_and_its_unit_tried_again(
    planned: tuple[Run, Plan], monkeypatch: pytest.MonkeyPatch, executor: str, module: str, kind: type[Cluster]
) -> None:
    cluster = kind(deaths=1)
    monkeypatch.setitem(sys.modules, module, cluster.module())
    records, said = work(*planned, Options(executor=executor, device="cpu", workers=2))
    assert [record.status for record in records] == ["done"] * 3
    assert said == ["a worker died over 1 unit (CrashedError: the worker was killed) and is replaced"]
    assert len(cluster.jobs) == 3
    assert len({job.settings["worker"] for job in cluster.jobs}) == 3, "each has a name of its own"
    assert not any(job.cancelled for job in cluster.jobs)
    assert not list(planned[0].claims.iterdir())


@CLUSTERS
def test_a_unit_over_which_two_remote_workers_die_is_a_failure_with_its_reason(
    planned: tuple[Run, Plan], monkeypatch: pytest.MonkeyPatch, executor: str, module: str, kind: type[Cluster]
) -> None:
    monkeypatch.setitem(sys.modules, module, kind(deaths=2).module())
    records, _ = work(*planned, Options(executor=executor, device="cpu", workers=1))
    assert [record.status for record in records] == ["failed", "done", "done"]
    text = "2 workers in a row died over it (CrashedError: the worker was killed)"
    assert records[0].reason == {"type": "WorkerDied", "message": text}


@CLUSTERS
def test_remote_workers_that_die_before_they_take_a_unit_stop_the_run(
    planned: tuple[Run, Plan], monkeypatch: pytest.MonkeyPatch, executor: str, module: str, kind: type[Cluster]
) -> None:
    cluster = kind(deaths=100, over_a_unit=False)
    monkeypatch.setitem(sys.modules, module, cluster.module())
    with pytest.raises(RunError, match=r"keep dying before they take a unit \(CrashedError: the worker was killed\)"):
        work(*planned, Options(executor=executor, device="cpu", workers=1))
    assert len(cluster.jobs) == 4


def test_what_stops_a_remote_worker_for_good_stops_the_run(
    make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", Ray().module())
    with pytest.raises(RunError, match=r"editor ExitsAtOnce cannot be made"):
        api.run(make_spec(editor("ExitsAtOnce")), tmp_path / "run", options=Options(executor="ray", device="cpu", workers=1))


def test_ray_gets_threads_and_no_retries_of_its_own(planned: tuple[Run, Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Ray()
    monkeypatch.setitem(sys.modules, "ray", cluster.module())
    work(*planned, Options(executor="ray", device="cpu", workers=1, threads=1))
    assert cluster.options == {"num_cpus": 1.0, "num_gpus": 0.0, "max_restarts": 0, "max_concurrency": 4}


def test_workers_that_go_with_their_machines_cost_no_unit_and_are_replaced(
    planned: tuple[Run, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machines may go as often as they like: over the same unit, and before anyone takes one."""
    cluster = Ray(deaths=6, lost=True)
    monkeypatch.setitem(sys.modules, "ray", cluster.module())
    records, said = work(*planned, Options(executor="ray", device="cpu", workers=1))
    assert [record.status for record in records] == ["done"] * 3
    assert said == ["a worker went with its machine (CrashedError: the worker was killed) and is replaced"] * 6
    cluster = Ray(deaths=6, lost=True, over_a_unit=False)
    for record in records:
        planned[0].discard(record.key)
    monkeypatch.setitem(sys.modules, "ray", cluster.module())
    assert len(work(*planned, Options(executor="ray", device="cpu", workers=1))[0]) == 3


@pytest.mark.parametrize(("machines", "workers"), [(0, 1), (1, 1), (50, 3)])
def test_a_crew_is_as_large_as_the_cluster_and_no_larger_than_the_work(
    planned: tuple[Run, Plan], monkeypatch: pytest.MonkeyPatch, machines: int, workers: int
) -> None:
    cluster = Ray(machines=machines)
    monkeypatch.setitem(sys.modules, "ray", cluster.module())
    work(*planned, Options(executor="ray", device="cpu"))
    assert len(cluster.jobs) == workers


def test_a_crew_grows_with_the_cluster(planned: tuple[Run, Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Ray(machines=1)
    monkeypatch.setitem(sys.modules, "ray", cluster.module())
    with on_ray.RayCrew(planned[0], ["cpu"], Options(executor="ray", device="cpu")) as crew:
        monkeypatch.setattr(crew, "outcome", lambda worker: None)
        crew.wanted = 3
        assert crew.check()
        assert len(crew.workers) == 1
        cluster.machines = 2
        crew.check()
        assert len(crew.workers) == 2
        cluster.machines = 9
        crew.check()
        assert len(crew.workers) == 3, "there are no more units"
        crew.enough()
        crew.wanted = 9
        crew.check()
        assert len(crew.workers) == 3
    assert len({job.settings["worker"] for job in cluster.jobs}) == 3


def test_an_address_belongs_to_ray_and_one_without_a_cluster_is_named(
    planned: tuple[Run, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RunError, match="say --executor ray"):
        work(*planned, Options(address="head:6379"))
    module = Ray().module()

    def nobody(**_: object) -> None:
        raise ConnectionError("no answer")

    module.init = nobody
    monkeypatch.setitem(sys.modules, "ray", module)
    with pytest.raises(RunError, match=r"no Ray cluster at head:6379: ConnectionError: no answer"):
        work(*planned, Options(executor="ray", device="cpu", address="head:6379"))


def test_submitit_without_slurm_is_told_of(planned: tuple[Run, Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Submitit()
    cluster.cluster = "local"
    monkeypatch.setitem(sys.modules, "submitit", cluster.module())
    records, said = work(*planned, Options(executor="slurm", device="cpu", workers=1))
    assert said == ["there is no Slurm here (no srun): submitit runs the workers on this machine (local)"]
    assert len(records) == 3


@pytest.mark.slow
def test_stuck_workers_share_the_time_they_have_to_end(planned: tuple[Run, Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    now, killed = [0.0], list[str]()

    class Stuck:
        def terminate(self) -> None: ...

        def wait(self, seconds: float) -> None:
            now[0] += seconds
            raise subprocess.TimeoutExpired("worker", seconds)

        def kill(self) -> None:
            killed.append("killed")

        def communicate(self) -> None: ...

    monkeypatch.setattr(local.time, "monotonic", lambda: now[0])
    with local.LocalCrew(planned[0], [], Options()) as crew:
        crew.stop([local.Process(cast(Any, Stuck()), Path("word")) for _ in range(8)])
    assert len(killed) == 8
    assert now[0] == local.SECONDS_TO_END


def test_exits_and_vanishing_workers_of_this_machine_cost_their_units_only(make_spec: SpecMaker, tmp_path: Path) -> None:
    spec = make_spec(editor("Misbehaves", params={"how": "exit"}), editor("Vanishes"))
    run = api.run(spec, tmp_path / "run", options=Options(executor="local", workers=2))
    reasons = {
        (record.identity["editor"], record.identity["sample_id"]): (record.reason or {}).get("type")
        for record in run.records(unit.key for unit in run.plan.units)
    }
    assert reasons == {
        **{("misbehaves", f"sample-{number}"): "SystemExit" for number in range(3)},
        ("vanishes", "sample-0"): "WorkerDied",
        ("vanishes", "sample-1"): None,
        ("vanishes", "sample-2"): None,
    }


@pytest.mark.slow
def test_a_unit_that_kills_the_run_itself_is_a_failure_at_the_third_try(make_spec: SpecMaker, tmp_path: Path) -> None:
    """Without another process to see it, the claims that the dead left tell what happened."""
    spec = make_spec(editor("Dies"))
    plan, manifest = api.plan(spec)
    run = Run.create(tmp_path / "run")
    run.begin(spec, plan, manifest)
    command = [sys.executable, "-P", "-c", f"from bench.workers.drain import drain; drain({str(run.path)!r})"]
    for died in (1, 2):
        assert subprocess.run(command, env={"PYTHONPATH": ":".join(sys.path)}, check=False).returncode == -9
        assert [run.deaths(unit.key) for unit in plan.units] == [died, 0, 0]
        run.clean()
    records = {record.identity["sample_id"]: record for record in work(run, plan, Options(executor="inline", device="cpu"))[0]}
    assert [records[f"sample-{number}"].status for number in range(3)] == ["failed", "done", "done"]
    text = "2 workers in a row died over it (killed, crashed or out of memory)"
    assert records["sample-0"].reason == {"type": "WorkerDied", "message": text}
    assert not list(run.claims.iterdir())
