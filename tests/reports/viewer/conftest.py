"""A run to look at: forty samples, two seeds, two editors and an anchor, with all that can go wrong. Tests must not change it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reports import EditRow, GalleryRow, Heat, ReportData, write_report

SAMPLES, SEEDS, VALUES = 40, (0, 7), (0.0, 0.5, 1.0)
HOSTILE = {
    "../../evil": '<img src=x onerror="document.title=1">"\'&',
    "quote\"'<&>": "\u202eright to left \u05e9\u05dc\u05d5\u05dd 🐈‍⬛ " + "w" * 10_000,
}
"""Sample id to target text: the last samples of the run."""


def _picture(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (8, 8)) -> Path:
    Image.new("RGB", size, colour).save(path)
    return path


def score(sample: int, editor: int, value: float, seed: int) -> float:
    """What the made-up editors score: higher for later samples of the first editor, for earlier ones of the second."""
    return (sample if editor == 0 else SAMPLES - sample) / 10 + value + seed / 100


@pytest.fixture(scope="session")
def looked_at(data: ReportData, tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    """Alpha's edits have maps but for the last. Sample 2 failed with beta under the first seed, 3 lacks alpha's last edit, 4 has undefined
    scores, 5 a lost file, 6 a large picture."""
    folder = tmp_path_factory.mktemp("looked-at")
    source, truth = _picture(folder / "source.png", (200, 100, 40)), _picture(folder / "truth.png", (40, 100, 200))
    mask, large = _picture(folder / "mask.png", (255, 255, 255)), _picture(folder / "large.png", (10, 200, 10), (600, 300))
    where = folder / "where.png"
    Image.new("L", (4, 4), 128).save(where)
    edits = {value: _picture(folder / f"{value}.png", (200, 100, int(40 + 100 * value))) for value in VALUES}
    ids = [f"s{number:02d}" for number in range(SAMPLES - len(HOSTILE))] + list(HOSTILE)
    gallery, pairs, units = [], [], []
    for number, sample in enumerate(ids):
        rows = []
        for seed in SEEDS:
            failed = number == 2 and seed == SEEDS[0]
            alpha = [(value, path) for value, path in edits.items() if (number, value) != (3, 1.0)]
            if number == 5:
                alpha[0] = (0.0, folder / "gone.png")
            if number == 6:
                alpha[0] = (0.0, large)
            rows += [EditRow("alpha", seed, alpha, {"attention": mask}, {value: where for value, _ in alpha if value < 1})]
            rows += [EditRow("beta<&>", seed, [] if failed else list(edits.items())), EditRow("copy", seed, [(0.0, source)])]
            units.append({"unit": "u", "sample_id": sample, "editor": "beta<&>", "seed": seed,
                          "status": "failed" if failed else "done", "reason": "NotFinite at <step 3>" if failed else ""})  # fmt: skip
            for editor, row in enumerate(rows[-3:]):
                for value, _ in row.edits:
                    known = np.nan if (number, editor) == (4, 0) else score(number, editor, value, seed)
                    pairs.append(
                        {
                            "sample_id": sample,
                            "editor": row.editor,
                            "value": value,
                            "seed": seed,
                            "metric": "clip",
                            "score": known,
                        }
                    )
        gallery.append(
            GalleryRow(sample, f"kind {number % 3}", "a <b>dog</b>", HOSTILE.get(sample, f"a cat number {number}"), source,
                       truth if number else None, mask if number else None, rows)
        )  # fmt: skip
    frame = pd.DataFrame(pairs).assign(unit="u", source_id="0" * 16, category="x", knob="eta", fingerprint="c11p00000001")
    return replace(data, gallery=gallery, pairs=frame, units=pd.DataFrame(units), heat=Heat("LPIPS", 0.25))


@pytest.fixture(scope="session")
def site(looked_at: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of its report, which holds the single file too; tests only read it."""
    return write_report(tmp_path_factory.mktemp("site") / "a folder, 100 %" / "report", looked_at, single_file=True).parent
