"""RISEBench (Zhao et al. 2025, arXiv 2504.02826): edits that need reasoning."""

from __future__ import annotations

from collections.abc import Iterator

from bench.manifest.benchmarks.base import Benchmark, Card, Copy, Split, Values, lacking
from bench.manifest.benchmarks.layout import STANDS_IN, entries_of, read_json

__all__ = ["RiseBench"]


class RiseBench(Benchmark):
    """360 items of temporal, causal, spatial and logical reasoning (85, 90, 100, 85)."""

    name = "rise-bench"
    card = Card(
        title="RISEBench",
        where="PhoenixZ/RISEBench on the hub: datav2_total_w_subtask.json, and data.zip unpacked beside it",
        licence="not stated",
        splits={"v2": Split(360)},
        fields={
            "id": "index",
            "image": "image, in data/ or beside the file",
            "instruction": "instruction",
            "target_text": STANDS_IN,
            "category": "category",
        },
        made_by="instructions and references by the authors",
        cluster="item",
        source="RISEBench 5f22651; the hub's file as third parties read it",
        lacks=lacking(
            "source_text",
            "mask",
            truth="references are texts or pictures of another size and are not read",
        ),
        faults=(
            "data_total.json of the repository holds 64 items without columns that the scorer needs: it is not this set",
            "published results were written anew on 2026-04-23, after a mended script, under the same name",
            "the README names GPT-4o as judge, the script gpt-4.1-2025-04-14",
        ),
        unverified={"licence": "none was seen", "image": "whether the archive unpacks into data/: both places are looked in"},
    )

    def rows(self, copy: Copy) -> Iterator[Values]:
        file, content = read_json(copy, list, "datav2_total_w_subtask.json")
        folder = "data/" if (copy.folder / "data").is_dir() else ""
        for _, entry in entries_of(file, content, "index", "image", "instruction", "category"):
            yield {
                "id": str(entry["index"]),
                "image": f"{folder}{entry['image']}",
                "instruction": entry["instruction"],
                "target_text": entry["instruction"],
                "category": str(entry["category"]).replace("_", " "),
            }
