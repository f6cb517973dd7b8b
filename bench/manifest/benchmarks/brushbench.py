"""BrushBench (Ju et al. 2024, "BrushNet", arXiv 2403.06976), and EditBench in the repack that BrushNet gives out."""

from __future__ import annotations

from collections.abc import Iterator

from bench.errors import ManifestError
from bench.manifest.benchmarks.base import Benchmark, Card, Copy, Split, Values
from bench.manifest.benchmarks.layout import mask_file, read_json, run_lengths
from bench.suggest import kind_of

__all__ = ["BrushBench", "EditBench"]

SIZE = 512
"""Pixels on a side that masks are coded for."""
_FIELDS = {
    "id": "key of mapping_file.json",
    "image": "image",
    "target_text": "caption",
    "mask": "inpainting_mask or outpainting_mask, by split",
}
_LACKS = {
    "source_text": "editors that invert with a source caption need one from elsewhere",
    "truth": "the source is what an inpainted picture is compared with",
}
_FAULTS = (
    "the official evaluation resizes sources to 512 px and scores the pixels outside the mask only",
    "edits that are there already are skipped, not made anew, by the official script",
    "an optional paste-back blurs the mask with a 21-pixel Gaussian: numbers with and without it are two",
)


class _Repack(Benchmark):
    """`mapping_file.json` beside the pictures: image, caption and two masks, whose starts are 1-based over 512 x 512."""

    def rows(self, copy: Copy) -> Iterator[Values]:
        file, entries = read_json(copy, dict, "mapping_file.json")
        for key, entry in entries.items():
            place = f"{file} '{key}'"
            if not isinstance(entry, dict):
                raise ManifestError(f"{place}: expected image, caption and masks, got {kind_of(entry)}")
            code = entry.get(f"{copy.split}_mask", "")
            mask = run_lengths(code, SIZE, SIZE, base=1, place=f"{place}: {copy.split}_mask")
            yield {
                "id": key,
                "image": entry.get("image"),
                "target_text": entry.get("caption"),
                "mask": mask_file(mask, f"{copy.split}_mask"),
            }


class BrushBench(_Repack):
    """600 pictures with a caption, a mask of the object (`inpainting`) and one of all but the object (`outpainting`)."""

    name = "brushbench"
    card = Card(
        title="BrushBench",
        where="the form that github.com/TencentARC/BrushNet links",
        licence="the notice of the repository",
        splits={"inpainting": Split(600, 600), "outpainting": Split(600, 600)},
        fields=_FIELDS,
        made_by="masks and captions by people",
        cluster="picture",
        source="BrushNet 0f9d9e5, examples/brushnet/evaluate_brushnet.py",
        lacks=_LACKS,
        faults=_FAULTS,
        unverified={"made_by": "from the paper", "image": "whether paths begin with images/: they are taken as they stand"},
    )


class EditBench(_Repack):
    """EditBench (Wang et al. 2022, arXiv 2212.06909): 240 pictures, here with one caption each, as BrushNet repacked it."""

    name = "editbench"
    card = Card(
        title="EditBench, BrushNet's repack",
        where="the form that github.com/TencentARC/BrushNet links",
        licence="not stated",
        splits={"inpainting": Split(None)},
        fields=_FIELDS | {"mask": "inpainting_mask"},
        made_by="masks and captions by people; half of the pictures are generated",
        cluster="picture",
        source="BrushNet 0f9d9e5, which reads it by the same file as BrushBench",
        lacks=_LACKS,
        faults=(
            *_FAULTS,
            "another set of the name EditBench exists on the hub (LonelVino/EditBench, arXiv 2410.18756); this is not it",
        ),
        unverified={"rows": "how many the repack holds; the original has 240 pictures x 3 prompts", "made_by": "from the paper"},
    )
