"""Tables agree with pictures: scores are known by what they were computed from, and files by their digests."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_specs import ALL_METRICS, SpecMaker, editor
from fixtures_manifest import row, write_folder
from PIL import Image

from bench import api, registry
from bench.analysis.baseline import write_baseline
from bench.analysis.baseline_file import read_baseline
from bench.analysis.check import check
from bench.commands.report import report_data
from bench.errors import BaselineError, RunError, ScoreError
from bench.progress import Advance, Progress
from bench.scoring import Scores, read_scores, tables
from bench.scoring import score as module
from bench.scoring.current import lacking, on_disk
from bench.scoring.edits import Finished
from bench.scoring.tables import PAIR_COLUMNS, PAIR_KEY, frame, locked, merged, read_table, write_table
from bench.spec import Spec
from bench.store import Run, png_bytes
from bench.workers.crew import Options

INLINE = Options(executor="inline")


def scored(spec: Spec, folder: Path) -> tuple[Run, Scores]:
    run = api.run(spec, folder, options=INLINE)
    return run, api.score(run)


def distances(run: Run) -> dict[tuple[str, float], float]:
    """The metric lpips of the fakes, computed from the pictures that lie in the folder."""
    found = {}
    for unit in run.plan.units:
        record = run.record(unit.key)
        assert record is not None
        source = run.sample(run.plan.samples[unit.sample]).image
        for index, edit in enumerate(record.edits):
            found[unit.key, edit.value] = np.abs(run.read_edit(record, index).astype(float) - source).mean() / 255
    return found


def in_table(scores: Scores, name: str = "lpips") -> dict[tuple[str, float], float]:
    rows = scores.pairs[scores.pairs["metric"] == name].to_dict("records")
    return {(row["unit"], row["value"]): row["score"] for row in rows}


def edited_otherwise(folder: Path, *, noise: int = 40) -> None:
    """An editor's code changed and its version forgotten: the unit's pictures and its record are others, under the same key."""
    record = json.loads((folder / "record.json").read_text())
    for edit in record["edits"]:
        picture = np.asarray(Image.open(folder / edit["file"]))
        data = png_bytes((picture.astype(int) + noise).clip(0, 255).astype(np.uint8))
        (folder / edit["file"]).write_bytes(data)
        edit["sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "record.json").write_text(json.dumps(record))


def recording(notes: list[str]) -> Progress:
    """A display that keeps what it is told."""

    @contextlib.contextmanager
    def open_(what: str, total: int, done: int = 0) -> Iterator[Advance]:
        yield lambda steps=1, note="": notes.append(note) if note else None

    return open_


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replace(path: Path) -> None:
    path.write_bytes(png_bytes(np.zeros((40, 40, 3), dtype=np.uint8)))


@pytest.mark.slow
def test_a_unit_that_was_made_otherwise_is_scored_otherwise(make_spec: SpecMaker, tmp_path: Path) -> None:
    """Table and pictures agree before and after, in sets too, and until it is scored again the old rows are left out."""
    run, before = scored(make_spec(metrics=ALL_METRICS), tmp_path / "run")
    assert in_table(before) == pytest.approx(distances(run), abs=1e-12)  # the same float64 operations
    key = run.plan.units[0].key
    edited_otherwise(run.units / key)
    between = read_scores(run)
    assert set(between.pairs["unit"]) == {unit.key for unit in run.plan.units[1:]}
    assert len(between.sets) == 0, "every set has an edit of the unit"
    assert between.stale == 2 * 3 + 2 * 3, "three edits by two metrics, three sets by two"
    said = report_data(run).warnings
    assert "12 scores are of other pictures than the run has now and left out: score the run again." in said
    again = api.score(run)
    assert in_table(again) == pytest.approx(distances(run), abs=1e-12)
    changed = {unit for unit, value in in_table(again) if in_table(again)[unit, value] != in_table(before)[unit, value]}
    assert changed == {key}
    assert not np.isclose(again.sets["score"], before.sets["score"]).any()
    assert (again.stale, read_scores(run).stale) == (0, 0)
    assert len(read_table(run, "pairs")) == len(again.pairs), "and no old row is left in the file"


def test_a_unit_that_was_deleted_and_made_by_a_changed_editor_is_scored_anew(
    make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, before = scored(make_spec(), tmp_path / "run")
    key = run.plan.units[1].key
    shutil.rmtree(run.units / key)
    fade = registry.load_editor(editor("Fade")["name"])
    monkeypatch.setattr(fade, "render", lambda self, state, values: [np.full_like(state[0], 9) for _ in values])
    again = api.score(api.run(make_spec(), run.path, options=INLINE))
    assert in_table(again) == pytest.approx(distances(run), abs=1e-12)
    assert {unit for (unit, _), _ in in_table(again).items() - in_table(before).items()} == {key}


@pytest.mark.parametrize("name", ["cards", "failed"])
@pytest.mark.parametrize("damage", [b"", b"[]", b"{"])
def test_damaged_words_about_scores_are_named_with_advice_that_works(
    make_spec: SpecMaker, tmp_path: Path, name: str, damage: bytes
) -> None:
    run, before = scored(make_spec(), tmp_path / "run")
    path = run.scores / f"{name}.json"
    path.write_bytes(damage)
    with pytest.raises(ScoreError, match=rf"{name}\.json.*; `etabench score {run.path}` makes it anew"):
        read_scores(run)
    api.score(run)
    assert read_scores(run).cards == before.cards


def test_a_class_that_was_renamed_is_another_input(make_spec: SpecMaker, manifest_folder: Path, tmp_path: Path) -> None:
    """A unit's key has no classes, but metrics read them."""
    run, before = scored(make_spec(), tmp_path / "run")
    write_folder(manifest_folder, [row(0, target_class="giraffe"), row(1), row(2, file_name="1.png", mask_file_name=None)])
    renamed = api.run(make_spec(), run.path, options=INLINE)
    assert {unit.key for unit in renamed.plan.units} == {unit.key for unit in run.plan.units}
    assert set(read_scores(renamed).pairs["sample_id"]) == {"sample-1", "sample-2"}
    assert len(api.score(renamed).pairs) == len(before.pairs)


