"""Sets of pairs made for training whose published splits are edited and scored too: HQ-Edit, UltraEdit, AnyEdit, ByteMorph."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from bench.manifest.benchmarks.base import Benchmark, Card, Copy, Split, Values
from bench.manifest.benchmarks.layout import table

__all__ = ["AnyEdit", "ByteMorph", "HQEdit", "UltraEdit"]

_NO_MASK = {"mask": "editors that need one draw it themselves or are left out"}


class _Pairs(Benchmark):
    """A table with one row a pair; the card's fields are its columns, and rows without an id are numbered."""

    def rows(self, copy: Copy) -> Iterator[Values]:
        for number, row in zip(count(1), table(copy, self.card.fields), strict=False):
            yield row if "id" in row else {"id": f"{number:06d}", **row}


class HQEdit(_Pairs):
    """HQ-Edit (Hui et al. 2024, arXiv 2404.09990)."""

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
        lacks=_NO_MASK,
        faults=("197,350 edits are spoken of: both directions of every pair, of which inverse_edit is the second",),
        unverified={"made_by": "from the paper"},
    )


class UltraEdit(_Pairs):
    """UltraEdit's 500k free-form pairs (Zhao et al. 2024, arXiv 2407.05282)."""

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
        lacks=_NO_MASK,
        faults=(
            "the set with regions (UltraEdit_Region_Based_100k) does not say the polarity of its masks and is not read here",
        ),
        unverified={"made_by": "from the paper", "rows": "the card rounds them"},
    )


class AnyEdit(_Pairs):
    """AnyEdit (Yu et al. 2024, arXiv 2411.15738), its validation split."""

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


class ByteMorph(_Pairs):
    """ByteMorph-Bench (Chang et al. 2025, arXiv 2506.03107): edits of motion."""

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
        lacks=_NO_MASK,
        faults=("failed calls of the judge leave the published mean",),
        unverified={"made_by": "from the paper"},
    )
