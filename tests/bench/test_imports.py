"""Released edits: found where their authors put them, reported before anything is made, and scored as what they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from benchmark_copies import png, write_json, write_picture, write_split
from fixtures_manifest import picture, write_tedbench

from bench.analysis.published import Column, Printed, beside
from bench.commands.imports import LAYOUTS, Delivered, delivered, layout_of, spec_of_import, stage
from bench.errors import EtabenchError, RunError, SpecError
from bench.manifest import open_manifest
from bench.scoring import read_scores
from bench.store import Run

EDITS = (
    "cat.png-A_cat_with_a_hat.png",
    "bird.png-A_bird_with_spread_wings.png",
    "bird.jpeg-Two_birds.png",
)


def looked_for(name: str, root: Path, folder: Path, split: str = "") -> Delivered:
    """What of a copy of a benchmark lies in `folder`; a copy may lack rows."""
    spec = spec_of_import(LAYOUTS[name], root, root / "run", split=split)
    return delivered(LAYOUTS[name], folder, spec, open_manifest(spec.manifest, partial=True))


def table_of_gedit(root: Path) -> None:
    row = {"task_type": "color_alter", "key": "a1", "instruction": "red", "instruction_language": "en", "input_image": png(0)}
    write_split(root, "train", [row, row | {"key": "b2", "instruction_language": "cn"}], ["input_image"])


def table_of_magicbrush(root: Path) -> None:
    first = {"img_id": "139", "turn_index": 1, "source_img": png(0), "mask_img": png(7), "instruction": "x", "target_img": png(1)}
    rows = [first, first | {"turn_index": 2}, first | {"img_id": "30"}]
    write_split(root, "dev", rows, ["source_img", "mask_img", "target_img"])


def list_of_rise(root: Path) -> None:
    write_picture(root / "data/temporal_reasoning_images/1.png", 0)
    item = {"index": "temporal_1", "image": "temporal_reasoning_images/1.png", "instruction": "later"}
    write_json(root / "datav2_total_w_subtask.json", [item | {"category": "temporal_reasoning"}])


def list_of_imgedit(root: Path) -> None:
    write_picture(root / "animal/000.png", 0)
    write_json(root / "basic_edit.json", {"17": {"id": "animal/000.png", "prompt": "Remove it", "edit_type": "remove"}})


def mapping_of_brushbench(root: Path) -> None:
    write_picture(root / "images/7.png", 0, 512, 512)
    masks = {"inpainting_mask": "1 2", "outpainting_mask": "3 4"}
    write_json(root / "mapping_file.json", {"7": {"image": "images/7.png", "caption": "a fox"} | masks})


def mapping_of_pie(root: Path) -> None:
    write_picture(root / "annotation_images/0_random_140/000000000000.png", 0, 512, 512)
    entry = {"image_path": "0_random_140/000000000000.png", "original_prompt": "a", "editing_prompt": "b"}
    write_json(root / "mapping_file.json", {"000000000000": entry | {"editing_type_id": "0", "mask": [0, 9]}})


@pytest.mark.parametrize(
    ("name", "copy", "places", "beside"),
    [
        ("gedit-bench:en", table_of_gedit, ["fullset/color_alter/en/a1.png"], ["fullset/color_alter/cn/b2.png"]),
        ("gedit-bench:cn", table_of_gedit, ["fullset/color_alter/cn/b2.png"], ["fullset/color_alter/cn/b2_SRCIMG.png"]),
        ("magicbrush:dev", table_of_magicbrush, ["139/139_1.png", "139/139_inde_2.png", "30/30_1.png"], ["139/139_iter_2.png"]),
        (
            "magicbrush-final-turn:dev",
            table_of_magicbrush,
            ["139/139_1.png", "139/139_iter_2.png", "30/30_1.png"],
            ["139/139_inde_2.png"],
        ),
        ("rise-bench:", list_of_rise, ["images/temporal_reasoning/temporal_1.png"], [".DS_Store.png"]),
        ("imgedit-bench:", list_of_imgedit, ["17.png"], [".cache/x.png"]),
        ("brushbench:outpainting", mapping_of_brushbench, ["images/7.png"], ["images/7_masked.jpg"]),
        ("editbench:", mapping_of_brushbench, ["images/7.png"], ["images/7_masked.png"]),
        ("pie-bench:", mapping_of_pie, ["0_random_140/000000000000.png"], []),
    ],
)
def test_edits_are_looked_for_where_their_authors_put_them(
    name: str, copy: Callable[[Path], None], places: list[str], beside: list[str], tmp_path: Path
) -> None:
    root, folder = tmp_path / "copy", tmp_path / "theirs"
    name, _, split = name.partition(":")
    copy(root)
    folder.mkdir()
    none = looked_for(name, root, folder, split)
    assert sorted(none.missing.values()) == places
    assert not none.found
    for place in [*places, *beside]:
        write_picture(folder / place, 3)
    whole = looked_for(name, root, folder, split)
    assert sorted(file.relative_to(folder).as_posix() for file in whole.found.values()) == places
    assert whole.whole, list(whole.lines())
    write_picture(folder / "another.png", 3)
    assert looked_for(name, root, folder, split).extra == ("another.png",)


@pytest.fixture
def tedbench(tmp_path: Path) -> Path:
    return write_tedbench(tmp_path / "tedbench")


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Two of the three edits, twice as large as their sources."""
    for seed, name in enumerate(EDITS[:2]):
        write_picture(tmp_path / "theirs" / name, seed, 80, 80)
    return tmp_path / "theirs"


