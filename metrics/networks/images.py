"""Pictures on their way into a network: strict checks, one recorded way of resizing, and batches that cannot change a result.

Batch plan: a network always sees full batches of one fixed size (the last one is filled up with copies of its last row), so
the kernels that run are the same whatever the batch-mates are. What remains is rounding that depends on the position within
a batch: below 1e-5 relative to the largest feature, in float32; on one machine it is normally zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray

from metrics.base import Image, MetricError

__all__ = [
    "BATCH_SIZE",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "RESIZE_POLICY",
    "check_batch_size",
    "check_image",
    "check_images",
    "check_number",
    "check_sides",
    "check_whole",
    "exact",
    "in_batches",
    "open_device",
    "resize_and_crop",
    "resize_square",
    "to_tensor",
]

BATCH_SIZE = 8
"""Rows per forward pass unless told otherwise; small, because every batch is filled up to it."""

RESIZE_POLICY = "squash, Pillow bicubic (antialiased), rounded to uint8; none where the size fits"
"""What `resize_square` does, in the words of a card."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the channels of a picture in 0..1."""


def check_image(image: object, where: str) -> Image:
    """Return `image` if it is uint8 (H, W, 3) with at least one pixel.

    Floats are refused, not guessed: 0..1 and 0..255 cannot be told apart on dark pictures.

    Raises:
        MetricError: anything else; the message begins with `where`.
    """
    expected = "expected uint8 (height, width, 3) RGB in 0..255"
    if not isinstance(image, np.ndarray):
        raise MetricError(f"{where}: {expected}, got {type(image).__name__}; convert with np.asarray(picture.convert('RGB'))")
    if image.dtype != np.uint8:
        advice = "scale to 0..255, round and cast to uint8 first" if image.dtype.kind == "f" else "cast to uint8 first"
        raise MetricError(f"{where}: {expected}, got {image.dtype} {image.shape}; {advice}")
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise MetricError(f"{where}: {expected}, got shape {image.shape}; drop alpha, repeat grey, put channels last")
    return image


def check_images(images: Sequence[object], name: str) -> list[Image]:
    """`check_image` for each row; `name` and the row number begin the message.

    Raises:
        MetricError: a row is not uint8 (H, W, 3).
    """
    return [check_image(image, f"{name}[{row}]") for row, image in enumerate(images)]


def check_sides(images: Sequence[Image], least: int, name: str, advice: str) -> None:
    """Nothing, if each picture has at least `least` pixels on either side.

    Raises:
        MetricError: one has not; `name` and the row number begin the message, `advice` ends it.
    """
    for row, image in enumerate(images):
        if min(image.shape[:2]) < least:
            raise MetricError(f"{name}[{row}]: expected at least {least} pixels on each side, got {image.shape[:2]}; {advice}")


def resize_square(image: Image, size: int) -> Image:
    """Picture at (size, size, 3) by `RESIZE_POLICY`; the aspect ratio is not kept."""
    if image.shape[:2] == (size, size):
        return image
    picture = PIL.Image.fromarray(image).resize((size, size), PIL.Image.Resampling.BICUBIC)
    return np.asarray(picture, dtype=np.uint8)


def resize_and_crop(image: Image, side: int) -> Image:
    """The centre (side, side, 3) of `image` (H, W, 3) after its short side was brought to `side`."""
    from torchvision.transforms.functional import center_crop, resize  # type: ignore[import-untyped]

    return np.asarray(center_crop(resize(PIL.Image.fromarray(image), [side]), [side, side]), dtype=np.uint8)


def to_tensor(images: Sequence[Image], device: torch.device) -> torch.Tensor:
    """Stack n pictures of one size into uint8 (n, 3, H, W) on `device`."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous().to(device)


def check_whole(value: object, what: str, least: int, advice: str) -> int:
    """Return `value` if it is a whole number of at least `least`.

    Raises:
        MetricError: anything else; the message begins with `what` and ends with `advice`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise MetricError(f"{what}: expected a whole number of at least {least}, got {value!r}; {advice}")
    return value


def check_batch_size(value: object) -> int:
    """Return `value` if it is a whole number of at least 1.

    Raises:
        MetricError: anything else.
    """
    return check_whole(value, "batch_size", 1, f"{BATCH_SIZE} is the default")


def check_number(value: object, what: str, advice: str) -> float:
    """Return `value` as float if it is a positive, finite number.

    Raises:
        MetricError: anything else; the message begins with `what` and ends with `advice`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise MetricError(f"{what}: expected a positive number, got {value!r}; {advice}")
    return float(value)


def open_device(device: str) -> torch.device:
    """The torch device of that name.

    Raises:
        MetricError: no such device, or CUDA asked for where there is none.
    """
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise MetricError(f"device: expected 'cpu', 'cuda' or 'cuda:N', got {device!r}; use 'cpu' if unsure") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise MetricError(f"device: {device!r} was asked for, but torch sees no CUDA device; use 'cpu'")
    return chosen


@contextmanager
def exact() -> Iterator[None]:
    """No gradients, no autocast, float32 as it is written and deterministic kernels, whatever the caller has switched on for its own
    networks: batch plan and input alone decide a score.
    """
    with ExitStack() as stack:
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        cudnn: Any = torch.backends.cudnn
        mkldnn: Any = torch.backends.mkldnn
        # torch's older switch for TF32, `cudnn.flags` among its users, is an error where a caller has used the newer one; this is the newer
        for place in (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv, mkldnn.rnn):
            stack.enter_context(_set(place, fp32_precision="ieee"))
        stack.enter_context(_set(cudnn, enabled=True, benchmark=False, deterministic=True))
        stack.enter_context(torch.inference_mode())
        yield


@contextmanager
def _set(place: Any, **values: Any) -> Iterator[None]:
    """Attributes set, and put back on leaving."""
    before = {name: getattr(place, name) for name in values}
    try:
        for name, value in values.items():
            setattr(place, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(place, name, value)


def in_batches(
    compute: Callable[..., NDArray[Any]], *columns: Sequence[NDArray[Any]], batch_size: int = BATCH_SIZE
) -> NDArray[Any]:
    """Apply `compute` to the rows of equally long columns in full batches, and return its rows in the order given.

    Args:
        compute: takes one list of exactly `batch_size` arrays per column, all of one shape within a column, and returns an
            array whose first axis is the batch.
        columns: rows; rows with other shapes go into other batches.
        batch_size: rows per call.

    Returns:
        (n, ...) array; (0,) for no rows.

    Raises:
        MetricError: the result of a row is not finite.
    """
    plans: dict[tuple[tuple[int, ...], ...], list[int]] = {}
    for row, values in enumerate(zip(*columns, strict=True)):
        plans.setdefault(tuple(value.shape for value in values), []).append(row)
    order: list[int] = []
    parts: list[NDArray[Any]] = []
    for rows in plans.values():
        for start in range(0, len(rows), batch_size):
            chunk = rows[start : start + batch_size]
            filled = chunk + chunk[-1:] * (batch_size - len(chunk))
            with exact():
                parts.append(compute(*([column[row] for row in filled] for column in columns))[: len(chunk)])
            order.extend(chunk)
    if not parts:
        return np.empty((0,), dtype=np.float64)
    result = np.concatenate(parts)[np.argsort(order)]
    broken = ~np.isfinite(result).reshape(len(result), -1).all(axis=1)
    if broken.any():
        raise MetricError(
            f"row {int(np.flatnonzero(broken)[0])}: the network's output is not finite; check the network's weights"
        )
    return result
