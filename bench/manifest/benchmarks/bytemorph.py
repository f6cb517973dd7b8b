"""ByteMorph-Bench (Chang et al. 2025, arXiv 2506.03107): edits of motion."""

from __future__ import annotations

from bench.manifest.benchmarks.base import Card, Split, lacking
from bench.manifest.benchmarks.layout import Tabular

__all__ = ["ByteMorph"]


class ByteMorph(Tabular):
    """Frames of generated videos, before and after a motion."""

    name = "bytemorph-bench"
    card = Card(
        title="ByteMorph-Bench",
        where="ByteMorph/BM-Bench on the hub",
        licence="CC0 by its card; the authors' code and model are non-commercial",
        splits={"test": Split(613)},
        fields={
            "id": "image_id",
            "image": "src_img",
            "truth": "tgt_img",
            "instruction": "edit_prompt",
            "source_text": "src_img_caption",
            "target_text": "tgt_img_caption",
            "category": "edit_type",
        },
        made_by="frames of generated videos; captions and instructions by language models",
        cluster="source picture",
        source="card of the data set; BM-code 594d543",
        hub="ByteMorph/BM-Bench",
        lacks=lacking("mask"),
        faults=("failed calls of the judge leave the published mean",),
        unverified={"made_by": "from the paper"},
    )
