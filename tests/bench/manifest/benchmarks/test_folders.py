"""Sets that are folders with a list beside the pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmark_copies import opened, png, write_json, write_picture, write_split
from fixtures_manifest import write_tedbench
from PIL import Image

from bench.errors import ManifestError
from bench.manifest import open_manifest
from bench.manifest.benchmarks.diffedit_coco import changed_share
from bench.spec import ManifestRef


def test_tedbench_is_read_from_its_authors_folder_and_as_on_the_hub(tmp_path: Path) -> None:
    manifest = opened("tedbench", write_tedbench(tmp_path / "authors"))
    assert manifest.name == "tedbench"
    assert manifest.ids == ["001-cat", "002-bird", "003-bird"]
    assert "3 of 100 rows, 3 of 40 pictures" in manifest.about
    rows = [{"original_image": png(i), "caption": f"c{i}", "edited_image": png(9)} for i in range(2)]
    write_split(tmp_path / "hub", "val", rows, ["original_image", "edited_image"])
    again = opened("tedbench", tmp_path / "hub")
    assert again.ids == ["001", "002"]
    assert [(sample.target_text, sample.truth) for sample in again] == [("c0", None), ("c1", None)]
    write_json(tmp_path / "authors" / "input_list.json", [{"img_name": "cat.png", "target_text": "a"}, 3])
    with pytest.raises(ManifestError, match=r"input_list\.json entry 2: expected \{img_name, target_text\}, got 3"):
        opened("tedbench", tmp_path / "authors")
    with pytest.raises(ManifestError, match="tedbench val has 100 rows, found 2; set limit to take what is there"):
        open_manifest(ManifestRef(benchmark="tedbench", root=str(tmp_path / "hub")))


def test_tedbench_pp_says_how_many_rows_there_are(tmp_path: Path) -> None:
    write_picture(tmp_path / "originals/cat.jpeg", 0)
    (tmp_path / "tedbench++.csv").write_text("img_name,target_text,seed\ncat.jpeg,A cat that sits,3\ncat.jpeg,No cat,4\n")
    manifest = opened("tedbench++", tmp_path)
    assert [sample.target_text for sample in manifest] == ["A cat that sits", "No cat"]
    assert "2 of an unknown number of rows, 1 of an unknown number of pictures" in manifest.about


def test_imgedit_is_found_at_its_own_depth(tmp_path: Path) -> None:
    for place in ("Benchmark/Basic", "Basic", "."):
        root = tmp_path / place.replace("/", "-").replace(".", "bare")
        write_picture(root / place / "animal/000.png", 0)
        write_json(
            root / place / "basic_edit.json", {"1": {"id": "animal/000.png", "prompt": "Remove it", "edit_type": "remove"}}
        )
        (sample,) = opened("imgedit-bench", root)
        assert (sample.id, sample.instruction, sample.category) == ("1", "Remove it", "remove")


def test_kris_items_of_several_pictures_are_apart(tmp_path: Path) -> None:
    for name in ("1.png", "2-1.png", "2-2.png"):
        write_picture(tmp_path / "temporal_prediction" / name, 0)
    items = {
        "1": {"ori_img": "1.png", "gt_img": "", "ins_en": "show it tomorrow", "explain_en": ""},
        "2": {"ori_img": ["2-1.png", "2-2.png"], "gt_img": "", "ins_en": "what comes next", "explain_en": ""},
    }
    write_json(tmp_path / "temporal_prediction/annotation.json", items)
    assert opened("kris-bench", tmp_path).ids == ["temporal_prediction/1"]
    assert opened("kris-bench", tmp_path, "several-pictures").ids == ["temporal_prediction/2"]


def test_rise_bench_refuses_the_file_of_64_items(tmp_path: Path) -> None:
    write_picture(tmp_path / "data/temporal_reasoning_images/1.png", 0)
    item = {
        "index": "temporal_1",
        "image": "temporal_reasoning_images/1.png",
        "instruction": "later",
        "category": "temporal_reasoning",
    }
    write_json(tmp_path / "data_total.json", [item])
    with pytest.raises(ManifestError, match=r"expected datav2_total_w_subtask\.json"):
        opened("rise-bench", tmp_path)
    write_json(tmp_path / "datav2_total_w_subtask.json", [item])
    (sample,) = opened("rise-bench", tmp_path)
    assert (sample.id, sample.category) == ("temporal_1", "temporal reasoning")


def test_i2ebench_has_two_wordings(tmp_path: Path) -> None:
    write_picture(tmp_path / "EditData/ColorAlteration/input/1.jpg", 0)
    item = {"image": "1.jpg", "ori_exp": "make the car red", "div_exp": "a red coat of paint for the car", "type": "color"}
    write_json(tmp_path / "EditData/ColorAlteration/ColorAlteration.json", {"1": item})
    (original,) = opened("i2ebench", tmp_path)
    (diverse,) = opened("i2ebench", tmp_path, "diverse")
    assert (original.id, original.instruction) == ("ColorAlteration/1", "make the car red")
    assert diverse.instruction == "a red coat of paint for the car"


def test_editval_writes_its_texts_from_words(tmp_path: Path) -> None:
    write_picture(tmp_path / "train2017/000000000042.jpg", 0)
    write_json(tmp_path / "object.json", {"bench": {"42": {"color": {"from": ["brown"], "to": ["red", "blue"]}}}})
    red, blue = opened("editval", tmp_path)
    assert (red.source_text, red.target_text) == ("a photo of a bench, color brown", "a photo of a bench, color red")
    assert (blue.source_text, blue.target_text) == ("a photo of a bench", "a photo of a bench, color blue")
    write_json(tmp_path / "object.json", {"bench": {"42": {"color": {"to": "red"}}}})
    with pytest.raises(ManifestError, match="'bench' 42 color: expected lists from and to"):
        opened("editval", tmp_path)


def test_instruct_pix2pix_takes_the_last_folders(tmp_path: Path) -> None:
    seeds = [[f"shard-00/{number:07d}", [11, 12]] for number in range(40)]
    write_json(tmp_path / "seeds.json", seeds)
    for folder, _ in seeds[38:]:
        write_json(tmp_path / folder / "prompt.json", {"input": "a hill", "edit": "add snow", "output": "a hill with snow"})
        write_picture(tmp_path / folder / "11_0.jpg", 0)
        write_picture(tmp_path / folder / "11_1.jpg", 1)
    test = opened("instruct-pix2pix", tmp_path, "test")
    assert test.ids == ["shard-00/0000038/11", "shard-00/0000039/11"]
    assert test.load(0).instruction == "add snow"
    drawn = opened("instruct-pix2pix", tmp_path)
    assert sorted(drawn.ids) == test.ids


def test_instruct_pix2pix_is_shuffled_as_the_authors_script_does(tmp_path: Path) -> None:
    import torch

    seeds = [[f"{number:07d}", [11]] for number in range(200)]
    write_json(tmp_path / "seeds.json", seeds)
    for folder, _ in seeds[190:]:
        write_json(tmp_path / folder / "prompt.json", {"input": "a hill", "edit": "add snow", "output": "a hill with snow"})
        write_picture(tmp_path / folder / "11_0.jpg", 0)
        write_picture(tmp_path / folder / "11_1.jpg", 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        order = torch.randperm(10).tolist()
    assert opened("instruct-pix2pix", tmp_path).ids == [f"{190 + place:07d}/11" for place in order]


@pytest.mark.parametrize("described", [True, False])
def test_magicbrush_test_archive(tmp_path: Path, described: bool) -> None:
    folder = tmp_path / "images/139"
    for name, seed in (("139-input.png", 0), ("139-output1.png", 1), ("139-output2.png", 2)):
        write_picture(folder / name, seed)
    cut = Image.new("RGBA", (40, 40), (9, 9, 9, 255))
    cut.paste((0, 0, 0, 0), (0, 0, 40, 20))
    for number in (1, 2):
        cut.save(folder / f"139-mask{number}.png")
    turns = [
        {"input": "139-input.png", "mask": "139-mask1.png", "output": "139-output1.png", "instruction": "add a cat"},
        {"input": "139-output1.png", "mask": "139-mask2.png", "output": "139-output2.png", "instruction": "now a dog"},
    ]
    write_json(tmp_path / "edit_sessions.json", {"139": turns})
    if described:
        texts = {"139-input.png": "a room", "139-output1.png": "a room with a cat", "139-output2.png": "a room with a dog"}
        write_json(tmp_path / "global_descriptions.json", {"139": texts})
    first, second = opened("magicbrush", tmp_path, "test")
    assert (first.id, second.id) == ("139-1", "139-2")
    assert (first.source_text, second.target_text) == (("a room", "a room with a dog") if described else (None, "now a dog"))
    assert second.mask is not None
    assert second.mask[:20].all()
    assert first.truth is not None
    assert np.array_equal(second.image, first.truth)
    write_json(tmp_path / "edit_sessions.json", {"139": [turns[0] | {"input": "../../../x.png"}]})
    with pytest.raises(ManifestError, match=r"x.png leaves the folder"):
        opened("magicbrush", tmp_path, "test")


def test_diffedit_coco_edits_the_near_picture_towards_the_caption(tmp_path: Path) -> None:
    for number in (1, 2):
        write_picture(tmp_path / f"val2014/COCO_val2014_{number:012d}.jpg", number)
    captions = [
        {"id": 10, "image_id": 1, "caption": "A cat sits on a red chair."},
        {"id": 20, "image_id": 2, "caption": "A street in the rain"},
        {"id": 21, "image_id": 2, "caption": "A dog sits on a red chair."},
    ]
    candidates = [{"image_id": n, "image_filename": f"COCO_val2014_{n:012d}.jpg"} for n in (1, 2)]
    query = {"bison_id": 5, "true_image_id": 1, "caption_id": 10, "image_candidates": candidates}
    far = {"bison_id": 6, "true_image_id": 2, "caption_id": 20, "image_candidates": candidates}
    write_json(tmp_path / "annotations/captions_val2014.json", {"annotations": captions})
    write_json(tmp_path / "annotations/bison_annotations.cocoval2014.json", {"data": [query, far]})
    (sample,) = opened("diffedit-coco", tmp_path)
    assert (sample.id, sample.source_text, sample.target_text) == (
        "5",
        "A dog sits on a red chair.",
        "A cat sits on a red chair.",
    )
    assert opened("diffedit-coco", tmp_path, "all").ids == ["5", "6"]


def test_changed_share() -> None:
    assert changed_share("A cat sits on a chair.", "a dog sits on a chair") == pytest.approx(1 / 6)
    assert changed_share("a cat", "a cat") == 0
    assert changed_share("a cat", "two black dogs") == 1
