"""PIE-Bench++ (Huang et al. 2024, "ParallelEdits", arXiv 2406.00985): PIE-Bench with the aspects of every edit told apart."""

from __future__ import annotations

import json
from collections.abc import Iterator

from bench.errors import ManifestError
from bench.manifest.benchmarks.base import Benchmark, Card, Copy, Split, Values, lacking
from bench.manifest.benchmarks.layout import coded_mask, table
from bench.manifest.benchmarks.pie_bench_types import TYPES, category_of

__all__ = ["PieBenchPP"]


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
        lacks=lacking("truth", instruction="the set has none"),
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
        texts = {"id": "id", "image": "image", "source_text": "source_prompt", "target_text": "target_prompt"}
        for config in TYPES:
            for row in table(copy, texts | {"code": "mask", "blended": "blended_words"}, subset=config):
                code, blended = (row[name] for name in ("code", "blended"))
                place = f"{copy.ref.benchmark} {config} '{row['id']}'"
                source, target = _pair(blended, place)
                yield {name: row[name] for name in texts} | {
                    "mask": coded_mask(str(code or ""), base=0, place=f"{place}: mask"),
                    "source_class": source,
                    "target_class": target,
                    "category": category_of(config),
                }


def _pair(blended: object, place: str) -> tuple[str | None, str | None]:
    """The two words of an edit that changes one thing; a list of JSON whose items are `source,target`."""
    try:
        pairs = json.loads(str(blended or "[]"))
    except ValueError as error:
        raise ManifestError(f"{place}: blended_words: not JSON: {error}") from error
    words = str(pairs[0]).split(",") if isinstance(pairs, list) and len(pairs) == 1 else []
    return (words[0].strip(), words[1].strip()) if len(words) == 2 else (None, None)
