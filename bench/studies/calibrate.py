"""What a metric's value means: every metric on the anchors, whose edits are known. ``python -m bench.studies.calibrate`` writes
``docs/calibration.md`` again.

The table is made by the spec ``calibration``. A test makes it again and compares, so that no metric drifts unnoticed.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from bench import api
from bench.analysis import summary
from bench.scoring.axes import Axes

__all__ = ["PAGE", "main", "measure", "read_page"]

PAGE = Path(__file__).parents[2] / "docs" / "calibration.md"
ANCHORS = ("copy", "vae_round_trip", "oracle", "retrieve", "regenerate")
HEAD = """# What a value means on ToyBox

Means over the 16 samples of `toybox-mini`, of edits that need no editor: the source itself, its round trip through the autoencoder, the
ground truth, a real picture of the target class, and a new picture from the target text. Set metrics are against 24 real pictures of each
target class. A dash is a value that the metric leaves undefined.

Written by `python -m bench.studies.calibrate`; a test makes it again and compares.

"""


def measure(folder: Path) -> pd.DataFrame:
    """Means by metric (rows) and anchor (columns), from a run of the spec in ``folder``."""
    run = api.run("calibration", folder)
    scores = api.score(run).whole()
    axes = Axes.of(run.spec.axes, scores)
    curves = summary.curves(run.plan, scores, axes)
    curves = curves[~curves["metric"].isin(axes.made_of)]
    table = curves.pivot_table(index="metric", columns="editor", values="mean", sort=False, dropna=False)
    return table[list(ANCHORS)]


def page(table: pd.DataFrame) -> str:
    """The table in Markdown, five significant digits."""
    lines = [f"| metric | {' | '.join(table.columns)} |", "|---" * (len(table.columns) + 1) + "|"]
    for metric, row in table.iterrows():
        lines.append(f"| {metric} | {' | '.join('-' if np.isnan(value) else f'{value:.5g}' for value in row)} |")
    return HEAD + "\n".join(lines) + "\n"


def read_page(text: str) -> pd.DataFrame:
    """The table that ``page`` wrote."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]
    values = {row[0]: [np.nan if cell == "-" else float(cell) for cell in row[1:]] for row in rows[1:]}
    return pd.DataFrame.from_dict(values, orient="index", columns=rows[0][1:])


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.calibrate", description="Write docs/calibration.md again.")
    parser.add_argument("--out", type=Path, default=PAGE)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        given.out.write_text(page(measure(Path(folder) / "calibration")), encoding="utf-8")


if __name__ == "__main__":
    main()
