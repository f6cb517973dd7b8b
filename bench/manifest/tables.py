"""Manifests that are tables: local parquet files and datasets of the hub, both read through ``datasets``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.errors import ManifestError
from bench.manifest.pictures import PictureFile
from bench.manifest.rows import RawRow, Source
from bench.spec import MANIFEST_FIELDS, ManifestRef
from bench.suggest import did_you_mean
from editors.toolbox.files import cache_folder, expanded, text_of
from editors.toolbox.hub import HubError, Repository, known_reason

__all__ = ["content_of", "hub_caches", "hub_repository", "read_columns", "read_hub", "read_parquet"]

_PICTURES = ("image", "mask", "truth")
_TEDBENCH = {"original_image", "caption", "edited_image"}
"""TEdBench's columns on the hub; edited_image is the output of Imagic, not a ground truth."""


def read_parquet(ref: ManifestRef, path: Path, name: str) -> Source:
    """One parquet file, or all in a folder; pictures are structs of bytes and path, or plain bytes."""
    files = [path] if path.is_file() else sorted(_regular(path, "*.parquet"))
    folder = path.parent if path.is_file() else path
    table = _load(str(path), "parquet", data_files={"rows": [str(file) for file in files]}, split="rows", local=files)
    return Source(name, text_of(str(path)), "row", *_table(ref, table, str(path)), (folder,))


def read_hub(ref: ManifestRef, hub: str) -> Source:
    """A dataset of the hub, or a local folder laid out like one."""
    folder = expanded(hub)
    local = sorted(_regular(folder, "*")) if folder.is_dir() else None
    if local is None and hub.startswith((".", "/", "~")):
        raise ManifestError(f"{hub}: no such dataset folder")
    place = f"{hub}@{ref.revision}" if ref.revision else hub
    where = str(folder) if local is not None else hub
    table = _load(place, where, ref.subset, revision=ref.revision, split=ref.split, local=local)
    if isinstance(table, dict):
        if len(table) > 1:
            raise ManifestError(f"{place}: the dataset has the splits {', '.join(table)}; say which one with split")
        table = next(iter(table.values()))
    name, roots = (hub, hub_caches()) if local is None else (folder.resolve().name, (folder,))
    return Source(name, place, "row", *_table(ref, table, place), roots, absolute_paths=True)


def hub_repository(ref: ManifestRef) -> Repository | None:
    """The dataset of the hub that ``read_hub`` would read, at its commit; None where it would be a folder, or ``ref`` names none.

    Raises ManifestError.
    """
    if ref.hub is None or expanded(ref.hub).is_dir() or ref.hub.startswith((".", "/", "~")):
        return None
    try:
        return Repository(ref.hub, ref.revision or "main", kind="dataset").pinned()
    except HubError as error:
        raise ManifestError(str(error)) from None


def _regular(folder: Path, pattern: str) -> Iterator[Path]:
    """The files of a folder; ManifestError for a pipe or a device, which would be waited for."""
    for path in folder.rglob(pattern):
        if path.is_file():
            yield path
        elif path.exists() and not path.is_dir():
            raise ManifestError(f"{path}: a pipe, a device or a socket among the files of the dataset; remove it")


def read_columns(
    where: str, columns: Mapping[str, str], *, split: str, subset: str | None = None, revision: str | None = None
) -> Iterator[dict[str, object]]:
    """The rows of a dataset of the hub, or of a folder laid out like one, with ``columns``: a name of ours to one of theirs.

    Such a folder holds parquet files, or pictures beside a ``metadata.jsonl`` or ``metadata.csv``.
    """
    folder = Path(where)
    local = sorted(_regular(folder, "*")) if folder.is_dir() else None
    if local is not None and not any(file.suffix == ".parquet" or file.stem == "metadata" for file in local):
        raise ManifestError(
            f"{where}: no parquet files in this folder, and no metadata beside pictures; it holds {content_of(folder)}"
        )
    table = _load(where, where, subset, revision=revision, split=split, local=local)
    for theirs in columns.values():
        if theirs not in table.column_names:
            raise ManifestError(f"{where}: no column '{theirs}'; it has {', '.join(table.column_names)}")
    yield from (dict(row.values) for row in _raw_rows(table, columns))


def content_of(folder: Path) -> str:
    """What a folder holds, in a few words: `a.json, b and 3 more`, or `nothing`."""
    found = sorted(each.name for each in folder.iterdir())
    return ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "") or "nothing"


