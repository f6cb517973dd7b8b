"""SHA-256 of files; large ones are read once and remembered."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from editors.toolbox.files import cache_folder, write_whole

__all__ = ["file_digest", "files_digest"]

LARGE = 16 * 2**20
"""Bytes from which a digest is remembered: below, reading the file is as quick as looking it up."""
SETTLED = 2.0
"""Seconds since its last change after which a file is believed: file systems count time in steps, so that a younger one could change
again without a sign."""


def files_digest(folder: Path, files: Iterable[Path]) -> str:
    """sha256 (64 hex) over the names, relative to ``folder``, and the contents of ``files``, in the order of their paths."""
    total = hashlib.sha256()
    for file in sorted(files):
        total.update(file.relative_to(folder).as_posix().encode() + b"\0")
        total.update(bytes.fromhex(file_digest(file)))
    return total.hexdigest()


def file_digest(file: Path) -> str:
    """sha256 (64 hex) of a file. That of a large one is kept in the cache folder, by path, size and time of change."""
    path = file.resolve()
    about = path.stat()
    stamp = [str(path), about.st_size, about.st_mtime_ns]
    if about.st_size < LARGE:
        return _read(path)
    note = cache_folder("digests") / f"{hashlib.sha256(str(path).encode(errors='surrogateescape')).hexdigest()[:24]}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(note.read_text(encoding="utf-8"))
        if kept["stamp"] == stamp:
            return str(kept["sha256"])
    digest = _read(path)
    after = path.stat()
    if (after.st_size, after.st_mtime_ns) == (about.st_size, about.st_mtime_ns) and time.time() - about.st_mtime > SETTLED:
        with suppress(OSError):
            write_whole(note, json.dumps({"stamp": stamp, "sha256": digest}).encode())
    return digest


def _read(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
