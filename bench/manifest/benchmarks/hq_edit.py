"""HQ-Edit (Hui et al. 2024, arXiv 2404.09990): pairs made for training that are edited and scored too."""

from __future__ import annotations

from bench.manifest.benchmarks.base import Card, Split, lacking
from bench.manifest.benchmarks.layout import Tabular

__all__ = ["HQEdit"]


class HQEdit(Tabular):
    """Both pictures of a pair are generated."""

    name = "hq-edit"
    card = Card(
        title="HQ-Edit",
        where="UCSC-VLAA/HQ-Edit on the hub",
        licence="CC-BY-NC-4.0",
        splits={"train": Split(98_675)},
        fields={
            "image": "input_image",
            "truth": "output_image",
            "instruction": "edit",
            "source_text": "input",
            "target_text": "output",
        },
        made_by="captions and instructions by GPT-4, pictures by DALL-E 3",
        cluster="source picture",
        source="card of the data set",
        hub="UCSC-VLAA/HQ-Edit",
        lacks=lacking("mask"),
        faults=("197,350 edits are spoken of: both directions of every pair, of which inverse_edit is the second",),
        unverified={"made_by": "from the paper"},
    )
