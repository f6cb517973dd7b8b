"""How masks are read and reduced, what of it is in digests, and what lint says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures_manifest import encoded, mask, picture, row, write_folder
from numpy.typing import NDArray
from PIL import Image

from bench.manifest import open_manifest
from bench.manifest.lint import Finding, lint
from bench.manifest.pictures import PictureFile, Policy, mask_levels, read_mask
from bench.manifest.rows import sha256_of
from bench.spec import ManifestRef

REGION = np.asarray(mask()) == 255  # the left half of 40 x 40
AS_EVER = {
    "fit": "center-crop",
    "filter": "lanczos",
    "mask_filter": "nearest",
    "mask_threshold": 128,
    "pad_colour": "white",
    "alpha": "white",
    "exif_orientation": "applied",
    "colour_profile": "ignored",
    "strip_brackets": False,
}
"""The policy as it stands in every digest since there are digests, but for the size: what is written here must not change."""


def stored(image: Image.Image, kind: str = "PNG", **options: Any) -> PictureFile:
    data = encoded(image, kind, **options)
    return PictureFile("m.png", fetch=lambda: data)


def hole(region: NDArray[np.bool_], colours: Image.Image | None = None) -> Image.Image:
    """The form of MagicBrush: the picture, transparent where the edit may happen."""
    image = (colours or picture(3, region.shape[1], region.shape[0])).convert("RGBA")
    image.putalpha(Image.fromarray(np.where(region, 0, 255).astype(np.uint8)))
    return image


# reading


def test_a_mask_in_the_alpha_channel_is_transparent_where_the_edit_may_happen() -> None:
    small = np.zeros((40, 40), dtype=bool)
    small[10:30, 10:30] = True
    assert small.mean() == 0.25
    for colours in (None, Image.new("RGB", (40, 40), "white"), Image.new("RGB", (40, 40), "black")):
        np.testing.assert_array_equal(read_mask(stored(hole(small, colours))), small)
    assert mask_levels(stored(hole(small)))[1] == "alpha"


def test_every_form_of_transparency_is_one() -> None:
    grey = Image.new("LA", (40, 40), (255, 255))
    grey.putalpha(Image.fromarray(np.where(REGION, 0, 255).astype(np.uint8)))
    np.testing.assert_array_equal(read_mask(stored(grey)), REGION)
    palette = Image.fromarray(REGION.astype(np.uint8))
    palette.putpalette([255, 255, 255, 0, 0, 0])
    np.testing.assert_array_equal(read_mask(stored(palette, transparency=1)), REGION)
    np.testing.assert_array_equal(read_mask(stored(hole(REGION), "WEBP", lossless=True)), REGION)


def test_alpha_is_cut_at_the_same_threshold() -> None:
    levels = Image.new("RGBA", (2, 1))
    levels.putdata([(0, 0, 0, 127), (0, 0, 0, 128)])
    assert read_mask(stored(levels)).tolist() == [[True, False]]


@pytest.mark.parametrize("alpha", [0, 255])
def test_an_alpha_channel_that_says_nothing_leaves_brightness(alpha: int) -> None:
    same = mask().convert("RGBA")
    same.putalpha(alpha)
    levels, channel = mask_levels(stored(same))
    assert channel == "brightness"
    np.testing.assert_array_equal(levels == 255, REGION)


# reducing


def slow(region: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """Squash pixel by pixel, both sides reduced."""
    height, width = region.shape
    cells = np.zeros((size, size), dtype=bool)
    for y, x in zip(*region.nonzero(), strict=True):
        cells[(2 * y + 1) * size // (2 * height), (2 * x + 1) * size // (2 * width)] = True
    return cells


@pytest.mark.parametrize(("height", "width", "size"), [(97, 61, 48), (64, 128, 64), (33, 49, 32), (50, 50, 7), (9, 300, 9)])
def test_any_pixel_sets_its_cell_and_no_other(height: int, width: int, size: int) -> None:
    region = np.random.default_rng(height).random((height, width)) < 0.05
    np.testing.assert_array_equal(Policy(size, "squash").mask(region), slow(region, size))


@pytest.mark.parametrize("fit", ["center-crop", "squash", "pad"])
def test_a_thin_line_survives_wherever_it_lies(fit: str) -> None:
    """Three pixels of 400 at 64 are half a cell: by the nearest pixel half of these lines were lost."""
    for top in range(190, 210):
        line = np.zeros((400, 600), dtype=bool)
        line[top : top + 3] = True
        rows = Policy(64, fit).mask(line).any(axis=1).sum()  # type: ignore[arg-type]
        assert 1 <= rows <= 2


def test_where_a_mask_is_enlarged_the_nearest_pixel_decides() -> None:
    region = np.random.default_rng(0).random((20, 31)) < 0.5
    nearest = Image.fromarray(region.astype(np.uint8)).resize((64, 64), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(Policy(64, "squash").mask(region), np.asarray(nearest) == 1)
    assert not Policy(64, "squash").reduces(31, 20)


@pytest.mark.parametrize(
    ("fit", "width", "height", "expected"),
    [
        ("center-crop", 300, 64, False),
        ("center-crop", 300, 65, True),
        ("squash", 65, 20, True),
        ("squash", 64, 20, False),
        ("pad", 65, 20, True),
        ("pad", 64, 20, False),
    ],
)
def test_whether_a_mask_is_reduced_depends_on_what_is_seen_of_it(fit: str, width: int, height: int, expected: bool) -> None:
    assert Policy(64, fit).reduces(width, height) is expected
    assert not Policy(None, fit).reduces(width, height)


# identity


def test_what_is_not_reduced_and_not_in_alpha_keeps_its_digest(tmp_path: Path) -> None:
    """Runs made before masks were reduced by any pixel, or read from alpha, go on where nothing has changed for them."""
    folder = write_folder(tmp_path / "m", [row(0), row(1, mask_file_name=None)])
    for size in (None, 16, 40, 64):
        manifest = open_manifest(folder, size)
        for i, entry in enumerate(manifest.rows):
            reduced = size == 16 and entry.mask is not None
            policy = AS_EVER | {"size": size} | ({"mask_filter": "any"} if reduced else {})
            assert manifest.digest(i) == sha256_of({"policy": policy, **entry.content()}), (size, entry.id)
        assert "mask_channel" not in manifest.rows[0].content()


def test_the_shipped_manifest_is_what_it_was() -> None:
    manifest = open_manifest("toybox-mini", 64)
    policy = AS_EVER | {"size": 64}
    assert all(manifest.digest(i) == sha256_of({"policy": policy, **entry.content()}) for i, entry in enumerate(manifest.rows))
    assert manifest.policy["masks_reduced"] == manifest.policy["masks_in_alpha"] == 0 < manifest.policy["masks"]


def test_a_mask_in_alpha_is_told_in_digest_hash_and_record(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", [row(0), row(1)])
    hole(REGION).save(folder / "0-mask.png")
    opaque = mask().convert("RGBA")
    opaque.save(folder / "1-mask.png")
    manifest = open_manifest(folder)
    assert [entry.content().get("mask_channel") for entry in manifest.rows] == ["alpha", None]
    assert manifest.policy["masks_in_alpha"] == 1
    for sample in manifest:
        np.testing.assert_array_equal(sample.mask, REGION)


# lint


def of_mask(tmp_path: Path, image: Image.Image, kind: str = "PNG", **ref: Any) -> list[tuple[str, str]]:
    """What lint says of a mask, the picture and the truth of its size; the truth is changed where the mask is."""
    folder = write_folder(tmp_path / "m", [row(0), row(1)])
    (folder / "0-mask.png").write_bytes(encoded(image, kind))
    picture(0, *image.size).save(folder / "0.png")
    (folder / "0-truth.png").write_bytes((folder / "0.png").read_bytes())
    findings = lint(ManifestRef(path=str(folder), **ref))
    return [(f.severity, f.message) for f in findings if f.row == 1 and f.field == "mask" and "by its content" not in f.message]


def only(findings: list[tuple[str, str]]) -> tuple[str, str]:
    assert len(findings) == 1, findings
    return findings[0]


def test_lint_is_silent_about_a_plain_mask(tmp_path: Path) -> None:
    assert of_mask(tmp_path, mask(), size=64) == []


def test_lint_says_that_a_mask_is_read_from_alpha(tmp_path: Path) -> None:
    severity, message = only(of_mask(tmp_path, hole(REGION)))
    assert (severity, "read from its alpha channel" in message) == ("info", True)


def test_lint_doubts_white_strokes_on_a_transparent_canvas(tmp_path: Path) -> None:
    strokes = hole(~REGION, Image.new("RGB", (40, 40), "white"))
    first, second = of_mask(tmp_path, strokes)
    assert "read from its alpha channel" in first[1]
    assert second[0] == "warning"
    assert "all that is opaque is white" in second[1]


def test_lint_says_that_an_alpha_channel_is_not_used(tmp_path: Path) -> None:
    severity, message = only(of_mask(tmp_path, mask().convert("RGBA")))
    assert (severity, "the same everywhere; its brightness is read" in message) == ("info", True)


def test_lint_finds_soft_edges(tmp_path: Path) -> None:
    ramp = Image.fromarray(np.repeat(np.linspace(0, 255, 40).astype(np.uint8)[None], 40, axis=0))
    severity, message = only(of_mask(tmp_path, ramp))
    assert severity == "warning"
    assert "soft, 50.0% of the pixels are clearly neither; 95.0% are neither 0 nor 255" in message
    alpha = hole(REGION)
    alpha.putalpha(ramp)
    assert any(severity == "warning" and "soft" in message for severity, message in of_mask(tmp_path, alpha))


def test_lint_mentions_the_traces_of_jpeg(tmp_path: Path) -> None:
    rough = Image.fromarray(np.where(REGION, 250, 3).astype(np.uint8))
    severity, message = only(of_mask(tmp_path, rough))
    assert (severity, "100.0% are neither 0 nor 255" in message, "soft" in message) == ("info", True, False)


@pytest.mark.parametrize("highest", [1, 127])
def test_lint_says_that_a_label_map_is_no_mask(tmp_path: Path, highest: int) -> None:
    severity, message = only(of_mask(tmp_path, Image.fromarray((REGION * highest).astype(np.uint8))))
    assert severity == "warning"
    assert f"no value above {highest}, and the edit may happen from 128 on: nothing may be edited" in message


def strip(slot: slice, width: int = 120, height: int = 40) -> Image.Image:
    region = np.zeros((height, width), dtype=np.uint8)
    region[:, slot] = 255
    return Image.fromarray(region)


@pytest.mark.parametrize(
    ("slot", "message"),
    [
        (slice(0, 30), "cut to a square, nothing of it is left"),
        (slice(30, 90), "cut to a square, no background is left"),
        (slice(0, 60), "cut to a square, it loses 67% of its region"),
    ],
)
def test_lint_finds_what_a_crop_does_to_a_mask(tmp_path: Path, slot: slice, message: str) -> None:
    severity, said = only(of_mask(tmp_path, strip(slot)))
    assert severity == "warning"
    assert message in said
    assert "use fit: pad or squash" in said
    assert of_mask(tmp_path, strip(slot), fit="pad") == []


@pytest.mark.parametrize("fit", ["center-crop", "squash", "pad"])
def test_lint_finds_what_a_reduction_does_to_a_mask(tmp_path: Path, fit: str) -> None:
    line = np.zeros((400, 600), dtype=np.uint8)
    line[200:203] = 255
    severity, message = only(of_mask(tmp_path, Image.fromarray(line), fit=fit, size=64))
    assert severity == "info"
    assert "thin, 0.75% of the picture and " in message
    severity, message = only(of_mask(tmp_path, Image.fromarray(255 - line), fit=fit, size=8))
    assert (severity, "at 8 pixels no background is left; use a larger size" in message) == ("warning", True)


def polarity_of(tmp_path: Path, region: NDArray[np.bool_], changed: NDArray[np.bool_]) -> list[Finding]:
    folder = write_folder(tmp_path / "m", [row(0)])
    Image.fromarray((region * 255).astype(np.uint8)).save(folder / "0-mask.png")
    source = np.asarray(picture(0))
    truth = np.where(changed[..., None], 255 - source, np.clip(source.astype(int) + 5, 0, 255)).astype(np.uint8)
    Image.fromarray(truth).save(folder / "0-truth.png")
    return [f for f in lint(folder) if f.field == "mask"]


def test_lint_finds_a_mask_that_contradicts_the_truth(tmp_path: Path) -> None:
    (finding,) = polarity_of(tmp_path, REGION, ~REGION)
    assert finding.severity == "warning"
    assert "mostly outside the mask (100% of the changed pixels); is it inverted?" in finding.message


def test_lint_does_not_take_noise_or_a_change_of_everything_for_a_contradiction(tmp_path: Path) -> None:
    small = np.zeros((40, 40), dtype=bool)
    small[:5, :5] = True
    for changed in (REGION, np.zeros_like(REGION)):
        assert polarity_of(tmp_path, REGION, changed) == []
    assert polarity_of(tmp_path, small, np.ones_like(small)) == []
