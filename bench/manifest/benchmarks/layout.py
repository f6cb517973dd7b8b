"""What the layouts of published sets share: JSON and CSV files, tables, and masks in their several codes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.errors import ManifestError
from bench.manifest.benchmarks.base import Benchmark, Copy, Values
from bench.manifest.pictures import PictureFile, read_header, read_rgb
from bench.manifest.tables import content_of, read_columns
from bench.suggest import kind_of
from editors.toolbox.files import MOST_BYTES, read_regular

__all__ = [
    "STANDS_IN",
    "Tabular",
    "brought_to",
    "coded_mask",
    "entries_of",
    "inside",
    "read_csv",
    "read_json",
    "read_text",
    "run_lengths",
    "table",
    "turn_of",
]

STANDS_IN = (
    "the instruction, which stands in: the set has no caption of the edit, and a CLIP score against an order is not the field's"
)
"""What a card says of target_text where a set has instructions alone."""
CODED_FOR = 512
"""Pixels on a side that masks in run lengths are coded for."""


Kind = TypeVar("Kind", list[Any], dict[str, Any])


def read_text(copy: Copy, *names: str) -> tuple[Path, str]:
    """The first of several files, seen from the set's folder, and its text; UTF-8 with or without a mark.

    Raises ManifestError that says what was expected and what the folder holds instead.
    """
    for name in names:
        file = copy.folder / name
        if file.is_file():
            try:
                return file, read_regular(file, MOST_BYTES).decode("utf-8-sig")
            except (OSError, UnicodeDecodeError) as error:
                raise ManifestError(f"{file}: cannot be read as UTF-8 text: {error}") from error
    near = [file for name in names for file in (*copy.folder.glob(f"*/{name}"), copy.folder.parent / name) if file.is_file()]
    advice = f"; root={near[0].parent} has {near[0].name}" if near else ""
    raise ManifestError(
        f"{copy.folder}: expected {' or '.join(names)} of {copy.ref.benchmark}, found {content_of(copy.folder)}{advice}"
    )


def read_json(copy: Copy, kind: type[Kind], *names: str) -> tuple[Path, Kind]:
    """The first of several JSON files and its content, a list or a mapping. Raises ManifestError."""
    file, text = read_text(copy, *names)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{file}: not JSON: {error}") from error
    if not isinstance(content, kind):
        raise ManifestError(
            f"{file}: expected a {kind.__name__}, got {kind_of(content)}; another version of {copy.ref.benchmark}?"
        )
    return file, content


def read_csv(copy: Copy, *names: str, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """The rows of a CSV file with a header that has at least `columns`. Raises ManifestError."""
    file, text = read_text(copy, *names)
    reader = csv.DictReader(io.StringIO(text, newline=""))
    absent = [column for column in columns if column not in (reader.fieldnames or ())]
    if absent:
        raise ManifestError(f"{file}: no column {', '.join(absent)}; it has {', '.join(reader.fieldnames or ()) or 'none'}")
    yield from reader


def table(copy: Copy, columns: Mapping[str, str], split: str | None = None, subset: str | None = None) -> Iterator[Values]:
    """The rows of a data set on the hub, or of a folder laid out like it, with `columns`: a name of ours to one of theirs.

    Pictures that stand in the table come as `PictureFile`s whose bytes stay in it until they are read. Raises ManifestError.
    """
    where = str(copy.root) if copy.root else copy.ref.hub or ""
    yield from read_columns(where, columns, split=split or copy.split, subset=subset, revision=copy.ref.revision)


class Tabular(Benchmark):
    """A set whose table has one row a sample: the card's fields are its columns, the instruction stands in where the card says so,
    and rows without an id are numbered."""

    def rows(self, copy: Copy) -> Iterator[Values]:
        columns = {ours: theirs for ours, theirs in self.card.fields.items() if theirs != STANDS_IN}
        within = self.card.splits[copy.split].within
        for number, row in enumerate(table(copy, columns, split=within or None), 1):
            own = {} if "target_text" in columns else {"target_text": row["instruction"]}
            yield {"id": f"{number:06d}", **own, **row}


def entries_of(file: Path | str, content: object, *fields: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Key and entry of a JSON mapping, or number from 1 and entry of a list, whose entries have `fields`.

    Raises ManifestError that names file, key and field.
    """
    items = {str(number): entry for number, entry in enumerate(content, 1)} if isinstance(content, list) else content
    if not isinstance(items, dict):
        raise ManifestError(f"{file}: expected entries with {', '.join(fields)}, got {kind_of(content)}")
    for key, entry in items.items():
        if not isinstance(entry, dict):
            raise ManifestError(f"{file} '{key}': expected {', '.join(fields)}, got {kind_of(entry)}")
        absent = [field for field in fields if field not in entry]
        if absent:
            raise ManifestError(f"{file} '{key}': no {', '.join(absent)}; it has {', '.join(entry)}")
        yield key, entry