def _load(place: str, *args: Any, local: list[Path] | None, **kwargs: Any) -> Any:
    """``datasets.load_dataset`` without progress bars; local files are cached apart, by path, size and time of change."""
    import datasets

    cache = None
    if local is not None:
        stamp = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in local]
        cache = str(cache_folder("datasets") / hashlib.sha256(json.dumps(stamp).encode()).hexdigest()[:24])
    try:
        with _quiet():
            return datasets.load_dataset(*args, cache_dir=cache, **kwargs)
    except Exception as error:
        cause = error.__cause__ or error
        asked = Repository(str(args[0]), kwargs.get("revision") or "main", kind="dataset")
        why = ("" if local else known_reason(error, asked)) or " ".join(str(cause).split())[:300]
        raise ManifestError(f"{place}: the dataset cannot be loaded: {why}") from error


def hub_caches() -> tuple[Path, ...]:
    """The folders in which the hub's libraries keep what they fetched."""
    import datasets
    import huggingface_hub.constants

    return Path(huggingface_hub.constants.HF_HUB_CACHE), Path(datasets.config.HF_CACHE_HOME)


@contextmanager
def _quiet() -> Iterator[None]:
    """Neither bars nor log: what ``datasets`` logs of a table that it cannot read stands in what it raises."""
    import datasets

    shown, told = not datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    try:
        yield
    finally:
        datasets.logging.set_verbosity(told)
        if shown:
            datasets.enable_progress_bars()


def _table(ref: ManifestRef, table: Any, place: str) -> tuple[dict[str, str], list[RawRow]]:
    """Our field to their column, and the rows."""
    columns = _table_columns(ref, table.column_names, place)
    return columns, _raw_rows(table, columns)


def _raw_rows(table: Any, columns: Mapping[str, str]) -> list[RawRow]:
    pictures = {ours: theirs for ours, theirs in columns.items() if ours in _PICTURES}
    raw = {ours: _undecoded(table, theirs) for ours, theirs in pictures.items()}
    texts = {ours: _texts(table, theirs) for ours, theirs in columns.items() if ours not in pictures}
    rows = []
    for i in range(len(table)):
        values: dict[str, object] = {ours: column[i] for ours, column in texts.items()}
        values |= {ours: _cell(column, i, pictures[ours]) for ours, column in raw.items()}
        rows.append(RawRow(i + 1, values))
    return rows


def _table_columns(ref: ManifestRef, present: list[str], place: str) -> dict[str, str]:
    """Our field to their column; ManifestError when a mapping does not fit or is needed."""
    if ref.columns:
        for ours, theirs in ref.columns.items():
            if theirs not in present:
                raise ManifestError(f"{place}: no column '{theirs}' for {ours}; {did_you_mean(theirs, present)}")
        if set(present) >= _TEDBENCH and ref.columns.get("truth") == "edited_image":
            raise ManifestError(f"{place}: edited_image is the output of Imagic, not a ground truth; leave truth unmapped")
        return dict(ref.columns)
    if set(present) == _TEDBENCH:
        return {"image": "original_image", "target_text": "caption"}
    columns = {name: name for name in present if name in MANIFEST_FIELDS}
    unknown = [name for name in present if name not in MANIFEST_FIELDS]
    if unknown or not {"image", "target_text"} <= columns.keys():
        raise ManifestError(
            f"{place}: columns {', '.join(present)} are not those of a manifest; "
            "map them, such as columns: {image: ..., target_text: ...}"
        )
    return columns


def _texts(table: Any, column: str) -> list[Any]:
    """All values of a column, class labels by their names."""
    import datasets

    values = list(table[column])
    feature = table.features[column]
    if isinstance(feature, datasets.ClassLabel):
        return [None if value is None else feature.int2str(value) for value in values]
    return values


def _undecoded(table: Any, column: str) -> Any:
    import datasets

    table = table.select_columns([column])
    is_picture = isinstance(table.features[column], datasets.Image)
    return table.cast_column(column, datasets.Image(decode=False)) if is_picture else table


def _cell(table: Any, row: int, column: str) -> object:
    """The picture of one row: bytes stay in the table until they are asked for."""
    value = table[row][column]
    if isinstance(value, bytes):
        return PictureFile(column, fetch=lambda: bytes(table[row][column]))
    if isinstance(value, dict) and value.keys() == {"bytes", "path"}:
        if value["bytes"] is None:
            return value["path"]
        return PictureFile(value["path"] or column, fetch=lambda: bytes(table[row][column]["bytes"]))
    return value
