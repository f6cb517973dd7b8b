from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fake_specs import SpecMaker
from fixtures_manifest import picture, row, write_folder

from bench import api
from bench.errors import ManifestError, ScoreError
from bench.manifest import Manifest, open_manifest
from bench.manifest.pictures import pixel_hash
from bench.manifest.reference import NoRealPicture, RealPictures, check_reference, collect
from bench.spec import ManifestRef, ReferenceSpec
from bench.store import Run
from bench.toybox.embedded import network
from bench.toybox.reference import scenes_of_classes
from bench.workers.crew import Options

INLINE = Options(executor="inline")


@pytest.fixture
def others(tmp_path: Path) -> Callable[..., Path]:
    """A second manifest whose pictures 1..6 are of class zebra; number 0 is the first one's picture under another name."""

    def write(folder: str = "others", classes: str = "zebra") -> Path:
        target = write_folder(tmp_path / folder, [row(i, source_class=classes) for i in range(7)], pictures=7)
        (target / "0.png").replace(target / "renamed.png")
        rows = (target / "metadata.jsonl").read_text().replace('"0.png"', '"renamed.png"')
        (target / "metadata.jsonl").write_text(rows)
        return target

    return write


def picker(manifest: Manifest, path: Path | None) -> RealPictures:
    return RealPictures(ReferenceSpec(kind="manifest", manifest=str(path)) if path else None, manifest, None)


def test_the_picture_is_of_the_target_class_and_drawn_by_the_seed(manifest_folder: Path, others: Callable[..., Path]) -> None:
    manifest, there = open_manifest(manifest_folder), open_manifest(others())
    real, sample = picker(manifest, others()), manifest.load(1)
    known = [pixel_hash(other.image) for other in there]
    drawn = [pixel_hash(real.pick(sample, seed)) for seed in range(40)]
    again = picker(manifest, others())
    assert drawn[::-1] == [pixel_hash(again.pick(sample, seed)) for seed in reversed(range(40))], (
        "the seed decides, not the order"
    )
    assert set(drawn) == set(known) - {pixel_hash(sample.image)}, "forty draws meet each of six pictures, never the sample's own"


def test_a_sample_s_own_picture_is_known_by_its_file_also_in_another_form(
    manifest_folder: Path, others: Callable[..., Path]
) -> None:
    """The run squashes to 32 pixels, the reference manifest crops: the decoded pictures differ, the files do not."""
    manifest = open_manifest(ManifestRef(path=str(manifest_folder), fit="squash", size=32))
    sample = manifest.load(0)
    own, real = pixel_hash(open_manifest(others()).load(0).image), picker(manifest, others())
    assert own not in {pixel_hash(real.pick(sample, seed)) for seed in range(40)}


def test_without_a_reference_it_is_the_truth_of_another_sample(manifest_folder: Path) -> None:
    manifest = open_manifest(manifest_folder)
    real, sample = picker(manifest, None), manifest.load(0)
    assert sample.truth is not None
    drawn = {pixel_hash(real.pick(sample, seed)) for seed in range(20)}
    assert drawn == {pixel_hash(truth) for i in (1, 2) if (truth := manifest.load(i).truth) is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_class": None}, "sample sample-0 has no target_class"),
        ({"truth_file_name": None}, "the run has no reference set of real pictures; add `reference:` to the spec"),
        ({}, r"the reference set \(truths\) has no picture of class 'zebra' beside the 1 that are the sample's own"),
        ({"target_class": "yak"}, r"no picture of class 'yak' beside the 1"),
    ],
)
def test_what_is_lacking_is_named(tmp_path: Path, changes: dict[str, str | None], message: str) -> None:
    manifest = open_manifest(write_folder(tmp_path / "m", [row(0, **changes)]))
    with pytest.raises(NoRealPicture, match=message):
        picker(manifest, None).pick(manifest.load(0), 0)


def test_toybox_renders_what_is_asked_for() -> None:
    manifest = open_manifest("toybox-mini", 64)
    real = RealPictures(ReferenceSpec(kind="toybox", per_class=3, seed=5), manifest, 64)
    from bench.toybox.reference import images_of

    sample = manifest.load(0)
    assert sample.target_class is not None
    rendered = images_of([sample.target_class], 3, 5)[0]
    assert {pixel_hash(real.pick(sample, seed)) for seed in range(20)} == {pixel_hash(picture) for picture in rendered}


def test_retrieve_answers_with_a_real_picture_and_names_it_in_its_key(
    make_spec: SpecMaker, others: Callable[..., Path], tmp_path: Path
) -> None:
    reference = {"kind": "manifest", "manifest": str(others())}
    spec = make_spec(anchors=["retrieve"], reference=reference, limit=2)
    run = api.run(spec, tmp_path / "run", options=INLINE)
    records = [r for path in run.units.iterdir() if (r := run.record(path.name)) and r.identity["editor"] == "retrieve"]
    assert len(records) == 2
    for record in records:
        assert record.identity["real"] == pixel_hash(np.ascontiguousarray(run.read_edit(record, 0)))
        assert record.facts == {"transform": "none"}
    (tmp_path / "others" / "metadata.jsonl").unlink()
    others(classes="yak")
    planned = api.plan(spec)[0]
    assert [unit.missing for unit in planned.units] == [(), ("real",)] * 2
    assert not {unit.key for unit in planned.units if unit.missing} & {record.key for record in records}
    again = api.run(spec, tmp_path / "again", options=INLINE)
    assert _reasons(again) == [
        ("NoRealPicture", "the reference set (manifest) has no picture of class 'zebra'; name another `reference:`")
    ]


