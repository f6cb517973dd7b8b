"""PIE-Bench (Ju et al. 2023, "Direct Inversion", arXiv 2310.01506), as its form hands it out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench.errors import ManifestError
from bench.manifest.benchmarks.base import Benchmark, Card, Copy, Split, Values
from bench.manifest.benchmarks.layout import mask_file, read_json, run_lengths
from bench.suggest import kind_of

__all__ = ["PieBench"]

SIZE = 512
"""Pixels on a side that masks are coded for."""
TYPES = (
    "random",
    "change object",
    "add object",
    "delete object",
    "change attribute content",
    "change attribute pose",
    "change attribute colour",
    "change attribute material",
    "change background",
    "change style",
)


class PieBench(Benchmark):
    """700 pictures of ten types of edits, with both captions, an instruction and a mask.

    A mask codes 0-based starts over 512 x 512, and the ring of border pixels always belongs to it, as in the authors' reader.
    """

    name = "pie-bench"
    strip_brackets = True
    card = Card(
        title="PIE-Bench v1",
        where="the form that github.com/cure-lab/PnPInversion links",
        licence="no licence is stated in the repository",
        splits={"v1": Split(700, 700)},
        fields={
            "id": "key of mapping_file.json",
            "image": "annotation_images/<image_path>",
            "source_text": "original_prompt",
            "target_text": "editing_prompt",
            "instruction": "editing_instruction",
            "mask": "mask",
            "source_class": "first of blended_word",
            "target_class": "second of blended_word",
            "category": "editing_type_id",
        },
        made_by="captions by BLIP, changed and masked by people; half of the pictures are generated",
        cluster="picture",
        source="PnPInversion 07f97f4, README and evaluation/",
        lacks={"truth": "no ground-truth edits: metrics against a truth cannot be had"},
        faults=(
            "brackets in captions mark the changed words; the official scorer strips them, many others did not (CLIP scores 0.7 to 0.85 lower)",
            "where a mask covers the whole picture the official scores of the background are the text nan",
            "mapping_file_ti2i_benchmark.json holds 55 further items, which are no part of the 700",
        ),
        unverified={"category": "the names of the ten types are ours; their numbers are the set's", "made_by": "from the paper"},
    )

    def rows(self, copy: Copy) -> Iterator[Values]:
        file, entries = read_json(copy, dict, "mapping_file.json")
        for key, entry in entries.items():
            place = f"{file} '{key}'"
            if not isinstance(entry, dict) or str(entry.get("editing_type_id")) not in map(str, range(len(TYPES))):
                raise ManifestError(f"{place}: expected an entry with an editing_type_id of 0 to 9, got {kind_of(entry)}")
            words = str(entry.get("blended_word") or "").split()
            mask = run_lengths(entry.get("mask") or (), SIZE, SIZE, base=0, place=f"{place}: mask")
            mask[[0, -1], :] = mask[:, [0, -1]] = True
            yield {
                "id": key,
                "image": f"annotation_images/{entry.get('image_path')}",
                "source_text": entry.get("original_prompt"),
                "target_text": entry.get("editing_prompt"),
                "instruction": entry.get("editing_instruction"),
                "mask": mask_file(np.asarray(mask), "mask"),
                "source_class": words[0] if len(words) == 2 else None,
                "target_class": words[1] if len(words) == 2 else None,
                "category": TYPES[int(entry["editing_type_id"])],
            }
