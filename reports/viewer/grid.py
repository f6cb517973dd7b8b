"""What there is to look at, numbered: samples, seeds, editors and the values of their knobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

from reports.data import EditRow, ReportData
from reports.style import Look

__all__ = ["ORIGINALS", "Grid"]

ORIGINALS = ("source", "truth", "mask")
"""Pictures that belong to a sample, in the viewer's order."""


@dataclass(frozen=True)
class Grid:
    """Axes of the dense arrays of the viewer. A cell is an editor at a value of its knob; every seed of every sample has all cells.

    Numbers are places in these tuples: unit = (sample * seeds + seed) * editors + editor, edit = (sample * seeds + seed) * cells + cell.
    """

    samples: tuple[str, ...]
    seeds: tuple[int, ...]
    editors: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    """Knob values of each editor, ascending."""

    @classmethod
    def of(cls, data: ReportData, look: Mapping[str, Look]) -> Grid:
        """The grid of all edits that are planned or there; editors in the order of `look`, which knows them all."""
        rows = [row for sample in data.gallery for row in sample.rows]
        values: dict[str, set[float]] = {row.editor: set() for row in rows}
        if len(data.curves):
            for editor, value in zip(data.curves["editor"], data.curves["value"], strict=True):
                values.get(str(editor), set()).add(float(value))
        for row in rows:
            values[row.editor].update(float(value) for value, _ in row.edits)
        editors = tuple(name for name in look if name in values)
        return cls(
            tuple(sample.sample_id for sample in data.gallery),
            tuple(sorted({row.seed for row in rows})),
            editors,
            tuple(tuple(sorted(values[name])) for name in editors),
        )

    @cached_property
    def first(self) -> tuple[int, ...]:
        """The first cell of each editor, and the number of cells at the end."""
        return tuple(accumulate((len(values) for values in self.values), initial=0))

    @property
    def cells(self) -> int:
        return self.first[-1]

    @cached_property
    def place(self) -> Mapping[tuple[str, float], int]:
        """The cell of each editor and knob value."""
        return {
            (editor, value): self.first[e] + k
            for e, (editor, values) in enumerate(zip(self.editors, self.values, strict=True))
            for k, value in enumerate(values)
        }

    def pictures(self, data: ReportData) -> Iterator[tuple[str, Path]]:
        """Every picture with its name: ``<sample>/source``, ``<sample>/<seed>-<cell>``, ``<sample>/<seed>-<editor>-<extra>``, all numbers;
        ``<sample>/<seed>-<cell>-map`` is the map of an edit.
        """
        for number, sample in enumerate(data.gallery):
            for name in ORIGINALS:
                path = getattr(sample, name)
                if path is not None:
                    yield f"{number:05d}/{name}", path
            for row in sample.rows:
                start = self.of_row(number, row)
                yield from ((f"{start}-{self.place[row.editor, float(value)]}", path) for value, path in row.edits)
                shown = ((value, row.maps[value]) for value, _ in row.edits if value in row.maps)
                yield from ((f"{start}-{self.place[row.editor, value]}-map", path) for value, path in shown)
                editor = self.editors.index(row.editor)
                yield from ((f"{start}-{editor}-{extra}", path) for extra, path in enumerate(row.extras.values()))

    def of_row(self, sample: int, row: EditRow) -> str:
        """How the names of its pictures begin."""
        return f"{sample:05d}/{self.seeds.index(row.seed)}"
