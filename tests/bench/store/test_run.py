from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.errors import RunError
from bench.store import EditFile, Record, Run, claims, png_bytes, write_atomically


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run")


def record(key: str = "k1", **changes: object) -> Record:
    return replace(Record(key=key, status="done", identity={"sample_id": "a"}), **changes)  # type: ignore[arg-type]


def test_a_committed_record_comes_back_equal(run: Run) -> None:
    written = record(edits=(EditFile(0.5, "000.png", "ab"),), seconds={"prepare": 0.1}, facts={"mask_from": "manifest"})
    run.commit(written, {"000.png": b"x"})
    assert run.record("k1") == written
    assert {path.name for path in (run.units / "k1").iterdir()} == {"000.png", "record.json"}


def test_the_first_of_two_commits_wins_and_nothing_is_left_over(run: Run) -> None:
    run.commit(record(seconds={"prepare": 1.0}))
    run.commit(record(seconds={"prepare": 2.0}))
    kept = run.record("k1")
    assert kept is not None
    assert kept.seconds == {"prepare": 1.0}
    assert [path.name for path in run.units.iterdir()] == ["k1"]


@pytest.mark.parametrize("damage", [b"", b'{"key": "k1"', b"[]", b'{"key": "k1", "status": "done"}'])
def test_a_damaged_record_counts_as_none_and_a_commit_replaces_it(run: Run, damage: bytes) -> None:
    (run.units / "k1").mkdir()
    (run.units / "k1" / "record.json").write_bytes(damage)
    assert run.record("k1") is None
    run.commit(record())
    assert run.record("k1") == record()


def test_a_record_with_nan_is_refused_rather_than_written_as_no_json(run: Run) -> None:
    with pytest.raises(ValueError, match="JSON"):
        run.commit(record(seconds={"prepare": float("nan")}))
    assert list(run.units.iterdir()) == []


def test_an_edit_that_differs_from_its_record_is_an_error_not_a_score(run: Run) -> None:
    import hashlib

    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    data = png_bytes(image)
    done = record(edits=(EditFile(0.0, "000.png", hashlib.sha256(data).hexdigest()),))
    run.commit(done, {"000.png": data})
    assert np.array_equal(run.read_edit(done, 0), image)
    run.edit_path(done, 0).write_bytes(data[:-8])
    with pytest.raises(
        RunError, match=r"000\.png is gone or differs from its record; `etabench run` on the folder makes it anew"
    ):
        run.read_edit(done, 0)


def test_clean_removes_what_the_dead_left_and_keeps_what_the_living_hold(run: Run) -> None:
    (run.units / ".tmp-dead-1234abcd").mkdir()
    (run.units / ".tmp-alive-1234abcd").mkdir()
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    claim = run.claim("alive")
    assert claim is not None
    with claim:
        note = json.loads((run.claims / "alive").read_text())
        (run.claims / "dead").write_text(json.dumps(note | {"pid": int(dead.stdout)}))
        run.clean()
        assert {path.name for path in run.claims.iterdir()} == {"alive"}
        assert {path.name for path in run.units.iterdir()} == {".tmp-alive-1234abcd"}
    assert list(run.claims.iterdir()) == []


def test_a_claim_excludes_others_until_it_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "claims" / "k"
    first = claims.take(path)
    assert first is not None
    with first:
        assert claims.take(path) is None
        assert (claims.holder(path) or {})["pid"] == os.getpid()
    second = claims.take(path)
    assert second is not None
    with second:
        pass


def test_only_one_of_many_threads_gets_a_claim(tmp_path: Path) -> None:
    path, got, gate = tmp_path / "k", [], threading.Barrier(8)

    def grab() -> None:
        gate.wait()
        got.append(claims.take(path))

    threads = [threading.Thread(target=grab) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(claim is not None for claim in got) == 1


def test_a_claim_of_a_far_host_expires_with_its_lease(tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_text(json.dumps({"pid": 1, "host": "elsewhere", "token": "t"}))
    assert claims.take(path) is None
    long_ago = time.time() - claims.LEASE_SECONDS - 1
    os.utime(path, (long_ago, long_ago))
    claim = claims.take(path)
    assert claim is not None
    with claim:
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_held_claim_stays_fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.01)
    path = tmp_path / "k"
    claim = claims.take(path)
    assert claim is not None
    with claim:
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 10
        while path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > 0


def test_a_stolen_claim_is_not_taken_away_from_its_new_holder(tmp_path: Path) -> None:
    path = tmp_path / "k"
    claim = claims.take(path)
    assert claim is not None
    with claim:
        path.write_text(json.dumps({"pid": 1, "host": "elsewhere", "token": "of another"}))
    assert path.exists()


def test_equal_pixels_give_equal_bytes_without_metadata() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    data = png_bytes(image)
    assert data == png_bytes(image.copy())
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == "PNG"
        assert picture.info == {}
        assert np.array_equal(np.asarray(picture), image)


def test_pictures_of_masks_and_maps_use_the_whole_range() -> None:
    def decoded(array: np.ndarray) -> np.ndarray:
        with Image.open(io.BytesIO(png_bytes(array))) as picture:
            return np.asarray(picture)

    assert decoded(np.array([[True, False]])).tolist() == [[255, 0]]
    assert decoded(np.array([[-1.0, 0.0, 1.0]])).tolist() == [[0, 128, 255]]
    assert decoded(np.full((2, 2), 3.0)).tolist() == [[0, 0], [0, 0]]
    assert decoded(np.array([[0.0, np.nan, 2.0]])).tolist() == [[0, 0, 255]]


def test_an_interrupted_write_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_folders_that_are_no_runs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("")
    with pytest.raises(RunError, match="has content but is not a run folder"):
        Run.create(tmp_path / "thesis")
    with pytest.raises(RunError, match=r"is not a run folder: no spec\.yaml, manifest\.json, plan\.json"):
        Run.open(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="is a file"):
        Run.create(tmp_path / "file")
