from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures_manifest import encoded, huge_png, mask, picture, row, write_folder, write_parquet, write_tedbench
from PIL import Image

import data_manifests
from bench.errors import ManifestError
from bench.manifest import open_manifest
from bench.manifest.pictures import MAX_PIXELS, PictureFile, Policy, read_mask, read_rgb
from bench.spec import ManifestRef


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETABENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "mine", [row(0), row(1), row(2)])


def refusal(ref: Any) -> str:
    with pytest.raises(ManifestError) as caught:
        open_manifest(ref)
    message = str(caught.value)
    assert "\n" not in message, "an error is one line"
    return message


def pixels(seed: int) -> np.ndarray:
    return np.asarray(picture(seed))


def test_our_folder(folder: Path) -> None:
    manifest = open_manifest(folder)
    assert (manifest.name, len(manifest), manifest.ids) == ("mine", 3, ["sample-0", "sample-1", "sample-2"])
    sample = manifest.load(1)
    assert (sample.id, sample.row, sample.target_text) == ("sample-1", 2, "a zebra on hill number 1")
    assert (sample.source_class, sample.target_class, sample.category) == ("horse", "zebra", "change object")
    assert sample.instruction == "turn the horse on hill number 1 into a zebra"
    np.testing.assert_array_equal(sample.image, pixels(1))
    np.testing.assert_array_equal(sample.truth, pixels(101))
    np.testing.assert_array_equal(sample.mask, np.asarray(mask()) == 255)
    assert sample.image.dtype == np.uint8
    assert sample.mask is not None
    assert sample.mask.dtype == bool
    assert [s.id for s in manifest] == manifest.ids
    assert open_manifest(folder / "metadata.jsonl").content_hash == manifest.content_hash


def test_our_folder_is_an_imagefolder_of_datasets(folder: Path, tmp_path: Path) -> None:
    """The same rows through the general loader: what we write, everybody reads."""
    through = open_manifest(ManifestRef(hub=str(folder), split="train"))
    direct = open_manifest(folder)
    assert through.content_hash == direct.content_hash
    assert [s.digest for s in through] == [s.digest for s in direct]


def test_only_what_is_there(tmp_path: Path) -> None:
    bare = {"file_name": "0.png", "id": "a", "target_text": "a zebra", "source_text": ""}
    sample = open_manifest(write_folder(tmp_path / "m", [bare])).load(0)
    assert [sample.source_text, sample.mask, sample.truth, sample.source_class, sample.category] == [None] * 5


def test_blank_lines_and_a_byte_order_mark_do_no_harm(folder: Path) -> None:
    file = folder / "metadata.jsonl"
    before = open_manifest(folder)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n\n"))
    after = open_manifest(folder)
    assert after.content_hash == before.content_hash
    assert after.load(1).row == 3, "rows are counted as an editor counts lines"


def test_a_shipped_manifest_is_found_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_manifests, "_ROOT", folder.parent)
    assert data_manifests.names() == ["mine"]
    assert open_manifest("mine").name == "mine"
    assert "no shipped manifest 'mien'; did you mean 'mine'" in refusal("mien")
    with pytest.raises(KeyError):
        data_manifests.path("mien")


# guard rails: our form


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (row(1, file_name="gone.png"), "file_name: no such file: gone.png"),
        (row(1, mask_file_name="gone.png"), "mask_file_name: no such file: gone.png"),
        (row(1, truth_file_name="gone.png"), "truth_file_name: no such file: gone.png"),
        (row(1, file_name=None), "file_name: missing"),
        (row(1, file_name=7), "file_name: expected the path of a picture or its bytes, got 7 (a whole number)"),
        (row(1, file_name="../secret.png"), "file_name: '../secret.png' leaves the manifest's folder"),
        (row(1, file_name="/etc/passwd"), "file_name: '/etc/passwd' leaves the manifest's folder"),
        (row(1, mask_file_name="a/../../b.png"), "mask_file_name: 'a/../../b.png' leaves the manifest's folder"),
        (row(1, file_name="0\0.png"), "file_name: not a path"),
        (row(1, file_name="."), "file_name: . cannot be read"),
        (row(1, target_text=""), "target_text: empty; say what"),
        (row(1, target_text=" \t"), "target_text: empty; say what"),
        (row(1, target_text="a \ud83d"), "target_text: half of a surrogate pair"),
        (row(1, file_name="\ud83d.png"), "file_name: not a path"),
        (row(1, file_name="x" * 5000), "file_name: "),
        (row(1, target_text=None), "target_text: missing"),
        (row(1, target_text=["a"]), "target_text: expected a string, got ['a'] (a list)"),
        (row(1, source_text=3), "source_text: expected a string, got 3 (a whole number)"),
        (row(1, category=True), "category: expected a string, got True (true or false)"),
        (row(1, target_txt="x"), "target_txt: unknown field; did you mean 'target_text'?"),
        ('{"id": "a",}', "not a JSON object in UTF-8"),
        ('["a"]', "expected a JSON object, got ['a'] (a list)"),
        ('{"id": "a", "id": "b"}', "the key 'id' is there twice"),
    ],
)
def test_a_bad_row_names_file_row_and_field(tmp_path: Path, line: Any, message: str) -> None:
    file = write_folder(tmp_path / "m", [row(0), line, row(2)]) / "metadata.jsonl"
    refused = refusal(file)
    assert refused.startswith(f"{file} line 2")
    assert message in refused


