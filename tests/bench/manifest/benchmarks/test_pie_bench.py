"""PIE-Bench as downloaded becomes samples with masks of the right polarity, base and border."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures_manifest import picture

from bench.errors import ManifestError
from bench.manifest import Manifest, open_manifest
from bench.manifest.benchmarks.base import Split
from bench.manifest.benchmarks.pie_bench import PieBench
from bench.spec import ManifestRef

PICTURES = {
    "000000000000": "0_random_140/000000000000.jpg",
    "111000000001": "1_change_object_80/1_artificial/1_animal/111000000001.jpg",
    "924000000003": "9_change_style_80/2_natural/4_outdoor/924000000003.jpg",
}
MASKS = {"000000000000": [0, 262144], "111000000001": [512 * 10 + 5, 3, 512 * 11 + 5, 1], "924000000003": [262143, 9]}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Three entries: a type without subfolders, one with them, and one whose mask runs over the end."""
    entries: dict[str, dict[str, Any]] = {}
    for seed, (key, path) in enumerate(PICTURES.items()):
        file = tmp_path / "annotation_images" / path
        file.parent.mkdir(parents=True)
        picture(seed, 512, 512).save(file)
        entries[key] = {
            "image_path": path,
            "original_prompt": "a [cat] on a bench",
            "editing_prompt": "a [dog] on a bench",
            "editing_instruction": "make the cat a dog",
            "editing_type_id": key[0],
            "blended_word": "cat dog" if key.startswith("1") else "",
            "mask": MASKS[key],
        }
    (tmp_path / "mapping_file.json").write_text(json.dumps(entries))
    return tmp_path


def opened(copy: Path) -> Manifest:
    return open_manifest(ManifestRef(benchmark="pie-bench", root=str(copy)), partial=True)


def test_texts_and_labels(copy: Path) -> None:
    whole, animal, style = opened(copy)
    assert [sample.id for sample in (whole, animal, style)] == list(PICTURES)
    assert animal.source_text == "a cat on a bench"  # the brackets are markup
    assert animal.target_text == "a dog on a bench"
    assert animal.raw_target_text == "a [dog] on a bench"
    assert animal.instruction == "make the cat a dog"
    assert [sample.category for sample in (whole, animal, style)] == ["random", "change object", "change style"]
    assert [(sample.source_class, sample.target_class) for sample in (whole, animal)] == [(None, None), ("cat", "dog")]


def test_masks_are_0_based_and_have_the_border(copy: Path) -> None:
    whole, animal, style = (sample.mask for sample in opened(copy))
    assert whole is not None
    assert animal is not None
    assert style is not None
    assert whole.all()
    inner = animal[1:-1, 1:-1]
    assert np.argwhere(inner).tolist() == [[9, 4], [9, 5], [9, 6], [10, 4]]
    assert animal.sum() == 4 + 4 * 511
    assert style.sum() == 4 * 511


def test_the_copy_is_counted(copy: Path) -> None:
    with pytest.raises(ManifestError, match="pie-bench v1 has 700 rows, found 3; set limit"):
        open_manifest(ManifestRef(benchmark="pie-bench", root=str(copy)))
    assert "3 of 700 rows" in opened(copy).about


@pytest.mark.parametrize("mask", [[1], ["a", 2], [-1, 3], [262144, 1], {"a": 1}])
def test_a_mask_that_is_none_is_named(copy: Path, mask: object) -> None:
    file = copy / "mapping_file.json"
    entries = json.loads(file.read_text())
    entries["111000000001"]["mask"] = mask
    file.write_text(json.dumps(entries))
    with pytest.raises(ManifestError, match=r"mapping_file.json '111000000001': mask"):
        opened(copy)


def test_a_wrong_folder_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "annotation_images").mkdir()
    with pytest.raises(ManifestError, match=r"expected mapping_file.json of pie-bench, found annotation_images"):
        opened(tmp_path)


@pytest.mark.parametrize("given", ["annotation_images", "."])
def test_a_folder_above_or_below_is_told_where_the_set_is(copy: Path, given: str) -> None:
    inside = copy / "unpacked"
    inside.mkdir()
    for each in list(copy.iterdir()):
        if each != inside:
            each.rename(inside / each.name)
    wrong = inside / given if given != "." else copy
    with pytest.raises(ManifestError, match=r"expected mapping_file\.json of pie-bench, found") as refusal:
        opened(wrong)
    assert str(refusal.value).endswith(f"; root={inside} has mapping_file.json")


def test_a_half_unpacked_copy_says_how_many_pictures_are_there(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = dataclasses.replace(PieBench.card, splits={"v1": Split(3, 3)})
    monkeypatch.setattr(PieBench, "card", whole)
    assert "3 of 3 rows" in open_manifest(ManifestRef(benchmark="pie-bench", root=str(copy))).about
    (copy / "annotation_images" / PICTURES["111000000001"]).unlink()
    first = f"annotation_images/{PICTURES['111000000001']}"
    with pytest.raises(ManifestError, match=f"expected 3 picture files, found 2; {first} is the first that is not there"):
        open_manifest(ManifestRef(benchmark="pie-bench", root=str(copy)))


def test_more_rows_than_the_set_has_are_another_version(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PieBench, "card", dataclasses.replace(PieBench.card, splits={"v1": Split(2, 2)}))
    with pytest.raises(ManifestError, match="pie-bench v1 has 2 rows, found 3; another version of the set"):
        open_manifest(ManifestRef(benchmark="pie-bench", root=str(copy)), partial=True)


def test_a_copy_is_looked_at_before_the_hub_is(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of gigabytes is not fetched for a copy that is not whole."""
    from bench import api
    from bench.plan import pins

    def asked(*_: object) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(pins, "pin", asked)
    with pytest.raises(ManifestError, match="pie-bench v1 has 700 rows, found 3"):
        api.run("pie-bench", tmp_path / "run", overrides=[f"manifest.root={copy}"])
    with pytest.raises(AssertionError, match="the hub was asked"):
        api.run("pie-bench", tmp_path / "run", overrides=[f"manifest.root={copy}", "limit=2"])


def test_a_missing_picture_is_named(copy: Path) -> None:
    (copy / "annotation_images" / PICTURES["924000000003"]).unlink()
    with pytest.raises(ManifestError, match=r"row 3 \(id '924000000003'\): annotation_images/<image_path>: no such file"):
        opened(copy)
