"""TEdBench++ (Brack et al. 2023, "LEDITS++", arXiv 2311.16711): the authors' revision of TEdBench."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from bench.manifest.benchmarks.base import Benchmark, Card, Copy, Split, Values, lacking
from bench.manifest.benchmarks.layout import read_csv

__all__ = ["TEdBenchPP"]


class TEdBenchPP(Benchmark):
    """TEdBench's pictures with corrected texts, and removal, replacement, style and several edits at once."""

    name = "tedbench++"
    card = Card(
        title="TEdBench++",
        where="AIML-TUDA/TEdBench_plusplus on the hub, downloaded whole: its viewer mixes sources and outputs",
        licence="Apache-2.0",
        splits={"all": Split(None, None)},
        fields={"image": "originals/<img_name>", "target_text": "target_text"},
        made_by="texts by TEdBench's and LEDITS++'s authors",
        cluster="source picture: 40 hold all edits",
        source="the data set's file tree; columns as a consumer of it reads them",
        lacks=lacking(
            "source_text",
            "mask",
            truth="LEdits++/ holds outputs of LEDITS++, which are no ground truth",
        ),
        faults=(
            "the paper speaks of 120 entries, the upload of 101 files holds 99 outputs and 40 sources: see how many rows yours has",
        ),
        unverified={
            "image": "the column's name was seen in a consumer's code",
            "target_text": "the column's name was seen in a consumer's code",
            "rows": "how many the file holds",
        },
    )

    def rows(self, copy: Copy) -> Iterator[Values]:
        columns = ("img_name", "target_text")
        for number, row in zip(count(1), read_csv(copy, "tedbench++.csv", columns=columns), strict=False):
            yield {"id": f"{number:03d}", "image": f"originals/{row['img_name']}", "target_text": row["target_text"]}
