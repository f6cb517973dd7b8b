"""Real pictures of a class, rendered on demand: the reference set of FID and CSFID on ToyBox."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from bench.toybox.vocabulary import ACCESSORIES, BACKGROUNDS, OBJECTS, caption, wears_hat
from bench.toybox.world import Scene, random_scene, render

__all__ = ["class_of", "images_of", "scenes_of_classes"]


def class_of(object_name: str, background: str, accessory: str = "none") -> str:
    """The class of a scene: its caption without the article, for example ``dog in the snow``."""
    return caption(object_name, background, accessory).split(" ", 1)[1]


def scenes_of_classes() -> dict[str, tuple[str, str, str]]:
    """Every class of ToyBox with its object, background and accessory."""
    return {
        class_of(o.name, b.name, a): (o.name, b.name, a)
        for o in OBJECTS
        for b in BACKGROUNDS
        for a in ACCESSORIES
        if a != "hat" or wears_hat(o.name)
    }


def images_of(classes: list[str], per_class: int, seed: int) -> tuple[list[NDArray[np.uint8]], list[str]]:
    """``per_class`` pictures of every class, and the class of each picture.

    Place, size, side and background seed vary; they depend on (class, seed) alone, so adding a class changes no other. Pictures
    are (64, 64, 3) uint8. Raises KeyError for a class that is not a caption of the grammar without its article.
    """
    scenes = scenes_of_classes()
    images: list[NDArray[np.uint8]] = []
    labels: list[str] = []
    for name in dict.fromkeys(classes):
        object_name, background, accessory = scenes[name]
        digest = sha256(f"{seed}/{name}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        for _ in range(per_class):
            placed: Scene = random_scene(rng, include_held_out=True)
            scene = replace(placed, object=object_name, background=background, accessory=accessory)
            images.append(render(scene).image)
            labels.append(name)
    return images, labels
