from __future__ import annotations

import io
import os
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage

from editors import EditorError, EditTask, Image, MissingInput
from editors.folder import Folder


def picture(seed: int, width: int = 64, height: int = 64) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png(array: Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    PILImage.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


def deliver(folder: Path, *names: str) -> Path:
    """Picture number i under the i-th name."""
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(picture(i)))
    return folder


def table(file: Path, rows: list[dict[str, Any]]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), file)
    return file


def make(path: Path | str, **params: Any) -> Folder:
    return Folder(None, Folder.resolve("", {"path": str(path), **params}))


def digest(path: Path, **params: Any) -> str:
    return Folder.assets(Folder.resolve("", {"path": str(path), **params}))["path"]


@pytest.fixture
def named(task: EditTask) -> EditTask:
    return replace(task, sample_id="cat")


def edits(editor: Folder, task: EditTask, values: tuple[float, ...]) -> list[int | None]:
    """The number of the picture that was found at each value."""
    numbers = {picture(i).tobytes(): i for i in range(8)}
    found = editor.render(editor.prepare(task), values)
    return [None if edit is None else numbers[edit.tobytes()] for edit in found]


def test_pictures_are_found_by_sample_and_value_however_it_is_written(tmp_path: Path, named: EditTask) -> None:
    folder = deliver(tmp_path / "a", "cat/0.50.png", "cat/1.png", "dog/0.5.png", "cat/notes.txt", "cat/2e-1.png")
    editor = make(folder)
    assert edits(editor, named, (0.2, 0.5, 1.0, 0.7)) == [4, 0, 1, None]
    assert edits(editor, replace(named, sample_id="dog"), (0.5, 1.0)) == [2, None]
    assert edits(editor, replace(named, sample_id="cow"), (0.5,)) == [None]
    knob = Folder.knob_of(editor.params)
    assert knob is not None
    assert (knob.name, knob.grid) == ("value", (0.2, 0.5, 1.0)), "the default grid is what there is"


def test_a_pattern_says_where_the_pictures_are(tmp_path: Path, named: EditTask) -> None:
    folder = deliver(tmp_path / "a", "run-1/cat_0.5_final.png", "run-1/cat_1.0_draft.png", "run-2/cat_2_final.png")
    editor = make(folder, pattern="run-1/{sample_id}_{value}_*.png", knob="strength")
    assert edits(editor, named, (0.5, 1.0, 2.0)) == [0, 1, None]
    assert (Folder.knob_of(editor.params) or Folder.knob).name == "strength"


def test_a_method_without_a_knob_delivers_one_picture_per_sample(tmp_path: Path, named: EditTask) -> None:
    editor = make(deliver(tmp_path / "a", "cat.png", "dog.png"), pattern="{sample_id}.png")
    assert Folder.knob_of(editor.params) is None
    assert edits(editor, named, (0.0,)) == [0]


@pytest.mark.parametrize("form", ["bytes", "struct", "path"])
def test_a_parquet_file_holds_the_same(tmp_path: Path, named: EditTask, form: str) -> None:
    deliver(tmp_path, "0.png", "1.png")
    cells: list[Any] = [f"{i}.png" if form == "path" else png(picture(i)) for i in range(2)]
    if form == "struct":
        cells = [{"bytes": cell, "path": None} for cell in cells]
    rows = [{"sample_id": "cat", "value": value, "image": cell} for value, cell in zip((0.5, 1.0), cells, strict=True)]
    file = table(tmp_path / "x.parquet", rows)
    assert edits(make(file), named, (0.5, 0.7, 1.0)) == [0, None, 1]
    folder = deliver(tmp_path / "a", "cat/0.5.png", "cat/1.png")
    assert digest(file) == digest(folder), "the same pictures of the same samples, wherever they lie"


def test_a_parquet_file_without_values_has_no_knob(tmp_path: Path, named: EditTask) -> None:
    editor = make(table(tmp_path / "x.parquet", [{"sample_id": 7, "image": png(picture(0))}]))
    assert Folder.knob_of(editor.params) is None
    assert edits(editor, replace(named, sample_id="7"), (0.0,)) == [0], "a number is read as the text of an id"


