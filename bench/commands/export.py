"""A run's edits as plain folders for other tools: one picture a file, named by what it is, and one table of what belongs together."""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import unicodedata
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import RunError
from bench.suggest import did_you_mean

if TYPE_CHECKING:
    from bench.plan import Unit
    from bench.store import Record, Run

__all__ = ["COLUMNS", "PARTS", "Exported", "export_run", "order_of"]

PARTS = ("editor", "value", "sample", "seed")
"""What an edit is called by; folders are named by some of them, the file by the rest."""
COLUMNS = ("file", "source", *PARTS, "knob", "source_text", "target_text", "category")
"""Of `pairs.csv`; `file` and `source` are seen from its folder."""
SOURCES, TABLE = "sources", "pairs.csv"
LONGEST = 80
"""Letters of a name that a file keeps."""
_RESERVED = {"con", "prn", "aux", "nul", *(f"{device}{n}" for device in ("com", "lpt") for n in range(10))}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Exported:
    """How many edits were written, and how many of the plan there are not."""

    edits: int
    missing: int


def order_of(by: str) -> tuple[str, ...]:
    """The parts that name folders, from `editor/value` and its like. Raises RunError."""
    parts = tuple(by.split("/"))
    for part in parts:
        if part not in PARTS:
            raise RunError(f"--by {by[:80]}: '{part[:40]}' is nothing that an edit is called by; {did_you_mean(part, PARTS)}")
    if len(set(parts)) < len(parts):
        raise RunError(f"--by {by}: names a part twice")
    return parts


def export_run(run: Run, target: Path, by: str = "editor/value", *, link: bool = False) -> Exported:
    """Write the finished edits of a run below `target`, in folders by `by`, their sources below `sources`, and `pairs.csv`.

    The file of an edit is named by the parts that name no folder (the seed only where the run has several). Names keep letters, digits
    and ``-_.``; of names that would meet, in another case too, the later ones are numbered. Pictures are copied one by one, or hard
    links with `link`, which share the run's content. All is made beside `target` and moved there when it is whole.
    Raises RunError where `target` is there and not empty, or lies among the files of the run, where the run has no finished edit, and
    where a picture is gone or differs from its record.
    """
    folders = order_of(by)
    _check(run, target)
    scratch = target.with_name(f".tmp-{target.name}-{uuid.uuid4().hex[:8]}")
    try:
        scratch.mkdir(parents=True)
        found = _write(run, scratch, folders, link)
        scratch.replace(target)
    except OSError as error:
        raise RunError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return found


def _check(run: Run, target: Path) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise RunError(f"{target} is no folder; choose another with --out")
    if target.is_dir() and any(target.iterdir()):
        raise RunError(f"{target} is not empty, and nothing is overwritten; remove it or choose another with --out")
    inside, home = target.resolve(), run.path.resolve()
    if inside == home or (inside.is_relative_to(home) and inside.relative_to(home).parts[0] != "export"):
        raise RunError(f"{target} lies among the files of the run; choose another with --out")


def _write(run: Run, scratch: Path, folders: Sequence[str], link: bool) -> Exported:
    plan, names = run.plan, _Names()
    several = len({unit.seed for unit in plan.units}) > 1
    rest = [part for part in PARTS if part not in folders and (part != "seed" or several)]
    copied: dict[str, str] = {}
    edits = 0
    with (scratch / TABLE).open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(COLUMNS)
        for unit, record, index in _edits(run):
            entry, sample = plan.entries[unit.entry], plan.samples[unit.sample]
            value = f"{record.edits[index].value:.9g}" if entry.knob else "none"
            called = {"editor": entry.label, "value": value, "sample": sample.id, "seed": str(unit.seed)}
            place = ""
            for part in folders:
                place += f"{names.within(place, called[part])}/"
            file = place + names.within(place, "-".join(called[part] for part in rest) or "edit", ".png")
            if sample.digest not in copied:
                copied[sample.digest] = f"{SOURCES}/{names.within(f'{SOURCES}/', sample.id, '.png')}"
                _place(run, run.keep(sample)["source"], scratch / copied[sample.digest], link)
            _place_edit(run, record, index, scratch / file, link)
            row = called | {"file": file, "source": copied[sample.digest], "knob": entry.knob}
            row |= {name: getattr(sample, name) or "" for name in ("source_text", "target_text", "category")}
            table.writerow([_cell(row[column]) for column in COLUMNS])
            edits += 1
    if not edits:
        raise RunError(f"{run.path} has no finished edit; `etabench run` makes them")
    return Exported(edits, plan.edits - edits)


def _edits(run: Run) -> Iterator[tuple[Unit, Record, int]]:
    for unit in run.plan.units:
        record = run.record(unit.key)
        if record is not None and record.status == "done":
            yield from ((unit, record, index) for index in range(len(record.edits)))


def _place_edit(run: Run, record: Record, index: int, to: Path, link: bool) -> None:
    """Bring an edit of the run to a place that is free, if it is what its record says."""
    edit = record.edits[index]
    where = run.kept.where(record.key, edit.file)
    try:
        data = run.kept.read(record.key, edit.file)
    except OSError as error:
        raise RunError(f"{where} cannot be read ({error.strerror or error}); {run.kept.remedy(where)}") from error
    if hashlib.sha256(data).hexdigest() != edit.sha256:
        raise RunError(f"{where} differs from its record; {run.kept.remedy(where)}")
    _put(data, where, to, run.edit_path(record, index) if link else None)


def _place(run: Run, picture: Path, to: Path, link: bool) -> None:
    """Bring a picture of the run, a PNG that lies in it, to a place that is free."""
    from editors.toolbox.files import MOST_BYTES, read_regular

    try:
        data = read_regular(run.own(picture), MOST_BYTES)
    except OSError as error:
        raise RunError(f"{picture} cannot be read ({error.strerror or error}); delete {picture.parent} and run again") from error
    _put(data, picture, to, picture if link else None)


def _put(data: bytes, picture: Path, to: Path, link: Path | None) -> None:
    """Write the content of a picture of the run, or make a link to it."""
    if not data.startswith(b"\x89PNG"):
        raise RunError(f"{picture} is no PNG; delete {picture.parent} and run again")
    to.parent.mkdir(parents=True, exist_ok=True)
    if link is not None:
        os.link(link, to)
    else:
        with to.open("xb") as stream:
            stream.write(data)


class _Names:
    """Names of files and folders: the same for the same text in one place, another for another, and nothing but a name."""

    def __init__(self) -> None:
        self._given: dict[tuple[str, str, str], str] = {}
        self._taken: set[tuple[str, str]] = {("", SOURCES), ("", TABLE)}

    def within(self, place: str, text: str, suffix: str = "") -> str:
        """What `text` is called in the folder `place`."""
        known = (place, text, suffix)
        if known not in self._given:
            stem, number = _safe(text), 1
            name = f"{stem}{suffix}"
            while (place, name.casefold()) in self._taken:
                number += 1
                name = f"{stem}-{number}{suffix}"
            self._taken.add((place, name.casefold()))
            self._given[known] = name
        return self._given[known]


def _safe(text: str) -> str:
    """Letters, digits and ``-_.``, no dot at an end and no name that a system keeps for itself."""
    letters = unicodedata.normalize("NFC", text)
    stem = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in letters)[:LONGEST].strip(".") or "_"
    return f"{stem}_" if stem.partition(".")[0].casefold() in _RESERVED else stem


def _cell(value: Any) -> str:
    """A text that no spreadsheet takes for a formula; numbers stay what they are."""
    text = str(value)
    try:
        float(text)
    except ValueError:
        return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text
    return text