@pytest.mark.parametrize(
    ("id_", "message"),
    [
        ("sample-0", "id: duplicate of the one in line 1; ids must be unique"),
        (None, "id: expected a string, got nothing"),
        (5, "id: expected a string, got 5 (a whole number)"),
        (" ", "id: expected printable characters"),
        ("a\nb", "id: expected printable characters"),
    ],
)
def test_bad_ids(tmp_path: Path, id_: Any, message: str) -> None:
    refused = refusal(write_folder(tmp_path / "m", [row(0), row(1, id=id_)]))
    assert "metadata.jsonl line 2" in refused
    assert message in refused


def test_the_first_problem_is_told_and_the_others_counted(tmp_path: Path) -> None:
    refused = refusal(write_folder(tmp_path / "m", [row(0), row(1, target_text=""), row(2, category=1, source_text=2)]))
    assert "line 2 (id 'sample-1'): target_text" in refused
    assert "(and 2 more; `etabench lint` lists them)" in refused


def test_a_line_that_is_not_utf8(folder: Path) -> None:
    file = folder / "metadata.jsonl"
    file.write_bytes(file.read_bytes().replace(b"zebra on hill number 1", b"z\xffbra"))
    assert "line 2: not a JSON object in UTF-8" in refusal(folder)


def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    picture(9).save(secret)
    (folder / "1.png").unlink()
    (folder / "1.png").symlink_to(secret)
    assert "line 2 (id 'sample-1'): file_name: '1.png' leaves the manifest's folder through a link" in refusal(folder)


def test_a_link_within_the_folder_is_fine(folder: Path) -> None:
    (folder / "1.png").unlink()
    (folder / "1.png").symlink_to(folder / "0.png")
    np.testing.assert_array_equal(open_manifest(folder).load(1).image, pixels(0))


@pytest.mark.parametrize("name", ["1.png", "1-mask.png", "1-truth.png"])
def test_a_gigantic_picture_is_refused_by_its_header(folder: Path, name: str) -> None:
    (folder / name).write_bytes(huge_png())
    refused = refusal(folder)
    assert "metadata.jsonl line 2 (id 'sample-1')" in refused
    assert f"{name} has 20000x20000 pixels" in refused


