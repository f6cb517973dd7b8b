"""MagicBrush (Zhang et al. 2023, arXiv 2306.10012): sessions of one to three edits, with masks and true edits."""

from __future__ import annotations

from collections.abc import Iterator

from bench.manifest.benchmarks.base import Benchmark, Card, Copy, Split, Values
from bench.manifest.benchmarks.layout import STANDS_IN, brought_to, table, turn_of
from bench.manifest.benchmarks.magicbrush_archive import archive
from bench.manifest.pictures import PictureFile

__all__ = ["MagicBrush"]


class MagicBrush(Benchmark):
    """A row a turn, with the true picture of the turn before it: the source of the authors' all-turn protocol (their `inde_` outputs).

    `dev` is read from the hub or a copy of it, `test` from the unpacked archive. Masks stand in the alpha channel: the
    transparent part is to be edited. Pictures are brought to the size of the true edit, as the official scorer does with outputs.
    """

    name = "magicbrush"
    card = Card(
        title="MagicBrush",
        where="osunlp/MagicBrush on the hub; its test archive, with a password, from the links of the README",
        licence="CC-BY-4.0",
        splits={"dev": Split(528), "test": Split(None)},
        fields={
            "id": "session and turn",
            "image": "source_img; input of a turn",
            "instruction": "instruction",
            "target_text": f"test: the global description of the true edit; dev: {STANDS_IN}",
            "source_text": "test: the global description of the turn's input",
            "mask": "mask_img; mask of a turn: transparent = edit",
            "truth": "target_img; output of a turn",
            "category": "turn",
            "cluster": "session",
            "previous": "the turn before",
        },
        made_by="instructions, masks and edits by people with DALL-E 2; descriptions by a language model",
        cluster="session",
        source="card of the data set; MagicBrush fcfc892; ImagenHub and eta-inversion, which read the masks by alpha",
        hub="osunlp/MagicBrush",
        faults=(
            "mask_img read as brightness gives a wrong mask, although the card speaks of a white region",
            "the paper's CLIP-T takes local descriptions, the command of the README global ones",
            "the first source of a session keeps COCO's size, masks and edits are 1024 px",
        ),
        unverified={
            "rows": "the test archive holds 535 sessions; the number of its turns was not seen",
            "image": "whether the first source was cropped or squashed before its edit: it is squashed here",
            "source_text": "names of the files of descriptions differ by place: they are found by their content",
        },
    )

    def rows(self, copy: Copy) -> Iterator[Values]:
        yield from archive(copy) if copy.split == "test" else _table(copy)


def _table(copy: Copy) -> Iterator[Values]:
    texts = {"session": "img_id", "turn": "turn_index", "instruction": "instruction"}
    pictures = {"image": "source_img", "mask": "mask_img", "truth": "target_img"}
    for row in table(copy, texts | pictures):
        image, truth = row["image"], row["truth"]
        if isinstance(image, PictureFile) and isinstance(truth, PictureFile):
            image = brought_to(image, truth)
        given = {"image": image, "mask": row["mask"], "truth": truth, "instruction": row["instruction"]}
        yield turn_of(row["session"], row["turn"]) | given | {"target_text": row["instruction"]}
