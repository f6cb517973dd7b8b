"""The ToyBox world: a scene is a value, rendering it is a pure function, editing it replaces one field.

``render(scene)`` returns the picture, the mask of the object, the mask of the accessory and the caption. The ground truth of an
edit is ``render(dataclasses.replace(scene, background="snow"))``: same place, same pose, same random numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.toybox import vocabulary
from bench.toybox.atlas import sprite
from bench.toybox.backgrounds import SIZE, paint
from bench.toybox.vocabulary import ACCESSORIES, BACKGROUNDS, OBJECTS

__all__ = ["SIZE", "Rendering", "Scene", "random_scene", "render"]

SPRITE = 42
"""Side of a sprite in pixels at scale 1."""
HAT, BALLOON = 0.46, 0.58
"""Sides of the accessories relative to the sprite."""

_HEADS: dict[str, tuple[float, float]] = {
    "horse": (0.27, 0.17), "zebra": (0.27, 0.17), "dog": (0.25, 0.25), "cat": (0.23, 0.24), "cow": (0.24, 0.24),
    "sheep": (0.22, 0.20), "penguin": (0.50, 0.14), "elephant": (0.32, 0.18), "standing person": (0.50, 0.13),
    "walking person": (0.46, 0.13), "running person": (0.45, 0.14), "kneeling person": (0.48, 0.24),
    "hatching chick": (0.50, 0.13), "hatched chick": (0.50, 0.20), "smiling face": (0.50, 0.12),
    "crying face": (0.50, 0.12), "sleeping face": (0.42, 0.14),
}  # fmt: skip
"""Top of the head of each hat wearer, as (x, y) fractions of its sprite."""


@dataclass(frozen=True)
class Scene:
    """Everything that determines a picture."""

    object: str
    """Name of the object, one of :data:`bench.toybox.vocabulary.OBJECTS`."""
    background: str
    """Name of the background, one of :data:`bench.toybox.vocabulary.BACKGROUNDS`."""
    accessory: str = "none"
    """``none``, ``hat`` (wearers only) or ``balloon``."""
    x: int = 32
    """Centre of the sprite, pixels from the left."""
    y: int = 38
    """Centre of the sprite, pixels from the top."""
    scale: float = 1.0
    """Size of the sprite relative to :data:`SPRITE` pixels."""
    flip: bool = False
    """Whether the sprite is mirrored left to right."""
    seed: int = 0
    """Seed of the background's random numbers."""

    @property
    def caption(self) -> str:
        return vocabulary.caption(self.object, self.background, self.accessory)


@dataclass(frozen=True)
class Rendering:
    """A rendered scene."""

    image: NDArray[np.uint8]
    """(SIZE, SIZE, 3) RGB."""
    object_mask: NDArray[np.bool_]
    """(SIZE, SIZE), True where the object covers at least half of a pixel."""
    accessory_mask: NDArray[np.bool_]
    """(SIZE, SIZE), True where the accessory covers at least half of a pixel; all False without one."""
    caption: str


Layer = NDArray[np.float64]


def _place(picture: Image.Image, left: int, top: int) -> Layer:
    """An RGBA picture on an empty SIZE x SIZE canvas, cut at the border: (SIZE, SIZE, 4) float64 in [0, 255]."""
    canvas = Image.new("RGBA", (SIZE, SIZE))
    canvas.paste(picture, (left, top))
    return np.asarray(canvas, dtype=np.float64)


def _compose(image: Layer, layer: Layer) -> Layer:
    alpha = layer[..., 3:] / 255
    return image * (1 - alpha) + layer[..., :3] * alpha


def _shadow(object_layer: Layer) -> Layer:
    """Coverage of a soft contact shadow under the object's lowest visible row, (SIZE, SIZE, 1) in [0, 1]."""
    visible = object_layer[..., 3] > 127
    bottom = int(np.flatnonzero(visible.any(axis=1))[-1])
    columns = np.flatnonzero(visible.any(axis=0))
    centre, radius = (columns[0] + columns[-1] + 1) / 2, (columns[-1] - columns[0] + 1) / 2
    y, x = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    distance = np.sqrt(((x - centre) / radius) ** 2 + ((y - bottom - 0.5) / 3.5) ** 2)
    return np.clip(1.2 * (1 - distance), 0.0, 1.0)[..., None]


def _accessory_layer(scene: Scene, size: int, left: int, top: int) -> Layer:
    if scene.accessory == "none":
        return np.zeros((SIZE, SIZE, 4))
    if scene.accessory == "hat":
        side = round(HAT * size)
        head_x, head_y = _HEADS[scene.object]
        head_x = 1 - head_x if scene.flip else head_x
        return _place(sprite("hat", side), left + round(head_x * size - side / 2), top + round(head_y * size - 0.86 * side))
    side = round(BALLOON * size)
    centre = 53 if scene.x <= SIZE // 2 else 11
    return _place(sprite("balloon", side, flip=scene.x > SIZE // 2), centre - side // 2, 3)


def render(scene: Scene) -> Rendering:
    """Paint a scene; the same scene gives the same bytes.

    Raises KeyError for an unknown object, background or accessory, and for a hat on an object without a head.
    """
    size = round(SPRITE * scene.scale)
    left, top = scene.x - size // 2, scene.y - size // 2
    object_layer = _place(sprite(scene.object, size, scene.flip), left, top)
    accessory_layer = _accessory_layer(scene, size, left, top)
    image: Layer = paint(scene.background, scene.seed)
    if vocabulary.background_named(scene.background).grounded:
        image = image * (1 - 0.4 * _shadow(object_layer))
    image = _compose(_compose(image, object_layer), accessory_layer)
    return Rendering(
        image=np.rint(image).astype(np.uint8),
        object_mask=object_layer[..., 3] > 127,
        accessory_mask=accessory_layer[..., 3] > 127,
        caption=scene.caption,
    )


def random_scene(rng: np.random.Generator, include_held_out: bool = False, only_held_out: bool = False) -> Scene:
    """A scene drawn from the world; training draws leave out the held-out (object, background) pairs."""
    held_out = vocabulary.held_out()
    while True:
        name = OBJECTS[int(rng.integers(len(OBJECTS)))].name
        background = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))].name
        if ((name, background) in held_out) == only_held_out or (include_held_out and not only_held_out):
            break
    accessory = ACCESSORIES[int(rng.choice(len(ACCESSORIES), p=[0.7, 0.15, 0.15]))]
    if accessory == "hat" and not vocabulary.wears_hat(name):
        accessory = "none"
    return Scene(
        object=name,
        background=background,
        accessory=accessory,
        x=int(rng.integers(27, 38)),
        y=int(rng.integers(36, 42)),
        scale=float(rng.choice([0.92, 1.0, 1.08])),
        flip=bool(rng.integers(2)),
        seed=int(rng.integers(2**31)),
    )
