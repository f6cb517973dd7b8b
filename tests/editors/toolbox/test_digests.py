from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from editors.toolbox import digests
from editors.toolbox.digests import file_digest, files_digest

OLD = 1_600_000_000_000_000_000
"""A time of change, in nanoseconds, that lies back."""


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read; from 10 bytes on a file is large."""
    names: list[str] = []
    plainly = digests._read

    def noted(path: Path) -> str:
        names.append(path.name)
        return plainly(path)

    monkeypatch.setattr(digests, "_read", noted)
    monkeypatch.setattr(digests, "LARGE", 10)
    monkeypatch.setenv("ETABENCH_CACHE", str(tmp_path / "cache"))
    return names


def write(path: Path, content: bytes, time: int = OLD) -> Path:
    path.write_bytes(content)
    os.utime(path, ns=(time, time))
    return path


def test_a_large_file_is_read_once_until_it_changes(tmp_path: Path, read: list[str]) -> None:
    file = write(tmp_path / "large", b"0123456789")
    link = tmp_path / "link"
    link.symlink_to(file)
    digest = hashlib.sha256(b"0123456789").hexdigest()
    assert file_digest(file) == file_digest(file) == file_digest(link) == digest
    assert read == ["large"]
    write(file, b"9876543210", OLD + 1)
    assert file_digest(file) == hashlib.sha256(b"9876543210").hexdigest()
    write(file, b"98765432100")
    assert file_digest(file) == hashlib.sha256(b"98765432100").hexdigest()
    assert read == ["large"] * 3


def test_small_files_and_young_ones_are_always_read(tmp_path: Path, read: list[str]) -> None:
    small, young = write(tmp_path / "small", b"012345678"), tmp_path / "young"
    young.write_bytes(b"0123456789")
    for file in (small, small, young, young):
        assert file_digest(file) == hashlib.sha256(file.read_bytes()).hexdigest()
    assert read == ["small", "small", "young", "young"]


@pytest.mark.parametrize("note", ["", "[]", '{"stamp": 1}', "\udcff"])
def test_a_damaged_note_is_written_anew(tmp_path: Path, read: list[str], note: str) -> None:
    file = write(tmp_path / "large", b"0123456789")
    digest = file_digest(file)
    (kept,) = (tmp_path / "cache" / "digests").iterdir()
    kept.write_bytes(note.encode(errors="surrogateescape"))
    assert file_digest(file) == file_digest(file) == digest
    assert read == ["large", "large"]


def test_files_are_digested_in_order_with_their_names(tmp_path: Path, read: list[str]) -> None:
    one, two = write(tmp_path / "a", b"one"), write(tmp_path / "b", b"two")
    total = hashlib.sha256()
    for name, content in ((b"a", b"one"), (b"b", b"two")):
        total.update(name + b"\0" + hashlib.sha256(content).digest())
    assert files_digest(tmp_path, [two, one]) == total.hexdigest()
