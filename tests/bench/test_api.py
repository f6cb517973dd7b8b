"""One folder, one plan at a time; and what a folder keeps when its manifest changes or goes."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_specs import ALL_METRICS, SpecMaker, editor
from fixtures_manifest import row, write_folder

from bench import api
from bench.errors import RunError
from bench.progress import Advance, Progress
from bench.spec import ManifestRef, Spec
from bench.store import Run
from bench.workers import executors
from bench.workers.crew import Options

INLINE = Options(executor="inline")


def keys(run: Run) -> set[str]:
    return {folder.name for folder in run.units.iterdir()}


def recording(notes: list[str]) -> Progress:
    """A display that keeps what it is told."""

    @contextlib.contextmanager
    def open_(what: str, total: int, done: int = 0) -> Iterator[Advance]:
        yield lambda steps=1, note="": notes.append(note) if note else None

    return open_


def rows_of(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_folder_has_one_plan_at_a_time(make_spec: SpecMaker, tmp_path: Path) -> None:
    slow = make_spec(editor("Fade", params={"seconds": 0.3}))
    planned, _ = api.plan(slow)
    run = Run.create(tmp_path / "run")
    with run.hold(slow, planned):
        with pytest.raises(
            RunError, match=r"run is in use for another spec \(process \d+ on \S+ since .*\); wait for it, or choose"
        ):
            api.run(make_spec(editor("Unchanged")), tmp_path / "run", options=INLINE)
        assert keys(run) == set()
        api.run(slow, tmp_path / "run", options=INLINE)  # of the same plan: they share the work
    api.run(make_spec(editor("Unchanged")), tmp_path / "run", options=INLINE)
    assert {path.name for path in run.holders.iterdir()} == set()


def test_what_a_folder_holds_is_told_by_units_and_by_what_is_made_of_them(make_spec: SpecMaker) -> None:
    base = make_spec()
    planned, _ = api.plan(base)
    same = [base.model_copy(update={"device": "auto", "batch": 3, "description": "other words"})]
    other = [make_spec(metrics=ALL_METRICS), make_spec(reference={"kind": "sources"})]
    assert {planned.digest(spec) for spec in same} == {planned.digest(base)}
    assert len({planned.digest(spec) for spec in (base, *other)}) == 3


def test_a_command_that_started_on_a_plan_scores_that_plan_or_stops(make_spec: SpecMaker, tmp_path: Path) -> None:
    run = api.run(make_spec(), tmp_path / "run", options=INLINE)
    other = make_spec(editor("Unchanged"))
    with Run(tmp_path / "run").hold(other, api.plan(other)[0]), pytest.raises(RunError, match="in use for another spec"):
        api.score(run)
    api.run(other, tmp_path / "run", options=INLINE)
    assert set(api.score(run).pairs["editor"]) == {"Fade"}, "the plan that this run was opened with"


def test_many_may_look_at_once_who_holds_the_folder(make_spec: SpecMaker, tmp_path: Path) -> None:
    spec = make_spec()
    planned, _ = api.plan(spec)
    run, failed = Run.create(tmp_path / "run"), list[BaseException]()

    def hold() -> None:
        try:
            with run.hold(spec, planned):
                pass
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=hold) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_changed_manifest_keeps_what_did_not_change(make_spec: SpecMaker, manifest_folder: Path, tmp_path: Path) -> None:
    run = api.run(make_spec(), tmp_path / "run", options=INLINE)
    before, notes = keys(run), list[str]()
    rows = rows_of(manifest_folder)
    rows[0]["category"] = "renamed"
    rows[1]["target_text"] = "something else"
    write_folder(manifest_folder, [*rows[:2], row(3)], pictures=4)
    again = api.run(make_spec(), tmp_path / "run", options=INLINE, progress=recording(notes))
    new = {unit.key for unit in again.plan.units}
    assert len(new & before) == 1, "a category is no part of an edit"
    assert keys(again) == before | new
    assert notes == ["the manifest changed since this run was planned: 1 new, 1 changed, 1 gone; what did not change is kept"]
    assert set(api.score(again).pairs["sample_id"]) == {"sample-0", "sample-1", "sample-3"}


def test_a_manifest_that_shares_no_sample_is_another_one(make_spec: SpecMaker, tmp_path: Path) -> None:
    run = api.run(make_spec(), tmp_path / "run", options=INLINE)
    before = keys(run)
    other = write_folder(tmp_path / "other", [row(7)], pictures=8)
    with pytest.raises(RunError, match=r"belongs to manifest manifest, which shares no sample with other; use another --out"):
        api.run(make_spec(manifest={"path": str(other)}), tmp_path / "run", options=INLINE)
    assert keys(run) == before


@pytest.mark.slow
def test_a_run_is_scored_and_reported_without_its_manifest(make_spec: SpecMaker, manifest_folder: Path, tmp_path: Path) -> None:
    run = api.run(make_spec(metrics=ALL_METRICS), tmp_path / "run", options=INLINE)
    there = api.score(run)
    shutil.rmtree(run.scores)
    shutil.rmtree(manifest_folder)
    moved = Run.open(shutil.move(tmp_path / "run", tmp_path / "elsewhere"))
    scores = api.score(moved)
    assert scores.pairs.equals(there.pairs)
    assert scores.sets.drop(columns="inputs").equals(there.sets.drop(columns="inputs"))
    assert api.report(moved).is_file()


def test_a_sample_that_is_nowhere_is_named(make_spec: SpecMaker, manifest_folder: Path, tmp_path: Path) -> None:
    run = api.run(make_spec(), tmp_path / "run", options=INLINE)
    shutil.rmtree(run.path / "samples" / run.plan.samples[1].digest[:24])
    rows = rows_of(manifest_folder)
    write_folder(manifest_folder, [rows[0], rows[1] | {"target_text": "other"}, rows[2]])
    with pytest.raises(RunError, match=r"sample sample-1 of manifest manifest changed since .* was planned; `etabench run`"):
        api.score(Run.open(run.path))
    write_folder(manifest_folder, [rows[0]])
    with pytest.raises(
        RunError, match=r"has no copy of sample sample-1, and the manifest does not give it: .*no sample 'sample-1'"
    ):
        api.score(Run.open(run.path))


def test_paths_of_a_spec_made_in_python_are_seen_from_the_current_folder(
    make_spec: SpecMaker, manifest_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(manifest_folder.parent)
    spec: Spec = make_spec().model_copy(update={"manifest": ManifestRef(path=manifest_folder.name)})
    run = api.run(spec, "run", options=INLINE)
    assert Run.open(run.path).spec.manifest.path == str(manifest_folder)
    assert len(api.score(Run.open("run")).pairs) > 0


def test_scores_may_be_made_on_another_device_than_edits(make_spec: SpecMaker, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("the run's device is there")
    run = api.run(make_spec(), tmp_path / "run", options=INLINE)
    made_on_cuda = run.path / "spec.yaml"
    made_on_cuda.write_text(made_on_cuda.read_text().replace("device: cpu", "device: cuda"))
    with pytest.raises(Exception, match="'cuda' was asked for"):
        api.score(Run.open(run.path))
    assert len(api.score(Run.open(run.path), device="cpu").pairs) > 0


def test_a_finished_run_starts_nothing(make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = api.run(make_spec(), tmp_path / "run", options=INLINE)
    monkeypatch.setattr(executors, "drain", None)
    monkeypatch.setattr(executors, "CREWS", dict.fromkeys(("local", "ray", "slurm")))
    for name in ("auto", "inline", "local"):
        api.run(make_spec(), run.path, options=Options(executor=name, workers=2))
