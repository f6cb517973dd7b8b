"""Which pixels count: the whole picture, the background, or the edited region; a mask decides, never blackened pixels.

A sample's mask is True where the edit belongs. A region metric averages over the pixels of its region alone, so that it does not
move when the region's share of the picture changes; `metrics.pixels.MaskFraction` states that share. What a network says of a place
depends on its surroundings, so before a network looks, `only_in` makes everything outside the region the source's.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from metrics.base import Image, MetricError, PairBatch
from metrics.networks.images import check_images

__all__ = [
    "MASKING",
    "NO_REGION",
    "READS",
    "Region",
    "check_mask",
    "check_pairs",
    "check_region",
    "only_in",
    "regions",
    "weights_of",
]

Region = Literal["whole", "background", "edited"]
"""The whole picture, the pixels outside the sample's mask, or those inside."""

Mask = NDArray[np.bool_]

MASKING: dict[Region, str] = {
    "whole": "whole picture",
    "background": "mean over the pixels outside the sample's mask",
    "edited": "mean over the pixels inside the sample's mask",
}
"""The regions in the words of a card."""

NO_REGION: dict[Region, str] = {"whole": "", "background": "mask unknown or full", "edited": "mask unknown or empty"}
"""When a region is undefined, in the words of a card."""

READS: dict[Region, frozenset[str]] = {
    "whole": frozenset(),
    "background": frozenset({"masks"}),
    "edited": frozenset({"masks"}),
}
"""What a metric reads of a batch on account of its region."""


def check_region(region: object, what: str) -> Region:
    """Return `region` if it is one.

    Raises:
        MetricError: it is none; the message begins with `what`.
    """
    for known in get_args(Region):
        if region == known:
            return known
    raise MetricError(f"{what} region: expected whole, background or edited, got {region!r}; 'whole' needs no masks")


def check_pairs(batch: PairBatch, what: str, other: Literal["sources", "truths"] = "sources") -> tuple[list[Image], list[Image]]:
    """Edits and sources (or truths, all known) of a batch, each uint8 (H, W, 3), both of one size in a row.

    Raises:
        MetricError: a row is not a picture, or its two pictures differ in size.
    """
    edits, others = check_images(batch.edits, "edits"), check_images(getattr(batch, other), other)
    for row, (edit, reference) in enumerate(zip(edits, others, strict=True)):
        if edit.shape != reference.shape:
            raise MetricError(
                f"{what}: edits[{row}] is {edit.shape[:2]}, {other}[{row}] {reference.shape[:2]}; "
                "pixels are compared in place: give both one size"
            )
    return edits, others


def check_mask(mask: object, image: Image, row: int) -> Mask:
    """Return `mask` if it is bool (H, W) of the picture's size.

    Raises:
        MetricError: it is not.
    """
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != image.shape[:2]:
        got = f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise MetricError(
            f"masks[{row}]: expected bool {image.shape[:2]} like the edit, got {got}; True is where the edit belongs"
        )
    return mask


def regions(batch: PairBatch, region: Region) -> list[Mask | None]:
    """For each row the pixels that count, bool (H, W) with at least one True; None where the region is undefined.

    Raises:
        MetricError: a mask is not bool of the edit's size.
    """
    if region == "whole":
        return [np.ones(edit.shape[:2], dtype=np.bool_) for edit in batch.edits]
    chosen: list[Mask | None] = []
    for row, (edit, mask) in enumerate(zip(batch.edits, batch.masks, strict=True)):
        if mask is None:
            chosen.append(None)
        else:
            inside = check_mask(mask, edit, row)
            pixels = inside if region == "edited" else ~inside
            chosen.append(pixels if pixels.any() else None)
    return chosen


def only_in(pixels: Mask, edit: Image, source: Image) -> Image:
    """`source` (H, W, 3) with the pixels of `edit` where `pixels` (H, W) is True: for networks, which see more than one pixel."""
    return np.where(pixels[..., None], edit, source)


def weights_of(pixels: Mask, size: int | None) -> NDArray[np.float32]:
    """The share of each of (size, size) cells that `pixels` (H, W) covers, 0..1; None keeps the size."""
    if size is None or pixels.shape == (size, size):
        return pixels.astype(np.float32)
    picture = PIL.Image.fromarray(pixels.astype(np.float32)).resize((size, size), PIL.Image.Resampling.BOX)
    return np.asarray(picture, dtype=np.float32)
