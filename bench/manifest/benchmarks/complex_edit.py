"""Complex-Edit (Yang et al. 2025, arXiv 2504.13143): one instruction of one to eight steps for a picture."""

from __future__ import annotations

from collections.abc import Iterator

from bench.errors import ManifestError
from bench.manifest.benchmarks.base import Benchmark, Card, Copy, Split, Values, lacking
from bench.manifest.benchmarks.layout import STANDS_IN, table
from bench.suggest import kind_of

__all__ = ["ComplexEdit"]

LEVELS = range(8, 0, -1)
"""Steps that a compound instruction has; tables are printed for a level at a time."""


class ComplexEdit(Benchmark):
    """Photographs and generated pictures, each with a compound instruction a level: a split is a kind and a level."""

    name = "complex-edit"
    card = Card(
        title="Complex-Edit",
        where="UCSC-VLAA/Complex-Edit on the hub",
        licence="CC-BY-NC-4.0",
        splits={f"{kind}-{level}": Split(None) for kind in ("real", "syn") for level in LEVELS},
        fields={
            "id": "place in the table, from 0",
            "image": "image",
            "instruction": "compound_instruction of edit.compound at the place of the level",
            "target_text": STANDS_IN,
        },
        made_by="instructions by a language model, which joined single edits to compound ones",
        cluster="source picture",
        source="card of the data set; Complex-Edit 3502eaa",
        hub="UCSC-VLAA/Complex-Edit",
        lacks=lacking("source_text", "mask", "truth"),
        faults=(
            "the printed overall is a plain mean of following, preserving and quality, which ranks an editor that does nearly nothing high",
            "the official scorer asks 20 times a sample and stops unless there are as many edits as samples",
        ),
        unverified={
            "image": "the name of the column, which the hub gives to pictures beside metadata",
            "id": "how the authors number samples",
            "rows": "how many pictures either kind has",
        },
    )

    def rows(self, copy: Copy) -> Iterator[Values]:
        kind, _, level = copy.split.partition("-")
        for number, row in enumerate(table(copy, {"image": "image", "edit": "edit"}, split=f"test_{kind}")):
            instruction = _compound(row["edit"], int(level), f"{copy.ref.benchmark} row {number + 1}")
            yield {"id": f"{number:04d}", "image": row["image"], "instruction": instruction, "target_text": instruction}


def _compound(edit: object, level: int, place: str) -> object:
    """The instruction of a level."""
    compound = edit.get("compound") if isinstance(edit, dict) else None
    if not isinstance(compound, list) or len(compound) < level or "compound_instruction" not in compound[level - 1]:
        raise ManifestError(
            f"{place}: edit.compound: expected an entry with compound_instruction for level {level}, got {kind_of(compound)}"
        )
    return compound[level - 1]["compound_instruction"]
