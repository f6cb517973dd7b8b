"""Picture files beside the page."""

from __future__ import annotations

import base64
import io
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reports import ReportError
from reports.viewer import pictures
from reports.viewer.pictures import LARGE, State, data_uris, put_pictures


@pytest.fixture
def small(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "small.png")
    return tmp_path / "small.png"


@pytest.fixture
def large(tmp_path: Path) -> Path:
    Image.new("RGB", (3 * LARGE, LARGE), (200, 10, 10)).save(tmp_path / "large.png")
    return tmp_path / "large.png"


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_png_is_there_untouched_and_a_large_one_has_a_small_webp(small: Path, large: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    states = put_pictures(out, [("0/a", small), ("0/b", large)])
    assert states == {"0/a": State.WHOLE, "0/b": State.REDUCED}
    assert files(out) == {"0/a.png", "0/b.png", "0/b.webp"}
    assert (out / "0/a.png").read_bytes() == small.read_bytes()
    assert (out / "0/b.png").read_bytes() == large.read_bytes()
    with Image.open(out / "0/b.webp") as image:
        assert (image.format, image.size) == ("WEBP", (LARGE, round(LARGE / 3)))


@pytest.mark.parametrize("linked", [True, False], ids=["links", "copies"])
def test_what_has_not_changed_is_not_made_again(
    linked: bool, small: Path, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, wanted = tmp_path / "out", [("0/a", small), ("0/b", large)]
    if not linked:
        monkeypatch.setattr(os, "link", refuse)
    first = put_pictures(out, wanted)
    assert (out / "0/a.png").samefile(small) == linked
    monkeypatch.setattr(pictures, "_put", None)
    assert put_pictures(out, wanted) == first


def refuse(*_: object) -> None:
    raise OSError("no links here")


@pytest.mark.parametrize("linked", [True, False], ids=["links", "copies"])
def test_a_picture_that_was_made_anew_replaces_the_old(
    linked: bool, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same size and time even: what is written in the place of a link or beside a copy is another file."""
    out = tmp_path / "out"
    if not linked:
        monkeypatch.setattr(os, "link", refuse)
    put_pictures(out, [("0/a", small)])
    before = small.stat()
    other = bytearray(small.read_bytes())
    other[-1] ^= 1  # the checksum of the end, which no decoder reads
    small.unlink()
    small.write_bytes(other)
    os.utime(small, ns=(before.st_atime_ns, before.st_mtime_ns))
    put_pictures(out, [("0/a", small)])
    assert (out / "0/a.png").read_bytes() == bytes(other)


def test_a_picture_that_became_small_loses_its_webp(small: Path, large: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    put_pictures(out, [("0/a", large)])
    assert put_pictures(out, [("0/a", small)]) == {"0/a": State.WHOLE}
    assert files(out) == {"0/a.png"}


def test_what_no_picture_needs_is_removed(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    put_pictures(out, [("0/a", small), ("1/a", small)])
    (out / "0" / "a.12345678.tmp").write_bytes(b"")
    os.utime(out / "0" / "a.12345678.tmp")
    put_pictures(out, [("0/b", small)])
    assert files(out) == {"0/b.png", "0/a.12345678.tmp"}, "another may be writing it"
    assert small.is_file()


@pytest.mark.parametrize("content", [None, b"", b"\x89PNG\r\n\x1a\n broken"], ids=["absent", "empty", "broken"])
def test_a_picture_that_cannot_be_read_is_told(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "edit.png"
    if content is not None:
        path.write_bytes(content)
    state = State.LOST if content is None else State.UNREADABLE
    assert put_pictures(tmp_path / "out", [("0/a", path)]) == {"0/a": state}
    assert data_uris([("0/a", path)]) == ({"0/a": state}, {})
    assert files(tmp_path / "out") == set()


def test_a_truncated_picture_is_told(small: Path, tmp_path: Path) -> None:
    small.write_bytes(small.read_bytes()[:2000])
    assert put_pictures(tmp_path / "out", [("0/a", small)]) == {"0/a": State.UNREADABLE}


@pytest.mark.parametrize("kind", ["jpeg", "eps", "fifo", "folder", "sparse"])
def test_nothing_but_a_png_is_read(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostScript would start an interpreter, a pipe without a writer would wait for ever, and a hole would fill the memory."""
    path = tmp_path / "edit.png"
    if kind in ("jpeg", "eps"):
        Image.new("RGB", (8, 8)).save(path, kind.upper())
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"\x89PNG\r\n\x1a\n")
        os.truncate(path, 2**40)
    monkeypatch.setattr(subprocess, "Popen", None)
    assert put_pictures(tmp_path / "out", [("0/a", path)]) == {"0/a": State.UNREADABLE}


def test_a_single_file_holds_small_pictures_as_they_are_and_large_ones_reduced(small: Path, large: Path) -> None:
    states, uris = data_uris([("a", small), ("b", large)])
    assert states == {"a": State.WHOLE, "b": State.WHOLE}
    assert base64.b64decode(uris["a"].removeprefix("data:image/png;base64,")) == small.read_bytes()
    with Image.open(io.BytesIO(base64.b64decode(uris["b"].removeprefix("data:image/webp;base64,")))) as image:
        assert max(image.size) == pictures.SINGLE


def test_too_much_for_a_single_file_is_refused_with_advice(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "_MOST_SINGLE", 2**14)
    with pytest.raises(ReportError, match="write the folder alone, which opens without a server too, and zip it"):
        data_uris([("a", small), ("b", small)])


@pytest.mark.parametrize("link", [".", "0"])
def test_nothing_is_written_or_removed_where_a_link_leads(link: str, small: Path, tmp_path: Path) -> None:
    """A report folder may be a stranger's."""
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.png").write_bytes(b"kept")
    (out / link).parent.mkdir(exist_ok=True)
    (out / link if link != "." else out).symlink_to(elsewhere)
    assert put_pictures(out, [("0/a", small)]) == {"0/a": State.WHOLE}
    assert files(elsewhere) == {"mine.png"}
    assert files(out) == {"0/a.png"}
    (out / "0" / "b.png").symlink_to(elsewhere / "mine.png")
    assert put_pictures(out, []) == {}
    assert files(elsewhere) == {"mine.png"}
