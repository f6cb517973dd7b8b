"""What a run does about units that fail, hang, or may succeed at another try, and about who ends it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_specs import SpecMaker, editor

from bench import api, registry
from bench.errors import RunError, SpecError
from bench.spec import load_spec
from bench.spec.policy import FailureBudget, failures_allowed
from bench.store import Record, Run
from bench.workers import overdue, tries
from bench.workers.crew import Options
from bench.workers.tries import kinds

ROOT = Path(__file__).parents[3]
INLINE, LOCAL = Options(executor="inline"), Options(executor="local", workers=1)


def by_sample(run: Run) -> dict[str, Record]:
    return {record.identity["sample_id"]: record for record in run.records(unit.key for unit in run.plan.units)}


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tries, "LONGEST_PAUSE", 0.01)


@pytest.fixture
def flaky() -> None:
    """The editor that counts its tries, with none made."""
    registry.load_editor(editor("Flaky")["name"]).tries = 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("on_error", "allowed"),
    [("continue", float("inf")), ("stop", 0), ({"count": 10}, 10), ({"share": 0.05}, 2), ({"share": 0.0}, 0), ({"count": 0}, 0)],
)
def test_how_many_failures_a_policy_allows(make_spec: SpecMaker, on_error: Any, allowed: float) -> None:
    assert failures_allowed(make_spec(on_error=on_error).on_error, 59) == allowed


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("on_error=halt", "on_error"),
        ("on_error={share: 2}", "on_error"),
        ("on_error={share: 0.1, count: 1}", "give exactly one of share, count"),
        ("on_error={}", "give exactly one of share, count"),
        ("retry={OutOfMemoryError: 0}", "retry"),
        ("retry={out of memory: 1}", "expected the name of an error's class"),
        ("unit_seconds=0", "unit_seconds"),
    ],
)
def test_a_policy_that_means_nothing_is_refused_in_one_line(spec_file: Callable[..., Path], override: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(spec_file(), [override])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_policies_move_no_key_and_share_a_folder(make_spec: SpecMaker) -> None:
    plain, strict = make_spec(), make_spec(on_error={"count": 1}, retry={"Transport": 2}, unit_seconds=9)
    plans = [api.plan(spec)[0] for spec in (plain, strict)]
    assert plans[0].units == plans[1].units
    assert plans[0].digest(plain) == plans[1].digest(strict)


@pytest.mark.parametrize("options", [INLINE, pytest.param(LOCAL, marks=pytest.mark.slow)])
def test_a_run_stops_with_the_failure_that_is_too_many(make_spec: SpecMaker, tmp_path: Path, options: Options) -> None:
    crash = editor("Crashes")
    with pytest.raises(RunError, match=r"sample-0, editor Crashes, seed 0\): ZeroDivisionError: a bug; run again to continue"):
        api.run(make_spec(crash, on_error="stop"), tmp_path / "stop", options=options)
    if options is INLINE:
        assert [record.status for record in by_sample(Run(tmp_path / "stop")).values()] == ["failed"]
    spec = make_spec(crash, seeds=[0, 1, 2], on_error={"count": 1})
    with pytest.raises(RunError, match="2 of 9 units failed, on_error allows 1"):
        api.run(spec, tmp_path / "count", options=options)
    run = api.run(spec.model_copy(update={"on_error": FailureBudget(share=0.34)}), tmp_path / "count", options=options)
    assert len(list(run.records(unit.key for unit in run.plan.units))) == 9


def test_fail_on_error_is_short_for_the_policy(
    etabench: Callable[..., tuple[int, str, str]], spec_file: Callable[..., Path], tmp_path: Path
) -> None:
    code, _, err = etabench(
        "run", spec_file(editor("FailsOnce")), "--out", tmp_path / "run", "--executor", "inline", "--fail-on-error"
    )
    assert (code, "EditorError: no zeros please; run again" in err) == (2, True)
    assert Run(tmp_path / "run").spec.on_error == "stop"


def test_errors_are_called_by_their_classes_and_by_what_they_came_from() -> None:
    error = RuntimeError("no answer")
    error.__cause__ = ConnectionResetError()
    error.__cause__.__cause__ = error  # a circle
    assert kinds(error) >= {"RuntimeError", "ConnectionError", "OSError", "Transport"}
    assert "Transport" not in kinds(OSError())


@pytest.mark.usefixtures("flaky")
def test_a_unit_is_tried_again_as_the_spec_says_and_its_record_tells(make_spec: SpecMaker, tmp_path: Path) -> None:
    plain = by_sample(api.run(make_spec(editor("Flaky", params={"fails": 0})), tmp_path / "plain", options=INLINE))["sample-0"]
    registry.load_editor(editor("Flaky")["name"]).tries = 0  # type: ignore[attr-defined]
    record = by_sample(
        api.run(make_spec(editor("Flaky", params={"fails": 2}), retry={"Transport": 3}), tmp_path / "run", options=INLINE)
    )["sample-0"]
    assert (record.status, [edit.sha256 for edit in record.edits]) == ("done", [edit.sha256 for edit in plain.edits])
    assert [(each["type"], each["message"], each["then"]) for each in record.retries] == [
        ("EditorError", "no answer", "tried again after 0.01 s, 1 of 3 for Transport"),
        ("EditorError", "no answer", "tried again after 0.01 s, 2 of 3 for Transport"),
    ]


@pytest.mark.usefixtures("flaky")
@pytest.mark.parametrize(("error", "fails", "retries"), [("reset", 9, 2), ("bug", 1, 0)])
def test_what_gets_no_more_tries_is_a_failure(make_spec: SpecMaker, tmp_path: Path, error: str, fails: int, retries: int) -> None:
    flaky = editor("Flaky", params={"fails": fails, "error": error})
    record = by_sample(api.run(make_spec(flaky, retry={"Transport": 2}), tmp_path / "run", options=INLINE))["sample-0"]
    assert (record.status, len(record.retries)) == ("failed", retries)


def test_a_batch_for_which_memory_is_out_is_made_in_halves(make_spec: SpecMaker, tmp_path: Path) -> None:
    records = by_sample(api.run(make_spec(editor("Tight"), batch=3), tmp_path / "run", options=INLINE))
    assert [record.worker["batch"] for record in records.values()] == [2, 2, 1]
    assert {record.worker["batch_failed"] for record in records.values()} == {"OutOfMemoryError: CUDA out of memory"}


@pytest.mark.slow
def test_a_unit_for_which_memory_is_out_is_tried_with_fewer_items_a_call_and_the_next_with_all(
    make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory that is out where gradients are kept, or between calls, is beyond the halving of single calls."""
    import torch

    from editors.sdedit import SDEdit

    render, largest, room = SDEdit.render_many, list[int](), 2

    def small(self: SDEdit, states: Any, values: Any) -> Any:
        edits = render(self, states, values)
        largest.append(self.model.limits.most)
        if self.model.limits.most > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return edits

    monkeypatch.setattr(SDEdit, "render_many", small)
    sdedit = {"name": "sdedit", "preset": "toybox", "params": {"steps": 1}, "grid": [0.8, 0.9, 1.0]}
    keys = {"manifest": {"name": "toybox-mini"}, "model": "toybox", "metrics": ["lpips"], "limit": 2}

    def records(folder: str) -> list[Record]:
        return list(by_sample(api.run(make_spec(sdedit, **keys), tmp_path / folder, options=INLINE, scorable=False)).values())

    assert [[each["then"] for each in record.retries] for record in records("tight")] == [["max_batch 3", "max_batch 1"]] * 2
    assert largest == [6, 3, 1] * 2
    room = 0
    hopeless = records("hopeless")
    assert [(record.status, (record.reason or {})["type"]) for record in hopeless] == [("failed", "OutOfMemoryError")] * 2


