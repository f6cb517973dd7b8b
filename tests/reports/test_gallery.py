"""Pictures of the page."""

from __future__ import annotations

import base64
import io
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reports.data import ReportData
from reports.gallery import MAX_SIDE, embed, exhibits
from reports.style import looks

LOOK = looks(["alpha", "beta<&>"], ["copy", "oracle"])
PREFIX = "data:image/png;base64,"


def decoded(uri: str) -> Image.Image:
    assert uri.startswith(PREFIX)
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix(PREFIX))))


def test_a_small_png_is_embedded_byte_for_byte(data: ReportData) -> None:
    path = data.gallery[0].source
    picture = embed(path, "source")
    assert base64.b64decode(picture.uri.removeprefix(PREFIX)) == path.read_bytes()
    assert picture.pixels
    assert not picture.reduced


def test_a_large_picture_is_reduced(tmp_path: Path) -> None:
    Image.new("RGB", (2 * MAX_SIDE, MAX_SIDE), (200, 10, 10)).save(tmp_path / "large.png")
    picture = embed(tmp_path / "large.png", "x")
    assert decoded(picture.uri).size == (MAX_SIDE, MAX_SIDE // 2)
    assert decoded(picture.uri).format == "PNG"
    assert picture.reduced
    assert not picture.pixels


@pytest.mark.parametrize("content", [None, b"", b"\x89PNG\r\n\x1a\n broken"], ids=["absent", "empty", "broken"])
def test_a_picture_that_cannot_be_read_says_so(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "edit.png"
    if content is not None:
        path.write_bytes(content)
    picture = embed(path, "0.5")
    assert picture.uri == ""
    assert picture.missing == ("no file edit.png" if content is None else "unreadable edit.png")


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
    assert embed(path, "0.5").missing == "unreadable edit.png"


def test_a_truncated_png_says_so(tmp_path: Path) -> None:
    path = tmp_path / "edit.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    assert embed(path, "x").missing == "unreadable edit.png"


def test_rows_follow_the_order_of_looks_and_a_failed_unit_gives_its_reason(data: ReportData) -> None:
    first, second = exhibits(data, LOOK)
    assert [row.editor for row in first.rows] == ["alpha", "beta<&>"]
    assert [row.editor for row in second.rows] == ["alpha", "beta<&>"]
    assert second.rows[1].failure == "failed: NotFinite at step 3"
    assert second.rows[1].edits == ()
    assert first.rows[1].failure == ""


def test_edits_carry_knob_values_and_the_scores_of_the_first_seed(data: ReportData) -> None:
    row = exhibits(data, LOOK)[0].rows[0]
    assert (row.knob, [p.label for p in row.edits]) == ("η", ["0", "0.5", "1"])
    assert [p.note for p in row.edits] == ["", "clip 0.2625", ""]
    assert [p.label for p in row.extras] == ["difference"]


def test_anchors_share_one_row_after_the_editors(data: ReportData) -> None:
    first = data.gallery[0]
    shown = [("copy", [(0.0, first.source)], {}), *first.rows, ("oracle", [], {})]
    (exhibit,) = exhibits(replace(data, gallery=[replace(first, rows=shown)]), LOOK)
    assert [row.editor for row in exhibit.rows] == ["alpha", "beta<&>", "anchors"]
    assert [(p.label, p.missing) for p in exhibit.rows[-1].edits] == [("copy", ""), ("oracle", "no edits")]


def test_originals_leave_out_what_the_sample_lacks(data: ReportData) -> None:
    assert [p.label for p in exhibits(data, LOOK)[0].originals] == ["source", "ground truth"]
