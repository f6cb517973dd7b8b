"""BrushBench's masks are 1-based and by split; EditBench is read by the same layout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fixtures_manifest import picture

from bench.errors import ManifestError
from bench.manifest import open_manifest
from bench.spec import ManifestRef


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    entries = {}
    for seed in range(2):
        picture(seed, 512, 512).save(tmp_path / f"images/{seed}.jpg")
        entries[f"00000000{seed}"] = {
            "image": f"images/{seed}.jpg",
            "caption": "a red fox",
            "inpainting_mask": "1 2 513 1",  # the first two pixels of row 0, the first of row 1
            "outpainting_mask": [3, 510],
        }
    (tmp_path / "mapping_file.json").write_text(json.dumps(entries))
    return tmp_path


def test_masks_by_split(copy: Path) -> None:
    inpainting = open_manifest(ManifestRef(benchmark="brushbench", root=str(copy)), partial=True).load(0)
    assert inpainting.mask is not None
    assert np.argwhere(inpainting.mask).tolist() == [[0, 0], [0, 1], [1, 0]]
    outpainting = open_manifest(ManifestRef(benchmark="brushbench", root=str(copy), split="outpainting"), partial=True).load(0)
    assert outpainting.mask is not None
    assert outpainting.mask[0, 2:].all()
    assert outpainting.mask.sum() == 510


def test_a_start_of_0_is_refused(copy: Path) -> None:
    file = copy / "mapping_file.json"
    file.write_text(file.read_text().replace("1 2 513 1", "0 2"))
    with pytest.raises(ManifestError, match="inpainting_mask: starts from 0 to 0 do not fit 512x512 pixels from 1 on"):
        open_manifest(ManifestRef(benchmark="brushbench", root=str(copy)), partial=True)


def test_editbench_has_the_same_layout(copy: Path) -> None:
    manifest = open_manifest(ManifestRef(benchmark="editbench", root=str(copy)))
    assert [sample.target_text for sample in manifest] == ["a red fox"] * 2
    assert "2 of an unknown number of rows" in manifest.about
