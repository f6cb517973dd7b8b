"""Files that block or never end: pipes, devices, sparse giants. Each is told in one line, at once and without reading it."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fixtures_manifest import row, write_folder, write_parquet

from bench.errors import ManifestError
from bench.manifest import open_manifest
from bench.manifest.lint import lint
from bench.manifest.pictures import PictureError, PictureFile
from bench.spec import ManifestRef
from editors import EditorError, MissingInput
from editors.folder import Folder

GIANT = 5 << 30


def pipe(path: Path) -> None:
    os.mkfifo(path)


def giant(path: Path) -> None:
    """Five gigabytes that take no room on the disk."""
    path.touch()
    os.truncate(path, GIANT)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


SPOILT = pytest.mark.parametrize(
    ("spoil", "message"), [(pipe, "a pipe, a device"), (device, "a pipe, a device"), (giant, "512 MiB")]
)
Spoil = Callable[[Path], None]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETABENCH_CACHE", str(tmp_path / "cache"))


@SPOILT
@pytest.mark.parametrize("field", ["file_name", "mask_file_name", "truth_file_name"])
def test_a_picture_is_a_regular_file_of_bounded_size(tmp_path: Path, spoil: Spoil, message: str, field: str) -> None:
    folder = write_folder(tmp_path / "mine", [row(0), row(1, **{field: "odd.png"})])
    spoil(folder / "odd.png")
    if spoil is device:
        with pytest.raises(PictureError, match=message):
            PictureFile("odd.png", folder / "odd.png").read()
        return  # in a manifest the link is refused because it leaves the folder
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = [finding.message for finding in lint(str(folder)) if finding.severity == "error"]
    assert any("odd.png cannot be read" in each and message in each for each in found), found
    with pytest.raises(ManifestError, match=r"odd\.png cannot be read"):
        open_manifest(folder)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 512 << 10, "kilobytes; a giant was not read into memory"


@SPOILT
@pytest.mark.parametrize("name", ["metadata.jsonl", "input_list.json"])
def test_a_list_of_rows_is_a_regular_file_of_bounded_size(tmp_path: Path, spoil: Spoil, message: str, name: str) -> None:
    spoil(tmp_path / name)
    for given in (tmp_path, tmp_path / name):
        with pytest.raises(ManifestError, match=rf"{message}|no manifest in this folder") as caught:
            open_manifest(given)
        assert "\n" not in str(caught.value)


def test_a_pipe_among_the_tables_is_not_waited_for(tmp_path: Path) -> None:
    write_parquet(tmp_path / "rows.parquet", [{"image": None, "target_text": "a"}])
    pipe(tmp_path / "more.parquet")
    for ref in (str(tmp_path), ManifestRef(hub=str(tmp_path))):
        with pytest.raises(ManifestError, match=r"more\.parquet: a pipe, a device or a socket among the files"):
            open_manifest(ref)


def test_delivered_edits_are_regular_files_of_bounded_size(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def params(path: Path, **more: Any) -> Any:
        return Folder.resolve("", {"path": str(path), **more})

    pipe(tmp_path / "edits.parquet")
    with pytest.raises(MissingInput, match="expected a folder or a file"):
        Folder.assets(params(tmp_path / "edits.parquet"))
    rows = [{"sample_id": "cat", "image": "odd.png"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "named.parquet")
    pipe(tmp_path / "odd.png")
    Folder.assets(params(tmp_path / "named.parquet"))

    from editors.toolbox.delivered import open_delivery

    delivery = open_delivery(str(tmp_path / "named.parquet"), "")
    found = delivery.find("cat", 0.0)
    assert found is not None
    with pytest.raises(EditorError, match="no such file"):
        found.read()
    giant(tmp_path / "cat.png")
    found = open_delivery(str(tmp_path), "{sample_id}.png").find("cat", 0.0)
    assert found is not None
    with pytest.raises(EditorError, match=r"cat\.png cannot be read: it is larger than 512 MiB"):
        found.read()
