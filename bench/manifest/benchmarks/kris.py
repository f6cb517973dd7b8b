"""KRIS-Bench (Wu et al. 2025, arXiv 2505.16707): edits that need knowledge."""

from __future__ import annotations

from collections.abc import Iterator

from bench.errors import ManifestError
from bench.manifest.benchmarks.base import Benchmark, Card, Copy, Split, Values, lacking
from bench.manifest.benchmarks.layout import STANDS_IN, entries_of, read_json
from bench.manifest.tables import content_of

__all__ = ["KrisBench"]


class KrisBench(Benchmark):
    """A folder a category with `annotation.json` beside its pictures. Items of several pictures are a split of their own."""

    name = "kris-bench"
    card = Card(
        title="KRIS-Bench",
        where="Liang0223/KRIS_Bench on the hub, downloaded whole; root holds a folder a category",
        licence="not stated",
        splits={"one-picture": Split(None), "several-pictures": Split(None)},
        fields={
            "id": "category/key",
            "image": "ori_img",
            "instruction": "ins_en",
            "target_text": STANDS_IN,
            "category": "folder",
        },
        made_by="instructions and explanations by the authors",
        cluster="item",
        source="Kris_Bench 2114fec, read in stored files",
        lacks=lacking(
            "source_text",
            "mask",
            truth="gt_img is there for some items only and is not read",
        ),
        faults=(
            "1267 items are published in all; how many have several pictures is not said",
            "the official scripts read keys that the files do not have, so that their judge sees no instruction",
            "several pictures cannot be edited by any editor here: the second split gives the last of them as the source",
        ),
        unverified={"licence": "none was seen", "cluster": "whether items share pictures"},
    )

    def rows(self, copy: Copy) -> Iterator[Values]:
        folders = sorted(file.parent for file in copy.folder.rglob("annotation.json"))
        if not folders:
            raise ManifestError(
                f"{copy.folder}: expected folders with annotation.json of {self.name}, found {content_of(copy.folder)}"
            )
        for folder in folders:
            inside = folder.relative_to(copy.folder)
            file, content = read_json(copy, dict, (inside / "annotation.json").as_posix())
            for key, entry in entries_of(file, content, "ori_img", "ins_en"):
                given = entry["ori_img"]
                pictures = given if isinstance(given, list) else [given]
                if (len(pictures) > 1) == (copy.split == "several-pictures"):
                    yield {
                        "id": f"{folder.name}/{key}",
                        "image": (inside / str(pictures[-1])).as_posix() if pictures else None,
                        "instruction": entry["ins_en"],
                        "target_text": entry["ins_en"],
                        "category": folder.name.replace("_", " "),
                    }
