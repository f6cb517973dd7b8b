from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fake_specs import SpecMaker, editor

from bench import api
from bench.analysis import summary
from bench.commands.report import report_data
from bench.errors import RunError
from bench.scoring.axes import Axes
from bench.store import Record, Run
from bench.workers.crew import Options
from bench.workers.drain import drain
from bench.workers.worker import UnitCost

ROOT = Path(__file__).parents[3]
INLINE = Options(executor="inline")
Fingerprint = dict[str, tuple[str, tuple[str, ...]]]


def fingerprint(run: Run) -> Fingerprint:
    """What a run consists of, but for times: key to status and the hashes of the PNG bytes, checked against the files."""
    import hashlib

    found: Fingerprint = {}
    for folder in sorted(run.units.iterdir()):
        record = run.record(folder.name)
        assert record is not None, f"{folder.name} is not a whole unit"
        hashes = tuple(hashlib.sha256((folder / edit.file).read_bytes()).hexdigest() for edit in record.edits)
        assert hashes == tuple(edit.sha256 for edit in record.edits)
        found[folder.name] = (record.status, hashes)
    return found


def test_every_unit_becomes_a_record_with_its_edits(make_spec: SpecMaker, tmp_path: Path) -> None:
    run = api.run(make_spec(editor("Fade"), seeds=[0, 1]), tmp_path / "run", options=INLINE)
    records = [run.record(folder.name) for folder in run.units.iterdir()]
    assert len(records) == 6
    for record in records:
        assert record is not None
        assert record.status == "done"
        assert [edit.value for edit in record.edits] == [0.0, 0.5, 1.0]
        assert set(record.pictures) == {"noise", "bright", "000", "a b", "a_b"}
        assert len({*record.pictures.values(), *(edit.file for edit in record.edits)}) == 5 + len(record.edits)
        assert all((run.units / record.key / file).is_file() for file in record.pictures.values())
        assert record.fair_play["candidates"] == 3
        assert record.facts["undefined"] == "nan", "JSON has no NaN"
        assert record.worker == {"device": "cpu", "dtype": "float32", "threads": 1, "batch": 1}
        assert record.peak_memory["mb"] >= 0
    assert list(run.claims.iterdir()) == []
    assert {"spec.yaml", "environment.json", "manifest.json", "plan.parquet"} <= {path.name for path in run.path.iterdir()}


def test_the_same_spec_gives_the_same_bytes_and_another_seed_others(make_spec: SpecMaker, tmp_path: Path) -> None:
    first = fingerprint(api.run(make_spec(seeds=[0]), tmp_path / "a", options=INLINE))
    assert fingerprint(api.run(make_spec(seeds=[0]), tmp_path / "b", options=INLINE)) == first
    other = fingerprint(api.run(make_spec(seeds=[1]), tmp_path / "c", options=INLINE))
    assert not {hashes[2] for _, hashes in first.values()} & {hashes[2] for _, hashes in other.values()}


def test_a_result_does_not_depend_on_the_units_before_it(make_spec: SpecMaker, tmp_path: Path) -> None:
    everything = fingerprint(api.run(make_spec(), tmp_path / "all", options=INLINE))
    alone = fingerprint(api.run(make_spec(samples=["sample-2"]), tmp_path / "alone", options=INLINE))
    assert alone.items() <= everything.items()


def test_a_failing_sample_is_a_record_with_its_reason_and_the_rest_goes_on(make_spec: SpecMaker, tmp_path: Path) -> None:
    run = api.run(make_spec(editor("FailsOnce")), tmp_path / "run", options=INLINE)
    statuses = [record.status for folder in run.units.iterdir() if (record := run.record(folder.name))]
    assert sorted(statuses) == ["done", "done", "failed"]
    (failed,) = (record for folder in run.units.iterdir() if (record := run.record(folder.name)) and record.status == "failed")
    assert failed.reason == {"type": "EditorError", "message": "no zeros please"}
    assert [path.name for path in (run.units / failed.key).iterdir()] == ["record.json"], "no placeholder image"


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("Crashes", "ZeroDivisionError", "a bug"),
        ("WrongSize", "ValueError", "the edit at knob value 0 is uint8 (39, 40, 3), expected uint8 (40, 40, 3) like the source"),
        ("TooFew", "ValueError", "render gave 2 images for 3 knob values"),
        ("NeedsMask", "MissingInput", "missing input: NeedsMask needs mask, which the sample lacks"),
    ],
)
def test_bugs_and_wrong_results_are_failures_too(
    make_spec: SpecMaker, tmp_path: Path, name: str, kind: str, message: str
) -> None:
    run = api.run(make_spec(editor(name)), tmp_path / "run", options=INLINE)
    failed = [record for folder in run.units.iterdir() if (record := run.record(folder.name)) and record.status == "failed"]
    assert failed
    assert failed[0].reason is not None
    assert (failed[0].reason["type"], failed[0].reason["message"]) == (kind, message)
    assert ("traceback" in failed[0].reason) == (kind in {"ZeroDivisionError", "ValueError"}), "bugs keep their traceback"