@pytest.mark.parametrize("options", [INLINE, pytest.param(LOCAL, marks=pytest.mark.slow)])
def test_a_unit_that_takes_too_long_fails_alone(make_spec: SpecMaker, tmp_path: Path, options: Options) -> None:
    handler = signal.getsignal(signal.SIGALRM)
    run = api.run(make_spec(editor("Sleeps"), unit_seconds=0.5), tmp_path / "run", options=options)
    records = by_sample(run)
    assert [records[f"sample-{number}"].status for number in range(3)] == ["failed", "done", "done"]
    reason = records["sample-0"].reason or {}
    assert (reason["type"], reason["message"]) == ("TimeLimit", "not done after 0.5 s")
    assert "time.sleep(60)" in reason["traceback"]
    assert signal.getsignal(signal.SIGALRM) == handler
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.slow
def test_a_worker_that_hears_no_alarm_is_killed_and_its_unit_fails(
    make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overdue, "GRACE_SECONDS", 0.5)
    monkeypatch.setattr(overdue, "SECONDS_BETWEEN_LOOKS", 0.0)
    run = api.run(make_spec(editor("Sleeps", params={"deaf": True}), unit_seconds=0.5), tmp_path / "run", options=LOCAL)
    records = by_sample(run)
    assert [records[f"sample-{number}"].status for number in range(3)] == ["failed", "done", "done"]
    reason = records["sample-0"].reason or {}
    assert reason["type"] == "WorkerDied"
    assert re.search(r"2 workers in a row died over it \(stuck for \d+ s, unit_seconds is 0.5\)", reason["message"])
    assert list(run.claims.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["inline", "local"])
def test_ctrl_c_finishes_the_units_in_hand_and_a_second_leaves_at_once(
    spec_file: Callable[..., Path], tmp_path: Path, executor: str
) -> None:
    for times, seconds, finished in ((1, 2.0, 1), (2, 60.0, 0)):
        path, folder = spec_file(editor("Fade", params={"seconds": seconds})), tmp_path / f"run-{times}"
        command = [
            sys.executable,
            "-P",
            "-m",
            "bench.cli",
            "run",
            str(path),
            "--out",
            str(folder),
            "--no-score",
            "--workers",
            "1",
        ]
        process = subprocess.Popen(
            [*command, "--executor", executor],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            process_group=0,
        )
        deadline = time.monotonic() + 60
        while not list(folder.glob("claims/*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        for _ in range(times):
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
            time.sleep(0.3)
        _, err = process.communicate(timeout=30)
        assert (process.returncode, b"Traceback" in err) == (130, False), err
        assert b"finishing the unit in hand; Ctrl-C again leaves at once" in err
        assert len(list(folder.glob("units/*/record.json"))) == finished
        assert [path for name in ("claims", "holders") for path in (folder / name).iterdir()] == []
