"""EditVal (Basu et al. 2023, arXiv 2310.02426): thirteen attributes of objects in COCO's pictures."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from bench.errors import ManifestError
from bench.manifest.benchmarks.base import Benchmark, Card, Copy, Split, Values, lacking
from bench.manifest.benchmarks.layout import read_json
from bench.suggest import kind_of

__all__ = ["EditVal"]


class EditVal(Benchmark):
    """`object.json`: class -> COCO id -> attribute -> from and to, beside `train2017/` of COCO.

    The set has words and no sentences; the texts here are the plainest ones of class, attribute and value.
    """

    name = "editval"
    card = Card(
        title="EditVal",
        where="github.com/deep-ml-research/editval_code, with COCO's train2017",
        licence="none at the root of the repository; the pictures are COCO's",
        splits={"all": Split(646, 91)},
        fields={
            "id": "attribute/COCO id/number",
            "image": "train2017/<COCO id as 12 digits>.jpg",
            "target_text": "made of class, attribute and `to`: the set gives no sentence",
            "source_text": "made of the class, and `from` where there is one",
            "category": "attribute",
            "source_class": "class",
        },
        made_by="the authors",
        cluster="source picture: 91 hold all 646 edits",
        source="editval_code affe95b",
        lacks=lacking(
            "mask",
            "truth",
            instruction="the authors' prompts per method were not seen",
        ),
        faults=("an edit is named edited/<attribute>/<id>/<to>.png by its authors, so two edits of one value share a file",),
        unverified={"target_text": "the wording is ours", "source_text": "the wording is ours"},
    )

    def rows(self, copy: Copy) -> Iterator[Values]:
        file, content = read_json(copy, dict, "object.json")
        for noun, pictures in content.items():
            for picture, attributes in _mapping(pictures, f"{file} '{noun}'").items():
                for attribute, lists in _mapping(attributes, f"{file} '{noun}' {picture}").items():
                    place = f"{file} '{noun}' {picture} {attribute}"
                    change = _mapping(lists, place)
                    if not isinstance(change.get("to"), list):
                        raise ManifestError(f"{place}: expected lists from and to, got {kind_of(change.get('to'))}")
                    for number, (before, after) in enumerate(zip_longest(change.get("from") or [], change["to"])):
                        words = attribute.replace("_", " ")
                        yield {
                            "id": f"{attribute}/{picture}/{number}",
                            "image": f"train2017/{int(picture):012d}.jpg" if picture.isdigit() else picture,
                            "source_text": f"a photo of a {noun}" + (f", {words} {before}" if before else ""),
                            "target_text": f"a photo of a {noun}, {words} {after}",
                            "category": words,
                            "source_class": noun,
                        }


def _mapping(value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ManifestError(f"{place}: expected a mapping, got {kind_of(value)}")
    return value
