"""Where a manifest lies and in which layout: our JSONL and TEdBench's list are read here, tables in ``manifest_tables``.

A row still holds what the source says, right or wrong; ``manifest_rows`` judges it. Only what makes a source unreadable as a
whole raises here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import data_manifests
from bench.errors import ManifestError
from bench.manifest.benchmarks import read_benchmark
from bench.manifest.rows import RawRow, Source
from bench.manifest.tables import read_hub, read_parquet
from bench.spec import MANIFEST_FIELDS, ManifestRef
from bench.spec.text import is_there, manifest_shorthand
from bench.suggest import did_you_mean, kind_of
from editors.toolbox.files import find_file, text_of

__all__ = ["as_ref", "read_source"]

_JSONL_COLUMNS = {name: name for name in MANIFEST_FIELDS} | {
    "image": "file_name",
    "mask": "mask_file_name",
    "truth": "truth_file_name",
}
_LAYOUTS = (
    "expected a folder with metadata.jsonl, input_list.json (TEdBench) or parquet files, or a .jsonl, .json or .parquet file"
)


def as_ref(ref: str | Path | ManifestRef) -> ManifestRef:
    """The long form of a manifest given by its shipped name or its path."""
    if isinstance(ref, ManifestRef):
        return ref
    text = text_of(str(ref))
    if not text:
        raise ManifestError("no manifest given; name a shipped one, a folder or a file")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ManifestError(f"{text!a}: not a name in UTF-8; rename it")
    if text not in data_manifests.names() and is_there(_found(text)):
        return ManifestRef(path=text)
    return ManifestRef.model_validate(manifest_shorthand(text))


def read_source(ref: ManifestRef, *, partial: bool = False) -> Source:
    """Find and read the rows that ``ref`` names; ManifestError when there is no such manifest or it cannot be read at all.

    ``partial`` takes a published benchmark of which rows are missing.
    """
    if ref.benchmark is not None:
        return read_benchmark(ref, partial=partial)
    if ref.hub is not None:
        return read_hub(ref, ref.hub)
    if ref.name is not None:
        if ref.name not in data_manifests.names():
            known = did_you_mean(ref.name, data_manifests.names())
            raise ManifestError(
                f"no shipped manifest '{ref.name}'; {known or 'none is shipped'}; for a folder write ./{ref.name}"
            )
        folder = data_manifests.path(ref.name)
        return _jsonl(ref, folder / "metadata.jsonl", ref.name)
    return _local(ref, _found(ref.path or ""))


def _found(text: str) -> Path:
    """The file or folder that a path names, however it is spelled."""
    path = Path(text).expanduser()
    try:
        return find_file(Path(), str(path))
    except ValueError:
        return path


def _local(ref: ManifestRef, path: Path) -> Source:
    if not is_there(path):
        hint = f"; for a hub dataset write {{hub: {path}}}" if len(path.parts) == 2 and not path.is_absolute() else ""
        raise ManifestError(f"{text_of(str(path))}: no such manifest{hint}")
    if path.is_file():
        readers = {".jsonl": _jsonl, ".json": _tedbench, ".parquet": read_parquet}
        if path.suffix not in readers:
            raise ManifestError(f"{path}: not a manifest; {_LAYOUTS}")
        name = text_of(path.parent.resolve().name if path.name in ("metadata.jsonl", "input_list.json") else path.stem)
        return readers[path.suffix](ref, path, name)
    name = text_of(path.resolve().name)
    if (path / "metadata.jsonl").is_file():
        return _jsonl(ref, path / "metadata.jsonl", name)
    if (path / "input_list.json").is_file():
        return _tedbench(ref, path / "input_list.json", name)
    if any(path.rglob("*.parquet")):
        return read_parquet(ref, path, name)
    raise ManifestError(f"{path}: no manifest in this folder; {_LAYOUTS}")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ManifestError(f"{file}: cannot be read: {error.strerror or error}") from error


def _jsonl(ref: ManifestRef, file: Path, name: str) -> Source:
    columns = ref.columns or _JSONL_COLUMNS
    lines = _read(file).removeprefix(b"\xef\xbb\xbf").split(b"\n")
    rows = [_jsonl_row(i, line, columns, not ref.columns) for i, line in enumerate(lines, 1) if line.strip()]
    for ours, theirs in ref.columns.items():
        if rows and all(row.values.get(ours) is None for row in rows):
            raise ManifestError(f"{file}: no line has a value in '{theirs}', which the column mapping names for {ours}")
    return Source(name, text_of(str(file)), "line", columns, rows, (file.parent,), own_form=not ref.columns)


def _jsonl_row(number: int, line: bytes, columns: Mapping[str, str], own_form: bool) -> RawRow:
    try:
        record = json.loads(line.decode("utf-8"), object_pairs_hook=_no_repeats)
    except (ValueError, RecursionError) as error:
        return RawRow(number, problem=f"not a JSON object in UTF-8: {error}")
    if not isinstance(record, dict):
        return RawRow(number, problem=f"expected a JSON object, got {kind_of(record)}")
    values = {ours: record.get(theirs) for ours, theirs in columns.items()}
    return RawRow(number, values, tuple(sorted(record.keys() - set(columns.values()))) if own_form else ())


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key '{next(key for key in keys if keys.count(key) > 1)}' is there twice")
    return record


def _tedbench(ref: ManifestRef, file: Path, name: str) -> Source:
    """TEdBench as its authors publish it: a list of ``{img_name, target_text}`` beside the folder ``originals``."""
    columns = ref.columns or {"image": "img_name", "target_text": "target_text"}
    try:
        entries = json.loads(_read(file).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{file}: not JSON in UTF-8: {error}") from error
    if not isinstance(entries, list):
        raise ManifestError(f"{file}: expected a list of {{img_name, target_text}}, got {kind_of(entries)}")
    rows = []
    for i, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            rows.append(RawRow(i, problem=f"expected {{img_name, target_text}}, got {kind_of(entry)}"))
            continue
        values = {ours: entry.get(theirs) for ours, theirs in columns.items()}
        if "id" not in columns:
            values["id"] = f"{i:03d}-{Path(str(values['image'])).stem}"
        rows.append(RawRow(i, values))
    return Source(name, text_of(str(file)), "entry", columns, rows, (file.parent / "originals",))