def test_the_report_names_what_is_missing_and_what_is_extra(tedbench: Path, theirs: Path) -> None:
    for number in range(12):
        write_picture(theirs / f"stray-{number:02d}.png", 0)
    found = looked_for("tedbench", tedbench, theirs)
    lines = list(found.lines())
    assert lines[0] == f"{theirs}: 2 of 3 edits, 1 missing, 12 extra"
    assert lines[1] == f"missing: {EDITS[2]} (sample '003-bird')"
    assert lines[2:4] == ["extra: stray-00.png", "extra: stray-01.png"]
    assert lines[-1] == "extra: and 2 more"
    assert len(list(found.lines(None))) == 1 + 1 + 12


def test_only_the_samples_that_are_asked_for_can_be_missing(tedbench: Path, theirs: Path, tmp_path: Path) -> None:
    layout = LAYOUTS["tedbench"]
    spec = spec_of_import(layout, tedbench, tmp_path / "run", overrides=["limit=1"])
    found = delivered(layout, theirs, spec, open_manifest(spec.manifest, partial=spec.partial))
    assert list(found.found) == ["001-cat"]
    assert found.whole, "the edit of another sample of the set is not extra"


@pytest.mark.slow
def test_a_partial_import_is_a_run_that_is_scored_on_what_was_delivered(
    tedbench: Path, theirs: Path, tmp_path: Path, etabench: Callable[..., tuple[int, str, str]]
) -> None:
    run, listing = tmp_path / "run", tmp_path / "all.txt"
    command = ("import", "tedbench", theirs, "--root", tedbench, "--out", run, "--set", "manifest.size=40", "--set", "limit=3")
    code, out, err = etabench(*command, "--list", listing)
    assert code == 2
    assert "2 of 3 edits, 1 missing, 0 extra" in out
    assert "--partial" in err
    assert listing.read_text().splitlines()[1] == f"missing: {EDITS[2]} (sample '003-bird')"
    assert not run.exists(), "nothing is made of what is not whole"
    code, out, err = etabench(*command, "--partial", "--label", "Imagic, Imagen")
    assert code == 0, err
    note = json.loads((run / "import.json").read_text())
    assert (note["layout"], note["edits"], list(note["missing"])) == ("tedbench", 2, ["003-bird"])
    assert etabench("score", run)[0] == 0
    scores = read_scores(Run.open(run)).pairs
    assert sorted(scores["sample_id"].unique()) == ["001-cat", "002-bird"]
    assert set(scores["editor"]) == {"Imagic, Imagen"}
    assert set(scores["metric"]) == {"psnr", "ssim"}
    code, out, _ = etabench("check", run, "--published", "tedbench")
    assert code == 2, "neither metric was printed"
    assert "the run edits 3 of 100 samples" in out
    again = etabench(*command, "--partial", "--label", "Imagic, Imagen")
    assert again[0] == 0, "the same import continues the run"


