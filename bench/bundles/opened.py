"""A stranger's bundle, opened: taken apart in a folder of its own, where it can be read as the run that it was.

Names and sizes are judged before anything is read (`bench.bundles.layout`), and every file is held against the list. What is read then goes
through the same checks as any run folder's files. No code that it names is imported, and no file or manifest that it names is opened.
"""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bench.bundles.layout import LISTING, MOST_BYTES, PLANS, TABLES, Listing, is_picture, members_of
from bench.errors import BundleError, ManifestError, RunError
from bench.store import Run
from bench.store.shapes import read_as

if TYPE_CHECKING:
    from bench.manifest import Manifest

__all__ = ["Bundle", "BundledRun", "is_bundle", "opened"]

CHUNK = 1 << 20
MOST_ROWS = 50_000_000
MOST_IN_MEMORY = 4 << 30
"""Bytes of a table before it was encoded: a small parquet file can claim any number of rows."""


class BundledRun(Run):
    """The run in a bundle. Its manifest is not opened: it may name files of this machine."""

    @cached_property
    def manifest(self) -> Manifest:
        raise ManifestError("a bundle's manifest is not opened")


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: `digest` is the SHA-256 of its list, `flaws` what of its files is not as the list says, a phrase each."""

    run: BundledRun
    listing: Listing
    digest: str
    flaws: Sequence[str]


def is_bundle(path: Path) -> bool:
    """Whether a path is that of a file, and thus no run folder."""
    return path.is_file()


@contextmanager
def opened(path: Path, *, pictures: bool = True) -> Iterator[Bundle]:
    """The bundle at `path`, for the time of the block; without `pictures` these are left in the archive and not looked at.

    Raises BundleError for what is no bundle, or none that may be opened.
    """
    with tempfile.TemporaryDirectory(prefix="etabench-bundle-") as folder:
        yield _taken_apart(path, Path(folder), pictures)


def _taken_apart(path: Path, folder: Path, pictures: bool) -> Bundle:
    try:
        if not path.exists():
            raise BundleError(f"there is no bundle at {path}")
        if path.is_dir():
            raise BundleError(f"{path} is a folder, and a bundle is one file: `etabench pack {path}` makes it of a run")
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            raise BundleError(f"{path} is no bundle: expected a file of at most {MOST_BYTES >> 30} GiB")
        with zipfile.ZipFile(path) as archive:
            heads = members_of(path, archive)
            found = {
                head.filename: _extract(archive, head, folder) for head in heads if pictures or not is_picture(head.filename)
            }
        listing = read_as(folder / LISTING, Listing, "it is no bundle of this version")
        _check_tables(path, folder)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RunError) as error:
        raise BundleError(f"{path} cannot be read as a bundle: {error}") from error
    present, digest = {head.filename for head in heads} - {LISTING}, found.pop(LISTING) or ""
    return Bundle(BundledRun(folder), listing, digest, list(_flaws(listing, present, found)))


def _extract(archive: zipfile.ZipFile, head: zipfile.ZipInfo, folder: Path) -> str | None:
    """The SHA-256 of a file, which lies below `folder` then; None where it differs from the archive's own checksum."""
    target, total = folder / head.filename, hashlib.sha256()
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as to:
        try:
            with archive.open(head) as stream:
                while chunk := stream.read(CHUNK):
                    total.update(chunk)
                    to.write(chunk)
        except (zipfile.BadZipFile, EOFError):
            return None
    return total.hexdigest()


def _flaws(listing: Listing, present: set[str], found: dict[str, str | None]) -> Iterator[str]:
    for name in sorted(listing.files.keys() | present):
        if name not in present:
            yield f"{name} is listed and not there"
        elif name not in listing.files:
            yield f"{name} is there and not listed"
        elif name in found and found[name] != listing.files[name].sha256:
            yield f"{name} differs from its digest"


def _check_tables(path: Path, folder: Path) -> None:
    """BundleError where a table would not fit: what its own head says is read before any row."""
    import pyarrow.parquet as pq
    from pyarrow import ArrowException

    for name in (*TABLES, *(plan for plan in PLANS[:1] if (folder / plan).is_file())):
        try:
            head = pq.read_metadata(folder / name)
            size = sum(head.row_group(i).total_byte_size for i in range(head.num_row_groups))
        except (ArrowException, OSError) as error:
            raise BundleError(f"{path}: {name} is no table ({type(error).__name__})") from error
        if head.num_rows > MOST_ROWS or size > MOST_IN_MEMORY:
            raise BundleError(f"{path}: {name} has {head.num_rows} rows and {size} bytes; that is more than is read")