def test_the_digest_follows_content_and_names_but_not_the_place(tmp_path: Path) -> None:
    first, second = (deliver(tmp_path / name, "cat/1.png", "dog/1.png") for name in "ab")
    before = digest(first)
    assert digest(second) == before
    (second / "notes.txt").write_text("not a picture of the delivery")
    assert digest(second) == before
    (second / "dog" / "1.png").replace(second / "dog" / "2.png")
    assert digest(second) != before
    (first / "dog" / "1.png").write_bytes(png(picture(7)))
    assert digest(first) != before, "a changed file is read again"
    file = first / "dog" / "1.png"
    about = file.stat()
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns + 10**9))
    assert digest(first) == digest(first)


def test_another_size_is_brought_to_the_grid_and_told(tmp_path: Path, named: EditTask) -> None:
    (tmp_path / "cat").mkdir()
    wide = np.zeros((64, 128, 3), dtype=np.uint8)
    wide[:, 32:96] = picture(0)
    (tmp_path / "cat" / "1.png").write_bytes(png(wide))
    (tmp_path / "cat" / "2.png").write_bytes(png(picture(1), "JPEG"))
    editor = make(tmp_path)
    state = editor.prepare(named)
    cropped, jpeg = editor.render(state, (1.0, 2.0))
    np.testing.assert_array_equal(cropped, picture(0))
    assert jpeg is not None
    assert editor.facts(state) == {
        "made": "elsewhere",
        "knob": "",
        "format": "JPEG, PNG",
        "transform": "center-crop 128x64 to 64x64, lanczos; none",
    }
    for fit, words in (("squash", "squash 128x64 to 64x64"), ("pad", "pad 128x64 to 64x64")):
        other = make(tmp_path, fit=fit)
        state = other.prepare(named)
        (edit,) = other.render(state, (1.0,))
        assert edit is not None
        assert edit.shape == (64, 64, 3)
        assert words in str(other.facts(state)["transform"])
        assert (edit[:16] == 255).all() == (fit == "pad"), "padding is white"


def test_an_unreadable_picture_is_named_and_no_placeholder(tmp_path: Path, named: EditTask) -> None:
    deliver(tmp_path, "cat/1.png")
    (tmp_path / "cat" / "2.png").write_bytes(b"no picture")
    editor = make(tmp_path)
    state = editor.prepare(named)
    with pytest.raises(EditorError, match=r"cat/2\.png is not a picture in a format that is read"):
        editor.render(state, (1.0, 2.0))
    (tmp_path / "cat" / "1.png").write_bytes(png(picture(5)))
    with pytest.raises(EditorError, match=r"cat/1\.png: changed since it was found; run again"):
        editor.render(state, (1.0,))


