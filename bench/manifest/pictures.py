"""Picture files to arrays, decoded by the rules that hold for every picture (``editors.toolbox.pictures``), and the geometry
that a manifest's policy asks for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageChops

from bench.errors import ManifestError
from editors.task import EditorError
from editors.toolbox.pictures import MAX_PIXELS, Alpha, decoded, opened, orientation, read_picture_file, to_rgb

__all__ = [
    "MASK_THRESHOLD",
    "MAX_PIXELS",
    "Header",
    "MaskChannel",
    "PictureError",
    "PictureFile",
    "Policy",
    "mask_levels",
    "pixel_hash",
    "read_header",
    "read_mask",
    "read_rgb",
]

MASK_THRESHOLD = 128
"""Level of a mask from which on the edit may happen."""
RGB = NDArray[np.uint8]
Mask = NDArray[np.bool_]
MaskChannel = Literal["brightness", "alpha"]


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
        """The encoded bytes; PictureError when the file is missing, no regular file, larger than a picture can be, or cannot be read."""
        try:
            with _as_picture_error():
                data = self.fetch() if self.fetch else read_picture_file(self.path, self.label) if self.path else b""
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
    """The upright mask as bool (H, W), True where the edit may happen: where ``mask_levels`` are 128 and above."""
    return mask_levels(file)[0] >= MASK_THRESHOLD


def mask_levels(file: PictureFile) -> tuple[NDArray[np.uint8], MaskChannel]:
    """How surely the edit may happen at a pixel, uint8 (H, W), 255 = surely, and where that was read.

    Where the alpha channel varies it is the mask, transparent = edit, as MagicBrush and drawing tools have it; the colours under
    it are then a picture. Else white = edit. PictureError when decoding fails.
    """
    channel: MaskChannel = "brightness"

    def convert(image: PILImage.Image) -> PILImage.Image:
        nonlocal channel
        if image.has_transparency_data:
            alpha = image.convert("RGBA").getchannel("A")
            if len(set(alpha.getextrema())) > 1:
                channel = "alpha"
                return ImageChops.invert(alpha)
        return image.convert("L")

    data = file.read()
    with _as_picture_error():
        return decoded(data, file.label, convert), channel


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
        rules = {
            "mask_filter": "any pixel where reduced, nearest where enlarged",
            "mask_channel": "alpha where it varies, or brightness",
        }
        return self.applied() | rules

    def applied(self, width: int = 0, height: int = 0) -> dict[str, Any]:
        """The choices that decide what a sample is, whose mask is ``width`` x ``height`` pixels (0: it has none): for its digest.

        The rule of a filter is named only where it was applied: a mask that is not reduced is what it was before masks were
        reduced by any pixel, and so is the digest of its sample.
        """
        return {
            "size": self.size,
            "fit": self.fit,
            "filter": "lanczos",
            "mask_filter": "any" if self.reduces(width, height) else "nearest",
            "mask_threshold": MASK_THRESHOLD,
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
        return self._fitted(image, _lanczos, 255)

    def mask(self, mask: Mask) -> Mask:
        """(H, W) to (size, size), same geometry as ``picture``; padding is False.

        A cell that stands for several pixels is True where any of them is (their centres lie in it), so that a thin region survives
        and what Lanczos mixes with the region is not taken for background; along a side that is enlarged the nearest pixel decides.
        """
        return self._fitted(mask, _any_pixel, 0)

    def reduces(self, width: int, height: int) -> bool:
        """Whether a picture of that size has fewer cells than pixels along a side."""
        if self.size is None or not width or not height:
            return False
        _, _, wide, high = self._seen(width, height)
        across, down = self._inner(width, height)
        return wide > across or high > down

    def crops(self, width: int, height: int) -> tuple[slice, slice] | None:
        """The rows and columns that a center crop keeps of a picture, at any size; None where the fit loses nothing."""
        if self.fit != "center-crop" or width == height:
            return None
        left, top, wide, high = self._seen(width, height)
        return slice(top, top + high), slice(left, left + wide)

    def _seen(self, width: int, height: int) -> tuple[int, int, int, int]:
        """What of a picture is kept: left, top, width and height."""
        if self.fit != "center-crop":
            return 0, 0, width, height
        side = min(width, height)
        return (width - side) // 2, (height - side) // 2, side, side

    def _inner(self, width: int, height: int) -> tuple[int, int]:
        """Width and height that it is brought to, without the padding."""
        size = self.size or 0
        if self.fit != "pad":
            return size, size
        scale = size / max(height, width)
        return max(1, round(width * scale)), max(1, round(height * scale))

    def _fitted(self, array: NDArray[Any], resize: Callable[[NDArray[Any], int, int], NDArray[Any]], pad: int) -> NDArray[Any]:
        height, width = array.shape[:2]
        if self.size is None or (height, width) == (self.size, self.size):
            return array
        left, top, wide, high = self._seen(width, height)
        across, down = self._inner(width, height)
        inner = resize(array[top : top + high, left : left + wide], across, down)
        if self.fit != "pad":
            return inner
        canvas = np.full((self.size, self.size, *array.shape[2:]), pad, dtype=array.dtype)
        left, top = (self.size - across) // 2, (self.size - down) // 2
        canvas[top : top + down, left : left + across] = inner
        return canvas


def _lanczos(image: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    return np.array(PILImage.fromarray(image).resize((width, height), PILImage.Resampling.LANCZOS))


def _any_pixel(mask: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    return np.ascontiguousarray(_cells(_cells(mask, height).T, width).T)


def _cells(mask: NDArray[Any], n: int) -> NDArray[Any]:
    """A mask (rows, columns) with ``n`` rows: a new one is the union of those whose centres lie in it, or the nearest one."""
    rows, columns = mask.shape
    if rows <= n:
        grown = PILImage.fromarray(mask.astype(np.uint8)).resize((columns, n), PILImage.Resampling.NEAREST)
        return np.asarray(grown).astype(bool)
    first = -((n - 2 * np.arange(n) * rows) // (2 * n))  # of row j the first k with k + 1/2 >= j * rows / n
    return np.logical_or.reduceat(mask, first, axis=0)