def inside(copy: Copy, path: str) -> PictureFile:
    """The picture of a path that stays in the set's folder. Raises ManifestError where it does not."""
    found = (copy.folder / path).resolve()
    if not found.is_relative_to(copy.folder.resolve()):
        raise ManifestError(f"{copy.folder}: {path} leaves the folder")
    return PictureFile(path, path=found)


def turn_of(session: object, turn: object) -> dict[str, object]:
    """What tells a turn, numbered from 1, of a session: id, category, cluster, and the id of the turn before, None for a first."""
    before = int(str(turn)) - 1
    previous = f"{session}-{before}" if before else None
    return {"id": f"{session}-{turn}", "category": f"turn {turn}", "cluster": session, "previous": previous}


def brought_to(picture: PictureFile, other: PictureFile) -> PictureFile:
    """`picture` at the size of `other`, by Lanczos' filter and without regard to aspect, where it has another one."""

    def fetch() -> bytes:
        header, wanted = read_header(picture), read_header(other)
        if header.size == wanted.size:
            return picture.read()
        pixels = Image.fromarray(read_rgb(picture)).resize((wanted.width, wanted.height), Image.Resampling.LANCZOS)
        return f"P6 {wanted.width} {wanted.height} 255\n".encode() + pixels.tobytes()

    return PictureFile(picture.label, fetch=fetch)


def run_lengths(code: str | Sequence[object], height: int, width: int, *, base: int, place: str) -> NDArray[np.bool_]:
    """A mask (height, width) from start, length pairs over its rows; `base` is the number of the first pixel, 0 or 1.

    Lengths that leave the picture are cut, as published readers do. Raises ManifestError that names `place`.
    """
    try:
        numbers = np.array([int(str(each)) for each in (code.split() if isinstance(code, str) else code)], dtype=np.int64)
        starts, lengths = numbers.reshape(-1, 2).T
    except (ValueError, TypeError):
        raise ManifestError(f"{place}: expected pairs of start and length, got {kind_of(code)}") from None
    if numbers.size and (starts.min() < base or starts.max() >= height * width + base or lengths.min() < 0):
        raise ManifestError(
            f"{place}: starts from {starts.min()} to {starts.max()} do not fit {width}x{height} pixels from {base} on"
        )
    edges = np.zeros(height * width + 1, dtype=np.int64)
    np.add.at(edges, starts - base, 1)
    np.add.at(edges, np.minimum(starts - base + lengths, height * width), -1)
    return (np.cumsum(edges[:-1]) > 0).reshape(height, width)


def coded_mask(code: str | Sequence[object], *, base: int, place: str, ring: bool = False) -> PictureFile:
    """The mask that run lengths over 512 x 512 pixels code, as a picture; `ring` adds the border pixels, whatever they say.

    Plain PGM, whose bytes no library's version moves. Raises ManifestError that names `place`, whose last word is the label.
    """
    mask = run_lengths(code, CODED_FOR, CODED_FOR, base=base, place=place)
    if ring:
        mask[[0, -1], :] = mask[:, [0, -1]] = True
    content = f"P5 {CODED_FOR} {CODED_FOR} 255\n".encode() + (mask.astype(np.uint8) * 255).tobytes()
    return PictureFile(place.rpartition(" ")[2], fetch=lambda: content)