def test_a_wrong_folder_is_one_line(
    tedbench: Path, theirs: Path, tmp_path: Path, etabench: Callable[..., tuple[int, str, str]]
) -> None:
    """Of edits or of the copy: what was found, what was expected, and no list of all that is missing."""
    place, lacking = tmp_path / "run", tmp_path / "lacking.txt"
    command = ("import", "tedbench", tedbench / "originals", "--root", tedbench, "--out", place, "--list", lacking)
    code, out, err = etabench(*command, "--set", "limit=3")
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.endswith(
        "0 of 3 edits, 3 missing, 3 extra; is it the folder that holds Imagic's edits beside TEdBench: <picture>-<text>.png?"
    )
    assert len(lacking.read_text().splitlines()) == 1 + 3 + 3
    for root, said in (
        (theirs, "expected input_list.json of tedbench, found bird.png-"),
        (tedbench, "val has 100 rows, found 3"),
    ):
        code, out, err = etabench("import", "tedbench", theirs, "--root", root, "--out", place)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert said in err
    assert not place.exists()


def test_a_run_of_something_else_is_left_alone(tedbench: Path, theirs: Path, tmp_path: Path) -> None:
    found, layout = looked_for("tedbench", tedbench, theirs), LAYOUTS["tedbench"]
    run = Run.create(tmp_path / "own")
    (run.path / "plan.parquet").write_text("{}")
    with pytest.raises(RunError, match="is a run that was not imported; choose another --out"):
        stage(layout, found, run)
    other = Run.create(tmp_path / "other")
    stage(layout, found, other)
    elsewhere = Delivered(tmp_path, found.found, found.missing)
    with pytest.raises(RunError, match="holds edits of another import"):
        stage(layout, elsewhere, other)
    with pytest.raises(RunError, match=r"0 of 3 edits, 3 missing, 0 extra; is it the folder that holds Imagic's edits"):
        stage(layout, Delivered(theirs, {}, dict.fromkeys("abc", "x")), Run.create(tmp_path / "none"))


def test_what_is_no_longer_delivered_leaves_the_run(tedbench: Path, theirs: Path, tmp_path: Path) -> None:
    layout, run = LAYOUTS["tedbench"], Run.create(tmp_path / "run")
    stage(layout, looked_for("tedbench", tedbench, theirs), run)
    (theirs / EDITS[1]).unlink()
    stage(layout, looked_for("tedbench", tedbench, theirs), run)
    assert [file.name for file in (run.path / "imported").iterdir()] == ["001-cat.png"]


def test_the_edit_of_a_strip_is_its_last_512_columns(tmp_path: Path) -> None:
    mapping_of_pie(tmp_path / "copy")
    file = tmp_path / "theirs" / "0_random_140/000000000000.png"
    strip = np.concatenate([np.asarray(picture(seed, 512, 512)) for seed in range(4)], axis=1)
    file.parent.mkdir(parents=True)
    from PIL import Image

    Image.fromarray(strip).save(file)
    found, run = looked_for("pie-bench", tmp_path / "copy", tmp_path / "theirs"), Run.create(tmp_path / "run")
    stage(LAYOUTS["pie-bench"], found, run)
    with Image.open(run.path / "imported" / "000000000000.png") as staged:
        assert np.array_equal(np.asarray(staged), np.asarray(picture(3, 512, 512)))
    write_picture(file, 1, 300, 200)
    with pytest.raises(RunError, match=r"expected a square or a strip of 512x512 pictures, got 300x200"):
        stage(LAYOUTS["pie-bench"], found, run)
    write_picture(file, 5, 64, 64)
    stage(LAYOUTS["pie-bench"], found, run)
    assert (run.path / "imported" / "000000000000.png").read_bytes() == file.read_bytes(), "a square is taken as it is"


