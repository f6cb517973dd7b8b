"""Pictures of a run beside the page: the run's own PNG, untouched, and a small WebP of what is large."""

from __future__ import annotations

import base64
import filecmp
import io
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from reports.data import ReportError

__all__ = ["LARGE", "State", "data_uri", "data_uris", "put_pictures"]

LARGE = 256
"""Longest side in pixels from which on a picture also has a small WebP, which is reduced to it."""
SINGLE = 512
"""Longest side in pixels of a picture inside a single file; a larger one is reduced to it."""
_MOST_SINGLE = 64 * 2**20
"""Characters of pictures that a single file may hold."""
_STALE_SECONDS = 3600.0
"""Age of an unfinished file from which on nobody is taken to be writing it."""
_MOST_BYTES = 2**28
"""Size of a file from which on it is not read: more than noise of 8192 x 8192 pixels takes."""
_UNREADABLE = (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError)


class State(StrEnum):
    """What became of a picture, one character in the viewer's data."""

    NONE = "."
    """It was never made."""
    WHOLE = "w"
    """Shown as it is."""
    REDUCED = "r"
    """Shown by its small copy first."""
    LOST = "l"
    """Its file is not there."""
    UNREADABLE = "u"
    """Its file is no PNG, or damaged."""


def put_pictures(folder: Path, pictures: Iterable[tuple[str, Path]]) -> dict[str, State]:
    """Put each picture into `folder` as ``<name>.png`` and, if it is large, ``<name>.webp``, and remove what is there beside them.

    The PNG is a hard link to the run's where the file system allows one, a copy elsewhere. What is there already and has not changed
    is not read again. Nothing but sound PNG files is taken, and nothing is written or removed where a link leads.
    """
    named = list(pictures)
    for below in (folder, *dict.fromkeys((folder / name).parent for name, _ in named)):
        if below.is_symlink():
            below.unlink()
        if named:
            below.mkdir(parents=True, exist_ok=True)
    states = {name: _there(folder, name, source) for name, source in named}
    new = [(name, source) for name, source in named if states[name] is State.NONE]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        states |= zip((name for name, _ in new), pool.map(lambda each: _put(folder, *each), new), strict=True)
    _clean(folder, states)
    return states


def data_uris(pictures: Iterable[tuple[str, Path]]) -> tuple[dict[str, State], dict[str, str]]:
    """What became of each picture, and each as a data URI. Raises :class:`reports.ReportError` where all are more than 64 MiB."""
    states: dict[str, State] = {}
    uris: dict[str, str] = {}
    total = 0
    for name, path in pictures:
        states[name], uri = data_uri(path)
        total += len(uri)
        if total > _MOST_SINGLE:
            raise ReportError(
                f"the pictures of this run make a single file of more than {_MOST_SINGLE >> 20} MiB: "
                "write the folder alone, which opens without a server too, and zip it"
            )
        if uri:
            uris[name] = uri
    return states, uris


def data_uri(path: Path) -> tuple[State, str]:
    """The PNG at `path` as a data URI, byte for byte where its sides have at most :data:`SINGLE` pixels, else as a WebP of that size."""
    try:
        content = _read(path)
        small = _reduced(content, SINGLE)
    except FileNotFoundError:
        return State.LOST, ""
    except _UNREADABLE:
        return State.UNREADABLE, ""
    kind, shown = ("png", content) if small is None else ("webp", small)
    return State.WHOLE, f"data:image/{kind};base64,{base64.b64encode(shown).decode('ascii')}"


def _there(folder: Path, name: str, source: Path) -> State:
    """How the picture is shown if it is there as it is now, :attr:`State.NONE` if it is to be put there."""
    whole, small = folder / f"{name}.png", folder / f"{name}.webp"
    try:
        about, there = source.stat(), whole.lstat()
    except OSError:
        return State.NONE
    if not os.path.samestat(about, there):
        alike = (about.st_size, about.st_mtime_ns) == (there.st_size, there.st_mtime_ns)
        if not alike or not filecmp.cmp(source, whole, shallow=False):
            return State.NONE
    return State.REDUCED if small.exists() else State.WHOLE


def _put(folder: Path, name: str, source: Path) -> State:
    whole, small = folder / f"{name}.png", folder / f"{name}.webp"
    try:
        about = source.stat()
        content = _read(source)
        reduced = _reduced(content, LARGE)
    except FileNotFoundError:
        return State.LOST
    except _UNREADABLE:
        return State.UNREADABLE
    scratch = folder / f"{name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        if reduced is None:
            small.unlink(missing_ok=True)
        else:
            scratch.write_bytes(reduced)
            scratch.replace(small)
        try:
            os.link(source, scratch)
        except OSError:
            shutil.copyfile(source, scratch)
            os.utime(scratch, ns=(about.st_atime_ns, about.st_mtime_ns))
        scratch.replace(whole)
    finally:
        scratch.unlink(missing_ok=True)
    return State.WHOLE if reduced is None else State.REDUCED


def _read(path: Path) -> bytes:
    about = path.stat()
    if not stat.S_ISREG(about.st_mode) or about.st_size > _MOST_BYTES:
        raise OSError("no file of a picture")
    return path.read_bytes()


def _reduced(content: bytes, side: int) -> bytes | None:
    """A WebP of at most `side` pixels, or None where the picture is not larger. It is decoded in any case: what is damaged raises."""
    with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
        image.load()
        if max(image.size) <= side:
            return None
        shown = image.convert("RGB")
    shown.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    shown.save(buffer, "WEBP", quality=82, method=4)
    return buffer.getvalue()


def _clean(folder: Path, states: dict[str, State]) -> None:
    """Remove what belongs to no picture that is shown."""
    kept = {f"{name}.png" for name, state in states.items() if state in (State.WHOLE, State.REDUCED)}
    kept |= {f"{name}.webp" for name, state in states.items() if state == State.REDUCED}
    for below, _, files in os.walk(folder, topdown=False):
        inside = Path(below)
        for file in files:
            path = inside / file
            if f"{inside.name}/{file}" not in kept and not (path.suffix == ".tmp" and _young(path)):
                path.unlink(missing_ok=True)
        with suppress(OSError):  # not empty
            inside.rmdir()


def _young(path: Path) -> bool:
    """Whether somebody may be writing it."""
    try:
        return time.time() - path.stat().st_ctime < _STALE_SECONDS
    except FileNotFoundError:
        return False
