"""`etabench status`: what a folder tells of a run while others work on it."""

from __future__ import annotations

import json
import math
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_specs import SpecMaker, editor

from bench import api
from bench.commands import status
from bench.commands.status import Watched
from bench.errors import RunError
from bench.store import Run
from bench.store.logs import WorkerLog
from bench.workers.crew import Options

Etabench = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(make_spec: SpecMaker, tmp_path: Path) -> Run:
    """Three samples; one unit of the second editor failed."""
    return api.run(make_spec(editor("Fade"), editor("Crashes")), tmp_path / "run", options=Options(executor="inline"))


def test_a_finished_run_has_nothing_left_and_nobody_at_work(run: Run) -> None:
    found = Watched(run).look()
    assert (found.units, found.done, found.failed, found.left) == (6, 5, {"ZeroDivisionError": 1}, 0)
    assert (found.seconds_left, found.workers, found.claims, found.gone) == (0.0, (), (), 1)


def test_whoever_works_is_named_and_time_left_follows_the_pace(run: Run) -> None:
    watched, units = Watched(run), run.plan.units
    for number, unit in enumerate(units[:3]):
        os.utime(run.units / unit.key, (moment := 1e9 + 10 * number, moment))
    now = (run.units / units[5].key).stat().st_mtime
    for number, unit in enumerate(units[3:]):
        os.utime(run.units / unit.key, (moment := now - 20 + 10 * number, moment))
    run.discard(units[0].key)
    run.discard(units[1].key)
    assert math.isnan(watched.look().seconds_left), "nobody works on it"
    log = WorkerLog(run.logs, "crew-1", host=socket.gethostname(), pid=os.getpid(), device="cpu")
    record = run.record(units[2].key)
    assert record is not None
    log.unit(record, memory_mb=12.5)
    claim = run.claim(units[0].key, "crew-1")
    assert claim is not None
    with claim:
        found = watched.look()
    assert found.per_minute == pytest.approx(6.0), "one in ten seconds; those of long ago do not count"
    assert found.seconds_left == pytest.approx(20.0)
    (worker,) = found.workers
    assert (worker.worker, worker.pid, worker.device, worker.units, worker.done, worker.memory_mb) == (
        "crew-1",
        os.getpid(),
        "cpu",
        1,
        1,
        12.5,
    )
    assert [(each.unit, each.worker, each.host) for each in found.claims] == [(units[0].key, "crew-1", socket.gethostname())]
    assert found.claims[0].beat < 60


def test_the_dead_do_not_work(run: Run) -> None:
    for worker, about in (("dead", {"host": socket.gethostname(), "pid": 2**22 + 1}), ("far", {"host": "elsewhere", "pid": 1})):
        WorkerLog(run.logs, worker, **about)
    assert [each.worker for each in Watched(run).look().workers] == ["far"], "its log is fresh"
    old = run.path.stat().st_mtime - 1000
    os.utime(run.logs / "far.jsonl", (old, old))
    found = Watched(run).look()
    assert (found.workers, found.gone) == ((), 3)


def test_only_what_changed_is_read_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    watched, read = Watched(run), list[str]()
    first = watched.look()
    state = status._state
    monkeypatch.setattr(status, "_state", lambda folder: read.append(folder.name) or state(folder))
    assert watched.look() == first
    assert read == []
    key = run.plan.units[0].key
    (run.units / key / "record.json").write_text("cut")
    os.utime(run.units / key, (1, 1))
    found = watched.look()
    assert (read, found.done, found.left) == ([key], first.done - 1, 1), "an unsound record is none"


def test_the_command_says_it_in_words_and_as_json(run: Run, etabench: Etabench) -> None:
    code, out, _ = etabench("status", run.path)
    assert (code, out.splitlines()[1]) == (0, "failed: 1 ZeroDivisionError")
    assert out.startswith("test: 5 of 6 units done, 1 failed, 0 left")
    told = json.loads(etabench("status", run.path, "--json")[1])
    assert (told["done"], told["left"], told["failed"]) == (5, 0, {"ZeroDivisionError": 1})
    run.discard(run.plan.units[0].key)
    assert "nobody works on it; `etabench run` on the folder continues" in etabench("status", run.path)[1]
    told = json.loads(etabench("status", run.path, "--json")[1])
    assert told["seconds_left"] is None, "NaN is no JSON"


def test_watching_ends_when_nothing_is_left(run: Run, etabench: Etabench) -> None:
    code, out, _ = etabench("status", run.path, "--watch", "--json")
    assert (code, len(out.splitlines())) == (0, 1)
    code, out, _ = etabench("status", run.path, "--watch")
    assert (code, "0 left" in out) == (0, True)


def test_a_report_of_a_run_in_the_making_says_how_far_it_is(run: Run, etabench: Etabench) -> None:
    run.discard(run.plan.units[0].key)
    claim = run.claim(run.plan.units[0].key)
    assert claim is not None
    with claim:
        with pytest.raises(RunError, match=r"no scores \(it is being made: 5 of 6 units are there, 1 in work\)"):
            api.report(run)
        api.score(run)
        code, _, err = etabench("report", run.path)
    assert (code, "it is being made: 5 of 6 units are there, 1 in work" in err) == (0, True)
    assert "in work" not in etabench("report", run.path)[2]
