"""TEdBench (Kawar et al. 2023, "Imagic", arXiv 2210.09276), from the hub or in its authors' folder."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

from bench.errors import ManifestError
from bench.manifest.benchmarks.base import Benchmark, Card, Copy, Split, Values
from bench.manifest.benchmarks.layout import read_json, table
from bench.suggest import kind_of

__all__ = ["TEdBench"]

LIST = "input_list.json"


class TEdBench(Benchmark):
    """100 pairs of a picture and a target text, nothing else. A copy is the authors' folder, or one laid out as on the hub."""

    name = "tedbench"
    card = Card(
        title="TEdBench",
        where="bahjat-kawar/tedbench on the hub, or tedbench/ of github.com/imagic-editing/imagic-editing.github.io",
        licence="none given",
        splits={"val": Split(100, 40)},
        fields={
            "image": "original_image, or originals/<img_name> of the authors' list",
            "target_text": "caption, or target_text of the authors' list",
        },
        made_by="target texts by Imagic's authors",
        cluster="source picture: 40 files, 39 of them distinct, hold all edits",
        source="the authors' repository and the card of the data set",
        hub="bahjat-kawar/tedbench",
        lacks={
            "source_text": "editors that invert with a source caption need one from elsewhere: `etabench caption`",
            "mask": "editors that need one draw it themselves or are left out: `etabench segment`",
            "truth": "edited_image, imagic/ of the authors, is the output of Imagic and no ground truth",
            "target_class": "CSFID needs one of every sample: a sidecar that you write",
        },
        faults=(
            "no target distribution: FID and CSFID are against reference pictures that you give (`reference: {kind: folder}`)",
            "three target texts are there twice, and one is misspelt (enterance); TEdBench++ revises them",
            "bird.png is a JPEG, byte by byte bird.jpeg; seven pictures have an alpha channel; sides run from 256 to 1,251 pixels",
        ),
    )

    def rows(self, copy: Copy) -> Iterator[Values]:
        if copy.root is None or (not (copy.root / LIST).is_file() and any(copy.root.rglob("*.parquet"))):
            columns = {"image": "original_image", "target_text": "caption"}
            yield from (dict(row) | {"id": f"{number:03d}"} for number, row in zip(count(1), table(copy, columns), strict=False))
            return
        file, entries = read_json(copy, list, LIST)
        for number, entry in enumerate(entries, 1):
            if not isinstance(entry, dict) or not isinstance(entry.get("img_name"), str):
                raise ManifestError(f"{file} entry {number}: expected {{img_name, target_text}}, got {kind_of(entry)}")
            name = entry["img_name"]
            place = {"id": f"{number:03d}-{Path(name).stem}", "image": f"originals/{name}"}
            yield place | {"target_text": entry.get("target_text")}
