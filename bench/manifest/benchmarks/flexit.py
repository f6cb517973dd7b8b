"""The ImageNet queries of FlexIT (Couairon et al. 2022, arXiv 2203.04705), which DiffEdit reports on too."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from bench.errors import ManifestError
from bench.manifest.benchmarks.base import Benchmark, Card, Copy, Split, Values, lacking
from bench.manifest.benchmarks.layout import read_csv

__all__ = ["FlexIT"]


class FlexIT(Benchmark):
    """One class of ImageNet into another: 273 target classes, four queries of each in either split.

    The folder holds `queries.csv` of the repository and the validation pictures of ImageNet, by the paths that stand in it.
    """

    name = "flexit-imagenet"
    card = Card(
        title="FlexIT's ImageNet queries",
        where="dataset/queries.csv of github.com/facebookresearch/SemanticImageTranslation, with ImageNet's own validation pictures",
        licence="the queries MIT; the pictures are ImageNet's",
        splits={"test": Split(1092, 1092), "dev": Split(1092, 1092)},
        fields={
            "id": "number of the row in the file, from 0: outputs are named by it",
            "image": "path",
            "source_text": "source",
            "target_text": "target",
            "source_class": "source",
            "target_class": "target",
            "category": "target",
        },
        made_by="classes of ImageNet, grouped by the authors",
        cluster="target class: four queries share each",
        source="SemanticImageTranslation 7aece38",
        lacks=lacking("mask", "truth"),
        faults=("the first column of the file, numbers from 6 to 13647, is no id: the authors' code does not read it",),
    )

    def rows(self, copy: Copy) -> Iterator[Values]:
        wanted = {"test": "True", "dev": "False"}[copy.split]
        columns = ("path", "source", "target", "is_test")
        for number, row in zip(count(), read_csv(copy, "queries.csv", "dataset/queries.csv", columns=columns), strict=False):
            if row["is_test"] not in ("True", "False"):
                raise ManifestError(
                    f"{copy.folder}: queries.csv row {number}: is_test: expected True or False, got {row['is_test']!r:.40}"
                )
            if row["is_test"] == wanted:
                yield {
                    "id": str(number),
                    "image": row["path"],
                    "source_text": row["source"],
                    "target_text": row["target"],
                    "source_class": row["source"],
                    "target_class": row["target"],
                    "category": row["target"],
                }