def records_of(run: Run) -> list[Record]:
    """The records in the order of the samples."""
    found = [record for folder in run.units.iterdir() if (record := run.record(folder.name))]
    return sorted(found, key=lambda record: str(record.identity["sample_id"]))


def test_an_edit_that_the_editor_could_not_give_is_recorded_and_never_a_picture(make_spec: SpecMaker, tmp_path: Path) -> None:
    run = api.run(make_spec(editor("Gaps")), tmp_path / "run", options=INLINE)
    whole, gap, _ = records_of(run)
    assert (gap.status, gap.absent, whole.absent) == ("done", (0.5,), ())
    assert [edit.value for edit in gap.edits] == [0.0, 1.0]
    made = {path.name for path in (run.units / gap.key).glob("*.png")} - set(gap.pictures.values())
    assert made == {"000.png", "001.png"}
    scores = api.score(run)
    plan = run.plan
    units = summary.units(plan, summary.records_by_unit(run, plan))
    (counts,) = summary.counts(plan, units, scores).to_dict("records")
    assert (counts["expected"], counts["done"], counts["scored"]) == (3, 3, 3), "what it has is scored"
    assert counts["coverage"] == pytest.approx(100 * 8 / 9)
    curves = summary.curves(plan, scores, Axes.of(run.spec.axes, scores)).set_index(["metric", "value"])
    assert [tuple(curves.loc[("clip", value), ["n", "expected"]]) for value in (0.0, 0.5)] == [(3, 3), (2, 3)]
    assert "Gaps lacks 1 of 9 edits, which were not delivered: its means cover the rest." in report_data(run).warnings


def test_instruction_and_sample_id_reach_the_editor(make_spec: SpecMaker, tmp_path: Path) -> None:
    run = api.run(make_spec(editor("Follows", grid=[0.0])), tmp_path / "run", options=INLINE)
    length = len("turn the horse on hill number 1 into a zebra")
    assert [int(run.read_edit(record, 0).max()) for record in records_of(run)] == [length] * 3


