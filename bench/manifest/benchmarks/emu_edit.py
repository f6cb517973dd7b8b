"""The Emu Edit test set (Sheynin et al. 2023, arXiv 2311.10089)."""

from __future__ import annotations

from bench.manifest.benchmarks.base import Card, Split, lacking
from bench.manifest.benchmarks.layout import Tabular

__all__ = ["EmuEdit"]


class EmuEdit(Tabular):
    """Instructions of seven tasks with captions of source and edit."""

    name = "emu-edit"
    card = Card(
        title="Emu Edit test set",
        where="facebook/emu_edit_test_set on the hub",
        licence="CC-BY-NC",
        splits={"test": Split(3589), "validation": Split(2022)},
        fields={
            "id": "idx",
            "image": "image",
            "instruction": "instruction",
            "source_text": "input_caption",
            "target_text": "output_caption",
            "category": "task",
        },
        made_by="instructions by people; captions by a language model",
        cluster="source picture",
        source="card of the data set; facts on its companion facebook/emu_edit_test_set_generations",
        hub="facebook/emu_edit_test_set",
        lacks=lacking(
            "mask",
            truth="no ground-truth edits: L1, DINO and CLIP-I of the paper compare with the source",
        ),
        faults=(
            "the companion set of generations has its splits swapped: its validation has 3589 rows, its test 2022",
            "some captions are equal, empty or placeholders; published tables drop such rows (ICEdit) or keep them (OmniGen)",
        ),
        unverified={"licence": "seen on the card of the generations", "cluster": "the column hash may name the picture"},
    )
