"""The judgement of single rows: what a sample must have, and everything that is wrong with a row, found without decoding."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PureWindowsPath

from bench.manifest.pictures import Header, MaskChannel, PictureError, PictureFile, Policy, mask_levels, read_header
from bench.suggest import did_you_mean, kind_of, shortened
from editors.toolbox.files import find_file

__all__ = ["Examined", "Problem", "RawRow", "SampleRow", "Source", "examine", "sha256_of"]

_LABELS = ("source_class", "target_class", "category", "cluster", "previous")


@dataclass(frozen=True)
class RawRow:
    """One row as the source gives it, under our field names."""

    number: int
    """From 1; in a JSONL file the line."""
    values: Mapping[str, object] = field(default_factory=dict)
    """A picture is a PictureFile when its bytes are in the table, or else whatever stands in its place, such as a path."""
    unknown: tuple[str, ...] = ()
    """Keys that our form does not have."""
    problem: str = ""
    """Why the row could not be read at all."""


@dataclass(frozen=True)
class Source:
    """All rows of a manifest and how to speak of them."""

    name: str
    place: str
    """File or dataset that holds the rows, for messages."""
    row_word: str
    """``line`` or ``row`` or ``entry``."""
    columns: Mapping[str, str]
    """Our field to the name it has in the source."""
    rows: list[RawRow]
    roots: tuple[Path, ...]
    """Folders that pictures given by path must lie in; relative paths are seen from the first."""
    absolute_paths: bool = False
    """Whether a loader made the paths absolute."""
    own_form: bool = False
    """In our own form ids and labels are strings; elsewhere numbers are taken, and row numbers where no id is mapped."""
    strip_brackets: bool = False
    """Whether brackets in texts are markup, whatever the spec says."""
    stands_in: bool = False
    """Whether the set says that its instruction is the target text."""
    about: str = ""
    """What was found beside what a whole copy holds, in words; empty for what is not counted."""


@dataclass(frozen=True)
class Problem:
    """Something that makes a row unusable."""

    field: str
    """As the source names it; empty for the row as a whole."""
    message: str


@dataclass(frozen=True)
class SampleRow:
    """A row in order: its texts, and its pictures before they are decoded."""

    id: str
    row: int
    """From 1; in a JSONL file the line."""
    place: str
    """``metadata.jsonl line 3 (id 'x')``, for messages."""
    target_text: str
    """With the manifest's text policy applied."""
    raw_target_text: str
    source_text: str | None
    source_class: str | None
    target_class: str | None
    category: str | None
    image: PictureFile
    mask: PictureFile | None
    truth: PictureFile | None
    header: Header
    instruction: str | None = None
    mask_header: Header | None = None
    cluster: str | None = None
    """What samples share that are not independent; None where that is the source picture."""
    previous: str | None = None
    """Id of the turn before, in a session of several; None for a first turn."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Field to who wrote it, of what a sidecar gave."""

    @cached_property
    def mask_channel(self) -> MaskChannel | None:
        """Where the mask is read, None without one; a mask that may be transparent is decoded to know. PictureError."""
        if self.mask is None or self.mask_header is None:
            return None
        return mask_levels(self.mask)[1] if self.mask_header.transparent else "brightness"

    def content(self) -> dict[str, object]:
        """What determines an edit: id, texts as used, and the sha256 of each picture file (reads the files).

        Only a mask in the alpha channel is said to be one.
        """
        files = {"image": self.image, "mask": self.mask, "truth": self.truth}
        hashes: dict[str, object] = {name: file.digest() if file else None for name, file in files.items()}
        texts = {"target_text": self.target_text, "source_text": self.source_text}
        if self.instruction is not None:
            texts["instruction"] = self.instruction
        if self.mask_channel == "alpha":
            hashes["mask_channel"] = "alpha"
        return {"id": self.id, **texts, **hashes}


@dataclass(frozen=True)
class Examined:
    """A row with its problems; ``accepted`` is None unless there are none."""

    row: RawRow
    id: str | None
    place: str
    problems: list[Problem] = field(default_factory=list)
    accepted: SampleRow | None = None


