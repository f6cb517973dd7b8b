"""Sidecars: what a manifest lacks, written beside it by a network or a person, with who wrote it.

A JSONL file. The first line says what it holds and who made it, every other line is a row for one sample:

    {"sidecar": 1, "field": "source_text", "by": "caption", "model": "...", "digest": "...", "prompt": "..."}
    {"id": "...", "picture": "<16 hex of the picture's file>", "source_text": "...", "written": "<16 hex of the value>"}

A person may edit a value or add a row: a value that is no longer what was `written` is told as edited. The field is `source_text`,
`target_class`, which no command writes, or `mask`, whose value is the name of a PNG file beside the sidecar and whose `written` is of that
file. A sample's own value always wins.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.errors import ManifestError
from bench.manifest.pictures import PictureError, PictureFile, Policy, read_header
from bench.manifest.rows import SampleRow
from bench.suggest import did_you_mean, kind_of
from editors.toolbox.files import MOST_BYTES, expanded, read_regular

__all__ = ["FIELDS", "Sidecar", "digest_of", "read_sidecar"]

FIELDS = ("source_text", "mask", "target_class")
FORM = 1
EDITED = ", edited by a person"


@dataclass(frozen=True)
class Sidecar:
    """A sidecar as it lies there: its first line, and its rows by sample id."""

    file: Path
    head: Mapping[str, Any]
    rows: Mapping[str, Mapping[str, Any]]

    @property
    def field(self) -> str:
        """What it holds, one of `FIELDS`."""
        return str(self.head["field"])

    @property
    def maker(self) -> str:
        """Who wrote it, in words that stand in every record."""
        prompt = f", prompt {self.head['prompt']!r}" if self.head.get("prompt") else ""
        digest = f" ({str(self.head['digest'])[:12]})" if self.head.get("digest") else ""
        return f"{self.head.get('model') or 'a person'}{digest}{prompt}"

    @cached_property
    def content(self) -> str:
        """16 hex of the file: which state of it was read."""
        return digest_of(read_regular(self.file, MOST_BYTES))

    def fill(self, rows: Sequence[SampleRow], policy: Policy) -> tuple[list[SampleRow], str]:
        """The rows with what they lack filled in, and in words how many were and by whom.

        Raises ManifestError where a row is for no sample or for another picture, or its mask cannot be read or does not fit.
        """
        known = {row.id for row in rows}
        for name in self.rows:
            if name not in known:
                raise ManifestError(f"{self.file}: a row for '{name}', which is no sample; {did_you_mean(name, known)}")
        filled = [self._filled(row, policy) if self._open(row) else row for row in rows]
        mine = [row.provenance[self.field] for row in filled if self.field in row.provenance]
        edited = sum(text.endswith(EDITED) for text in mine)
        without = sum(self._lacks(row) for row in filled)
        said = [f"{self.field} of {len(mine)} of {len(rows)} samples from a sidecar by {self.maker}"]
        said += [f"{edited} edited by a person"] if edited else []
        said += [f"{without} still without"] if without else []
        return filled, f"{', '.join(said)}; sidecar {self.content}"

    def _open(self, row: SampleRow) -> bool:
        return self._lacks(row) and self.rows.get(row.id, {}).get(self.field) is not None

    def _lacks(self, row: SampleRow) -> bool:
        return getattr(row, self.field) is None

    def _filled(self, row: SampleRow, policy: Policy) -> SampleRow:
        own = self.rows[row.id]
        place = f"{self.file} (id '{row.id}')"
        if own.get("picture") not in (None, digest_of(row.image.read())):
            raise ManifestError(f"{place}: was written for another picture; write the sidecar anew")
        value, written = own[self.field], own.get("written")
        if not isinstance(value, str) or not value.strip():
            raise ManifestError(f"{place}: {self.field}: expected a text, got {kind_of(value)}")
        if self.field == "mask":
            return self._masked(row, value, place, written)
        filled = replace(row, source_text=policy.text(value)) if self.field == "source_text" else replace(row, target_class=value)
        return self._told(filled, digest_of(value.encode()) == written)

    def _masked(self, row: SampleRow, name: str, place: str, written: object) -> SampleRow:
        path = (self.file.parent / name).resolve()
        if not path.is_relative_to(self.file.parent.resolve()):
            raise ManifestError(f"{place}: mask: '{name}' leaves the sidecar's folder")
        mask = PictureFile(name, path=path)
        try:
            header = read_header(mask)
            same = digest_of(mask.read()) == written
        except PictureError as error:
            raise ManifestError(f"{place}: mask: {error}") from error
        if header.size != row.header.size:
            raise ManifestError(f"{place}: mask: expected the size of the picture, {row.header.size}, got {header.size}")
        return self._told(replace(row, mask=mask, mask_header=header), same)

    def _told(self, row: SampleRow, as_written: bool) -> SampleRow:
        by_hand = as_written or not self.head.get("model")
        words = f"{self.maker}{'' if by_hand else EDITED}"
        return replace(row, provenance={**row.provenance, self.field: words})


def digest_of(content: bytes) -> str:
    """16 hex of the sha256."""
    return hashlib.sha256(content).hexdigest()[:16]


def read_sidecar(path: str | Path) -> Sidecar:
    """Raises ManifestError where there is no such file, or it is no sidecar."""
    file = expanded(path)
    try:
        lines = read_regular(file, MOST_BYTES).decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{file}: no sidecar can be read there: {error}; `etabench caption` writes one") from error
    found = [(number, _line(file, number, line)) for number, line in enumerate(lines, 1) if line.strip()]
    head = found[0][1] if found else {}
    if head.get("sidecar") != FORM or head.get("field") not in FIELDS:
        raise ManifestError(
            f"{file}: expected a first line with sidecar: {FORM} and a field of {', '.join(FIELDS)}, got {kind_of(head)}"
        )
    rows: dict[str, Mapping[str, Any]] = {}
    for number, row in found[1:]:
        name = row.get("id")
        if not isinstance(name, str) or name in rows:
            raise ManifestError(f"{file} line {number}: id: expected one of its own, got {kind_of(name)}")
        rows[name] = row
    return Sidecar(file, head, rows)


def _line(file: Path, number: int, line: str) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{file} line {number}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ManifestError(f"{file} line {number}: expected a mapping, got {kind_of(content)}")
    return content
