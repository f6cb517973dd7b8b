"""What editors should not do: it costs their unit, and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_specs import SpecMaker, editor

from bench import api
from bench.errors import SpecError
from bench.store import Record, Run
from bench.workers import waiting
from bench.workers.crew import Options
from bench.workers.drain import drain
from bench.workers.outcome import file_names
from bench.workers.waiting import Waiting

ROOT = Path(__file__).parents[3]
INLINE = Options(executor="inline")


def made(make_spec: SpecMaker, folder: Path, how: str) -> list[Record]:
    """The records of a run with an editor that misbehaves so."""
    run = api.run(make_spec(editor("Misbehaves", params={"how": how})), folder, options=INLINE)
    return list(run.records(unit.key for unit in run.plan.units))


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("exit", "SystemExit", "the editor called for an exit (0)"),
        ("leave", "SystemExit", "the editor called for an exit (0)"),
        ("interrupt", "KeyboardInterrupt", ""),
        ("generator exit", "GeneratorExit", ""),
        ("mute", "Mute", "(its message cannot be read: SystemExit)"),
        ("surrogate", "ValueError", "no \\ud800 letter"),
        ("object", "TypeError", "facts.deep: expected text, a number, a list or a mapping, got object"),
        ("number", "ValueError", "Exceeds the limit (4300 digits) for integer string conversion"),
    ],
)
def test_whatever_an_editor_raises_or_tells_is_a_record_of_each_unit(
    make_spec: SpecMaker, tmp_path: Path, how: str, kind: str, message: str
) -> None:
    records = made(make_spec, tmp_path / "run", how)
    assert [record.status for record in records] == ["failed"] * 3
    reason = records[0].reason or {}
    assert reason["type"] == kind
    assert reason["message"].startswith(message)
    assert kind in reason["traceback"], "nobody raised it on purpose"


def test_a_batch_that_exits_is_made_one_by_one(make_spec: SpecMaker, tmp_path: Path) -> None:
    spec = make_spec(editor("Several", params={"exits": True}), batch=3)
    run = api.run(spec, tmp_path / "run", options=INLINE)
    bad, *good = run.records(unit.key for unit in run.plan.units)
    assert (bad.reason or {})["type"] == "SystemExit"
    assert [record.worker["batch_failed"] for record in good] == ["SystemExit: 0"] * 2


def test_an_editor_that_exits_while_it_is_made_stops_the_run_in_words(make_spec: SpecMaker, tmp_path: Path) -> None:
    with pytest.raises(
        api.RunError, match=r"editor ExitsAtOnce cannot be made: RuntimeError: it called for an exit \(SystemExit\)"
    ):
        api.run(make_spec(editor("ExitsAtOnce")), tmp_path / "run", options=INLINE)


def test_an_editor_that_exits_while_a_run_is_planned_is_named(make_spec: SpecMaker, tmp_path: Path) -> None:
    code = "import sys\nfrom editors.anchors import Copy\nclass Quits(Copy):\n    assets = classmethod(lambda cls, params: sys.exit(0))\n"
    (tmp_path / "quits.py").write_text(code)
    spec = make_spec({"name": f"{tmp_path / 'quits.py'}:Quits"})
    with pytest.raises(SpecError, match=r"editor Quits: it called for an exit \(SystemExit\)"):
        api.run(spec, tmp_path / "run", options=INLINE)


def test_an_editor_that_changes_the_folder_moves_nothing(
    make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    records = made(make_spec, Path("run"), "wander")
    assert [record.status for record in records] == ["done"] * 3
    assert Path.cwd() == tmp_path


def test_odd_facts_are_told_as_far_as_json_goes(make_spec: SpecMaker, tmp_path: Path) -> None:
    record = made(make_spec, tmp_path / "run", "facts")[0]
    assert record.facts == {"deep": {"nan": ["nan", 1.5], "1": [0, 1]}, "path": str(Path("a/b")), "odd": "\\udc80"}


def test_pictures_of_any_name_have_files_of_their_own(make_spec: SpecMaker, tmp_path: Path) -> None:
    record = made(make_spec, tmp_path / "run", "pictures")[0]
    folder = tmp_path / "run" / "units" / record.key
    files = {path.name for path in folder.iterdir()}
    assert len(record.pictures) == 7
    assert files == {"record.json", *(edit.file for edit in record.edits), *record.pictures.values()}
    assert len(files) == 1 + 3 + 7
    assert record.pictures["a b"] == "a_b.png"
    assert Run(tmp_path / "run").read_edit(record, 0).shape == (40, 40, 3), "000 is still the edit"


def test_names_that_are_fit_for_files_stay() -> None:
    assert file_names(["mask", "heat-map_2", "übersicht"], ["000.png"]) == {
        "mask": "mask.png",
        "heat-map_2": "heat-map_2.png",
        "übersicht": "übersicht.png",
    }


def test_ctrl_c_is_heard_though_an_editor_swallows_it(make_spec: SpecMaker, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        made(make_spec, tmp_path / "run", "swallow")
    run = Run(tmp_path / "run")
    assert len(list(run.records(unit.key for unit in run.plan.units))) <= 1, "at the next step, or between units"
    assert list(run.claims.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["inline", "local"])
def test_sigterm_gives_claims_back(spec_file: Callable[..., Path], tmp_path: Path, executor: str) -> None:
    path, folder = spec_file(editor("Fade", params={"seconds": 60})), tmp_path / "run"
    command = [sys.executable, "-P", "-m", "bench.cli", "run", str(path), "--out", str(folder), "--no-score", "--workers", "1"]
    process = subprocess.Popen(
        [*command, "--executor", executor], env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while not list(folder.glob("claims/*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, b"Traceback" in err) == (130, False), err
    assert [path for name in ("claims", "holders", "units") for path in (folder / name).iterdir()] == []


def test_a_worker_that_waits_says_for_whom(make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "SECONDS_BEFORE_A_WORD", 0.0)
    run = api.run(make_spec(limit=1), tmp_path / "run", options=INLINE)
    key, said, asked = run.plan.units[0].key, list[str](), 0
    run.discard(key)
    run.claims.mkdir(exist_ok=True)
    (run.claims / key).write_text(json.dumps({"pid": 7, "host": "elsewhere", "since": "noon", "token": "t"}))

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 8

    drain(run.path, stop=stop, say=said.append)
    assert said == [f"waiting for a unit that another works on: process 7 on elsewhere since noon; claims in {run.claims}"]


def test_a_crew_does_not_wait_for_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "SECONDS_BEFORE_A_WORD", 0.0)
    run, said = Run.create(tmp_path / "run"), list[str]()
    claims = [run.claim("a", "mine-1"), run.claim("b", "other-1")]
    assert None not in claims
    wait = Waiting(run, said.append, mine="mine")
    wait.go_on({"a", "b"})
    assert said == []
    wait.go_on({"b"})
    wait.go_on({"b"})
    assert [line.partition(":")[0] for line in said] == ["waiting for a unit that another works on"]
    wait.over()
    wait.go_on({"b"})
    assert len(said) == 2
