"""GEdit-Bench (Liu et al. 2025, "Step1X-Edit", arXiv 2504.17761)."""

from __future__ import annotations

from collections.abc import Iterator

from bench.errors import ManifestError
from bench.manifest.benchmarks.base import Benchmark, Card, Copy, Split, Values, lacking
from bench.manifest.benchmarks.layout import STANDS_IN, table

__all__ = ["GEditBench"]

LANGUAGES = ("en", "cn")


class GEditBench(Benchmark):
    """606 pictures with an instruction in English and one in Chinese, which stand in one table: a split is a language."""

    name = "gedit-bench"
    card = Card(
        title="GEdit-Bench",
        where="stepfun-ai/GEdit-Bench on the hub",
        licence="MIT",
        splits={"en": Split(606), "cn": Split(606)},
        fields={
            "id": "key",
            "image": "input_image",
            "instruction": "instruction",
            "target_text": STANDS_IN,
            "category": "task_type",
        },
        made_by="instructions by users, sorted by the authors",
        cluster="source picture, which an English and a Chinese row share",
        source="Step1X-Edit 570eba6 and the card of the data set",
        hub="stepfun-ai/GEdit-Bench",
        lacks=lacking("source_text", "truth", "mask"),
        faults=(
            "the official scorer skips edits that are missing: a model that refuses is scored on the rest",
            "its statistics offer the language zh while the data say cn, so nothing is selected",
            "input_image is a square-ish copy; input_image_raw holds the original",
        ),
        unverified={"id": "whether the two languages of a picture share a key", "faults": "what input_image was resized to"},
    )

    def rows(self, copy: Copy) -> Iterator[Values]:
        columns = {
            "id": "key",
            "image": "input_image",
            "instruction": "instruction",
            "language": "instruction_language",
            "category": "task_type",
        }
        for row in table(copy, columns, split="train"):
            values = dict(row)
            language = values.pop("language")
            if language not in LANGUAGES:
                raise ManifestError(
                    f"{copy.ref.benchmark} '{values['id']}': instruction_language: expected en or cn, got {language!r:.20}"
                )
            if language == copy.split:
                yield values | {"target_text": values["instruction"]}
