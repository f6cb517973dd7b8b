"""BrushBench (Ju et al. 2024, "BrushNet", arXiv 2403.06976)."""

from __future__ import annotations

from collections.abc import Iterator

from bench.manifest.benchmarks.base import Benchmark, Card, Copy, Split, Values, lacking
from bench.manifest.benchmarks.layout import coded_mask, entries_of, read_json

__all__ = ["BrushBench", "Repack"]

FAULTS = (
    "the official evaluation resizes sources to 512 px and scores the pixels outside the mask only",
    "edits that are there already are skipped, not made anew, by the official script",
    "an optional paste-back blurs the mask with a 21-pixel Gaussian: numbers with and without it are two",
)


FIELDS = {
    "id": "key of mapping_file.json",
    "image": "image",
    "target_text": "caption",
    "mask": "inpainting_mask or outpainting_mask, by split",
}
LACKS = lacking("source_text", truth="the source is what an inpainted picture is compared with")


class Repack(Benchmark):
    """`mapping_file.json` beside the pictures: image, caption and two masks, whose starts are 1-based over 512 x 512."""

    def rows(self, copy: Copy) -> Iterator[Values]:
        file, content = read_json(copy, dict, "mapping_file.json")
        name = f"{copy.split}_mask"
        for key, entry in entries_of(file, content, "image", "caption", name):
            mask = coded_mask(entry[name], base=1, place=f"{file} '{key}': {name}")
            yield {"id": key, "image": entry["image"], "target_text": entry["caption"], "mask": mask}


class BrushBench(Repack):
    """600 pictures with a caption, a mask of the object (`inpainting`) and one of all but the object (`outpainting`)."""

    name = "brushbench"
    card = Card(
        title="BrushBench",
        where="the form that github.com/TencentARC/BrushNet links",
        licence="the notice of the repository",
        splits={"inpainting": Split(600, 600), "outpainting": Split(600, 600)},
        fields=FIELDS,
        made_by="masks and captions by people",
        cluster="picture",
        source="BrushNet 0f9d9e5, examples/brushnet/evaluate_brushnet.py",
        lacks=LACKS,
        faults=FAULTS,
        unverified={"made_by": "from the paper", "image": "whether paths begin with images/: they are taken as they stand"},
    )
