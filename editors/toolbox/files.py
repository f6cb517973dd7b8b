"""Files by names that another system wrote: accents composed or not, backslashes, letters that the locale does not have.

And where files are kept that only save time.
"""

from __future__ import annotations

import os
import tempfile
import unicodedata
import uuid
from functools import lru_cache
from pathlib import Path, PurePosixPath

__all__ = ["cache_folder", "find_file", "text_of", "write_whole"]


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
