"""A page about two runs: tables of what changed, and the samples that lost most with their pictures. One file, without a script."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reports.text import printable
from reports.viewer.pictures import State, data_uri

__all__ = ["Exhibit", "Page", "write_page"]

_HERE = Path(__file__).parent


_MISSING = {State.LOST: "the file is gone", State.UNREADABLE: "unreadable"}


@dataclass(frozen=True)
class Picture:
    """One picture of the page; without ``uri`` it is a box that says why it is not there."""

    label: str
    uri: str
    missing: str = ""


@dataclass(frozen=True)
class Exhibit:
    """A sample: its texts, where and by how much it lost, the files of its source and of both edits (None where there is none)."""

    sample: str
    target_text: str
    source_text: str
    where: str
    change: str
    source: Path
    first: Path | None
    second: Path | None

    @property
    def pictures(self) -> list[Picture]:
        files = (("source", self.source), ("first", self.first), ("second", self.second))
        return [_picture(label, file) for label, file in files]


@dataclass(frozen=True)
class Page:
    """What the page says. A row of a table is the word of its test ("worse", "better", ...), and a cell for each of the `titles`."""

    headline: str
    first: str
    second: str
    titles: Sequence[str]
    tables: Sequence[tuple[str, Sequence[tuple[str, ...]]]]
    exhibits: Sequence[Exhibit]
    notes: Sequence[str]


def _picture(label: str, file: Path | None) -> Picture:
    if file is None:
        return Picture(label, "", missing="no edit")
    state, uri = data_uri(file)
    return Picture(label, uri, _MISSING.get(state, ""))


def write_page(path: Path, page: Page) -> None:
    """Write the page to a file, whose folder is made if need be; it is there in full or not at all."""
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = environment.get_template("comparison.html").render(page=printable(page))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{uuid.uuid4().hex[:8]}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
