"""What lies in a bundle: a zip archive of files of a run under the names they have there, and a list of them.

    bundle.json            schema, who packed it, and SHA-256 and size of every other file
    spec.yaml environment.json manifest.json
    plan.parquet           or plan.json, of a run that was planned before there were others
    scores/                the tables of the pictures that the run has, and the cards of their metrics
    units/<key>/           record.json and, where pictures are in, the edits and what else the editor drew
    samples/<digest>/      where pictures are in: source, truth and mask as editors and metrics saw them

Every file is stored as it is, so that a bundle is as large as what it holds, and the same run gives the same bytes on every machine.
Nothing else may lie in it: no other name, no folder, no link, nothing compressed or encrypted.
"""

from __future__ import annotations

import re
import stat
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.errors import BundleError

__all__ = ["LISTING", "NEEDED", "PLANS", "TABLES", "FileEntry", "Listing", "is_picture", "members_of", "stored"]

LISTING = "bundle.json"
TABLES = tuple(f"scores/{name}.parquet" for name in ("pairs", "sets", "set_pairs"))
NEEDED = ("spec.yaml", "environment.json", "manifest.json", *TABLES, "scores/cards.json", "scores/failed.json")
PLANS = ("plan.parquet", "plan.json")
"""One of them is needed."""
_SEVERAL = re.compile(
    r"units/[0-9a-f]{24}/(?:record\.json|[^./\\:\x00-\x1f\x7f][^/\\:\x00-\x1f\x7f]*\.png)"
    r"|samples/[0-9a-f]{16,24}/(?:(?:source|truth|mask)\.png|sha256\.json)"
)
MOST_BYTES = 64 << 30
"""Largest bundle that is opened."""
MOST_IN_A_FILE = 1 << 30
LONGEST = 200
"""Bytes of a name, so that any file system holds it."""
SHOWN = 80


@dataclass(frozen=True)
class FileEntry:
    """What the list says of a file."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Listing:
    """`bundle.json`."""

    made_by: str
    pictures: bool
    files: dict[str, FileEntry]
    schema: Literal[1] = 1


def is_picture(name: str) -> bool:
    """Whether a file of a bundle is one that only the pictures bring."""
    return name.startswith("samples/") or name.endswith(".png")


def stored(name: str) -> zipfile.ZipInfo:
    """The head of a file in a bundle: no time, no owner, nothing of the machine."""
    head = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    head.create_system, head.external_attr = 3, (stat.S_IFREG | 0o644) << 16
    return head


def members_of(path: Path, archive: zipfile.ZipFile) -> Sequence[zipfile.ZipInfo]:
    """The files of an archive that is a bundle by its heads. BundleError for one that holds what no bundle does."""
    heads = archive.infolist()
    seen: set[str] = set()
    for head in heads:
        if flaw := _flaw(head):
            raise BundleError(f"{path}: {head.filename[:SHOWN]!r} {flaw}; nothing of it is read")
        if head.filename.casefold() in seen:
            raise BundleError(f"{path}: {head.filename[:SHOWN]!r} is in it twice; nothing of it is read")
        seen.add(head.filename.casefold())
    if sum(head.file_size for head in heads) > path.stat().st_size:
        raise BundleError(f"{path}: its files are larger than it is; nothing of it is read")
    lacking = [name for name in (LISTING, *NEEDED) if name not in seen]
    lacking += [] if seen.intersection(PLANS) else PLANS[:1]
    if lacking:
        raise BundleError(f"{path} is no bundle: no {', '.join(lacking)}; make one with `etabench pack RUN`")
    return heads


def _flaw(head: zipfile.ZipInfo) -> str:
    name = head.filename
    if name not in (LISTING, *NEEDED, *PLANS) and not _SEVERAL.fullmatch(name):
        return "is no file of a bundle"
    if len(name.encode("utf-8", "replace")) > LONGEST:
        return f"has a name of more than {LONGEST} bytes"
    if stat.S_IFMT(head.external_attr >> 16) not in (0, stat.S_IFREG):
        return "is no plain file"
    if head.flag_bits & 1 or head.compress_type != zipfile.ZIP_STORED or head.compress_size != head.file_size:
        return "is compressed or encrypted"
    if head.file_size > MOST_IN_A_FILE:
        return f"has {head.file_size} bytes; a file of a bundle has {MOST_IN_A_FILE} at most"
    return ""
