"""Files that are there in full or not at all, and pictures as bytes."""

from __future__ import annotations

import io
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import RunError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "TEMPORARY",
    "appearing",
    "create_file",
    "flush_folder",
    "json_bytes",
    "own",
    "png_bytes",
    "remove_folder",
    "write_atomically",
    "write_flushed",
]

TEMPORARY = ".tmp-"
"""How names begin that a reader must not look at."""


def png_bytes(image: NDArray[Any]) -> bytes:
    """Lossless PNG of uint8 (H, W, 3) or (H, W); bool becomes black and white, float is stretched from minimum to maximum.

    Fixed settings and no metadata: equal pixels give equal bytes.
    """
    import numpy as np
    from PIL import Image

    pixels = np.asarray(image)
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    elif np.issubdtype(pixels.dtype, np.floating):
        finite = np.nan_to_num(pixels.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        span = float(finite.max() - finite.min())
        pixels = np.round((finite - finite.min()) / (span or 1.0) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=6, optimize=False)
    return buffer.getvalue()


def own(folder: Path, path: Path) -> Path:
    """A path in `folder`, if it stays there when links are followed; RunError that names it otherwise."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise RunError(f"{path} leads out of {folder} by a link; put what it leads to in its place, or delete it")
    return path


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A scratch file for the block to write, which then is flushed and becomes `path`; where the block raises it goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f"{TEMPORARY}{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        yield scratch
        with scratch.open("rb+") as file:
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` so that `path` holds either what it held before or all of `data`."""
    with appearing(path) as scratch:
        scratch.write_bytes(data)


def flush_folder(path: Path) -> None:
    """Wait until the disk has the names in a folder, on systems where that can be asked for."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_flushed(path: Path, data: bytes) -> None:
    """Write `data` and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def create_file(path: Path, data: bytes) -> bool:
    """Write `data` where there is nothing, and whether there was nothing: of many who try at a time one does. Others may see a part of it.

    Raises OSError where it cannot be written, and leaves nothing then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return True


def remove_folder(path: Path) -> None:
    """Remove a folder in one step, if it is there: it is renamed first."""
    grave = path.with_name(f"{TEMPORARY}{path.name}-{uuid.uuid4().hex[:8]}")
    with suppress(FileNotFoundError):
        path.rename(grave)
        shutil.rmtree(grave, ignore_errors=True)


def json_bytes(content: Any) -> bytes:
    """Readable JSON with sorted keys; half of a surrogate pair, which is no character, becomes "?". Raises ValueError for NaN and infinity."""
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "replace")
