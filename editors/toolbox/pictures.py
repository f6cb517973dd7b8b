"""Picture files from outside as arrays: guarded opening, and one rule for depth, orientation and transparency, wherever they enter.

The size of a picture is read from its header and checked before a single pixel is decoded. The format is recognised by
content, never by the file's extension.

Depth: sixteen bits a channel keep their high byte, which is exact for what was widened from eight bits by 257 or by 256. Numbers
without an agreed brightness (floating point, signed, 32 bits) are refused, and so is what Pillow would read wrongly.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageOps, UnidentifiedImageError

from editors.task import EditorError, Image
from editors.toolbox.files import MOST_BYTES, read_regular

__all__ = ["MAX_PIXELS", "Alpha", "decoded", "opened", "orientation", "read_picture_file", "to_rgb"]

MAX_PIXELS = 64_000_000
"""Largest width times height that is opened; a larger picture is taken for a mistake or a decompression bomb."""
Alpha: TypeAlias = Literal["white", "drop"]
"""Transparent pixels: over white, or the alpha channel ignored."""
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BITS, _PHOTOMETRIC, _PLANES, _SAMPLE_FORMAT, _EXIF_ORIENTATION = 258, 262, 284, 339, 274
_SAVE = "save it with 8 or 16 unsigned bits a channel"
_HEADER_LOCK = threading.Lock()


def read_picture_file(file: Path, label: str) -> bytes:
    """The encoded bytes of a regular file of at most ``MOST_BYTES``. Raises ``EditorError`` that calls it ``label``."""
    try:
        return read_regular(file, MOST_BYTES)
    except FileNotFoundError:
        raise EditorError(f"no such file: {label}") from None
    except OSError as error:
        raise EditorError(f"{label} cannot be read: {error.strerror or error}") from error


@contextmanager
def opened(data: bytes, label: str) -> Iterator[PILImage.Image]:
    """The picture that ``data`` encode, its header read and nothing decoded; messages call it ``label``.

    Raises ``EditorError`` where it is none, is damaged, has more than ``MAX_PIXELS`` or a depth without an agreed brightness.
    """
    try:
        with _HEADER_LOCK:
            # Pillow's own limit warns or raises, by the size, without naming it; the check below does both jobs.
            limit, PILImage.MAX_IMAGE_PIXELS = PILImage.MAX_IMAGE_PIXELS, None
            try:
                image = PILImage.open(io.BytesIO(data), formats=_FORMATS)
            finally:
                PILImage.MAX_IMAGE_PIXELS = limit
    except UnidentifiedImageError:
        if data.startswith(_TIFF_MAGIC):
            raise EditorError(
                f"{label} is a TIFF file that is damaged or of a kind that is not read, such as floating point; {_SAVE}"
            ) from None
        raise EditorError(f"{label} is not a picture in a format that is read ({', '.join(_FORMATS)})") from None
    except Exception as error:  # which one depends on the format
        raise EditorError(f"{label} is damaged: {_line(error)}") from error
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise EditorError(
                f"{label} has {image.width}x{image.height} pixels; at most {MAX_PIXELS // 1_000_000} million are opened, "
                "make it smaller"
            )
        _check_depth(image, label)
        yield image


def orientation(image: PILImage.Image) -> int:
    """The EXIF orientation, 1 where it is upright or says nothing."""
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & image.info.keys():
        return 1  # asking for the EXIF data of such a PNG would decode it
    return int(image.getexif().get(_EXIF_ORIENTATION, 1)) or 1


def decoded(data: bytes, label: str, convert: Callable[[PILImage.Image], PILImage.Image]) -> NDArray[np.uint8]:
    """What ``convert`` makes of the picture, which it is given upright and with eight bits a channel.

    Raises ``EditorError`` as ``opened`` does, and where the pixels cannot be decoded.
    """
    with opened(data, label) as image:
        try:
            upright = ImageOps.exif_transpose(image) if orientation(image) != 1 else image
            return np.array(convert(_eight_bit(upright, getattr(image, "tag_v2", {}), label)), dtype=np.uint8)
        except EditorError:
            raise
        except Exception as error:
            raise EditorError(f"{label} cannot be decoded, it is truncated or damaged: {_line(error)}") from error


def to_rgb(data: bytes, label: str, alpha: Alpha = "white") -> Image:
    """The upright picture, (H, W, 3) uint8 RGB; colour profiles are ignored. Raises ``EditorError`` as ``decoded`` does."""

    def convert(image: PILImage.Image) -> PILImage.Image:
        if alpha == "white" and image.has_transparency_data:
            rgba = image.convert("RGBA")
            image = PILImage.alpha_composite(PILImage.new("RGBA", rgba.size, "white"), rgba)
        elif image.has_transparency_data:
            image = image.convert("RGBA")
        return image.convert("RGB")

    return decoded(data, label, convert)


def _check_depth(image: PILImage.Image, label: str) -> None:
    """What the header tells of numbers that Pillow would clip, or read wrongly."""
    if image.mode == "F" or (image.mode == "I" and image.format != "PPM"):
        raise EditorError(f"{label}: colour mode {image.mode} has no agreed brightness; {_SAVE}")
    tags = getattr(image, "tag_v2", None)
    if not tags:
        return
    if 2 in (formats := tags.get(_SAMPLE_FORMAT, (1,))) or 3 in formats:
        raise EditorError(f"{label}: signed or floating-point numbers have no agreed brightness; {_SAVE}")
    if tags.get(_PLANES, 1) == 2 and max(tags.get(_BITS, (1,))) > 8:
        raise EditorError(f"{label}: deep channels in separate planes are not read; save it with interleaved channels")


def _eight_bit(image: PILImage.Image, tags: Mapping[int, Any], label: str) -> PILImage.Image:
    """Sixteen-bit grey by its high byte. (Colour of sixteen bits Pillow itself reads by the high byte, or by the PPM's maximum.)"""
    if not image.mode.startswith("I"):
        return image
    deep = np.asarray(image).astype(np.int32)
    bits = int(tags.get(_BITS, (16,))[0])
    if 0 < deep.max() < 1 << (bits - 8):
        raise EditorError(
            f"{label} has {bits} bits and no value above {deep.max()}, so that all is black; values of 0 to 255 are saved as uint8"
        )
    if tags.get(_PHOTOMETRIC, 1) == 0:  # white is zero
        deep = (1 << bits) - 1 - deep
    grey = PILImage.fromarray((deep >> (bits - 8)).astype(np.uint8))
    if (clear := image.info.get("transparency")) is not None:
        grey.putalpha(PILImage.fromarray(np.where(deep == clear, 0, 255).astype(np.uint8)))
    return grey


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
