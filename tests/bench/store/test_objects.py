"""Stores behind URLs: S3 on a server of this machine, a folder through fsspec, and memory."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_server import s3_server

from bench.errors import RunError
from bench.store.objects import Found, Objects, url_of


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(params=["s3", "file", "memory"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    name = tmp_path.name
    match request.param:
        case "s3":
            return Objects(f"{request.getfixturevalue('bucket')}/{name}")
        case "file":
            return Objects(f"file://{tmp_path}/store")
        case _:
            return Objects(f"memory://{name}")


@pytest.mark.parametrize(
    ("place", "url"),
    [
        ("s3://bucket/run", "s3://bucket/run"),
        (Path("s3://bucket/run/"), "s3://bucket/run"),
        (Path("file:///tmp/run"), "file:///tmp/run"),
        ("memory://run", "memory://run"),
        ("runs/demo", None),
        ("/runs/demo", None),
        ("C:/runs", None),
        (Path("s3:bucket"), None),
    ],
)
def test_a_url_is_told_from_a_path_and_survives_one(place: str | Path, url: str | None) -> None:
    assert url_of(place) == url


def test_what_is_put_is_listed_got_and_deleted(objects: Objects) -> None:
    assert objects.top() == set()
    assert objects.listing() == {}
    objects.put({"a/1": b"one", "a/2": b"two", "a/b/3": b"three", "top": b""})
    assert objects.top() == {"a", "top"}
    assert set(objects.listing("a")) == {"a/1", "a/2"}
    assert set(objects.listing()) == {"top"}
    assert set(objects.listing(deep=True)) == {"a/1", "a/2", "a/b/3", "top"}
    assert objects.listing("a")["a/1"].size == 3
    assert objects.get(["a/1", "a/b/3", "a", "none"]) == {"a/1": b"one", "a/b/3": b"three"}
    objects.delete(["a/1", "none"])
    assert objects.get(["a/1"]) == {}
    assert objects.about("a/1") is None


def test_another_content_has_another_version(objects: Objects) -> None:
    objects.put({"a": b"one"})
    before = objects.listing()["a"].version
    objects.put({"a": b"another"})
    assert objects.listing()["a"].version != before


def test_one_of_many_creates(objects: Objects) -> None:
    got, gate = list[bool](), threading.Barrier(4)

    def create(content: bytes) -> None:
        gate.wait()
        got.append(objects.create("claims/k", content))

    objects.demand_claims()
    threads = [threading.Thread(target=create, args=(b"%d" % number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = objects.get(["claims/k"])
    # the servers of tests decide without a lock of their own, so only what comes later is certain
    assert sum(got) >= 1
    assert not objects.create("claims/k", b"later")
    assert objects.get(["claims/k"]) == first


def test_a_file_is_created_by_one_of_many(tmp_path: Path) -> None:
    """The kernel decides, so that it can be asked for."""
    objects, got, gate = Objects(f"file://{tmp_path}"), list[bool](), threading.Barrier(8)

    def create() -> None:
        gate.wait()
        got.append(objects.create("k", b"x"))

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(got) == 1


def test_the_stores_clock_counts(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose clock is an hour ahead knows what time the store has, once it created something there."""
    behind = time.time() - 3600
    monkeypatch.setattr(objects, "about", lambda name: Found(0, behind, "v"))
    objects.create("a", b"")
    assert objects.now() == pytest.approx(behind, abs=60)


def test_names_that_lead_out_are_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of S3 may be any text, and a listing is only as good as who may write there."""
    objects = Objects("memory://keys")
    names = ("a/b", "../a", "a/../../b", "a\\..\\b", ".tmp-x", "a/.tmp-x", "")
    found = {name: {"name": f"/keys/{name}", "type": "file", "size": 0, "created": 0.0} for name in names}
    monkeypatch.setattr(objects._fs, "find", lambda path, detail: found)
    assert set(objects.listing(deep=True)) == {"a/b"}


def test_a_store_without_creation_is_refused(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    def over(path: str, data: bytes, mode: str = "overwrite") -> None:
        type(objects._fs).pipe_file(objects._fs, path, data)

    if objects._on_disk:
        pytest.skip("files are created by the kernel")
    monkeypatch.setattr(objects._fs, "pipe_file", over)
    with pytest.raises(RunError, match="cannot create an object only where there is none"):
        objects.demand_claims()
    assert objects.listing("claims") == {}


def test_a_file_system_that_looks_first_and_writes_then_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.memory import MemoryFileSystem
    from fsspec.spec import AbstractFileSystem

    objects = Objects("memory://naive")
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", AbstractFileSystem.pipe_file)
    with pytest.raises(RunError, match="cannot create"):
        objects.demand_claims()


def test_a_missing_library_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.import_module("fsspec.registry").known_implementations
    monkeypatch.setitem(known, "lacking", {"class": "no_such_module.Lacking", "err": "install no_such_module"})
    with pytest.raises(RunError, match=r"needs another package \(install no_such_module\); .*'etabench\[remote\]'"):
        Objects("lacking://bucket/run")
    with pytest.raises(RunError, match="is no place for a run"):
        Objects("gopher://bucket/run")


def test_a_store_that_cannot_be_reached_is_named(bucket: str) -> None:
    with pytest.raises(RunError, match=r"^s3://nobodys/run: "):
        Objects("s3://nobodys/run").put({"a": b""})