def test_the_limit_is_on_the_area(folder: Path) -> None:
    (folder / "1.png").write_bytes(huge_png(MAX_PIXELS // 4 + 1, 4))
    assert "pixels; at most 64 million are opened" in refusal(folder)


@pytest.mark.parametrize(
    ("data", "message"), [(b"", "1.png is empty"), (b"GIF? no.", "1.png is not a picture in a format that is read")]
)
def test_not_a_picture(folder: Path, data: bytes, message: str) -> None:
    (folder / "1.png").write_bytes(data)
    refused = refusal(folder)
    assert "line 2 (id 'sample-1'): file_name" in refused
    assert message in refused


@pytest.mark.parametrize("name", ["1.png", "1-mask.png", "1-truth.png"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_a_truncated_picture_is_found_when_it_is_loaded(folder: Path, name: str, kind: str) -> None:
    data = encoded(picture(1), kind)
    (folder / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(ManifestError, match=rf"line 2 \(id 'sample-1'\): .*{name}.*(truncated|damaged)"):
        open_manifest(folder).load(1)
    if kind != "WEBP":  # a WebP file is decoded as a whole when it is opened
        assert open_manifest(folder).load(0).id == "sample-0", "the other rows are not affected"


@pytest.mark.parametrize(("name", "word"), [("1-mask.png", "mask_file_name"), ("1-truth.png", "truth_file_name")])
def test_mask_and_truth_have_the_size_of_the_picture(folder: Path, name: str, word: str) -> None:
    picture(1, 40, 41).save(folder / name)
    assert f"line 2 (id 'sample-1'): {word}: expected the size of the picture, 40x40, got 40x41" in refusal(folder)


def test_what_is_no_manifest(tmp_path: Path) -> None:
    assert refusal(str(tmp_path / "gone")) == f"{tmp_path / 'gone'}: no such manifest"
    assert "write {hub: some-org/some-set}" in refusal("some-org/some-set")
    (tmp_path / "empty").mkdir()
    assert "no manifest in this folder; expected a folder with metadata.jsonl" in refusal(tmp_path / "empty")
    (tmp_path / "a.csv").write_text("x")
    assert "a.csv: not a manifest" in refusal(tmp_path / "a.csv")
    (tmp_path / "b.jsonl").write_text("\n")
    assert "b.jsonl: empty" in refusal(tmp_path / "b.jsonl")
    assert "no manifest given" in refusal("")
    assert "no shipped manifest" in refusal("x" * 5000)
    assert "no such manifest" in refusal("x/" * 5000)


# names


@pytest.mark.parametrize(("told", "there"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_in_file_names_may_be_composed_or_not(tmp_path: Path, told: str, there: str) -> None:
    name = "Zoë à la plage.png"
    folder = tmp_path / unicodedata.normalize(there, "été")  # type: ignore[arg-type]
    target = write_folder(folder, [row(0), row(1, file_name=unicodedata.normalize(told, name))])  # type: ignore[arg-type]
    before = open_manifest(write_folder(tmp_path / "m", [row(0), row(1)]))
    (target / "1.png").rename(target / unicodedata.normalize(there, name))  # type: ignore[arg-type]
    manifest = open_manifest(tmp_path / unicodedata.normalize(told, "été"))  # type: ignore[arg-type]
    np.testing.assert_array_equal(manifest.load(1).image, pixels(1))
    assert manifest.content_hash == before.content_hash, "a manifest is what it holds, not what its files are called"


def test_backslashes_in_file_names_are_separators(tmp_path: Path) -> None:
    target = write_folder(tmp_path / "m", [row(0, file_name="a\\b\\0.png"), row(1)])
    (target / "a" / "b").mkdir(parents=True)
    (target / "0.png").rename(target / "a" / "b" / "0.png")
    np.testing.assert_array_equal(open_manifest(target).load(0).image, pixels(0))
    np.testing.assert_array_equal(open_manifest(f"{tmp_path}\\m").load(1).image, pixels(1))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("..\\secret.png", "leaves the manifest's folder"),
        ("a\\..\\..\\b.png", "leaves the manifest's folder"),
        ("C:\\photos\\1.png", "is a path of Windows that names a drive; give one relative"),
        ("a\\gone.png", "no such file: a\\gone.png"),
    ],
)
def test_backslashes_do_not_lead_out_of_the_folder(tmp_path: Path, name: str, message: str) -> None:
    assert message in refusal(write_folder(tmp_path / "m", [row(0), row(1, file_name=name)]))


def test_a_locale_without_the_letters(tmp_path: Path) -> None:
    """`etabench lint` of Cyrillic names under LC_ALL=C: the pictures are found, and what is printed is escaped."""
    target = write_folder(tmp_path / "папка", [row(0), row(1, id="кот", file_name="кот.png"), row(2, file_name="нет.png")])
    (target / "1.png").rename(target / "кот.png")
    env = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0"}
    env.pop("PYTHONIOENCODING", None)
    command = [sys.executable, "-m", "bench.cli", "lint", str(target)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])
    assert (done.returncode, done.stderr) == (2, "")
    first, last = done.stdout.splitlines()
    assert first.startswith(r"error   row 3: id 'sample-2': file_name: no such file: \u043d\u0435\u0442.png")
    assert last.endswith("1 errors, 0 other findings")


# identity


def test_digests_follow_what_determines_an_edit(folder: Path, tmp_path: Path) -> None:
    def change(**changes: Any) -> tuple[str, str]:
        other = write_folder(tmp_path / "other", [row(0, **changes), row(1), row(2)])
        manifest = open_manifest(other)
        return manifest.digest(0), manifest.content_hash

    base = open_manifest(folder)
    assert change() == (base.digest(0), base.content_hash), "the folder's name and place do not matter"
    changed = {
        "id": "x",
        "target_text": "x",
        "source_text": "x",
        "instruction": "x",
        "file_name": "1.png",
        "mask_file_name": "2.png",
        "truth_file_name": "2.png",
    }
    for key, value in changed.items():
        digest, content_hash = change(**{key: value})
        assert digest != base.digest(0), key
        assert content_hash != base.content_hash, key
    for key in ("source_class", "target_class", "category"):
        digest, content_hash = change(**{key: "x"})
        assert digest == base.digest(0), f"{key} has no influence on an edit"
        assert content_hash != base.content_hash, f"{key} has influence on tables"


def test_a_loaded_sample_carries_the_digest(folder: Path) -> None:
    manifest = open_manifest(folder)
    assert [sample.digest for sample in manifest] == [manifest.digest(i) for i in range(3)]
    assert len({manifest.digest(i) for i in range(3)}) == 3
    assert len(manifest.digest(0)) == len(manifest.content_hash) == 64


def test_the_order_of_rows_is_part_of_the_content_hash_only(tmp_path: Path) -> None:
    forward = open_manifest(write_folder(tmp_path / "a", [row(0), row(1)]))
    backward = open_manifest(write_folder(tmp_path / "b", [row(1), row(0)]))
    assert forward.digest(0) == backward.digest(1)
    assert forward.content_hash != backward.content_hash


def test_the_model_s_size_changes_digests_but_not_the_content_hash(folder: Path) -> None:
    small, large = open_manifest(folder, 16), open_manifest(folder, 32)
    assert small.digest(0) != large.digest(0)
    assert small.content_hash == large.content_hash
    squashed = open_manifest(ManifestRef(path=str(folder), fit="squash"), 16)
    assert squashed.content_hash != small.content_hash


def test_source_id_is_of_the_pixels(tmp_path: Path) -> None:
    rows = [row(0), row(1, file_name="twin.bmp"), row(2)]
    target = write_folder(tmp_path / "m", rows)
    picture(0).save(target / "twin.bmp")
    first, twin, other = (sample.source_id for sample in open_manifest(target, 16))
    assert first == twin, "another file format, the same picture"
    assert first != other
    assert len(first) == 16
    assert first == open_manifest(target, 32).load(0).source_id, "taken before resizing"


def test_index(folder: Path) -> None:
    manifest = open_manifest(folder)
    assert manifest.index("sample-2") == 2
    with pytest.raises(ManifestError, match="no sample 'sample-9'; did you mean 'sample-"):
        manifest.index("sample-9")


# policy


def framed(width: int, height: int) -> np.ndarray:
    """Red left of the middle square, blue right of it, green within; or above and below for a tall picture."""
    image = np.zeros((height, width, 3), dtype=np.uint8)
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    image[:top] = image[:, :left] = (255, 0, 0)
    image[top + side :] = image[:, left + side :] = (0, 0, 255)
    image[top : top + side, left : left + side] = (0, 255, 0)
    return image


@pytest.mark.parametrize(("width", "height"), [(60, 20), (20, 60)])
def test_center_crop_shows_the_middle(width: int, height: int) -> None:
    cropped = Policy(10, "center-crop").picture(framed(width, height))
    assert cropped.shape == (10, 10, 3)
    assert (cropped == (0, 255, 0)).all()


def test_squash_shows_everything() -> None:
    squashed = Policy(12, "squash").picture(framed(60, 20))
    assert squashed.shape == (12, 12, 3)
    assert tuple(squashed[5, 0]) == (255, 0, 0)
    assert np.abs(squashed[5, 6].astype(int) - (0, 255, 0)).max() <= 3  # Lanczos rings a little beyond an edge
    assert tuple(squashed[5, 11]) == (0, 0, 255)


def test_pad_adds_white_and_keeps_the_mask_out_of_it() -> None:
    policy = Policy(12, "pad")
    padded = policy.picture(framed(60, 20))
    assert (padded[:4] == 255).all()
    assert (padded[8:] == 255).all()
    assert not (padded[4:8] == 255).all(axis=2).any()
    padded_mask = policy.mask(np.ones((20, 60), dtype=bool))
    assert padded_mask[4:8].all()
    assert padded_mask.sum() == 4 * 12


@pytest.mark.parametrize("fit", ["center-crop", "squash", "pad"])
@pytest.mark.parametrize(("width", "height"), [(90, 60), (61, 97), (7, 300)])
def test_masks_move_with_the_picture(fit: str, width: int, height: int) -> None:
    """A picture that is white where the mask is True stays so, but for the blend along the edge that Lanczos makes."""
    truth = np.zeros((height, width), dtype=bool)
    truth[height // 4 : height // 2, width // 3 : (2 * width) // 3 + 1] = True
    policy = Policy(48, fit)
    shown = policy.picture(np.repeat(truth[..., None], 3, axis=2).astype(np.uint8) * 255)[..., 0]
    where = policy.mask(truth)
    inside = policy.picture(np.zeros((height, width, 3), dtype=np.uint8))[..., 0] == 0  # not padding
    assert where.dtype == bool
    clear = inside & ((shown < 30) | (shown > 225))
    assert clear.sum() > 0.5 * inside.sum()
    assert ((shown > 127) == where)[clear].all()


def test_no_size_and_the_right_size_leave_pixels_alone(folder: Path) -> None:
    for size in (None, 40):
        np.testing.assert_array_equal(open_manifest(folder, size).load(0).image, pixels(0))
    assert open_manifest(folder, 16).load(0).image.shape == (16, 16, 3)
    own = open_manifest(ManifestRef(path=str(folder), size=24), 16)
    assert own.load(0).image.shape == (24, 24, 3), "a size in the reference wins over the model's"
    sample = own.load(0)
    assert sample.mask is not None
    assert sample.truth is not None
    assert sample.mask.shape == sample.truth.shape[:2] == (24, 24)


def test_the_policy_is_recorded(folder: Path) -> None:
    policy = open_manifest(ManifestRef(path=str(folder), fit="pad", alpha="drop", strip_brackets=True), 16).policy
    assert json.loads(json.dumps(policy)) == policy
    expected = {"size": 16, "fit": "pad", "alpha": "drop", "strip_brackets": True, "filter": "lanczos"}
    assert policy.items() >= expected.items()
    assert policy["mask_filter"] == "any pixel where reduced, nearest where enlarged"
    assert policy["mask_channel"] == "alpha where it varies, or brightness"
    assert [policy[name] for name in ("masks", "masks_in_alpha", "masks_reduced")] == [3, 0, 3]


def stored(image: Image.Image, kind: str = "PNG", **options: Any) -> PictureFile:
    data = encoded(image, kind, **options)
    return PictureFile("x", fetch=lambda: data)


def test_transparency_over_white_or_dropped() -> None:
    clear = Image.new("RGBA", (8, 8), (10, 20, 30, 0))
    assert (read_rgb(stored(clear), "white") == 255).all()
    assert (read_rgb(stored(clear), "drop") == (10, 20, 30)).all()
    grey = Image.new("LA", (8, 8), (10, 0))
    assert (read_rgb(stored(grey), "white") == 255).all()
    assert (read_rgb(stored(grey), "drop") == 10).all()


def test_a_palette_with_a_transparent_colour() -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    file = stored(image, transparency=1)
    assert (read_rgb(file, "white") == 255).all()
    assert (read_rgb(file, "drop") == (10, 20, 30)).all()


def test_sixteen_bit_grey_keeps_its_brightness() -> None:
    array = np.full((8, 8), 0x8042, dtype=np.uint16)
    assert (read_rgb(stored(Image.fromarray(array))) == 0x80).all()


def test_cmyk_becomes_rgb() -> None:
    red = read_rgb(stored(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100))
    assert np.abs(red.astype(int) - (255, 0, 0)).max() <= 3  # JPEG's rounding


def test_exif_orientation_is_applied_to_picture_and_mask(tmp_path: Path) -> None:
    target = write_folder(tmp_path / "m", [row(0)])
    turned = picture(5, 40, 20)
    exif = Image.Exif()
    exif[274] = 6  # the camera was held upright: turn clockwise
    turned.save(target / "0.png", exif=exif)
    turned.transpose(Image.Transpose.ROTATE_270).save(target / "0-truth.png")
    upright = np.zeros((40, 20), dtype=np.uint8)
    upright[:10] = 255
    Image.fromarray(upright).save(target / "0-mask.png")
    sample = open_manifest(target).load(0)
    assert sample.image.shape == (40, 20, 3)
    assert sample.truth is not None
    np.testing.assert_array_equal(sample.image, sample.truth)


def test_masks_in_other_modes() -> None:
    for image in (mask(), mask().convert("1"), mask().convert("RGB"), mask().convert("P")):
        np.testing.assert_array_equal(read_mask(stored(image)), np.asarray(mask()) == 255)
    assert not read_mask(stored(Image.new("L", (4, 4), 127))).any()
    assert read_mask(stored(Image.new("L", (4, 4), 128))).all()


def test_brackets_are_kept_unless_the_policy_strips_them(tmp_path: Path) -> None:
    target = write_folder(tmp_path / "m", [row(0, target_text="a [zebra] here", source_text="a [horse] here")])
    kept = open_manifest(target).load(0)
    assert (kept.target_text, kept.source_text) == ("a [zebra] here", "a [horse] here")
    stripped = open_manifest(ManifestRef(path=str(target), strip_brackets=True)).load(0)
    assert (stripped.target_text, stripped.source_text) == ("a zebra here", "a horse here")
    assert stripped.raw_target_text == "a [zebra] here"
    assert stripped.digest != kept.digest


def test_text_of_brackets_alone_is_empty(tmp_path: Path) -> None:
    target = write_folder(tmp_path / "m", [row(0, target_text="[]")])
    assert "target_text: empty" in refusal(ManifestRef(path=str(target), strip_brackets=True))


# other layouts


def our_parquet(tmp_path: Path, **changes: Any) -> Path:
    rows = []
    for i in range(2):
        cells = {
            "id": f"p{i}",
            "target_text": f"text {i}",
            "image": encoded(picture(i)),
            "mask": encoded(mask()),
            "truth": encoded(picture(100 + i)),
        }
        rows.append(cells | (changes if i == 1 else {}))
    return write_parquet(tmp_path / "mine.parquet", rows, ("image", "mask", "truth"))


def test_our_parquet(tmp_path: Path) -> None:
    manifest = open_manifest(our_parquet(tmp_path))
    assert (manifest.name, manifest.ids) == ("mine", ["p0", "p1"])
    sample = manifest.load(1)
    assert (sample.row, sample.target_text) == (2, "text 1")
    np.testing.assert_array_equal(sample.image, pixels(1))
    np.testing.assert_array_equal(sample.truth, pixels(101))


def test_parquet_and_folder_with_the_same_content_have_the_same_digests(tmp_path: Path) -> None:
    plain = {"source_text": None, "instruction": None, "source_class": None, "target_class": None, "category": None}
    lines = [row(i, id=f"p{i}", target_text=f"text {i}", **plain) for i in range(2)]
    direct = open_manifest(write_folder(tmp_path / "m", lines))
    assert direct.content_hash == open_manifest(our_parquet(tmp_path)).content_hash


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_text": ""}, "row 2 (id 'p1'): target_text: empty"),
        ({"id": "p0"}, "row 2 (id 'p0'): id: duplicate of the one in row 1"),
        ({"image": huge_png()}, "row 2 (id 'p1'): image: image has 20000x20000 pixels"),
        ({"image": None}, "row 2 (id 'p1'): image: missing"),
        ({"image": "../x.png"}, "row 2 (id 'p1'): image: '../x.png' leaves the manifest's folder"),
        ({"mask": encoded(mask(30, 40))}, "row 2 (id 'p1'): mask: expected the size of the picture, 40x40, got 30x40"),
        ({"truth": b"no picture"}, "row 2 (id 'p1'): truth: truth is not a picture"),
    ],
)
def test_bad_rows_of_a_parquet(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    refused = refusal(our_parquet(tmp_path, **changes))
    assert refused.startswith(f"{tmp_path / 'mine.parquet'} row 2")
    assert message in refused


def test_a_parquet_is_read_anew_when_it_changes(tmp_path: Path) -> None:
    assert open_manifest(our_parquet(tmp_path)).load(1).target_text == "text 1"
    assert open_manifest(our_parquet(tmp_path, target_text="new")).load(1).target_text == "new"


def test_pictures_beside_a_parquet(tmp_path: Path) -> None:
    picture(7).save(tmp_path / "beside.png")
    sample = open_manifest(our_parquet(tmp_path, image="beside.png")).load(1)
    np.testing.assert_array_equal(sample.image, pixels(7))


def test_a_damaged_parquet(tmp_path: Path) -> None:
    file = tmp_path / "bad.parquet"
    file.write_bytes(b"PAR1 and nothing more")
    assert refusal(file).startswith(f"{file}: the dataset cannot be loaded")


def test_unknown_columns_ask_for_a_mapping(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "x.parquet", [{"src_img": encoded(picture(0)), "prompt": "a"}], ("src_img",))
    assert "columns src_img, prompt are not those of a manifest; map them" in refusal(file)
    mapped = ManifestRef(path=str(file), columns={"image": "src_img", "target_text": "prompt"})
    assert open_manifest(mapped).ids == ["001"], "row numbers stand in for ids that are not mapped"
    wrong = ManifestRef(path=str(file), columns={"image": "src_img", "target_text": "promt"})
    assert "no column 'promt' for target_text; did you mean 'prompt'" in refusal(wrong)


def test_numbers_and_class_labels_become_text_in_mapped_columns(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features(
        {
            "pic": datasets.Image(),
            "text": datasets.Value("string"),
            "n": datasets.Value("int64"),
            "kind": datasets.ClassLabel(names=["add", "remove"]),
        }
    )
    cells = [{"pic": {"bytes": encoded(picture(0)), "path": None}, "text": "a", "n": 17, "kind": 1}]
    datasets.disable_progress_bars()
    datasets.Dataset.from_list(cells, features=features).to_parquet(str(tmp_path / "x.parquet"))
    columns = {"image": "pic", "target_text": "text", "id": "n", "category": "kind", "target_class": "n"}
    sample = open_manifest(ManifestRef(path=str(tmp_path / "x.parquet"), columns=columns)).load(0)
    assert (sample.id, sample.category, sample.target_class) == ("17", "remove", "17")


@pytest.mark.parametrize("column", ["editing_instruction", "instruction"])
def test_instructions_come_in_by_the_names_that_benchmarks_give_them(tmp_path: Path, column: str) -> None:
    lines = [{"src": "0.png", "prompt": "a [cat]", column: "make it a [cat]"}, {"src": "1.png", "prompt": "b", column: None}]
    columns = {"image": "src", "target_text": "prompt", "instruction": column}
    target = write_folder(tmp_path / "m", lines)
    one, other = open_manifest(ManifestRef(path=str(target), columns=columns, strip_brackets=True))
    assert (one.target_text, one.instruction, other.instruction) == ("a cat", "make it a cat", None)


def test_a_manifest_without_instructions_keeps_its_identity() -> None:
    """Hashes of a shipped manifest as they were before rows could hold instructions: runs and baselines name it."""
    assert open_manifest("toybox-mini", 64).content_hash.startswith("528c1d5a88ff8c8e")


def test_a_mapping_on_jsonl_uses_only_what_is_mapped(tmp_path: Path) -> None:
    lines = [{"src": "0.png", "prompt": "a", "mask_file_name": "RLE 1 2 3", "extra": 1}]
    target = write_folder(tmp_path / "m", lines)
    sample = open_manifest(ManifestRef(path=str(target), columns={"image": "src", "target_text": "prompt"})).load(0)
    assert (sample.id, sample.target_text, sample.mask) == ("001", "a", None)
    wrong = ManifestRef(path=str(target), columns={"image": "src", "target_text": "prompt", "mask": "msk"})
    assert "no line has a value in 'msk', which the column mapping names for mask" in refusal(wrong)


def test_tedbench_as_its_authors_publish_it(tmp_path: Path) -> None:
    target = write_tedbench(tmp_path / "tedbench")
    manifest = open_manifest(target, 16)
    assert manifest.name == "tedbench"
    assert manifest.ids == ["001-cat", "002-bird", "003-bird"]
    cat, jpeg, twin = manifest
    assert (cat.image == 255).all(), "a fully transparent picture lies over white"
    assert jpeg.source_id == twin.source_id, "one picture under two names is one cluster"
    assert jpeg.digest != twin.digest
    assert jpeg.target_text == "A bird with spread wings."
    assert open_manifest(target / "input_list.json", 16).content_hash == manifest.content_hash


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("{", "input_list.json: not JSON in UTF-8"),
        ("{}", "input_list.json: expected a list of {img_name, target_text}, got {} (a mapping)"),
        ("[]", "input_list.json: empty"),
        ('[{"img_name": "cat.png", "target_text": "a"}, 3]', "input_list.json entry 2: expected {img_name, target_text}, got 3"),
        ('[{"img_name": "cat.png"}]', "input_list.json entry 1 (id '001-cat'): target_text: missing"),
        ('[{"img_name": "../cat.png", "target_text": "a"}]', "img_name: '../cat.png' leaves the manifest's folder"),
        ('[{"img_name": "gone.png", "target_text": "a"}]', "img_name: no such file: gone.png"),
    ],
)
def test_bad_tedbench_lists(tmp_path: Path, entries: str, message: str) -> None:
    target = write_tedbench(tmp_path / "tedbench")
    (target / "input_list.json").write_text(entries)
    assert message in refusal(target)


@pytest.fixture
def tedbench_hub(tmp_path: Path) -> Path:
    """The layout of the hub dataset, in a folder that ``datasets`` takes for one."""
    rows = [
        {"original_image": encoded(picture(i)), "caption": f"c{i}", "edited_image": encoded(picture(50 + i))} for i in range(2)
    ]
    write_parquet(tmp_path / "hub" / "data" / "val-00000-of-00001.parquet", rows, ("original_image", "edited_image"))
    return tmp_path / "hub"


@pytest.mark.parametrize("form", ["hub", "hub-mapped", "parquet", "folder"])
def test_tedbench_of_the_hub_has_no_truth(tedbench_hub: Path, form: str) -> None:
    refs: dict[str, ManifestRef] = {
        "hub": ManifestRef(hub=str(tedbench_hub)),
        "hub-mapped": ManifestRef(
            hub=str(tedbench_hub), split="val", columns={"image": "original_image", "target_text": "caption"}
        ),
        "parquet": ManifestRef(path=str(next(tedbench_hub.rglob("*.parquet")))),
        "folder": ManifestRef(path=str(tedbench_hub)),
    }
    samples = list(open_manifest(refs[form]))
    assert [sample.target_text for sample in samples] == ["c0", "c1"]
    assert [sample.truth for sample in samples] == [None, None]
    np.testing.assert_array_equal(samples[1].image, pixels(1))


def test_imagic_s_output_cannot_be_mapped_to_truth(tedbench_hub: Path) -> None:
    columns = {"image": "original_image", "target_text": "caption", "truth": "edited_image"}
    assert "edited_image is the output of Imagic, not a ground truth" in refusal(
        ManifestRef(hub=str(tedbench_hub), columns=columns)
    )


def test_splits_of_a_hub_dataset(tedbench_hub: Path) -> None:
    assert 'Unknown split "test"' in refusal(ManifestRef(hub=str(tedbench_hub), split="test"))
    data = tedbench_hub / "data"
    shutil.copy(data / "val-00000-of-00001.parquet", data / "test-00000-of-00001.parquet")
    refused = refusal(ManifestRef(hub=str(tedbench_hub)))
    assert "the dataset has the splits" in refused
    assert "say which one with split" in refused


def test_a_hub_folder_that_is_missing() -> None:
    assert "./nowhere: no such dataset folder" in refusal(ManifestRef(hub="./nowhere"))


def test_a_remote_hub_dataset_is_asked_for_by_id_revision_and_split(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: list[Any] = []

    def load_dataset(*args: Any, **kwargs: Any) -> Any:
        asked.append((args, kwargs))
        cells = [{"original_image": {"bytes": encoded(picture(0)), "path": None}, "caption": "c"}]
        features = datasets.Features({"original_image": datasets.Image(), "caption": datasets.Value("string")})
        return datasets.Dataset.from_list(cells, features=features)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    columns = {"image": "original_image", "target_text": "caption"}
    manifest = open_manifest(ManifestRef(hub="org/set", revision="abc", split="val", subset="s", columns=columns))
    assert asked == [(("org/set", "s"), {"cache_dir": None, "revision": "abc", "split": "val"})]
    assert manifest.name == "org/set"
    assert manifest.load(0).target_text == "c"


def test_an_unreachable_hub_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def load_dataset(*args: Any, **kwargs: Any) -> Any:
        raise ConnectionError("Couldn't reach\n'org/set' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert refusal(ManifestRef(hub="org/set")) == "org/set: the dataset cannot be loaded: Couldn't reach 'org/set' on the Hub"


def test_progress_bars_are_left_as_they_were(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import datasets

    file = our_parquet(tmp_path)
    datasets.enable_progress_bars()
    capfd.readouterr()
    open_manifest(file)
    assert not datasets.are_progress_bars_disabled()
    assert capfd.readouterr().err == ""


def test_the_header_of_a_png_does_not_decode_it(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Opening a manifest of large pictures stays quick."""
    from PIL import ImageFile

    def load(self: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert len(open_manifest(folder)) == 3


def test_pillow_s_own_limit_is_left_alone(folder: Path) -> None:
    before = Image.MAX_IMAGE_PIXELS
    open_manifest(folder).load(0)
    assert before == Image.MAX_IMAGE_PIXELS
    assert Image.open(io.BytesIO(encoded(picture(0)))).size == (40, 40)
