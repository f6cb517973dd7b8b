"""I2EBench (Ma et al. 2024, arXiv 2408.14180): sixteen dimensions of instructed editing."""

from __future__ import annotations

from collections.abc import Iterator

from bench.errors import ManifestError
from bench.manifest.benchmarks.base import Benchmark, Card, Copy, Split, Values, lacking
from bench.manifest.benchmarks.layout import STANDS_IN, entries_of, read_json
from bench.manifest.tables import content_of

__all__ = ["I2EBench"]

WORDINGS = {"original": "ori_exp", "diverse": "div_exp"}


class I2EBench(Benchmark):
    """`EditData/<dimension>/<dimension>.json` beside `input/`; every item has two wordings, a split each."""

    name = "i2ebench"
    card = Card(
        title="I2EBench",
        where="github.com/cocoshe/I2EBench, with the pictures that its README links",
        licence="Apache-2.0",
        splits={"original": Split(2218), "diverse": Split(2218)},
        fields={
            "id": "dimension/key",
            "image": "EditData/<dimension>/input/<image>",
            "instruction": "ori_exp or div_exp, by split",
            "target_text": STANDS_IN,
            "category": "dimension",
        },
        made_by="original wordings by people, diverse ones by a language model",
        cluster="source picture",
        source="I2EBench 7de50e3",
        lacks=lacking(
            "source_text",
            truth="eight low-level dimensions have gt/, which is not read",
            mask="one dimension has mask/, which is not read",
        ),
        faults=(
            "labels are not always right: items 24 to 30 of background replacement say desert in one wording and snow in the other",
            "an unchanged picture passes about half of some dimensions' questions",
        ),
        unverified={"rows": "2218 is the number that the repository gives for all dimensions", "made_by": "from the paper"},
    )

    def rows(self, copy: Copy) -> Iterator[Values]:
        base = copy.folder / "EditData" if (copy.folder / "EditData").is_dir() else copy.folder
        folders = [each for each in sorted(base.iterdir()) if (each / f"{each.name}.json").is_file()]
        if not folders:
            raise ManifestError(f"{base}: expected <dimension>/<dimension>.json of {self.name}, found {content_of(base)}")
        wording = WORDINGS[copy.split]
        for folder in folders:
            inside = folder.relative_to(copy.folder)
            file, content = read_json(copy, dict, (inside / f"{folder.name}.json").as_posix())
            for key, entry in entries_of(file, content, "image", wording):
                yield {
                    "id": f"{folder.name}/{key}",
                    "image": (inside / "input" / str(entry["image"])).as_posix(),
                    "instruction": entry[wording],
                    "target_text": entry[wording],
                    "category": folder.name,
                }
