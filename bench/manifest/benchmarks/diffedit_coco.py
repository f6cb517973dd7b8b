"""The COCO queries of DiffEdit (Couairon et al. 2022, arXiv 2210.11427), drawn from BISON (Hu et al. 2019, arXiv 1901.06595)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from difflib import SequenceMatcher

from bench.errors import ManifestError
from bench.manifest.benchmarks.base import Benchmark, Card, Copy, Split, Values, lacking
from bench.manifest.benchmarks.layout import entries_of, read_json

__all__ = ["DiffEditCoco"]

CHANGED = 0.25
"""Largest share of words that may differ between the caption of a picture and the text of its query."""


class DiffEditCoco(Benchmark):
    """A COCO picture, one of its captions, and the caption of a picture much like it.

    BISON gives for every caption its picture and a near one. The near picture is edited towards the caption; `filtered` keeps the
    queries in which at most a quarter of the words differ from the near picture's own closest caption.
    """

    name = "diffedit-coco"
    card = Card(
        title="DiffEdit's COCO queries, from BISON",
        where="annotations/ of github.com/facebookresearch/binary-image-selection, with COCO's val2014 and its captions",
        licence="CC-BY-NC-4.0 (BISON); the pictures are COCO's",
        splits={"filtered": Split(None), "all": Split(None)},
        fields={
            "id": "bison_id",
            "image": "val2014/<the candidate that the caption is not of>",
            "source_text": "the closest of that picture's captions in captions_val2014.json",
            "target_text": "the caption of caption_id",
        },
        made_by="captions by people, pairs by BISON's authors",
        cluster="source picture",
        source="binary-image-selection 16e3437",
        lacks=lacking("mask", "truth"),
        faults=(
            "DiffEdit's own list was never published: 272 queries are spoken of, and the rule that gives them is a reading of the paper",
        ),
        unverified={
            "rows": "272 after the filter, by a third party's notes: see how many yours gives",
            "source_text": "how the share of changed words was counted: here 1 - the share of words that a longest matching keeps",
        },
    )

    def rows(self, copy: Copy) -> Iterator[Values]:
        name = "bison_annotations.cocoval2014.json"
        file, content = read_json(copy, dict, name, f"annotations/{name}")
        where, listed = read_json(copy, dict, "captions_val2014.json", "annotations/captions_val2014.json")
        captions: dict[object, dict[object, str]] = defaultdict(dict)
        for _, caption in entries_of(where, listed.get("annotations"), "id", "image_id", "caption"):
            captions[caption["image_id"]][caption["id"]] = str(caption["caption"]).strip()
        fields = "bison_id", "true_image_id", "caption_id", "image_candidates"
        for key, query in entries_of(file, content.get("data"), *fields):
            target = captions[query["true_image_id"]].get(query["caption_id"])
            near = [each for each in query["image_candidates"] if each["image_id"] != query["true_image_id"]]
            if len(near) != 1 or target is None:
                raise ManifestError(f"{file} '{key}': expected two candidates and a caption that {where.name} has")
            texts = captions[near[0]["image_id"]].values()
            source = min(texts, key=lambda text: changed_share(text, target), default="")
            if copy.split == "all" or changed_share(source, target) <= CHANGED:
                image = f"val2014/{near[0]['image_filename']}"
                yield {"id": str(query["bison_id"]), "image": image, "source_text": source or None, "target_text": target}


def changed_share(before: str, after: str) -> float:
    """Share of the longer text's words that a longest matching (difflib) does not keep, 0 to 1; case and final dots aside."""
    one, other = (text.lower().rstrip(".").split() for text in (before, after))
    kept = sum(block.size for block in SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks())
    return 1 - kept / max(len(one), len(other), 1)
