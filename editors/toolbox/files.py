"""Files by names that another system wrote (accents composed or not, backslashes, letters that the locale does not have), and their
content, of which a limit is known before it is read. And where files are kept that only save time.
"""

from __future__ import annotations

import os
import stat
import tempfile
import unicodedata
import uuid
from functools import lru_cache
from pathlib import Path, PurePosixPath

__all__ = ["MOST_BYTES", "cache_folder", "expanded", "find_file", "read_regular", "text_of", "write_whole"]


MOST_BYTES = 512 << 20
"""Largest list of rows, and largest picture, that is read: ``MAX_PIXELS`` of four channels of 16 bits, not compressed."""


def find_file(folder: Path, name: str) -> Path:
    """The file or folder that ``name``, a path seen from ``folder``, means; the plain path where there is none.

    A name that is there as it is written comes first. Else accents may be composed (NFC, as most systems type them) or not (NFD, as
    macOS has stored them), and backslashes may be separators. Where the locale is not UTF-8, names are still found by their UTF-8 form.
    Raises ValueError for what cannot be a path.
    """
    plain = folder / _native(name)
    if _is_there(plain):
        return plain
    for text in dict.fromkeys((name, name.replace("\\", "/"))):
        here: Path | None = folder
        for part in PurePosixPath(text).parts:
            here = _step(here, part) if here else None
        if here:
            return here
    return plain


def expanded(path: str | Path) -> Path:
    """The path with ``~`` or ``~user`` written out; as it is where there is no such user or no home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def read_regular(file: Path, most: int) -> bytes:
    """The bytes of a regular file, at most ``most`` of them.

    Raises OSError: as opening does, and in words for a pipe, a device or a socket, which could block or never end, and for a larger file.
    """
    with open(file, "rb", opener=_without_waiting) as stream:
        about = os.fstat(stream.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise OSError("it is a pipe, a device or a socket, not a regular file")
        data = stream.read(most + 1) if about.st_size <= most else b""
        if about.st_size > most or len(data) > most:
            raise OSError(f"it is larger than {most >> 20} MiB, the most that is read of such a file")
        return data


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe that nobody writes to is opened at once instead of waited for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def text_of(name: str) -> str:
    """A name of the file system, or an argument of the command line, as the UTF-8 text that it is, whatever the locale."""
    try:
        return os.fsencode(name).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return name  # text already, in letters that the locale does not have


def cache_folder(part: str) -> Path:
    """The folder for one kind of files that can be made again: in ``$ETABENCH_CACHE``, else the user's cache, else a temporary one."""
    given = os.environ.get("ETABENCH_CACHE")
    folder = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "etabench"
    try:
        (folder / part).mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.gettempdir()) / f"etabench-{Path.home().name}"
    return folder / part


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under another name and rename it: who reads it sees all or nothing."""
    scratch = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}")
    scratch.parent.mkdir(parents=True, exist_ok=True)
    try:
        scratch.write_bytes(content)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def _step(folder: Path, part: str) -> Path | None:
    plain = folder / _native(part)
    if _is_there(plain):
        return plain
    if part.isascii():
        return None
    try:
        same = _listing(folder, folder.stat().st_mtime_ns).get(unicodedata.normalize("NFC", part))
    except OSError:
        return None
    return folder / same if same else None


@lru_cache(maxsize=64)
def _listing(folder: Path, changed: int) -> dict[str, str]:
    """Composed form to name, of what lies in a folder; read again when its time of change is another."""
    return {
        unicodedata.normalize("NFC", text_of(name)): name
        for name in sorted((each.name for each in folder.iterdir()), reverse=True)
    }


def _native(name: str) -> str:
    """A name as this process can hand it to the system."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return os.fsdecode(name.encode("utf-8"))
    return name


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False
