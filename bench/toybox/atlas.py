"""The sprite atlas: every object and accessory of ToyBox in one RGBA picture, and the script that builds it.

The art is Fluent Emoji 3D by Microsoft (MIT, licence text beside the atlas). The atlas is shipped; to rebuild it, unpack
the npm package ``@lobehub/fluent-emoji-3d`` and run ``python -m bench.toybox.train atlas --source package/assets``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from PIL import Image

from bench.toybox.vocabulary import ACCESSORY_CODEPOINTS, OBJECTS

__all__ = ["ATLAS_PATH", "CELL", "build_atlas", "sprite"]

CELL = 96
"""Side of one atlas cell in pixels."""
COLUMNS = 8
ATLAS_PATH = Path(__file__).parent / "assets" / "atlas.png"


def _entries() -> list[tuple[str, str]]:
    """(name, code point) of every cell, in the order of the atlas."""
    return [(o.name, o.codepoint) for o in OBJECTS] + list(ACCESSORY_CODEPOINTS.items())


def build_atlas(source: Path, target: Path = ATLAS_PATH) -> None:
    """Write the atlas from a folder of 256x256 RGBA files named ``<code point>.webp``.

    Raises FileNotFoundError naming the first sprite that ``source`` lacks.
    """
    entries = _entries()
    atlas = Image.new("RGBA", (COLUMNS * CELL, -(-len(entries) // COLUMNS) * CELL))
    for i, (_, codepoint) in enumerate(entries):
        with Image.open(source / f"{codepoint}.webp") as file:
            cell = file.convert("RGBA").resize((CELL, CELL), Image.Resampling.LANCZOS)
        atlas.paste(cell, (i % COLUMNS * CELL, i // COLUMNS * CELL))
    target.parent.mkdir(parents=True, exist_ok=True)
    atlas.save(target, optimize=True)


@cache
def _cells() -> dict[str, Image.Image]:
    with Image.open(ATLAS_PATH) as file:
        atlas = file.convert("RGBA")
    cells = {}
    for i, (name, _) in enumerate(_entries()):
        left, top = i % COLUMNS * CELL, i // COLUMNS * CELL
        cells[name] = atlas.crop((left, top, left + CELL, top + CELL))
    return cells


@cache
def sprite(name: str, size: int, flip: bool = False) -> Image.Image:
    """The sprite of an object or accessory as an RGBA picture of ``size`` x ``size`` pixels; do not modify it."""
    cell = _cells()[name]
    if flip:
        cell = cell.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return cell.resize((size, size), Image.Resampling.LANCZOS)
