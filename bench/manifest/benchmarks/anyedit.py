"""AnyEdit (Yu et al. 2024, arXiv 2411.15738)."""

from __future__ import annotations

from bench.manifest.benchmarks.base import Card, Split
from bench.manifest.benchmarks.layout import Tabular

__all__ = ["AnyEdit"]


class AnyEdit(Tabular):
    """The validation split first."""

    name = "anyedit"
    card = Card(
        title="AnyEdit",
        where="Bin1117/AnyEdit on the hub (218 GB)",
        licence="CC-BY-4.0",
        splits={"validation": Split(5000), "train": Split(2_504_683)},
        fields={
            "id": "image_id",
            "image": "image_file",
            "truth": "edited_file",
            "instruction": "edit_instruction",
            "source_text": "input",
            "target_text": "output",
            "category": "edit_type",
        },
        made_by="captions and instructions by language models, pictures by several editors",
        cluster="source picture",
        source="card of the data set",
        hub="Bin1117/AnyEdit",
        lacks={"mask": "visual_input holds one for some types and is not read"},
        unverified={"id": "whether image_id is there once only"},
    )
