"""Picture files to arrays, decoded by the rules that hold for every picture (``editors.toolbox.pictures``), and the geometry
that a manifest's policy asks for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from bench.errors import ManifestError
from editors.task import EditorError
from editors.toolbox.pictures import MAX_PIXELS, Alpha, decoded, opened, orientation, to_rgb

__all__ = ["MAX_PIXELS", "Header", "PictureError", "PictureFile", "Policy", "pixel_hash", "read_header", "read_mask", "read_rgb"]

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
def _as_picture_error() -> Iterator[None]:
    try:
        yield
    except EditorError as error:
        raise PictureError(str(error)) from error


def read_header(file: PictureFile) -> Header:
    """Size, format and colour mode without decoding; PictureError when it is no picture or one that is not read."""
    data = file.read()
    with _as_picture_error(), opened(data, file.label) as image:
        try:
            turned = orientation(image)
            frames = int(getattr(image, "n_frames", 1))
        except Exception as error:
            raise PictureError(f"{file.label} is damaged: {error}") from error
        width, height = (image.height, image.width) if turned in (5, 6, 7, 8) else (image.width, image.height)
        return Header(width, height, image.format or "", image.mode, image.has_transparency_data, turned != 1, frames)


def read_rgb(file: PictureFile, alpha: Alpha = "white") -> RGB:
    """The upright picture as uint8 (H, W, 3) RGB; ``alpha`` is ``white`` (transparent pixels over white) or ``drop``.

    Sixteen bits a channel keep their high byte; colour profiles are ignored. PictureError when decoding fails.
    """
    data = file.read()
    with _as_picture_error():
        return to_rgb(data, file.label, alpha)


def read_mask(file: PictureFile) -> Mask:
    """The upright mask as bool (H, W), True (brightness 128 and above) where the edit may happen."""
    data = file.read()
    with _as_picture_error():
        return decoded(data, file.label, lambda image: image.convert("L")) >= 128


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
    alpha: Alpha = "white"
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
