"""Edits made elsewhere, as they lie in a folder or in a parquet file: which there are, what they contain, and their pictures."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from string import Formatter
from typing import Any

from editors.task import EditorError, Image, MissingInput
from editors.toolbox.files import MOST_BYTES, expanded, find_file, text_of
from editors.toolbox.pictures import opened, read_picture_file, to_rgb

__all__ = ["Delivered", "Delivery", "open_delivery", "read_picture"]

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_COLUMNS = "sample_id (text), value (number, may be absent) and image (bytes, a struct of bytes and path, or a path)"


@dataclass(frozen=True)
class Delivered:
    """One delivered picture, not decoded yet. ``place`` is what messages call it."""

    place: str
    fetch: Callable[[], bytes]
    sha256: str
    """Of its bytes when it was found; empty where it could not be read then."""

    def read(self) -> bytes:
        """Its bytes; ``EditorError`` where they are gone or other than they were."""
        data = self.fetch()
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise EditorError(f"{self.place}: changed since it was found; run again")
        return data


@dataclass(frozen=True)
class Delivery:
    """All pictures of one method. ``digest`` is the sha256 over what they are called and contain, wherever they lie."""

    pictures: Mapping[tuple[str, str], Delivered]
    """By sample id and knob value, the latter as ``key`` writes it; without a knob it is empty."""
    values: tuple[float, ...]
    """All knob values, ascending; empty where the delivery has no knob."""
    digest: str

    def find(self, sample_id: str, value: float) -> Delivered | None:
        """The picture of a sample at a knob value, or None; accents in the id may be composed (NFC) or not (NFD)."""
        place = key(value) if self.values else ""
        ids = (sample_id, unicodedata.normalize("NFC", sample_id), unicodedata.normalize("NFD", sample_id))
        return next((found for each in ids if (found := self.pictures.get((each, place)))), None)


def key(value: float) -> str:
    """A knob value as text, so that 0.5, 0.50 and 5e-1 are one."""
    return f"{value + 0.0:.9g}"


def open_delivery(path: str, pattern: str) -> Delivery:
    """The pictures in a folder, found by ``pattern``, or in a parquet file. Nothing is decoded; what is unchanged is read once.

    Raises ``MissingInput`` where there is no such place or nothing in it, ``EditorError`` where two pictures claim one place.
    """
    place = find_file(Path(), str(expanded(path)))
    if not path or not place.exists():
        raise MissingInput(f"path: expected a folder or a parquet file of edits, got {path!r}, which does not exist")
    if place.is_dir():
        files = tuple((file, *_stamp(file)) for file in sorted(place.rglob("*")) if file.is_file())
        return _of_folder(place, pattern, files)
    if place.suffix != ".parquet" or not place.is_file():
        raise MissingInput(f"path: expected a folder or a file that ends in .parquet, got {path!r}")
    return _of_parquet(place)


def read_picture(delivered: Delivered) -> tuple[Image, str]:
    """The picture, upright, (H, W, 3) uint8 RGB with transparent pixels over white, and its file format.

    Raises ``EditorError`` naming the file where it cannot be read, or has a depth without an agreed brightness.
    """
    data = delivered.read()
    with opened(data, delivered.place) as image:
        kind = image.format or ""
    return to_rgb(data, delivered.place), kind


def _stamp(file: Path) -> tuple[int, int]:
    about = file.stat()
    return about.st_size, about.st_mtime_ns


@cache
def _sha256(file: Path, size: int, changed: int) -> str:
    if size > MOST_BYTES:
        return ""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _pattern(pattern: str) -> re.Pattern[str]:
    """The paths that a pattern like ``{sample_id}/{value}.png`` stands for; ``*`` is any part of a name."""
    parts = []
    try:
        for text, name, _, _ in Formatter().parse(pattern):
            parts.append(re.escape(text).replace(r"\*", "[^/]*"))
            if name is not None:
                parts.append({"sample_id": "(?P<sample_id>.+)", "value": f"(?P<value>{_NUMBER})"}[name])
        found = re.compile("".join(parts))
    except (KeyError, ValueError, re.error) as error:
        raise EditorError(
            f"pattern: expected a path with {{sample_id}} and perhaps {{value}}, each once, got {pattern!r}"
        ) from error
    if "sample_id" not in found.groupindex:
        raise EditorError(f"pattern: {pattern!r} has no {{sample_id}}, so no picture could be told from another")
    return found


@lru_cache(maxsize=8)
def _of_folder(folder: Path, pattern: str, files: tuple[tuple[Path, int, int], ...]) -> Delivery:
    form, composed, found = _pattern(pattern), _pattern(unicodedata.normalize("NFC", pattern)), []
    for file, size, changed in files:
        name = text_of(file.relative_to(folder).as_posix())
        if match := form.fullmatch(name) or composed.fullmatch(unicodedata.normalize("NFC", name)):
            value = float(match["value"]) if "value" in form.groupindex else None
            found.append(
                (
                    match["sample_id"],
                    value,
                    Delivered(str(file), partial(read_picture_file, file, str(file)), _sha256(file, size, changed)),
                )
            )
    if not found and "\\" in pattern:
        return _of_folder(folder, pattern.replace("\\", "/"), files)
    if not found:
        example = f", such as {files[0][0].relative_to(folder).as_posix()}" if files else ""
        raise MissingInput(
            f"path: none of the {len(files)} files in {folder}{example} fits the pattern {pattern!r}; give `pattern`"
        )
    return _delivery(found)


def _of_parquet(file: Path) -> Delivery:
    dataset, cells = _table(file, _stamp(file))
    found = []
    for number, cell in enumerate(cells):
        place = f"{file} row {number + 1}"
        if cell.sample_id is None:
            raise EditorError(f"{place}: sample_id is missing")
        if cell.path is None:
            read, sha256 = partial(_bytes, dataset, number, place), cell.sha256
        else:
            read = partial(_beside, file, cell.path, place)
            beside = find_file(file.parent, cell.path)
            sha256 = _sha256(beside, *_stamp(beside)) if beside.is_file() else ""
        found.append((cell.sample_id, cell.value, Delivered(place, read, sha256)))
    return _delivery(found)


@dataclass(frozen=True)
class _Cell:
    """A row of the table: bytes are hashed and left where they are, a path is kept."""

    sample_id: str | None
    value: float | None
    sha256: str
    path: str | None


@lru_cache(maxsize=8)
def _table(file: Path, stamp: tuple[int, int]) -> tuple[Any, list[_Cell]]:
    import pyarrow as pa
    import pyarrow.dataset

    try:
        dataset = pyarrow.dataset.dataset(file, format="parquet")
        names = dataset.schema.names
        if not {"sample_id", "image"} <= set(names):
            raise EditorError(f"{file}: expected the columns {_COLUMNS}, got {', '.join(names)}")
        columns = [name for name in ("sample_id", "value", "image") if name in names]
        rows = [_cell(row) for batch in dataset.to_batches(columns=columns, batch_size=64) for row in batch.to_pylist()]
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        raise EditorError(f"{file}: cannot be read as a table of edits: {' '.join(str(error).split())[:200]}") from error
    if not rows:
        raise MissingInput(f"{file}: the table has no rows")
    return dataset, rows


def _cell(row: Mapping[str, Any]) -> _Cell:
    image, value, sample_id = _content(row["image"]), row.get("value"), row["sample_id"]
    return _Cell(
        sample_id=None if sample_id is None else str(sample_id),
        value=None if value is None else float(value),
        sha256=hashlib.sha256(image).hexdigest() if isinstance(image, bytes) else "",
        path=image if isinstance(image, str) else None,
    )


def _content(cell: Any) -> bytes | str | None:
    """What an image cell holds: bytes, a path, or nothing."""
    if isinstance(cell, dict):
        cell = cell.get("bytes") or cell.get("path")
    return cell if isinstance(cell, bytes | str) and cell else None


def _bytes(dataset: Any, number: int, place: str) -> bytes:
    image = _content(dataset.take([number], columns=["image"]).to_pylist()[0]["image"])
    if not isinstance(image, bytes):
        raise EditorError(f"{place}: image: expected bytes or a path, got nothing")
    return image


def _beside(file: Path, path: str, place: str) -> bytes:
    picture = find_file(file.parent, path).resolve()
    if not picture.is_relative_to(file.parent.resolve()):
        raise EditorError(f"{place}: image: {path!r} leaves the folder of the table; give a path within it")
    if not picture.is_file():
        raise EditorError(f"{place}: image: no such file: {picture}")
    return read_picture_file(picture, f"{place}: image")


def _delivery(found: list[tuple[str, float | None, Delivered]]) -> Delivery:
    values = tuple(sorted({value for _, value, _ in found if value is not None}))
    pictures: dict[tuple[str, str], Delivered] = {}
    for sample_id, value, delivered in found:
        if (value is None) == bool(values):
            raise EditorError(f"{delivered.place}: has no knob value, while others have one")
        place = (sample_id, "" if value is None else key(value))
        if place in pictures:
            raise EditorError(f"{delivered.place}: the same sample and knob value as {pictures[place].place}; remove one")
        pictures[place] = delivered
    contents = sorted((*place, delivered.sha256) for place, delivered in pictures.items())
    return Delivery(pictures, values, hashlib.sha256(repr(contents).encode()).hexdigest())
