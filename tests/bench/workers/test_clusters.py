"""Ray's own local cluster and submitit's own local executor give what one process gives, edits and scores."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from fake_specs import PAIR_METRICS, SpecMaker, editor, metric

from bench import api
from bench.progress import Advance
from bench.store import Run
from bench.workers import on_ray
from bench.workers.crew import Options

pytestmark = [
    pytest.mark.slow,
    # submitit's local executor lets go of a process whose result is there and which has yet to end
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ray without telemetry, on this machine, gone afterwards."""
    found = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    found.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    found.shutdown()


@pytest.fixture
def submitit() -> Iterator[None]:
    pytest.importorskip("submitit")
    yield
    gc.collect()


@pytest.mark.parametrize(("executor", "cluster"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_cluster_makes_and_scores_what_one_process_does(
    make_spec: SpecMaker, tmp_path: Path, request: pytest.FixtureRequest, executor: str, cluster: str
) -> None:
    request.getfixturevalue(cluster)
    spec = make_spec(editor("Fade"), editor("Crashes"), metrics=[*PAIR_METRICS, metric("ColourShift")])
    alone = api.run(spec, tmp_path / "alone", options=Options(executor="inline"))
    shared = api.run(spec, tmp_path / "shared", options=Options(executor=executor, workers=2, device="cpu"))
    assert fingerprint(shared) == fingerprint(alone)
    workers = Options(executor=executor, workers=2)
    pd.testing.assert_frame_equal(api.score(shared, options=workers).pairs, api.score(alone).pairs, check_exact=True)
    assert list(shared.claims.iterdir()) == []
    assert len(list(shared.logs.iterdir())) == 2, "two workers of the cluster"
    assert all(str(os.getpid()) not in path.read_text() for path in shared.logs.iterdir()), "none is this process"


def test_a_crew_on_ray_grows_with_its_cluster_and_survives_the_loss_of_a_machine(
    make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster that is there, of machines with one core: a second one joins after the first unit, and then the first goes."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    monkeypatch.setattr(on_ray, "SECONDS_BETWEEN_LOOKS", 0.5)
    spec = make_spec(editor("Fade", params={"seconds": 0.5}), seeds=list(range(8)))
    alone = api.run(spec, tmp_path / "alone", options=Options(executor="inline"))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    said, logs = list[str](), tmp_path / "shared" / "logs"
    try:
        machines = [cluster.add_node(num_cpus=1)]

        @contextmanager
        def progress(what: str, total: int, done: int = 0) -> Iterator[Advance]:
            def advance(steps: int = 1, note: str = "") -> None:
                said.extend([note] if note else [])
                if steps and len(machines) == 1:
                    machines.append(cluster.add_node(num_cpus=1))
                elif steps and machines[0] is not None and len(list(logs.iterdir())) == 2:
                    cluster.remove_node(machines[0])
                    machines[0] = None

            yield advance

        options = Options(executor="ray", device="cpu", address=cluster.address)
        shared = api.run(spec, tmp_path / "shared", options=options, progress=progress)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert fingerprint(shared) == fingerprint(alone)
    assert machines[0] is None, "it went while there was work"
    assert [line for line in said if "went with its machine" in line], said
    assert len(list(logs.iterdir())) >= 2


def fingerprint(run: Run) -> dict[str, tuple[str, ...]]:
    records = {unit.key: run.record(unit.key) for unit in run.plan.units}
    return {key: (record.status, *(edit.sha256 for edit in record.edits)) for key, record in records.items() if record}
