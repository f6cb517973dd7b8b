"""EditBench (Wang et al. 2022, "Imagen Editor", arXiv 2212.06909), in the repack that BrushNet gives out."""

from __future__ import annotations

from bench.manifest.benchmarks.base import Card, Split
from bench.manifest.benchmarks.brushbench import FAULTS, FIELDS, LACKS, Repack

__all__ = ["EditBench"]


class EditBench(Repack):
    """240 pictures, here with one caption each, as BrushNet repacked it."""

    name = "editbench"
    card = Card(
        title="EditBench, BrushNet's repack",
        where="the form that github.com/TencentARC/BrushNet links",
        licence="not stated",
        splits={"inpainting": Split(None)},
        fields=FIELDS | {"mask": "inpainting_mask"},
        made_by="masks and captions by people; half of the pictures are generated",
        cluster="picture",
        source="BrushNet 0f9d9e5, which reads it by the same file as BrushBench",
        lacks=LACKS,
        faults=(
            *FAULTS,
            "another set of the name EditBench exists on the hub (LonelVino/EditBench, arXiv 2410.18756); this is not it",
        ),
        unverified={"rows": "how many the repack holds; the original has 240 pictures x 3 prompts", "made_by": "from the paper"},
    )
