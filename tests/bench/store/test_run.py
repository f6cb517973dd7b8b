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


def test_of_many_keys_only_those_that_are_there_are_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that waits for a hundred thousand units looks for them a few times a minute."""
    from bench.store import run as module

    monkeypatch.setattr(module, "MANY", 3)
    run.commit(made := Record(key="k1", status="done", identity={}))
    asked = list[str]()
    read = run.record
    monkeypatch.setattr(run, "record", lambda key: asked.append(key) or read(key))
    assert list(run.records(["a", "b", "k1", "c"])) == [made]
    assert asked == ["k1"]
    assert list(Run(run.path / "nowhere").records(["a", "b", "k1", "c"])) == []


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


def test_halves_of_letters_are_written_as_something_that_can_be_read(run: Run) -> None:
    run.commit(record(identity={"sample_id": "a\udc80\ud83d"}, facts={"ü": "\U0001f600"}))
    found = run.record("k1")
    assert found is not None
    assert (found.identity, found.facts) == ({"sample_id": "a??"}, {"ü": "\U0001f600"})


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


def test_a_picture_that_has_no_end_is_not_read(run: Run) -> None:
    import os

    done = record(edits=(EditFile(0.0, "000.png", "0" * 64),))
    run.commit(done, {"000.png": b"x"})
    os.truncate(run.edit_path(done, 0), 2**40)  # no memory holds it
    assert run.damaged(done) == run.edit_path(done, 0)


@pytest.fixture(scope="module")
def dead() -> int:
    """The id of a process that no longer lives."""
    command = [sys.executable, "-c", "import os; print(os.getpid())"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_clean_removes_what_the_dead_left_and_keeps_what_the_living_hold(run: Run, dead: int) -> None:
    (run.units / ".tmp-dead-1234abcd").mkdir()
    (run.units / ".tmp-alive-1234abcd").mkdir()
    run.commit(record("done"))
    claim = run.claim("alive")
    assert claim is not None
    with claim:
        note = json.loads((run.claims / "alive").read_text())
        for name in ("dead", "done"):
            (run.claims / name).write_text(json.dumps(note | {"pid": dead}))
        expired = run.claims / "expired"
        expired.write_text(json.dumps(note | {"host": "elsewhere"}))
        os.utime(expired, (0, 0))
        run.clean()
        assert {path.name for path in run.claims.iterdir()} == {"alive", "dead"}, (
            "a death over a unit without a record is told on"
        )
        assert {path.name for path in run.units.iterdir()} == {".tmp-alive-1234abcd", "done"}
    assert {path.name for path in run.claims.iterdir()} == {"dead"}


def test_a_claim_knows_of_the_deaths_before_it_and_hands_them_on(run: Run, dead: int) -> None:
    def die(cause: str = "") -> None:
        """The claim is left as a process leaves it that is killed, or as its crew buries it."""
        claim = run.claim("k", "crew-1")
        assert claim is not None
        if cause:
            claims.bury(claim.path, "crew-2", "another's")
            claims.bury(claim.path, "crew-1", cause)
        else:
            claim.path.write_text(json.dumps(json.loads(claim.path.read_text()) | {"pid": dead}))

    die()
    assert run.deaths("k") == 1
    assert claims.of_worker(run.claims, "crew-1") == [run.claims / "k"]
    die("signal 11")
    assert claims.holder(run.claims / "k") is None
    claim = run.claim("k")
    assert claim is not None
    assert claim.deaths == claims.Deaths(2, "signal 11")
    with claim:
        assert run.deaths("k") == 2, "as long as nobody finished"
    assert run.deaths("k") == 0, "given back, not died over"


def test_a_lease_that_ran_out_is_no_death(run: Run) -> None:
    """Clocks differ, machines sleep: nobody knows."""
    path = run.claims / "k"
    path.parent.mkdir()
    path.write_text(json.dumps({"pid": 1, "host": "elsewhere", "token": "t"}))
    os.utime(path, (0, 0))
    claim = run.claim("k")
    assert claim is not None
    assert claim.deaths.count == 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"null",
        b'{"pid": "abc", "host": "h", "token": "t"}',
        b'{"pid": -1, "host": "h", "token": "t"}',
        b'{"pid": true, "host": "h", "token": "t"}',
        b'{"pid": 99999999999999999999, "host": "h", "token": "t"}',
        b'{"pid": 1, "host": ["h"], "token": "t"}',
        b'{"deaths": "many", "cause": "x"}',
        None,
    ],
)
def test_what_is_no_claim_is_abandoned_after_a_moment(run: Run, content: bytes | None) -> None:
    """The moment is what a claim takes to be written; a full disk leaves an empty one, None stands for a folder."""
    path = run.claims / "k"
    path.parent.mkdir()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    assert run.claim("k") is None, "it may be just being written"
    moment = time.time() - claims.WRITING_SECONDS - 1
    os.utime(path, (moment, moment))
    claim = run.claim("k")
    assert claim is not None
    assert claim.deaths.count == 0
    assert [path.name for path in run.claims.iterdir()] == ["k"]


def test_a_claim_from_the_future_blocks_nobody(tmp_path: Path) -> None:
    path, tomorrow = tmp_path / "k", time.time() + 24 * 3600
    path.write_text(json.dumps({"pid": 1, "host": "elsewhere", "token": "t"}))
    os.utime(path, (tomorrow, tomorrow))
    assert claims.take(path) is not None


def test_a_link_to_nowhere_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "k1").symlink_to(tmp_path / "nowhere")
    assert claims.take(tmp_path / "k1") is not None


def test_a_claim_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(OSError, match="no space"):
        claims.take(tmp_path / "k")
    assert list(tmp_path.iterdir()) == []


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
    (tmp_path / "thesis" / "plan.json").write_text("{}")
    assert Run.create(tmp_path / "thesis").units.is_dir(), "of a run, whose units somebody deleted"
    with pytest.raises(RunError, match=r"is not a run folder: no spec\.yaml, manifest\.json, plan\.parquet"):
        Run.open(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="is a file"):
        Run.create(tmp_path / "file")


def test_a_claim_that_is_given_back_while_it_is_looked_at_is_nobodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = claims.take(tmp_path / "unit", plan="a plan")
    assert claim is not None
    from editors.toolbox import files

    read = files.read_regular

    def late(path: Path, most: int) -> bytes:
        path.unlink()
        return read(path, most)

    monkeypatch.setattr(files, "read_regular", late)
    assert claims.holder(tmp_path / "unit") is None
