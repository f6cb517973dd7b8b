"""One rule for every picture that enters: what a manifest reads and what the editor ``folder`` reads are the same, to the bit."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from fixtures_manifest import encoded, huge_png
from numpy.typing import NDArray
from PIL import Image

from bench.manifest.pictures import PictureError, PictureFile, read_header, read_rgb
from editors.task import EditorError
from editors.toolbox.delivered import Delivered, read_picture

RGB = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
GREY = RGB[..., 0]
WIDENED = [pytest.param(257, id="by 257, as skimage does"), pytest.param(256, id="by 256, shifted")]


def of_manifest(data: bytes) -> NDArray[np.uint8]:
    return read_rgb(PictureFile("x", fetch=lambda: data))


def of_folder(data: bytes) -> NDArray[np.uint8]:
    return read_picture(Delivered("x", lambda: data, hashlib.sha256(data).hexdigest()))[0]


@pytest.fixture(params=[of_manifest, of_folder])
def read(request: pytest.FixtureRequest) -> Callable[[bytes], NDArray[np.uint8]]:
    return request.param  # type: ignore[no-any-return]


def tiff(tmp_path: Path, array: NDArray[Any], **options: Any) -> bytes:
    tifffile.imwrite(tmp_path / "x.tif", array, **({"photometric": "rgb"} if array.ndim == 3 else {}) | options)
    return (tmp_path / "x.tif").read_bytes()


def deep_png(array: NDArray[np.uint16], clear: int | None = None) -> bytes:
    """A PNG of 16 bits with 1 to 4 channels, which neither Pillow nor imageio write."""
    channels = 1 if array.ndim == 2 else array.shape[2]
    height, width = array.shape[:2]

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in array)
    transparent = b"" if clear is None else chunk(b"tRNS", struct.pack(">H", clear))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + transparent + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    )


def twelve_bit_tiff(values: list[int]) -> bytes:
    """A grey TIFF of one line with 12 bits a pixel, packed; of an even number of pixels."""
    data = b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in zip(values[::2], values[1::2], strict=True))
    tags = [(256, len(values)), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, len(data))]
    entries = b"".join(struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in tags)
    start = 8 + len(data) + len(data) % 2
    return (
        struct.pack("<2sHI", b"II", 42, start) + data.ljust(start - 8, b"\0") + struct.pack("<H", len(tags)) + entries + b"\0" * 4
    )


@pytest.mark.parametrize("factor", WIDENED)
def test_sixteen_bits_are_exact(tmp_path: Path, read: Callable[[bytes], NDArray[np.uint8]], factor: int) -> None:
    grey, colour = (each.astype(np.uint16) * np.uint16(factor) for each in (GREY, RGB))
    three = np.repeat(GREY[..., None], 3, axis=2)
    for data in (
        tiff(tmp_path, grey),
        tiff(tmp_path, grey, byteorder=">"),
        tiff(tmp_path, grey, compression="zlib"),
        deep_png(grey),
        encoded(Image.fromarray(grey)),
    ):
        np.testing.assert_array_equal(read(data), three)
    for data in (
        tiff(tmp_path, colour),
        tiff(tmp_path, colour, byteorder=">"),
        tiff(tmp_path, colour, compression="zlib", predictor=True),
        deep_png(colour),
    ):
        np.testing.assert_array_equal(read(data), RGB)


def test_portable_maps_are_scaled_by_their_maximum(read: Callable[[bytes], NDArray[np.uint8]]) -> None:
    wide = (GREY.astype(np.uint16) * 257).astype(">u2").tobytes()
    np.testing.assert_array_equal(read(b"P5 16 12 65535\n" + wide)[..., 0], GREY)
    np.testing.assert_array_equal(
        read(b"P5 2 1 1023\n" + np.array([1023, 512], ">u2").tobytes())[0, :, 0], [255, 128]
    )  # 512/1023 = .5005


def test_twelve_bits_fill_the_range(read: Callable[[bytes], NDArray[np.uint8]]) -> None:
    np.testing.assert_array_equal(read(twelve_bit_tiff([0, 0x7FF, 0x800, 0xFFF]))[0, :, 0], [0, 0x7F, 0x80, 0xFF])


def test_where_white_is_zero(tmp_path: Path, read: Callable[[bytes], NDArray[np.uint8]]) -> None:
    for depth in (GREY, GREY.astype(np.uint16) * np.uint16(257)):
        np.testing.assert_array_equal(read(tiff(tmp_path, depth, photometric="miniswhite"))[..., 0], 255 - GREY)


def test_deep_pictures_keep_their_transparency(read: Callable[[bytes], NDArray[np.uint8]]) -> None:
    clear = np.full((4, 4), 0x1234, dtype=np.uint16)
    clear[2:] = 0x1235
    assert np.unique(read(deep_png(clear, clear=0x1234))[:2]).tolist() == [255]
    assert np.unique(read(deep_png(clear, clear=0x1234))[2:]).tolist() == [0x12], "only the very value is transparent"
    opaque = np.dstack([RGB.astype(np.uint16) * 257, np.full(GREY.shape, 65535)]).astype(np.uint16)
    np.testing.assert_array_equal(read(deep_png(opaque)), RGB)
    opaque[..., 3] = 0
    assert (read(deep_png(opaque)) == 255).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int16", "int32", "uint32", "uint64"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_has_no_agreed_brightness_is_refused_before_it_is_decoded(
    tmp_path: Path, read: Callable[[bytes], NDArray[np.uint8]], dtype: str, channels: int
) -> None:
    data = tiff(tmp_path, (GREY if channels == 1 else RGB).astype(dtype))
    with pytest.raises((PictureError, EditorError), match=r"^x.*save it with 8 or 16 unsigned bits a channel$"):
        read(data)
    with pytest.raises(PictureError, match="save it with"):
        read_header(PictureFile("x", fetch=lambda: data))


def test_a_float_map_is_refused(read: Callable[[bytes], NDArray[np.uint8]]) -> None:
    with pytest.raises((PictureError, EditorError), match="colour mode F has no agreed brightness"):
        read(b"Pf\n2 1\n-1.0\n" + np.array([0.5, 1], "<f4").tobytes())


def test_deep_planes_are_refused_because_pillow_mixes_their_bytes(
    tmp_path: Path, read: Callable[[bytes], NDArray[np.uint8]]
) -> None:
    planes = np.moveaxis(RGB, -1, 0).copy()
    np.testing.assert_array_equal(read(tiff(tmp_path, planes, planarconfig="separate")), RGB)
    with pytest.raises((PictureError, EditorError), match="deep channels in separate planes are not read"):
        read(tiff(tmp_path, planes.astype(np.uint16) * 257, planarconfig="separate"))


def test_eight_bit_values_in_a_deep_file_are_refused_not_read_as_black(
    tmp_path: Path, read: Callable[[bytes], NDArray[np.uint8]]
) -> None:
    with pytest.raises((PictureError, EditorError), match=r"x has 16 bits and no value above \d+, so that all is black"):
        read(tiff(tmp_path, GREY.astype(np.uint16)))
    assert (read(tiff(tmp_path, np.zeros((4, 4), np.uint16))) == 0).all(), "black itself is a picture"


def test_orientation_and_guard_hold_everywhere(read: Callable[[bytes], NDArray[np.uint8]]) -> None:
    exif = Image.Exif()
    exif[274] = 6
    turned = np.rot90(RGB, -1)
    np.testing.assert_array_equal(read(encoded(Image.fromarray(RGB), exif=exif)), turned)
    deep = Image.fromarray(GREY.astype(np.uint16) * np.uint16(257))
    np.testing.assert_array_equal(read(encoded(deep, "TIFF", exif=exif))[..., 0], turned[..., 0])
    np.testing.assert_array_equal(read(encoded(deep, "PNG", exif=exif))[..., 0], turned[..., 0])
    with pytest.raises((PictureError, EditorError), match="20000x20000 pixels; at most 64 million are opened"):
        read(huge_png())
    with pytest.raises((PictureError, EditorError), match="truncated or damaged"):
        read(encoded(Image.fromarray(RGB))[:200])


def test_transparent_pixels_lie_over_white(read: Callable[[bytes], NDArray[np.uint8]]) -> None:
    half = Image.fromarray(np.dstack([RGB, np.where(GREY > 127, 255, 0).astype(np.uint8)]))
    np.testing.assert_array_equal(read(encoded(half)), np.where(GREY[..., None] > 127, RGB, 255))
