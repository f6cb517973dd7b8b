"""What a published benchmark is to this house: a card, the splits it comes in, and how a downloaded copy becomes rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from bench.spec import ManifestRef

__all__ = ["Benchmark", "Card", "Copy", "Split", "Values", "lacking"]

Values = Mapping[str, object]
"""One row under our field names (`bench.spec.MANIFEST_FIELDS`): texts, labels, and pictures as paths or `PictureFile`s."""


LACKING: Mapping[str, str] = {
    "source_text": "editors that invert with a source caption need one from elsewhere",
    "mask": "editors that need one draw it themselves or are left out",
    "truth": "no ground-truth edits",
}
"""What the absence of a field means, where a card says no more of it."""


def lacking(*fields: str, **own: str) -> dict[str, str]:
    """What a card says that its set lacks: `fields` in the usual words, others in words of their own."""
    return {field: LACKING[field] for field in fields} | own


@dataclass(frozen=True)
class Split:
    """What a complete copy of a split holds; None where nobody has said it."""

    rows: int | None
    pictures: int | None = None
    """Distinct source pictures."""
    hub: str = ""
    """Id of the data set on the hub, where every split is one of its own."""
    within: str = ""
    """What the data set calls it, where that is another name than ours."""


@dataclass(frozen=True)
class Card:
    """What is known of a set, for a person who is about to report on it."""

    title: str
    where: str
    """Where it is to be had, in words: repository, data set of the hub, form."""
    licence: str
    splits: Mapping[str, Split]
    """By name; the first is taken where none is asked for."""
    fields: Mapping[str, str]
    """Our field to where it stands in the set."""
    made_by: str
    """Who made captions, instructions and masks."""
    cluster: str
    """What its samples share that are not independent: the unit of statistics."""
    source: str
    """Where these statements come from."""
    hub: str = ""
    """Id of the data set on the hub, where it is one that is read from there."""
    lacks: Mapping[str, str] = field(default_factory=dict)
    """Our field to what its absence forbids, or how it can be had."""
    faults: tuple[str, ...] = ()
    """Known faults of the data and of the published scorer."""
    unverified: Mapping[str, str] = field(default_factory=dict)
    """Our field, or part of this card, to what about it was not seen at its source; all else is certain."""

    def hub_of(self, split: str | None) -> str:
        """Id of the data set on the hub that a split is read from, the first where none is asked for; empty where it is not."""
        known = self.splits.get(split or next(iter(self.splits)))
        return (known.hub if known else "") or self.hub

    def as_dict(self) -> dict[str, Any]:
        """As plain data, every field `certain` or `unverified`."""
        content = asdict(self)
        content["fields"] = {
            ours: f"{theirs} ({f'unverified: {self.unverified[ours]}' if ours in self.unverified else 'certain'})"
            for ours, theirs in self.fields.items()
        }
        return content


class Benchmark(ABC):
    """A published set. A subclass says where things lie, in one file; it is found by its name.

    `rows` yields every row of the set in its own order, or raises ManifestError where the copy cannot be read as this set; it
    repairs nothing and leaves nothing out. Counts are checked by the caller against the card, rows by `bench.manifest.rows`.
    """

    name: ClassVar[str]
    """As a spec names it: `manifest: {benchmark: pie-bench, root: PATH}`."""
    card: ClassVar[Card]
    strip_brackets: ClassVar[bool] = False
    """Whether brackets in its texts are markup and not text."""

    @abstractmethod
    def rows(self, copy: Copy) -> Iterator[Values]:
        """All rows of a split in the set's own order. Raises ManifestError."""


@dataclass(frozen=True)
class Copy:
    """A copy of a set: a folder, or a data set on the hub, and what of it was asked for."""

    ref: ManifestRef
    split: str
    root: Path | None
    """The folder as downloaded and unpacked; None where the set is read from the hub."""

    @property
    def folder(self) -> Path:
        """The folder of a set that lies in one."""
        assert self.root is not None, "sets that are read from folders only have no hub id in their card"
        return self.root
