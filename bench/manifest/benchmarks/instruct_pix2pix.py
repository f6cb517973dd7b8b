"""The evaluation set of InstructPix2Pix (Brooks et al. 2022, arXiv 2211.09800)."""

from __future__ import annotations

from collections.abc import Iterator

from bench.errors import ManifestError
from bench.manifest.benchmarks.base import Benchmark, Card, Copy, Split, Values, lacking
from bench.manifest.benchmarks.layout import entries_of, read_json
from bench.suggest import kind_of

__all__ = ["InstructPix2PixEvaluation"]

SHARE, DRAWN = 0.9 + 0.05, 5000
"""Of the folders in seeds.json those for training and validation, and how many of the rest are drawn."""


class InstructPix2PixEvaluation(Benchmark):
    """Pairs made by Prompt-to-Prompt: the last 5 % of the folders in `seeds.json`.

    `test` is one pair a folder, its first seed; `drawn` is what the authors' script scores, 5000 of them under torch's permutation of seed 0.
    """

    name = "instruct-pix2pix"
    card = Card(
        title="InstructPix2Pix evaluation",
        where="the data that github.com/timothybrooks/instruct-pix2pix downloads; root holds seeds.json",
        licence="not stated",
        splits={"drawn": Split(DRAWN, DRAWN), "test": Split(None)},
        fields={
            "id": "folder/seed",
            "image": "<folder>/<seed>_0.jpg",
            "truth": "<folder>/<seed>_1.jpg",
            "source_text": "input of prompt.json",
            "target_text": "output of prompt.json",
            "instruction": "edit of prompt.json",
            "cluster": "folder",
        },
        made_by="captions by a language model, pictures by Stable Diffusion and Prompt-to-Prompt",
        cluster="folder: the seeds of one share captions",
        source="instruct-pix2pix 0dffd1e, edit_dataset.py and metrics/compute_metrics.py",
        lacks=lacking("mask"),
        faults=(
            "the published curve was computed on pixels in [-1, 1] where CLIP's preprocessing expects [0, 1]",
            "the script's default is 50 steps, its command line passes 100",
            "the true edits are outputs of another method, not of people",
        ),
        unverified={
            "id": "which of a folder's seeds the script draws, which it cannot draw again; here it is the first",
            "licence": "none was seen",
        },
    )

    def rows(self, copy: Copy) -> Iterator[Values]:
        file, seeds = read_json(copy, list, "seeds.json")
        last = seeds[int(SHARE * len(seeds)) :]
        for place in _permutation(len(last))[:DRAWN] if copy.split == "drawn" else range(len(last)):
            entry = last[place]
            if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], list) and entry[1]):
                raise ManifestError(f"{file}: expected pairs of a folder and its seeds, got {kind_of(entry)}")
            folder, first = str(entry[0]), f"{entry[0]}/{entry[1][0]}"
            where, prompt = read_json(copy, dict, f"{folder}/prompt.json")
            ((_, texts),) = entries_of(where, {folder: prompt}, "input", "edit", "output")
            yield {
                "id": first,
                "image": f"{first}_0.jpg",
                "truth": f"{first}_1.jpg",
                "source_text": texts["input"],
                "target_text": texts["output"],
                "instruction": texts["edit"],
                "cluster": folder,
            }


def _permutation(number: int) -> list[int]:
    """As the authors' script shuffles: torch's generator of seed 0."""
    from torch import Generator, randperm

    return [int(place) for place in randperm(number, generator=Generator().manual_seed(0))]
