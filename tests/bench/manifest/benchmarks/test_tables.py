"""Sets that are tables on the hub, read from a folder laid out like one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark_copies import opened, png, write_json, write_picture, write_split
from fixtures_manifest import encoded
from PIL import Image

from bench.errors import ManifestError
from bench.manifest import Manifest
from bench.manifest.benchmarks import benchmarks, on_hub
from bench.spec import ManifestRef


def test_emu_edit(tmp_path: Path) -> None:
    row: dict[str, Any] = {
        "instruction": "make it night",
        "image": png(0),
        "task": "global",
        "split": "test",
        "idx": 7,
        "hash": "h",
        "input_caption": "a street by day",
        "output_caption": "a street by night",
    }
    write_split(tmp_path, "test", [row, row | {"idx": 9}], ["image"])
    write_split(tmp_path, "validation", [row | {"idx": 1}], ["image"])
    first, second = opened("emu-edit", tmp_path)
    assert (first.id, second.id) == ("7", "9")
    assert (first.source_text, first.target_text, first.instruction) == ("a street by day", "a street by night", "make it night")
    assert first.category == "global"
    assert first.source_id == second.source_id
    assert opened("emu-edit", tmp_path, "validation").ids == ["1"]


def test_gedit_splits_are_languages(tmp_path: Path) -> None:
    row = {
        "task_type": "color_alter",
        "key": "a",
        "instruction": "paint it red",
        "instruction_language": "en",
        "input_image": png(0),
    }
    write_split(
        tmp_path, "train", [row, row | {"key": "b", "instruction": "变红", "instruction_language": "cn"}], ["input_image"]
    )
    (english,) = opened("gedit-bench", tmp_path)
    (chinese,) = opened("gedit-bench", tmp_path, "cn")
    assert (english.id, english.instruction, english.target_text) == ("a", "paint it red", "paint it red")
    assert (chinese.id, chinese.instruction) == ("b", "变红")
    write_split(tmp_path, "train", [row | {"instruction_language": "zh"}], ["input_image"])
    with pytest.raises(ManifestError, match="instruction_language: expected en or cn, got 'zh'"):
        opened("gedit-bench", tmp_path)


def test_magicbrush_dev_reads_masks_from_alpha_and_clusters_by_session(tmp_path: Path) -> None:
    cut = Image.new("RGBA", (40, 40), (255, 255, 255, 255))
    cut.paste((0, 0, 0, 0), (0, 0, 10, 40))
    mask = {"bytes": encoded(cut), "path": "m.png"}
    turn: dict[str, Any] = {"img_id": "242679", "turn_index": 1, "source_img": png(0, 50, 60), "mask_img": mask}
    turn |= {"instruction": "add a dog", "target_img": png(1)}
    rows = [turn, turn | {"turn_index": 2, "source_img": png(1), "target_img": png(2)}]
    write_split(tmp_path, "dev", rows, ["source_img", "mask_img", "target_img"])
    first, second = opened("magicbrush", tmp_path)
    assert (first.id, second.id) == ("242679-1", "242679-2")
    assert first.image.shape == (40, 40, 3)
    assert first.mask is not None
    assert first.mask[:, :10].all()
    assert not first.mask[:, 10:].any()
    assert first.truth is not None
    assert np.array_equal(second.image, first.truth)
    assert first.source_id == second.source_id
    assert first.category == "turn 1"


def test_pie_bench_pp(tmp_path: Path) -> None:
    from bench.manifest.benchmarks.pie_bench_types import TYPES

    row = {
        "image": png(0, 512, 512),
        "id": "1",
        "source_prompt": "a [cat]",
        "target_prompt": "a [dog]",
        "edit_action": "{'cat': {'position': 1}}",
        "aspect_mapping": "{}",
        "blended_words": '["cat,dog"]',
        "mask": "0 2 512 1",
    }
    configs = []
    for number, config in enumerate(TYPES):
        write_split(tmp_path / config, "V1", [row | {"id": f"{number}"}], ["image"])
        configs.append(f"- config_name: {config}\n  data_files:\n  - split: V1\n    path: {config}/data/V1-*")
    (tmp_path / "README.md").write_text("---\nconfigs:\n" + "\n".join(configs) + "\n---\n")
    manifest = opened("pie-bench++", tmp_path)
    assert len(manifest) == 10
    sample = manifest.load(4)
    assert (sample.source_text, sample.target_text) == ("a cat", "a dog")
    assert (sample.source_class, sample.target_class, sample.category) == ("cat", "dog", "change attribute content")
    assert sample.mask is not None
    assert np.argwhere(sample.mask).tolist() == [[0, 0], [0, 1], [1, 0]]


def test_pairs_made_for_training(tmp_path: Path) -> None:
    texts = {
        "src_img_caption": "a man sits",
        "tgt_img_caption": "a man stands",
        "edit_prompt": "let him stand",
        "edit_type": "pose",
    }
    write_split(
        tmp_path / "bm", "test", [{"image_id": "x", "src_img": png(0), "tgt_img": png(1), **texts}], ["src_img", "tgt_img"]
    )
    (pose,) = opened("bytemorph-bench", tmp_path / "bm")
    assert (pose.id, pose.source_text, pose.target_text, pose.instruction) == ("x", "a man sits", "a man stands", "let him stand")
    row = {"input": "a cat", "input_image": png(0), "edit": "make it a dog", "output": "a dog", "output_image": png(1)}
    write_split(tmp_path / "hq", "train", [row, row], ["input_image", "output_image"])
    first, second = opened("hq-edit", tmp_path / "hq")
    assert (first.id, second.id) == ("000001", "000002")
    assert first.truth is not None


def test_compbench_reads_a_task_from_a_set_of_its_own(tmp_path: Path) -> None:
    row = {
        "task": "multi_turn",
        "image_path": "scenes/7.jpg",
        "input_image": png(0),
        "edited_image": png(1),
        "instruction": "take the left cup away",
        "caption": "a table",
        "mask": png(2),
    }
    other = row | {"input_image": png(1), "edited_image": png(2), "instruction": "now the right one"}
    write_split(tmp_path / "multi", "multi_turn", [row, other], ["input_image", "edited_image", "mask"])
    first, second = opened("compbench", tmp_path / "multi", "multi-turn")
    assert (first.id, first.instruction, first.target_text) == ("000001", "take the left cup away", "take the left cup away")
    assert (first.mask, first.previous, second.previous) == (None, None, None)  # what no card says is not guessed
    assert first.source_id == second.source_id
    card = benchmarks()["compbench"].card
    assert [card.hub_of(split) for split in (None, "action")] == ["BohanJia/CompBench_Multi", "BohanJia/CompBench_action"]
    assert on_hub(ManifestRef(benchmark="compbench", split="action")).hub == "BohanJia/CompBench_action"


def test_complex_edit_takes_the_instruction_of_its_level(tmp_path: Path) -> None:
    folder = tmp_path / "test/real/images"
    lines = []
    for number in range(2):
        write_picture(folder / f"{number:04d}.png", number)
        compound = [{"compound_instruction": f"{number}: {level} steps"} for level in range(1, 9)]
        lines.append(json.dumps({"file_name": f"images/{number:04d}.png", "edit": {"sequence": ["a"], "compound": compound}}))
    (tmp_path / "test/real/metadata.jsonl").write_text("\n".join(lines))
    head = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: test_real\n    path: test/real/**\n---\n"
    (tmp_path / "README.md").write_text(head)
    hardest, easiest = opened("complex-edit", tmp_path), opened("complex-edit", tmp_path, "real-1")
    assert [(sample.id, sample.instruction) for sample in hardest] == [("0000", "0: 8 steps"), ("0001", "1: 8 steps")]
    assert easiest.load(1).target_text == "1: 1 steps"
    with pytest.raises(
        ManifestError, match=r"complex-edit row 1: edit\.compound: expected an entry with compound_instruction for level 3"
    ):
        list(_compounds(tmp_path, [{"compound_instruction": "one"}]))


def _compounds(tmp_path: Path, compound: list[dict[str, str]]) -> Manifest:
    folder = tmp_path / "short"
    write_picture(folder / "test/real/0000.png", 0)
    (folder / "test/real/metadata.jsonl").write_text(json.dumps({"file_name": "0000.png", "edit": {"compound": compound}}))
    (folder / "README.md").write_text((tmp_path / "README.md").read_text())
    return opened("complex-edit", folder, "real-3")


def test_a_table_of_another_set_names_the_column(tmp_path: Path) -> None:
    write_split(tmp_path, "test", [{"image": png(0), "prompt": "x"}], ["image"])
    with pytest.raises(ManifestError, match="no column 'idx'; it has image, prompt"):
        opened("emu-edit", tmp_path)
    write_json(tmp_path / "none" / "x.json", [])
    with pytest.raises(
        ManifestError, match=r"no parquet files in this folder, and no metadata beside pictures; it holds x\.json"
    ):
        opened("emu-edit", tmp_path / "none")
