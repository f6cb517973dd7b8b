"""What is odd about a mask: what it holds, how it is read, what becomes of it in a square, and whether the truth agrees with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bench.manifest.pictures import MASK_THRESHOLD, RGB, Header, Mask, PictureFile, Policy, mask_levels, read_rgb

__all__ = ["Severity", "mask_oddities", "polarity"]

Severity: TypeAlias = Literal["error", "warning", "info"]

_UNSURE = (64, 192)
"""Levels from and below which a pixel is neither clearly in a mask nor clearly out of it; what JPEG does to an edge lies outside."""
_SOFT = 0.01
"""Share of unsure pixels from which a mask is called soft."""
_GROWN = 2
"""Growth of a mask's share by the reduction from which it is worth knowing."""
_CHANGED = 32
"""Difference in a channel from which a pixel of the truth counts as changed; what JPEG does to it lies below."""


def mask_oddities(file: PictureFile, header: Header, policy: Policy) -> Iterator[tuple[Severity, str]]:
    """Decodes the mask; PictureError where it cannot be."""
    levels, channel = mask_levels(file)
    mask: Mask = levels >= MASK_THRESHOLD
    if channel == "alpha":
        yield "info", f"{file.label} is read from its alpha channel: transparent is where the edit may happen"
        opaque = read_rgb(file, "drop")[~mask]
        if opaque.size and opaque.min() >= _UNSURE[1]:
            yield (
                "warning",
                f"{file.label}: all that is opaque is white, as if white marked the edit, but its alpha channel is read, where "
                "transparent marks it; lay it over black if so",
            )
    elif header.transparent:
        yield "info", f"{file.label} has an alpha channel that is the same everywhere; its brightness is read"
    yield from _values(file.label, levels)
    if not mask.any():
        if not levels.any():
            yield "warning", f"{file.label} is black everywhere; nothing may be edited"
    elif mask.all():
        yield "info", f"{file.label} is white everywhere; scores of the background are undefined"
    elif mask.size - mask.sum() == 1 and not (mask[0, 0] and mask[-1, -1]):
        message = f"{file.label} marks every pixel but the {'first' if mask[-1, -1] else 'last'} one"
        yield "warning", f"{message}, as where run lengths that count from 1 are read as if from 0, or the other way round"
    elif not mask[1:-1, 1:-1].any():
        message = f"{file.label} marks nothing but pixels of the outermost ring; the edit has no region"
        yield "warning", f"{message}, as where a reader adds the ring to a mask that is empty"
    else:
        yield from _squared(file.label, mask, policy)


def _values(label: str, levels: NDArray[np.uint8]) -> Iterator[tuple[Severity, str]]:
    """Levels that are neither 0 nor 255."""
    highest = int(levels.max())
    if 0 < highest < MASK_THRESHOLD:
        yield (
            "warning",
            f"{label}: no value above {highest}, and the edit may happen from {MASK_THRESHOLD} on: nothing may be edited; save it "
            "with 0 and 255",
        )
        return
    between = float(((levels > 0) & (levels < 255)).mean())
    unsure = float(((levels >= _UNSURE[0]) & (levels < _UNSURE[1])).mean())
    if between:
        severity: Severity = "warning" if unsure >= _SOFT else "info"
        soft = f"soft, {unsure:.1%} of the pixels are clearly neither; " if unsure >= _SOFT else ""
        yield severity, f"{label}: {soft}{between:.1%} are neither 0 nor 255; the edit may happen from {MASK_THRESHOLD} on"


def _squared(label: str, mask: Mask, policy: Policy) -> Iterator[tuple[Severity, str]]:
    """What the square that models see leaves of a mask that is neither empty nor full."""
    height, width = mask.shape
    kept = policy.crops(width, height)
    seen = mask[kept] if kept else mask
    if not seen.any() or seen.all():
        what = "nothing of it is left: nothing may be edited" if not seen.any() else "no background is left"
        yield "warning", f"{label}: cut to a square, {what}; use fit: pad or squash"
        return
    if kept and seen.sum() < mask.sum() / 2:
        yield (
            "warning",
            f"{label}: cut to a square, it loses {1 - seen.sum() / mask.sum():.0%} of its region; use fit: pad or squash",
        )
    if policy.size is None:
        return
    cells = policy.mask(np.ones_like(mask)).sum()  # without padding
    before, after = float(seen.mean()), float(policy.mask(mask).sum() / cells)
    if after == 1:
        yield "warning", f"{label}: at {policy.size} pixels no background is left; use a larger size"
    elif after >= _GROWN * before:
        yield (
            "info",
            f"{label}: thin, {before:.2%} of the picture and {after:.2%} at {policy.size} pixels, where any pixel sets a cell",
        )


def polarity(mask: Mask, source: RGB, truth: RGB) -> str:
    """What to say where the truth differs from the source mostly outside the mask; empty where it does not.

    Mostly: more of the changed pixels lie outside, and a pixel outside is at least twice as likely to be changed as one inside,
    so that a change of the whole picture is no contradiction. All arrays have one height and width.
    """
    changed = (np.abs(source.astype(np.int16) - truth) >= _CHANGED).any(axis=2)
    if not changed.any() or mask.all() or not mask.any():
        return ""
    outside = float(changed[~mask].sum() / changed.sum())
    if outside <= 0.5 or changed[~mask].mean() < 2 * changed[mask].mean():
        return ""
    return f"the truth differs from the picture mostly outside the mask ({outside:.0%} of the changed pixels); is it inverted?"
