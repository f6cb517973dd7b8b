"""Picture files to arrays: guarded opening, colour and orientation, and the geometry that a manifest's policy asks for.

The size of a picture is read from its header and checked before a single pixel is decoded. The format is recognised by
content, never by the file's extension.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageOps, UnidentifiedImageError

from bench.errors import ManifestError

__all__ = ["MAX_PIXELS", "Header", "PictureError", "PictureFile", "Policy", "pixel_hash", "read_header", "read_mask", "read_rgb"]

MAX_PIXELS = 64_000_000
"""Largest width times height that is opened; a larger picture is taken for a mistake or a decompression bomb."""
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_EXIF_ORIENTATION = 274
_HEADER_LOCK = threading.Lock()
RGB = NDArray[np.uint8]
Mask = NDArray[np.bool_]


class PictureError(ManifestError):
    """A picture is missing, damaged, too large, or of a kind that is not read."""


@dataclass(frozen=True)
class PictureFile:
    """A picture that has not been decoded: a file on disk, or bytes inside a table."""

    label: str
    """What messages call it: the path as the manifest gives it, or the column."""
    path: Path | None = None
    fetch: Callable[[], bytes] | None = None
    """Returns the encoded bytes, for a picture inside a table."""

    def read(self) -> bytes:
        """The encoded bytes; PictureError when the file is missing or cannot be read."""
        try:
            data = self.fetch() if self.fetch else self.path.read_bytes() if self.path else b""
        except FileNotFoundError:
            raise PictureError(f"no such file: {self.label}") from None
        except OSError as error:
            raise PictureError(f"{self.label} cannot be read: {error.strerror or error}") from error
        if not data:
            raise PictureError(f"{self.label} is empty; expected a picture")
        return data

    def digest(self) -> str:
        """sha256 of the encoded bytes, 64 hex."""
        return hashlib.sha256(self.read()).hexdigest()


@dataclass(frozen=True)
class Header:
    """What a picture says of itself before it is decoded."""

    width: int
    """Pixels, after the EXIF orientation."""
    height: int
    format: str
    """As Pillow names it: ``PNG``, ``JPEG``..."""
    mode: str
    """As Pillow names it: ``RGB``, ``RGBA``, ``P``..."""
    transparent: bool
    turned: bool
    """Whether an EXIF orientation other than upright is set."""
    frames: int

    @property
    def size(self) -> str:
        """``width x height``, for messages."""
        return f"{self.width}x{self.height}"


@contextmanager
def _opened(file: PictureFile) -> Iterator[PILImage.Image]:
    data = file.read()
    try:
        with _HEADER_LOCK:
            # Pillow's own limit warns or raises, by the size, without naming it; the check below does both jobs.
            limit, PILImage.MAX_IMAGE_PIXELS = PILImage.MAX_IMAGE_PIXELS, None
            try:
                image = PILImage.open(io.BytesIO(data), formats=_FORMATS)
            finally:
                PILImage.MAX_IMAGE_PIXELS = limit
    except UnidentifiedImageError:
        raise PictureError(f"{file.label} is not a picture in a format that is read ({', '.join(_FORMATS)})") from None
    except Exception as error:  # which one depends on the format
        raise PictureError(f"{file.label} is damaged: {error}") from error
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise PictureError(
                f"{file.label} has {image.width}x{image.height} pixels; at most {MAX_PIXELS // 1_000_000} million are opened, "
                "make it smaller"
            )
        yield image


def read_header(file: PictureFile) -> Header:
    """Size, format and colour mode without decoding; PictureError when it is no picture or larger than ``MAX_PIXELS``."""
    with _opened(file) as image:
        try:
            turned = _orientation(image) not in (0, 1)
            swapped = _orientation(image) in (5, 6, 7, 8)
            frames = int(getattr(image, "n_frames", 1))
        except Exception as error:
            raise PictureError(f"{file.label} is damaged: {error}") from error
        width, height = (image.height, image.width) if swapped else (image.width, image.height)
        return Header(width, height, image.format or "", image.mode, image.has_transparency_data, turned, frames)


def _orientation(image: PILImage.Image) -> int:
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & image.info.keys():
        return 1  # asking for the EXIF data of such a PNG would decode it
    return int(image.getexif().get(_EXIF_ORIENTATION, 1))


def _decoded(file: PictureFile, convert: Callable[[PILImage.Image], PILImage.Image]) -> NDArray[np.uint8]:
    with _opened(file) as image:
        try:
            upright = ImageOps.exif_transpose(image) if _orientation(image) not in (0, 1) else image
            return np.array(convert(_eight_bit(upright, file.label)), dtype=np.uint8)
        except PictureError:
            raise
        except Exception as error:
            raise PictureError(f"{file.label} cannot be decoded, it is truncated or damaged: {error}") from error


def _eight_bit(image: PILImage.Image, label: str) -> PILImage.Image:
    if image.mode.startswith("I;16"):
        return PILImage.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise PictureError(f"{label}: colour mode {image.mode} has no agreed brightness; save it with 8 bits a channel")
    return image


def read_rgb(file: PictureFile, alpha: str = "white") -> RGB:
    """The upright picture as uint8 (H, W, 3) RGB; ``alpha`` is ``white`` (transparent pixels over white) or ``drop``.

    Sixteen-bit grey keeps its high byte; colour profiles are ignored. PictureError when decoding fails.
    """

    def convert(image: PILImage.Image) -> PILImage.Image:
        if alpha == "white" and image.has_transparency_data:
            rgba = image.convert("RGBA")
            image = PILImage.alpha_composite(PILImage.new("RGBA", rgba.size, "white"), rgba)
        elif image.has_transparency_data:
            image = image.convert("RGBA")
        return image.convert("RGB")

    return _decoded(file, convert)


def read_mask(file: PictureFile) -> Mask:
    """The upright mask as bool (H, W), True (brightness 128 and above) where the edit may happen."""
    return _decoded(file, lambda image: image.convert("L")) >= 128


def pixel_hash(image: RGB) -> str:
    """64 hex over size and pixels."""
    return hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).hexdigest()


@dataclass(frozen=True)
class Policy:
    """How pictures are brought into form. Every choice is in ``record`` and travels with the results."""

    size: int | None = None
    """Side of the square in pixels; None leaves pictures as they are."""
    fit: str = "center-crop"
    """``center-crop`` cuts the longer side, ``squash`` ignores the aspect ratio, ``pad`` adds white."""
    alpha: str = "white"
    strip_brackets: bool = False

    def record(self) -> dict[str, Any]:
        """All choices as plain data, the fixed ones included."""
        return {
            "size": self.size,
            "fit": self.fit,
            "filter": "lanczos",
            "mask_filter": "nearest",
            "mask_threshold": 128,
            "pad_colour": "white",
            "alpha": self.alpha,
            "exif_orientation": "applied",
            "colour_profile": "ignored",
            "strip_brackets": self.strip_brackets,
        }

    def text(self, text: str) -> str:
        """The text that editors and metrics see."""
        return text.replace("[", "").replace("]", "") if self.strip_brackets else text

    def picture(self, image: RGB) -> RGB:
        """(H, W, 3) to (size, size, 3), Lanczos filter; unchanged when it has that size already."""
        return self._fitted(image, PILImage.Resampling.LANCZOS, 255)

    def mask(self, mask: Mask) -> Mask:
        """(H, W) to (size, size), nearest pixel, same geometry as ``picture``; padding is False."""
        return self._fitted(mask.astype(np.uint8), PILImage.Resampling.NEAREST, 0).astype(bool)

    def _fitted(self, array: NDArray[np.uint8], filter_: PILImage.Resampling, pad: int) -> NDArray[np.uint8]:
        height, width = array.shape[:2]
        if self.size is None or (height, width) == (self.size, self.size):
            return array
        image = PILImage.fromarray(array)
        if self.fit == "pad":
            scale = self.size / max(height, width)
            inner = (max(1, round(width * scale)), max(1, round(height * scale)))
            canvas = np.full((self.size, self.size, *array.shape[2:]), pad, dtype=np.uint8)
            left, top = (self.size - inner[0]) // 2, (self.size - inner[1]) // 2
            canvas[top : top + inner[1], left : left + inner[0]] = np.asarray(image.resize(inner, filter_))
            return canvas
        if self.fit == "center-crop":
            side = min(height, width)
            left, top = (width - side) // 2, (height - side) // 2
            image = image.crop((left, top, left + side, top + side))
        return np.array(image.resize((self.size, self.size), filter_))