def test_a_file_that_changes_under_a_run_stops_it(make_spec: SpecMaker, tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_text("planned")
    run = api.run(make_spec(editor("Reads", params={"path": str(file)})), tmp_path / "run", options=INLINE)
    run.discard(records_of(run)[0].key)
    file.write_text("changed")
    with pytest.raises(RunError, match=r"the files that Reads reads \(path\) changed since .* was planned; run again"):
        drain(run.path)


def test_a_batch_gives_the_same_edits_and_says_what_was_shared(make_spec: SpecMaker, tmp_path: Path) -> None:
    alone = api.run(make_spec(editor("Several"), editor("Fade")), tmp_path / "alone", options=INLINE)
    run = api.run(make_spec(editor("Several"), editor("Fade"), batch=2), tmp_path / "run", options=INLINE)
    assert fingerprint(run) == fingerprint(alone)
    several = [record for record in records_of(run) if record.identity["editor"] == "several"]
    assert [record.worker["batch"] for record in several] == [2, 2, 1], "three samples in pairs"
    assert several[0].seconds == several[1].seconds, "each has its share"
    assert {record.worker["batch"] for record in records_of(run) if record.identity["editor"] == "fade"} == {1}, "it only loops"


def test_shares_of_a_batch_add_up() -> None:
    whole = UnitCost(units=3, prepare=3.0, render=6.0, evaluations=10, memory={"mb": 5.0})
    shares = [whole.share(number) for number in range(3)]
    assert [share.evaluations for share in shares] == [4, 3, 3]
    assert {(share.prepare, share.render, share.memory["mb"]) for share in shares} == {(1.0, 2.0, 5.0)}


def test_one_bad_sample_of_a_batch_fails_alone(make_spec: SpecMaker, tmp_path: Path) -> None:
    spec = make_spec(editor("Several", params={"bad": True}), batch=3)
    bad, *good = records_of(api.run(spec, tmp_path / "run", options=INLINE))
    assert (bad.status, bad.reason) == ("failed", {"type": "EditorError", "message": "no zeros please"})
    assert [(record.status, record.worker["batch"]) for record in good] == [("done", 1)] * 2
    assert good[0].worker["batch_failed"] == "EditorError: no zeros please"


@pytest.mark.slow
def test_a_worker_that_dies_over_a_batch_costs_one_failed_unit(make_spec: SpecMaker, tmp_path: Path) -> None:
    spec = make_spec(editor("Several", params={"dies": True}), batch=3)
    bad, *good = records_of(api.run(spec, tmp_path / "run", options=Options(executor="local", workers=1)))
    assert [record.status for record in good] == ["done"] * 2
    assert (bad.reason or {})["type"] == "WorkerDied"


def test_resuming_skips_what_is_done_and_tries_failures_again(
    make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec, folder = make_spec(editor("FailsOnce")), tmp_path / "run"
    before = fingerprint(api.run(spec, folder, options=INLINE))
    stamps = {path: path.stat().st_mtime_ns for path in folder.glob("units/*/*.png")}
    (tmp_path / "healed").touch()
    after = fingerprint(api.run(spec, folder, options=INLINE))
    assert [status for status, _ in after.values()] == ["done"] * 3
    assert {key for key, (status, _) in before.items() if status == "failed"} < after.keys()
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items()), "finished edits were not touched"


def test_a_changed_spec_reuses_the_units_it_shares(make_spec: SpecMaker, tmp_path: Path) -> None:
    first = fingerprint(api.run(make_spec(limit=2), tmp_path / "run", options=INLINE))
    run = api.run(make_spec(editor("Fade"), editor("NeedsMask"), limit=2), tmp_path / "run", options=INLINE)
    assert len(fingerprint(run)) == 4
    assert first.items() < fingerprint(run).items()
    assert "NeedsMask" in (run.path / "spec.yaml").read_text()


def test_an_interrupt_leaves_a_clean_folder(make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = make_spec(editor("Fade"), editor("Interrupts"))
    with pytest.raises(KeyboardInterrupt):
        api.run(spec, tmp_path / "run", options=INLINE)
    run = Run(tmp_path / "run")
    assert len(fingerprint(run)) == 2, "the first editor's unit, and the one that was in hand"
    assert list(run.claims.iterdir()) == []
    (tmp_path / "healed").touch()
    assert len(fingerprint(api.run(spec, run.path, options=INLINE))) == 6


@pytest.mark.parametrize("asked", ["stop", "enough"])
def test_stop_is_heard_between_units(make_spec: SpecMaker, tmp_path: Path, asked: str) -> None:
    run, seen = api.run(make_spec(), tmp_path / "run", options=INLINE), list[Record]()
    for unit in run.plan.units:
        run.discard(unit.key)
    drain(run.path, watch=seen.append, **{asked: lambda: bool(seen)})
    assert len(fingerprint(run)) == 1
    assert list(run.claims.iterdir()) == []


def test_a_unit_that_someone_else_holds_is_waited_for(make_spec: SpecMaker, tmp_path: Path) -> None:
    """The other worker is this process; it gives its claim back after a moment."""
    import threading

    whole = api.run(make_spec(), tmp_path / "run", options=INLINE)
    first = sorted(path.name for path in whole.units.iterdir())[0]
    whole.discard(first)
    claim = whole.claim(first)
    assert claim is not None
    with claim:
        worker = threading.Thread(target=drain, args=(whole.path,))
        worker.start()
        time.sleep(0.3)
        assert whole.record(first) is None
    worker.join(timeout=30)
    assert whole.record(first) is not None


@pytest.mark.slow
def test_two_processes_give_what_one_gives(make_spec: SpecMaker, tmp_path: Path) -> None:
    spec = make_spec(editor("Fade"), editor("FailsOnce"), editor("Unchanged"), seeds=[0, 1])
    one = fingerprint(api.run(spec, tmp_path / "one", options=INLINE))
    two = fingerprint(api.run(spec, tmp_path / "two", options=Options(executor="local", workers=2)))
    assert two == one


@pytest.mark.slow
def test_a_dead_worker_costs_one_failed_unit(make_spec: SpecMaker, tmp_path: Path) -> None:
    run = api.run(make_spec(editor("Dies")), tmp_path / "run", options=Options(executor="local", workers=1))
    records = [record for folder in run.units.iterdir() if (record := run.record(folder.name))]
    assert sorted(record.status for record in records) == ["done", "done", "failed"]
    (failed,) = (record for record in records if record.status == "failed")
    assert failed.reason is not None
    assert failed.reason["type"] == "WorkerDied"
    assert failed.reason["message"] == "2 workers in a row died over it (signal 9, Killed)"
    assert failed.identity["sample_id"] == "sample-0"


@pytest.mark.slow
def test_a_local_worker_that_stops_for_good_stops_the_run_with_its_reason(make_spec: SpecMaker, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="editor ExitsAtOnce cannot be made"):
        api.run(make_spec(editor("ExitsAtOnce")), tmp_path / "run", options=Options(executor="local", workers=1))


@pytest.mark.slow
def test_killing_the_process_and_running_again_is_as_if_nothing_had_happened(
    make_spec: SpecMaker, spec_file: Callable[..., Path], tmp_path: Path
) -> None:
    slow = editor("Fade", params={"seconds": 0.05})
    spec, folder = make_spec(slow, editor("FailsOnce"), seeds=[0, 1]), tmp_path / "killed"
    whole = fingerprint(api.run(spec, tmp_path / "whole", options=INLINE))
    path = spec_file(slow, editor("FailsOnce"), seeds=[0, 1])
    command = [sys.executable, "-m", "bench.cli", "run", str(path), "--out", str(folder), "--no-score", "--executor", "inline"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for wanted in (1, 5):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while len(list(folder.glob("units/*/record.json"))) < wanted and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it was to be killed while it worked"
        for unit in folder.glob("units/[0-9a-f]*"):
            assert Run(folder).record(unit.name) is not None, "a unit is whole or not there"
    assert 5 <= len(list(folder.glob("units/*/record.json"))) < len(whole)
    assert fingerprint(api.run(spec, folder, options=INLINE)) == whole
    assert list((folder / "claims").iterdir()) == []


@pytest.mark.slow
def test_local_workers_outlive_their_parent_by_no_more_than_a_unit(spec_file: Callable[..., Path], tmp_path: Path) -> None:
    path, folder = spec_file(editor("Fade", params={"seconds": 0.3}), seeds=list(range(40))), tmp_path / "run"
    command = [sys.executable, "-m", "bench.cli", "run", str(path), "--out", str(folder), "--no-score", "--executor", "local"]
    process = subprocess.Popen(
        [*command, "--workers", "1"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not list(folder.glob("units/*/record.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    time.sleep(2.0)
    settled = len(list(folder.glob("units/*/record.json")))
    time.sleep(1.5)
    assert len(list(folder.glob("units/*/record.json"))) == settled < 120


@pytest.mark.parametrize(("executor", "extra"), [("ray", "ray"), ("slurm", "submitit")])
def test_an_executor_that_is_not_installed_names_its_extra(
    make_spec: SpecMaker, tmp_path: Path, executor: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, extra, None)
    with pytest.raises(RunError, match=rf"executor '{executor}' needs the package {extra}: pip install 'etabench\[{executor}\]'"):
        api.run(make_spec(), tmp_path / "run", options=Options(executor=executor))


def test_the_global_random_state_is_left_alone(make_spec: SpecMaker, tmp_path: Path) -> None:
    np.random.seed(0)  # noqa: NPY002 - the state that must not move
    before = np.random.get_state()[1].tolist()  # type: ignore[index,union-attr] # noqa: NPY002
    api.run(make_spec(), tmp_path / "run", options=INLINE)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index,union-attr] # noqa: NPY002


@pytest.mark.slow
def test_a_unit_that_was_made_in_halves_says_so_and_the_next_begins_with_full_batches(
    make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from diffusers import UNet2DConditionModel

    forward, calls, room = UNet2DConditionModel.forward, list[int](), [2]

    def small(self: object, rows: torch.Tensor, *others: object, **named: object) -> object:
        calls.append(len(rows))
        if len(rows) > room[0]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, rows, *others, **named)

    monkeypatch.setattr(UNet2DConditionModel, "forward", small)
    sdedit = {"name": "sdedit", "preset": "toybox", "params": {"steps": 1}, "grid": [0.8, 0.9, 1.0]}
    keys = {
        "manifest": {"name": "toybox-mini"},
        "model": "toybox",
        "device": "cpu",
        "editors": [sdedit],
        "metrics": ["lpips"],
        "limit": 2,
    }

    def facts(folder: str, **more: object) -> list[dict[str, object]]:
        run = api.run(make_spec(**keys, **more), tmp_path / folder, options=INLINE, scorable=False)
        records = [run.record(unit.name) for unit in sorted(run.units.iterdir())]
        return [record.facts for record in records if record is not None and record.status == "done"]

    assert [each["batch_halved_to"] for each in facts("halved")] == ["U-Net 2", "U-Net 2"]
    assert calls == [6, 3, 2, 2, 2] * 2
    calls.clear()
    room[0] = 64
    assert not any("batch_halved_to" in each for each in facts("bounded", max_batch=4))
    assert calls == [3, 3] * 2
