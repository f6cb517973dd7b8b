"""TEdBench (Kawar et al. 2022, "Imagic", arXiv 2210.09276): a hundred texts for forty photographs."""

from __future__ import annotations

from collections.abc import Iterator

from bench.manifest.benchmarks.base import Benchmark, Card, Copy, Split, Values, lacking
from bench.manifest.benchmarks.layout import entries_of, read_json, table

__all__ = ["TEdBench"]


class TEdBench(Benchmark):
    """The table of the hub, or the authors' folder: `input_list.json` beside `originals/`."""

    name = "tedbench"
    card = Card(
        title="TEdBench",
        where="bahjat-kawar/tedbench on the hub, or tedbench/ of github.com/imagic-editing/imagic-editing.github.io",
        licence="none is given; the photographs are from Unsplash and Pixabay",
        splits={"val": Split(100, 40)},
        fields={
            "id": "number of the row, and in the folder the picture's name",
            "image": "original_image; originals/<img_name>",
            "target_text": "caption; target_text",
        },
        made_by="texts by Imagic's authors",
        cluster="source picture: 40 files, of which two are one picture",
        source="card of the data set; the authors' folder",
        hub="bahjat-kawar/tedbench",
        lacks=lacking("source_text", "mask", truth="edited_image is the output of Imagic, which is no ground truth"),
        faults=(
            "bird.png is a JPEG file and the same picture as bird.jpeg",
            "seven pictures have transparency, and sizes go from 256 to 1251 pixels: the policy of the manifest decides what is edited",
            "three texts are there twice, and one says enterance for entrance",
        ),
    )

    def rows(self, copy: Copy) -> Iterator[Values]:
        if copy.root is None or any(copy.root.rglob("*.parquet")):
            for number, row in enumerate(table(copy, {"image": "original_image", "target_text": "caption"}), 1):
                yield {"id": f"{number:03d}", **row}
            return
        file, content = read_json(copy, list, "input_list.json", "tedbench/input_list.json")
        folder = file.parent.relative_to(copy.folder) / "originals"
        for place, entry in entries_of(file, content, "img_name", "target_text"):
            image = folder / str(entry["img_name"])
            yield {"id": f"{place:0>3}-{image.stem}", "image": image.as_posix(), "target_text": entry["target_text"]}
