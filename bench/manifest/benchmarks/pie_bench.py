"""PIE-Bench (Ju et al. 2023, "Direct Inversion", arXiv 2310.01506), as its form hands it out."""

from __future__ import annotations

from collections.abc import Iterator

from bench.errors import ManifestError
from bench.manifest.benchmarks.base import Benchmark, Card, Copy, Split, Values, lacking
from bench.manifest.benchmarks.layout import coded_mask, entries_of, read_json
from bench.manifest.benchmarks.pie_bench_types import TYPES, category_of

__all__ = ["PieBench"]


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
        lacks=lacking("truth"),
        faults=(
            "brackets in captions mark the changed words; the official scorer strips them, many others did not (CLIP scores 0.7 to 0.85 lower)",
            "where a mask covers the whole picture the official scores of the background are the text nan",
            "mapping_file_ti2i_benchmark.json holds 55 further items, which are no part of the 700",
        ),
        unverified={"category": "the words of types 2 to 8, which follow the list of the README", "made_by": "from the paper"},
    )

    def rows(self, copy: Copy) -> Iterator[Values]:
        file, content = read_json(copy, dict, "mapping_file.json")
        fields = "image_path", "original_prompt", "editing_prompt", "editing_type_id", "mask"
        for key, entry in entries_of(file, content, *fields):
            kind = {str(number): folder for number, folder in enumerate(TYPES)}.get(str(entry["editing_type_id"]))
            if kind is None:
                raise ManifestError(f"{file} '{key}': editing_type_id: expected 0 to 9, got {entry['editing_type_id']!r:.20}")
            words = str(entry.get("blended_word") or "").split()
            source, target = words if len(words) == 2 else (None, None)
            yield {
                "id": key,
                "image": f"annotation_images/{entry['image_path']}",
                "source_text": entry["original_prompt"],
                "target_text": entry["editing_prompt"],
                "instruction": entry.get("editing_instruction"),
                "mask": coded_mask(entry["mask"] or (), base=0, ring=True, place=f"{file} '{key}': mask"),
                "source_class": source,
                "target_class": target,
                "category": category_of(kind),
            }