def test_a_text_cannot_lead_out_of_the_folder(tedbench: Path, theirs: Path) -> None:
    write_json(tedbench / "input_list.json", [{"img_name": "cat.png", "target_text": "x/../../../secret."}])
    with pytest.raises(RunError, match=r"row 1 \(id '001-cat'\): its edit would be looked for at .*outside the folder"):
        looked_for("tedbench", tedbench, theirs)


def test_what_cannot_be_meant_is_refused(tedbench: Path, tmp_path: Path) -> None:
    with pytest.raises(EtabenchError, match="no layout 'tedbnch'; did you mean 'tedbench'"):
        layout_of("tedbnch")
    with pytest.raises(EtabenchError, match="tedbench: give --root, the folder of your copy"):
        spec_of_import(LAYOUTS["tedbench"], None, tmp_path)
    with pytest.raises(RunError, match="no such folder; give the one that holds Imagic's edits"):
        looked_for("tedbench", tedbench, tmp_path / "none")
    with pytest.raises(SpecError, match="--set limit=none: limit: expected a whole number"):
        spec_of_import(LAYOUTS["tedbench"], tedbench, tmp_path, overrides=["limit=none"])


def test_declarations_and_metrics_are_set_as_in_any_spec(tedbench: Path, tmp_path: Path) -> None:
    overrides = ["metrics=[l1]", "editors.0.params.uses_mask=true"]
    spec = spec_of_import(LAYOUTS["tedbench"], tedbench, tmp_path / "run", label="theirs", overrides=overrides)
    assert [metric.name for metric in spec.metrics] == ["l1"]
    assert spec.editors[0].label == "theirs"
    assert spec.editors[0].params["uses_mask"] is True


def test_layouts_score_by_metrics_that_need_no_weights() -> None:
    from bench.scoring import open_metrics
    from bench.spec import load_spec

    for layout in LAYOUTS.values():
        spec = load_spec("ci").model_copy(update={"metrics": spec_of_import(layout, Path("/copy"), Path("/run")).metrics})
        assert {metric.card.weights for metric in open_metrics(spec, "cpu").values()} == {""}, layout.name


@pytest.mark.slow
def test_delivered_edits_stand_beside_the_method_of_their_label(
    tedbench: Path, theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench import api

    layout, run = LAYOUTS["tedbench"], Run.create(tmp_path / "run")
    spec = spec_of_import(layout, tedbench, run.path, label="Theirs", overrides=["metrics=[l1]", f"manifest={tedbench}"])
    write_picture(theirs / EDITS[2], 2, 40, 41)
    stage(layout, looked_for("tedbench", tedbench, theirs), run)
    api.score(api.run(spec, run.path))
    run.write_json("manifest.json", asdict(run.head) | {"name": "mine"})
    mean = float(read_scores(run).pairs["score"].mean())
    column = Column("L1", "lower", "l1", scale=10.0)
    printed = [Printed("mine", "", name, column, 10 * mean, "a paper", True) for name in ("Theirs", "Ours")]
    monkeypatch.setattr("bench.analysis.published.published", lambda benchmark: printed)
    (found,) = beside(Run.open(run.path), "mine")
    assert (found.printed.method, found.verdict, found.n) == ("Theirs", "agrees", 3)
    assert found.mean == pytest.approx(10 * mean)  # one and the same mean, summed in another order
