"""The pictures of the documents: ``python -m bench.toybox.sheets`` draws docs/toybox_samples.png and docs/toybox_pairs.png."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.toybox.embedded import TOYBOX
from bench.toybox.evaluate import generate, load_pipeline
from bench.toybox.manifests import CATEGORIES, SEEDS, SIZES, edits
from bench.toybox.stages.data import draw
from bench.toybox.world import render

__all__ = ["main", "pairs_sheet", "samples_sheet"]

ENLARGED = 2


def _sheet(rows: list[list[NDArray[np.uint8]]]) -> Image.Image:
    image = Image.fromarray(np.concatenate([np.concatenate(row, axis=1) for row in rows]))
    return image.resize((image.width * ENLARGED, image.height * ENLARGED), Image.Resampling.NEAREST)


def samples_sheet() -> Image.Image:
    """64 pictures generated from captions drawn at random, none left out."""
    pool = draw(64, 930_000)
    images = generate(load_pipeline(TOYBOX / "generator"), [s.caption for s in pool.scenes], seed=930_000)
    array = ((images.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return _sheet([list(array[row * 8 : row * 8 + 8]) for row in range(8)])


def pairs_sheet() -> Image.Image:
    """Twelve columns of the manifest, two a category: sources above, ground-truth edits below."""
    chosen = sorted(
        edits(SIZES["toybox"], SEEDS["toybox"])[: 2 * len(CATEGORIES)], key=lambda e: list(CATEGORIES).index(e.category)
    )
    return _sheet(
        [[render(scene).image for scene in scenes] for scenes in zip(*((e.source, e.target) for e in chosen), strict=True)]
    )


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.toybox.sheets", description="Draw the pictures of the documents.")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    out: Path = parser.parse_args(arguments).out
    pairs_sheet().save(out / "toybox_pairs.png", optimize=True)
    samples_sheet().save(out / "toybox_samples.png", optimize=True)


if __name__ == "__main__":
    main()
