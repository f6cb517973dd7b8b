"""The shipped manifests: ``python -m bench.toybox.manifests`` writes ``toybox`` (100 samples) and ``toybox-mini`` (16) again, bit for bit.

Every sample is a rendered scene and the same scene with one field replaced, so that source text, masks, classes and the
ground-truth edit are known. The six categories are balanced: change object, state, background or colour, add, remove.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import data_manifests
from bench.toybox.reference import class_of
from bench.toybox.vocabulary import BACKGROUNDS, OBJECTS, SceneObject, object_named, wears_hat
from bench.toybox.world import Scene, random_scene, render

__all__ = ["CATEGORIES", "SEEDS", "SIZES", "SceneEdit", "edits", "write_manifest"]

SIZES = {"toybox": 100, "toybox-mini": 16}
SEEDS = {"toybox": 2211, "toybox-mini": 11427}


@dataclass(frozen=True)
class SceneEdit:
    """One sample before it is rendered."""

    category: str
    source: Scene
    target: Scene

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(64, 64), True where the edit may change the picture, one pixel wider than the things that come, go or change."""
        before, after = render(self.source), render(self.target)
        if self.category == "background":
            return ~(before.object_mask | before.accessory_mask)
        kind = "accessory_mask" if self.category in ("add", "remove") else "object_mask"
        return _widen(getattr(before, kind) | getattr(after, kind))


def _widen(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    padded = np.pad(mask, 1)
    shifts = [padded[y : y + mask.shape[0], x : x + mask.shape[1]] for y in range(3) for x in range(3)]
    return np.logical_or.reduce(shifts)


def _replacements(thing: SceneObject, category: str) -> list[str]:
    """Names of the objects that ``thing`` may become."""
    if category == "object":
        return [o.name for o in OBJECTS if o.group == thing.group and o.kind != thing.kind]
    if category == "state":
        return [o.name for o in OBJECTS if o.kind == thing.kind and o.state != thing.state]
    return [o.name for o in OBJECTS if o.kind == thing.kind and o.colour and thing.colour and o.colour != thing.colour]


def _swap(category: str) -> Callable[[np.random.Generator, Scene], Scene | None]:
    def edit(rng: np.random.Generator, scene: Scene) -> Scene | None:
        names = _replacements(object_named(scene.object), category)
        return replace(scene, object=names[int(rng.integers(len(names)))]) if names and scene.accessory == "none" else None

    return edit


def _background(rng: np.random.Generator, scene: Scene) -> Scene | None:
    names = [b.name for b in BACKGROUNDS if b.name != scene.background]
    return replace(scene, background=names[int(rng.integers(len(names)))]) if scene.accessory == "none" else None


def _add(rng: np.random.Generator, scene: Scene) -> Scene | None:
    accessory = ("hat", "balloon")[int(rng.integers(2))]
    possible = scene.accessory == "none" and (accessory == "balloon" or wears_hat(scene.object))
    return replace(scene, accessory=accessory) if possible else None


def _remove(rng: np.random.Generator, scene: Scene) -> Scene | None:
    return replace(scene, accessory="none") if scene.accessory != "none" else None


CATEGORIES: dict[str, Callable[[np.random.Generator, Scene], Scene | None]] = {
    "object": _swap("object"),
    "state": _swap("state"),
    "background": _background,
    "colour": _swap("colour"),
    "add": _add,
    "remove": _remove,
}


def edits(count: int, seed: int) -> list[SceneEdit]:
    """``count`` edits that take the categories in turn, no two with the same source and target captions."""
    rng = np.random.default_rng(seed)
    chosen: dict[tuple[str, str], SceneEdit] = {}
    used: set[str] = set()
    while len(chosen) < count:
        category = list(CATEGORIES)[len(chosen) % len(CATEGORIES)]
        source = random_scene(rng, include_held_out=True)
        target = CATEGORIES[category](rng, source)
        if target is None or source.object in used:
            continue
        used.add(source.object)
        if len(used) > len(OBJECTS) // 2:
            used.clear()
        chosen.setdefault((source.caption, target.caption), SceneEdit(category, source, target))
    return list(chosen.values())


def _slug(text: str) -> str:
    return text.replace(" ", "-")


def write_manifest(folder: Path, count: int, seed: int) -> None:
    """Write ``metadata.jsonl`` and the PNGs of one manifest in imagefolder form; files already there are replaced."""
    for part in ("images", "masks", "truths"):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for old in (folder / part).glob("*.png"):
            old.unlink()
    rows = []
    for number, edit in enumerate(edits(count, seed)):
        name = f"{number:03d}-{edit.category}-{_slug(edit.source.object)}"
        before, after = render(edit.source), render(edit.target)
        Image.fromarray(before.image).save(folder / "images" / f"{name}.png", optimize=True)
        Image.fromarray(after.image).save(folder / "truths" / f"{name}.png", optimize=True)
        Image.fromarray(edit.mask).convert("1").save(folder / "masks" / f"{name}.png", optimize=True)
        rows.append(
            {
                "file_name": f"images/{name}.png",
                "id": name,
                "source_text": before.caption,
                "target_text": after.caption,
                "mask_file_name": f"masks/{name}.png",
                "truth_file_name": f"truths/{name}.png",
                "source_class": class_of(edit.source.object, edit.source.background, edit.source.accessory),
                "target_class": class_of(edit.target.object, edit.target.background, edit.target.accessory),
                "category": edit.category,
            }
        )
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.toybox.manifests", description="Write the ToyBox manifests again.")
    root = Path(data_manifests.__file__).parent
    parser.add_argument(
        "--out", type=Path, default=root, help="folder that gets one folder a manifest (default: the package's own)"
    )
    out: Path = parser.parse_args(arguments).out
    for name, count in SIZES.items():
        write_manifest(out / name, count, SEEDS[name])


if __name__ == "__main__":
    main()