def _reasons(run: Run) -> list[tuple[str, str]]:
    records = [record for path in run.units.iterdir() if (record := run.record(path.name)) and record.reason]
    return sorted({(record.reason["type"], record.reason["message"]) for record in records if record.reason})


def test_no_more_pictures_than_memory_holds() -> None:
    class Of:
        id, has_truth = "a", False

        def __init__(self, target_class: str) -> None:
            self.target_class = target_class

    samples = [Of(name) for name in list(scenes_of_classes())[:11]]
    check_reference(ReferenceSpec(kind="toybox", per_class=10_000), samples[:10])
    for check in (check_reference, lambda spec, given: collect(spec, given, None)):
        with pytest.raises(ScoreError, match=r"10000 pictures of each of 11 classes are more than 100000.*lower per_class"):
            check(ReferenceSpec(kind="toybox", per_class=10_000), samples)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Two zebras, one deeper, a horse of another size, one picture without a class, and files that are no reference."""
    for place in ("zebra/1.png", "zebra/more/2.JPG", "horse/3.png", "4.webp", ".cache/5.png", "zebra/._6.png"):
        (tmp_path / "mine" / place).parent.mkdir(parents=True, exist_ok=True)
        picture(int(re.findall(r"\d", place)[0]), 48, 30).save(tmp_path / "mine" / place)
    (tmp_path / "mine" / "readme.txt").write_text("of mine")
    return tmp_path / "mine"


def test_a_folder_of_pictures_is_a_reference_by_its_subfolders(mine: Path, manifest_folder: Path) -> None:
    spec = ReferenceSpec(kind="folder", folder=str(mine))
    manifest = open_manifest(manifest_folder)
    found = collect(spec, manifest, 16)
    assert found.classes == [None, "horse", "zebra", "zebra"]
    assert {image.shape for image in found.images} == {(16, 16, 3)}
    assert (found.identity["kind"], found.identity["n"]) == ("folder", 4)
    real, sample = RealPictures(spec, manifest, 16), manifest.load(1)
    assert sample.target_class == "zebra"
    assert {pixel_hash(real.pick(sample, seed)) for seed in range(20)} == set(found.keys[2:])
    (mine / "4.webp").unlink()
    assert collect(spec, manifest, 16).identity["digest"] != found.identity["digest"]


def test_what_a_folder_lacks_is_one_line(mine: Path, make_spec: SpecMaker, tmp_path: Path) -> None:
    samples = api.plan(make_spec())[0].samples

    def refusal(folder: Path | None, by_class: bool = False) -> str:
        with pytest.raises((ScoreError, ManifestError)) as caught:
            check_reference(ReferenceSpec(kind="folder", folder=str(folder) if folder else None), samples, by_class)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    check_reference(ReferenceSpec(kind="folder", folder=str(mine)), samples, by_class=True)
    assert "none is named; give a folder of pictures" in refusal(None)
    assert f"{tmp_path / 'gone'}: no such folder" in refusal(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    assert "holds no picture; give a folder of pictures, with a subfolder for each class" in refusal(tmp_path / "empty")
    (mine / "zebra").rename(mine / "donkey")
    assert "1 of 1 classes have no picture there (first: 'zebra'); add them" in refusal(mine, by_class=True)
    check_reference(ReferenceSpec(kind="folder", folder=str(mine)), samples)
    (mine / "horse" / "3.png").write_bytes(b"no picture")
    assert "horse/3.png" in refusal(mine)


@pytest.mark.slow
def test_distances_against_a_folder_of_pictures(mine: Path, make_spec: SpecMaker, tmp_path: Path) -> None:
    """FID and CSFID on a manifest without truths, whose classes stand in a sidecar: as on TEdBench."""
    bare = write_folder(tmp_path / "bare", [row(i, truth_file_name=None, target_class=None) for i in range(3)])
    features = network("features")
    metrics = [{"name": name, "params": {"features": features}} for name in ("fid", "csfid")]
    given = {"manifest": {"path": str(bare)}, "model": None, "metrics": ["psnr", *metrics]}
    folder = {"kind": "folder", "folder": str(mine)}
    with pytest.raises(
        ScoreError, match=r"metric csfid needs a target_class of every sample; 3 have none .* or in a sidecar of yours"
    ):
        api.run(make_spec(**given, reference=folder), tmp_path / "refused", options=INLINE)
    classes = [{"sidecar": 1, "field": "target_class"}, *({"id": f"sample-{i}", "target_class": "zebra"} for i in range(3))]
    (tmp_path / "classes.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in classes))
    given["manifest"]["sidecar"] = str(tmp_path / "classes.jsonl")
    run = api.run(make_spec(**given, reference=folder), tmp_path / "run", options=INLINE)
    assert {sample.provenance["target_class"] for sample in run.plan.samples} == {"a person"}
    scores = api.score(run)
    assert scores.failed == {}
    assert set(scores.sets["metric"]) == {"fid", "csfid"}
    assert scores.sets["score"].notna().all()