@pytest.mark.parametrize(
    ("names", "params", "message"),
    [
        ((), {"path": ""}, "path: expected a folder or a parquet file of edits, got ''"),
        ((), {"path": "gone"}, "got 'gone', which does not exist"),
        (("cat.jpg",), {}, r"none of the 1 files in .*, such as cat\.jpg fits the pattern '\{sample_id\}/\{value\}\.png'"),
        (("cat/0.5.png", "cat/0.50.png"), {}, r"0\.50\.png: the same sample and knob value as .*0\.5\.png; remove one"),
        (("cat/1.png",), {"pattern": "{sample}/{value}.png"}, r"pattern: expected a path with \{sample_id\}"),
        (("cat/1.png",), {"pattern": "{value}.png"}, r"pattern: '\{value\}\.png' has no \{sample_id\}"),
        (("cat/1.png",), {"pattern": "{sample_id}/{sample_id}.png"}, r"pattern: expected a path with \{sample_id\}"),
    ],
)
def test_a_delivery_that_cannot_be_used_is_one_line(tmp_path: Path, names: Any, params: dict[str, str], message: str) -> None:
    deliver(tmp_path, *names)
    with pytest.raises(EditorError, match=message) as caught:
        Folder.assets(Folder.resolve("", {"path": str(tmp_path)} | params))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": "cat", "image": b"x"}], r"expected the columns sample_id \(text\).*, got id, image"),
        ([{"sample_id": None, "image": b"x"}], "row 1: sample_id is missing"),
        (
            [{"sample_id": "a", "value": 1.0, "image": b"x"}, {"sample_id": "a", "value": None, "image": b"x"}],
            "row 2: has no knob",
        ),
    ],
)
def test_a_table_that_is_no_delivery_is_one_line(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(EditorError, match=message):
        digest(table(tmp_path / "x.parquet", rows))


def test_a_picture_outside_the_table_s_folder_is_refused(tmp_path: Path, named: EditTask) -> None:
    deliver(tmp_path, "secret.png")
    (tmp_path / "t").mkdir()
    editor = make(table(tmp_path / "t" / "x.parquet", [{"sample_id": "cat", "image": "../secret.png"}]))
    with pytest.raises(EditorError, match=r"row 1: image: '\.\./secret\.png' leaves the folder of the table"):
        editor.render(editor.prepare(named), (0.0,))


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(EditorError, match=r"x\.parquet: cannot be read as a table of edits"):
        digest(tmp_path / "x.parquet")


def test_edits_are_found_by_name_so_the_task_needs_one(tmp_path: Path, task: EditTask) -> None:
    with pytest.raises(MissingInput, match="folder needs sample_id"):
        make(deliver(tmp_path, "cat/1.png")).prepare(task)


def test_the_author_s_declarations_are_the_flags_of_the_board(tmp_path: Path) -> None:
    fair = make(tmp_path, uses_mask=True, candidates=4, selector="by hand").fair_play()
    assert (fair.uses_mask, fair.candidates, fair.selector, fair.uses_truth) == (True, 4, "by hand", False)


NAME = "Zoë"
FORMS = [pytest.param(a, b, id=f"{a} for {b}") for a in ("NFC", "NFD") for b in ("NFC", "NFD")]


@pytest.mark.parametrize(("asked", "there"), FORMS)
@pytest.mark.parametrize("form", ["folder", "table"])
def test_accents_in_ids_may_be_composed_or_not(tmp_path: Path, named: EditTask, asked: str, there: str, form: str) -> None:
    name = unicodedata.normalize(there, NAME)  # type: ignore[arg-type]
    place = deliver(tmp_path / "a", f"{name}/1.png")
    if form == "table":
        place = table(tmp_path / "x.parquet", [{"sample_id": name, "value": 1.0, "image": png(picture(0))}])
    task = replace(named, sample_id=unicodedata.normalize(asked, NAME))  # type: ignore[arg-type]
    assert edits(make(place), task, (1.0,)) == [0]


@pytest.mark.parametrize(("asked", "there"), FORMS)
def test_accents_and_backslashes_in_a_pattern_and_in_a_table_s_paths(
    tmp_path: Path, named: EditTask, asked: str, there: str
) -> None:
    folder = unicodedata.normalize(there, "éditées")  # type: ignore[arg-type]
    wanted = unicodedata.normalize(asked, "éditées")  # type: ignore[arg-type]
    deliver(tmp_path / "a", f"{folder}/cat/1.png")
    assert edits(make(tmp_path / "a", pattern=wanted + "\\{sample_id}\\{value}.png"), named, (1.0,)) == [0]
    file = table(tmp_path / "a" / "x.parquet", [{"sample_id": "cat", "image": f"{wanted}\\cat\\1.png"}])
    assert edits(make(file), named, (0.0,)) == [0]
    secret = table(tmp_path / "a" / "y.parquet", [{"sample_id": "cat", "image": "..\\x.parquet"}])
    (tmp_path / "x.parquet").touch()
    editor = make(secret)
    with pytest.raises(EditorError, match="leaves the folder of the table"):
        editor.render(editor.prepare(named), (0.0,))
