"""UltraEdit (Zhao et al. 2024, arXiv 2407.05282): 500k free-form pairs."""

from __future__ import annotations

from bench.manifest.benchmarks.base import Card, Split, lacking
from bench.manifest.benchmarks.layout import Tabular

__all__ = ["UltraEdit"]


class UltraEdit(Tabular):
    """The free-form set, without regions."""

    name = "ultraedit"
    card = Card(
        title="UltraEdit 500k",
        where="BleachNick/UltraEdit_500k on the hub (195 GB)",
        licence="CC-BY-4.0",
        splits={"FreeForm": Split(None)},
        fields={
            "id": "idx",
            "image": "source_image",
            "truth": "edited_image",
            "instruction": "edit_prompt",
            "source_text": "source_caption",
            "target_text": "target_caption",
        },
        made_by="captions of COCO and others, instructions by a language model, pictures by diffusion models",
        cluster="source picture",
        source="cards of the data sets",
        hub="BleachNick/UltraEdit_500k",
        lacks=lacking("mask"),
        faults=(
            "the set with regions (UltraEdit_Region_Based_100k) does not say the polarity of its masks and is not read here",
        ),
        unverified={"made_by": "from the paper", "rows": "the card rounds them"},
    )
