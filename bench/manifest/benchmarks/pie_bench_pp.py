"""PIE-Bench++ (Huang et al. 2024, "ParallelEdits", arXiv 2406.00985): PIE-Bench with the aspects of every edit told apart."""

from __future__ import annotations

import json
from collections.abc import Iterator

from bench.errors import ManifestError
from bench.manifest.benchmarks.base import Benchmark, Card, Copy, Split, Values
from bench.manifest.benchmarks.layout import mask_file, run_lengths, table

__all__ = ["PieBenchPP"]

SIZE = 512
"""Pixels on a side that masks are coded for."""
CONFIGS = (
    "0_random_140",
    "1_change_object_80",
    "2_add_object_80",
    "3_delete_object_80",
    "4_change_attribute_content_40",
    "5_change_attribute_pose_40",
    "6_change_attribute_color_40",
    "7_change_attribute_material_40",
    "8_change_background_80",
    "9_change_style_80",
)


class PieBenchPP(Benchmark):
    """700 pictures in ten configurations. Every column but the picture is text; masks code 0-based starts over 512 x 512."""

    name = "pie-bench++"
    strip_brackets = True
    card = Card(
        title="PIE-Bench++",
        where="UB-CVML-Group/PIE_Bench_pp on the hub",
        licence="CC-BY-SA-4.0",
        splits={"V1": Split(700)},
        fields={
            "id": "id",
            "image": "image",
            "source_text": "source_prompt",
            "target_text": "target_prompt",
            "mask": "mask",
            "source_class": "first of the only pair in blended_words",
            "target_class": "second of the only pair in blended_words",
            "category": "configuration",
        },
        made_by="PIE-Bench's captions and masks, revised by the authors",
        cluster="picture",
        source="card of the data set and the authors' page; three consumers' code",
        hub="UB-CVML-Group/PIE_Bench_pp",
        lacks={"instruction": "the set has none", "truth": "no ground-truth edits"},
        faults=(
            "not all pictures are 512 px: masks are coded for 512, so such a sample is refused by name rather than masked wrongly",
        ),
        unverified={
            "category": "names of configurations 2 to 8 follow PIE-Bench's types",
            "source_class": "blended_words as a list of 'a,b' was seen in consumers' code",
            "target_class": "blended_words as a list of 'a,b' was seen in consumers' code",
        },
    )

    def rows(self, copy: Copy) -> Iterator[Values]:
        columns = {
            "id": "id",
            "image": "image",
            "source_text": "source_prompt",
            "target_text": "target_prompt",
            "code": "mask",
            "blended": "blended_words",
        }
        for config in CONFIGS:
            for row in table(copy, columns, subset=config):
                values = dict(row)
                place = f"{copy.ref.benchmark} {config} '{values['id']}'"
                mask = run_lengths(str(values.pop("code") or ""), SIZE, SIZE, base=0, place=f"{place}: mask")
                source, target = _pair(values.pop("blended"), place)
                yield values | {
                    "mask": mask_file(mask, "mask"),
                    "source_class": source,
                    "target_class": target,
                    "category": config.split("_", 1)[1].rpartition("_")[0].replace("_", " "),
                }


def _pair(blended: object, place: str) -> tuple[str | None, str | None]:
    """The two words of an edit that changes one thing; a list of JSON whose items are `source,target`."""
    try:
        pairs = json.loads(str(blended or "[]"))
    except ValueError as error:
        raise ManifestError(f"{place}: blended_words: not JSON: {error}") from error
    words = str(pairs[0]).split(",") if isinstance(pairs, list) and len(pairs) == 1 else []
    return (words[0].strip(), words[1].strip()) if len(words) == 2 else (None, None)
