"""ImgEdit-Bench (Ye et al. 2025, arXiv 2505.20275), its basic suite and the suite of understanding."""

from __future__ import annotations

from collections.abc import Iterator

from bench.manifest.benchmarks.base import Benchmark, Card, Copy, Split, Values, lacking
from bench.manifest.benchmarks.layout import STANDS_IN, entries_of, read_json

__all__ = ["ImgEditBench"]

FILES = {"basic": "basic_edit.json", "uge": "UGE_edit.json"}


class ImgEditBench(Benchmark):
    """Instructions of nine types over few pictures: 737 basic edits share 171 of them."""

    name = "imgedit-bench"
    card = Card(
        title="ImgEdit-Bench",
        where="Benchmark.tar of sysuyy/ImgEdit on the hub, unpacked; root is its folder Basic or UGE",
        licence="not stated",
        splits={"basic": Split(737, 171), "uge": Split(47)},
        fields={
            "id": "key of the file",
            "image": "id",
            "instruction": "prompt",
            "target_text": STANDS_IN,
            "category": "edit_type",
        },
        made_by="instructions by the authors",
        cluster="source picture: 171 stand behind 737 edits",
        source="ImgEdit 547185d",
        lacks=lacking("source_text", "truth", "mask"),
        faults=(
            "a score of a sample is the mean of as many 'name: digit' lines as the judge happened to write",
            "the script's judge is gpt-4o, the paper's table says GPT-4.1",
            "the multi-turn suite is judged by hand only and is not read here",
        ),
        unverified={
            "licence": "the repository says MIT, the data set nothing",
            "image": "in which folder the pictures of UGE lie",
        },
    )

    def rows(self, copy: Copy) -> Iterator[Values]:
        name = FILES[copy.split]
        suite = "Basic" if copy.split == "basic" else "UGE"
        file, content = read_json(copy, dict, name, f"{suite}/{name}", f"Benchmark/{suite}/{name}")
        folder = file.parent.relative_to(copy.folder)
        for key, entry in entries_of(file, content, "id", "prompt"):
            yield {
                "id": key,
                "image": (folder / str(entry["id"])).as_posix(),
                "instruction": entry["prompt"],
                "target_text": entry["prompt"],
                "category": entry.get("edit_type"),
            }