@pytest.mark.parametrize("damage", [cut, flip, replace, Path.unlink])
def test_a_picture_that_is_no_longer_what_was_made_is_named_and_made_anew(
    make_spec: SpecMaker, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """By score, report, check and the writing of a baseline; run makes it anew, and the scores hold again."""
    run, before = scored(make_spec(), tmp_path / "run")
    write_baseline([run], {}, tmp_path / "baseline.json")
    path = run.units / run.plan.units[1].key / "001.png"
    pristine = path.read_bytes()
    damage(path)
    named = rf"{path} is gone or differs from its record \(1 of 3 finished units .*`etabench run {run.path}/spec.yaml --out {run.path}` makes"
    for command in (
        api.score,
        api.report,
        read_scores,
        lambda run: check(run, read_baseline(tmp_path / "baseline.json")),
        lambda run: write_baseline([run], {}, tmp_path / "baseline.json"),
    ):
        with pytest.raises(RunError, match=named):
            command(run)
    notes: list[str] = []
    again = api.run(make_spec(), run.path, options=INLINE, progress=recording(notes))
    assert notes == [
        f"1 of 3 units are made anew: their pictures are gone or differ from their records (first: {path})",
    ]
    assert path.read_bytes() == pristine
    pd.testing.assert_frame_equal(read_scores(again).pairs, before.pairs)
    assert check(again, read_baseline(tmp_path / "baseline.json")).exit_code == 0


def test_a_further_picture_that_is_gone_is_made_anew(make_spec: SpecMaker, tmp_path: Path) -> None:
    run = api.run(make_spec(), tmp_path / "run", options=INLINE)
    record = run.record(run.plan.units[0].key)
    assert record is not None
    gone = run.units / record.key / record.pictures["noise"]
    gone.unlink()
    assert run.damaged(record) == gone
    api.run(make_spec(), run.path, options=INLINE)
    assert gone.is_file()


@pytest.mark.parametrize("damage", [cut, flip, replace])
def test_a_run_s_copy_of_a_source_is_checked_where_it_is_read(
    make_spec: SpecMaker, manifest_folder: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """Made again from the manifest; where that is gone, an error that names the folder."""
    run, before = scored(make_spec(editor("Fade", grid=[0.5, 1.0])), tmp_path / "run")
    folder = run.path / "samples" / run.plan.samples[0].digest[:24]
    pristine = (folder / "source.png").read_bytes()
    damage(folder / "source.png")
    shutil.rmtree(run.scores)
    pd.testing.assert_frame_equal(api.score(run).pairs, before.pairs)
    assert (folder / "source.png").read_bytes() == pristine
    damage(folder / "source.png")
    shutil.rmtree(manifest_folder)
    shutil.rmtree(run.scores)
    with pytest.raises(
        RunError, match=rf"{folder} differs from what was kept of sample sample-0, and the manifest does not give it"
    ):
        api.score(Run.open(run.path))


def test_copies_without_digests_are_taken_as_they_are(make_spec: SpecMaker, manifest_folder: Path, tmp_path: Path) -> None:
    """Folders from before the digests were kept go on without their manifest."""
    run = api.run(make_spec(), tmp_path / "run", options=INLINE)
    for file in run.path.glob("samples/*/sha256.json"):
        file.unlink()
    shutil.rmtree(manifest_folder)
    assert len(api.score(Run.open(run.path)).pairs) == 18


def test_a_table_of_old_is_scored_anew_and_its_sets_are_kept(make_spec: SpecMaker, tmp_path: Path) -> None:
    """It does not say of which pictures its scores are. What sets were computed from, and features, were always known."""
    run, before = scored(make_spec(metrics=ALL_METRICS), tmp_path / "run")
    pd.read_parquet(run.scores / "pairs.parquet").drop(columns="inputs").to_parquet(run.scores / "pairs.parquet", index=False)
    (run.scores / "failed.json").unlink()
    old = read_scores(run)
    assert (len(old.pairs), old.stale) == (0, len(before.pairs))
    pd.testing.assert_frame_equal(old.sets, before.sets)
    write_table(run, "sets", before.sets.assign(score=7.0))
    again = api.score(run)
    pd.testing.assert_frame_equal(again.pairs, before.pairs)
    assert (again.sets["score"] == 7.0).all(), "not computed again"
    shutil.rmtree(run.scores)
    api.score(run)
    pairs = pd.read_parquet(run.scores / "pairs.parquet").drop(columns="inputs")
    for file in (run.scores / "sets.parquet", run.scores / "set_pairs.parquet"):
        file.unlink()
    pairs.to_parquet(run.scores / "pairs.parquet", index=False)
    with pytest.raises(RunError, match=r"run has no scores of the pictures that it has now: run `etabench score .*` first"):
        api.report(run)


def test_scores_outlast_units_that_are_away(make_spec: SpecMaker, tmp_path: Path) -> None:
    """units/ that is gone empties no table, and neither does a unit; when they are back so are their scores."""
    run, before = scored(make_spec(), tmp_path / "run")
    written = (run.scores / "pairs.parquet").read_bytes()
    away = run.units.rename(tmp_path / "away")
    with pytest.raises(RunError, match=r"none of 3 units is done; scores stay as they are until `etabench run` made them"):
        api.score(run)
    assert (run.scores / "pairs.parquet").read_bytes() == written
    away.rename(run.units)
    key = run.plan.units[0].key
    (run.units / key).rename(tmp_path / key)
    assert len(api.score(run).pairs) == 12
    assert len(read_table(run, "pairs")) == 18
    (tmp_path / key).rename(run.units / key)
    pd.testing.assert_frame_equal(
        read_scores(run).pairs.sort_values(["metric", "unit", "value"], ignore_index=True),
        before.pairs.sort_values(["metric", "unit", "value"], ignore_index=True),
    )


def test_a_slow_scoring_that_began_earlier_takes_nothing_away(
    make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It saw two of three units; another one scored all three while it was at work."""
    run = api.run(make_spec(metrics=ALL_METRICS), tmp_path / "run", options=INLINE)
    key = run.plan.units[0].key
    (run.units / key).rename(tmp_path / key)
    plain, inner = module.walk, list[Scores]()

    def walk(*arguments: object) -> None:
        if not inner:
            inner.append(Scores(frame([], PAIR_COLUMNS), frame([], PAIR_COLUMNS)))
            (tmp_path / key).rename(run.units / key)
            inner[0] = api.score(Run.open(run.path))
        plain(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "walk", walk)
    outer = api.score(run)
    assert len(inner[0].pairs) == len(outer.pairs) == len(read_scores(run).pairs) == 18
    for name in ("pairs", "sets"):
        pd.testing.assert_frame_equal(getattr(read_scores(run), name), getattr(inner[0], name))
    assert (outer.sets["n"] == 3).all(), "a set of two is no longer the run's"


def test_a_baseline_demands_every_score(make_spec: SpecMaker, tmp_path: Path) -> None:
    run, _ = scored(make_spec(metrics=ALL_METRICS), tmp_path / "run")
    path = tmp_path / "baseline.json"
    write_baseline([run], {}, path)
    pairs, sets = read_table(run, "pairs"), read_table(run, "sets")
    write_table(run, "pairs", pairs.iloc[1:])
    assert lacking(run, read_scores(run)) == {"clip": 1}
    with pytest.raises(
        BaselineError, match=r"run: 1 scores of clip are missing, and a baseline needs them all: run `etabench score"
    ):
        write_baseline([run], {}, path)
    write_table(run, "pairs", pairs)
    write_table(run, "sets", sets.iloc[:-2])
    with pytest.raises(BaselineError, match=r"2 scores of csfid are missing"):
        write_baseline([run], {}, path)
    write_table(run, "sets", sets)
    found = write_baseline([run], {}, path)
    assert sum(map(np.size, (*found.pairs.values(), *found.sets.values()))) == 18 + 6


def test_rows_are_merged_and_the_last_one_stands() -> None:
    def table(*scores: tuple[str, float]) -> pd.DataFrame:
        blank = dict.fromkeys(PAIR_COLUMNS, "x") | {"seed": 0, "value": 0.5}
        return frame([blank | {"unit": unit, "score": score} for unit, score in scores], PAIR_COLUMNS)

    both = merged(table(("a", 1.0), ("b", 2.0)), table(("b", 3.0), ("c", 4.0)), ("unit", "value"))
    assert dict(zip(both["unit"], both["score"], strict=True)) == {"a": 1.0, "b": 3.0, "c": 4.0}
    empty = frame([], PAIR_COLUMNS)
    assert merged(empty, empty, ("unit",)).equals(empty)


def write_rows(run: Run, name: str) -> None:
    """One row after the other, as scorings do."""
    blank = dict.fromkeys(PAIR_COLUMNS, "x") | {"seed": 0, "value": 0.5, "score": 1.0}
    for number in range(15):
        with locked(run):
            new = frame([blank | {"unit": f"{name}{number}"}], PAIR_COLUMNS)
            write_table(run, "pairs", merged(read_table(run, "pairs"), new, PAIR_KEY))


@pytest.mark.slow
def test_two_processes_that_write_one_table_lose_no_row(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run")
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_current import Run, write_rows
print("ready", flush=True)
sys.stdin.read(1)
write_rows(Run({str(run.path)!r}), "b")
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == b"ready\n"
        other.stdin.write(b"x")
        other.stdin.close()
        write_rows(run, "a")
        assert other.wait(60) == 0
    assert sorted(read_table(run, "pairs")["unit"]) == sorted(f"{name}{number}" for name in "ab" for number in range(15))


def test_the_lock_is_waited_for_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, held, done = Run.create(tmp_path / "run"), threading.Event(), threading.Event()

    def hold() -> None:
        with locked(run):
            held.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    monkeypatch.setattr(tables, "LOCK_SECONDS", 0.05)
    with pytest.raises(ScoreError, match="is locked by another scoring; wait for it and score again"), locked(run):
        pass
    done.set()
    thread.join()
    with locked(run):
        pass


def test_what_a_dead_command_was_writing_is_removed_by_the_next(make_spec: SpecMaker, tmp_path: Path) -> None:
    """In the run's root, in scores/ and its features; not while another command of the same plan is at work."""
    spec = make_spec()
    run, _ = scored(spec, tmp_path / "run")
    (run.scores / "features" / "abc").mkdir(parents=True)
    left = [run.path / ".tmp-plan.json-1", run.scores / ".tmp-pairs.parquet-2", run.scores / "features" / "abc" / ".tmp-x-3"]
    left.append(run.report / ".tmp-index.html-4")
    run.report.mkdir(exist_ok=True)
    for file in left:
        file.write_bytes(b"half")
    with run.hold(spec, run.plan):
        assert not any(file.exists() for file in left)
        left[1].write_bytes(b"being written")
        api.score(run)
        assert left[1].exists()
    api.score(run)
    assert not left[1].exists()
    assert len(on_disk(Finished.of(run)).pairs) == 18