def sha256_of(data: object) -> str:
    """sha256 of the canonical JSON form, 64 hex."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def examine(source: Source, policy: Policy) -> Iterator[Examined]:
    """Every row of a source in its order, judged on its own and against the ids before it."""
    seen: dict[str, int] = {}
    for row in source.rows:
        yield _Examiner(source, policy, row).examine(seen)


class _Examiner:
    """Collects the problems of one row."""

    def __init__(self, source: Source, policy: Policy, row: RawRow) -> None:
        self.source, self.policy, self.row = source, policy, row
        self.problems: list[Problem] = []

    def examine(self, seen: dict[str, int]) -> Examined:
        place = f"{self.source.place} {self.source.row_word} {self.row.number}"
        if self.row.problem:
            return Examined(self.row, None, place, [Problem("", self.row.problem)])
        for key in self.row.unknown:
            self.problems.append(Problem(shortened(key), f"unknown field; {did_you_mean(key, self.source.columns.values())}"))
        id_ = self._id(seen)
        if id_ is not None:
            place += f" (id '{id_}')"
        target = self._text("target_text", required=True)
        texts = {name: self._text(name) for name in ("source_text", "instruction", *_LABELS)}
        image, header = self._picture("image", required=True)
        mask, mask_header = self._picture("mask")
        truth, truth_header = self._picture("truth")
        for name, other in (("mask", mask_header), ("truth", truth_header)):
            if header and other and header.size != other.size:
                self._problem(name, f"expected the size of the picture, {header.size}, got {other.size}")
        if self.problems or id_ is None or target is None or image is None or header is None:
            return Examined(self.row, id_, place, self.problems)
        entry = SampleRow(
            id=id_,
            row=self.row.number,
            place=place,
            target_text=self.policy.text(target),
            raw_target_text=target,
            source_text=self._as_used(texts["source_text"]),
            source_class=texts["source_class"],
            target_class=texts["target_class"],
            category=texts["category"],
            image=image,
            mask=mask,
            truth=truth,
            header=header,
            mask_header=mask_header,
            instruction=self._as_used(texts["instruction"]),
            cluster=texts["cluster"],
            previous=texts["previous"],
        )
        return Examined(self.row, id_, place, [], entry)

    def _as_used(self, text: str | None) -> str | None:
        return self.policy.text(text) if text else None

    def _problem(self, name: str, message: str) -> None:
        self.problems.append(Problem(self.source.columns.get(name, name), shortened(message, 1000)))

    def _id(self, seen: dict[str, int]) -> str | None:
        value = self.row.values.get("id")
        if not self.source.own_form:
            if value is None and "id" not in self.source.columns:
                value = f"{self.row.number:03d}"
            elif isinstance(value, int) and not isinstance(value, bool):
                value = str(value)
        if not isinstance(value, str):
            self._problem("id", f"expected a string, got {kind_of(value)}")
            return None
        if not value.strip() or not value.isprintable():
            self._problem("id", f"expected printable characters, got {kind_of(value)}")
            return None
        if value in seen:
            self._problem("id", f"duplicate of the one in {self.source.row_word} {seen[value]}; ids must be unique")
        seen.setdefault(value, self.row.number)
        return value

    def _text(self, name: str, required: bool = False) -> str | None:
        value = self.row.values.get(name)
        if name in _LABELS and not self.source.own_form and isinstance(value, int):
            value = str(value)
        if value is not None and not isinstance(value, str):
            self._problem(name, f"expected a string, got {kind_of(value)}")
            return None
        if value and any("\ud800" <= character <= "\udfff" for character in value):
            self._problem(name, f"half of a surrogate pair is no character: {kind_of(value)}")
            return None
        if value is None or not self.policy.text(value).strip():
            if required:
                self._problem(name, "missing" if value is None else "empty; say what the edited picture should show")
            return None
        return value

    def _picture(self, name: str, required: bool = False) -> tuple[PictureFile | None, Header | None]:
        value = self.row.values.get(name)
        if value is None or value == "":
            if required:
                self._problem(name, "missing; a sample needs a picture")
            return None, None
        try:
            file = value if isinstance(value, PictureFile) else self._file(value)
            return file, read_header(file)
        except PictureError as error:
            self._problem(name, str(error))
            return None, None

    def _file(self, value: object) -> PictureFile:
        """The file of a path that stays inside the source's folders."""
        if not isinstance(value, str):
            raise PictureError(f"expected the path of a picture or its bytes, got {kind_of(value)}")
        steps = value.replace("\\", "/").split("/")
        if (Path(value).is_absolute() and not self.source.absolute_paths) or ".." in steps:
            raise PictureError(f"'{value}' leaves the manifest's folder; give a path relative to it, without '..'")
        try:
            resolved = find_file(self.source.roots[0], value).resolve()
        except (OSError, ValueError, RuntimeError) as error:
            raise PictureError(f"not a path: {kind_of(value)}: {error}") from error
        if PureWindowsPath(value).drive and not resolved.exists():
            raise PictureError(f"'{value}' is a path of Windows that names a drive; give one relative to the manifest's folder")
        if not any(resolved.is_relative_to(root.resolve()) for root in self.source.roots):
            raise PictureError(f"'{value}' leaves the manifest's folder through a link; copy the file into the folder")
        return PictureFile(value, path=resolved)
