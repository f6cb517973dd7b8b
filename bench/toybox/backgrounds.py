"""The painted backgrounds of ToyBox: one small function each, from a seeded generator to a 64x64 RGB picture.

They stay soft on purpose: 64 pixels and a 16x16 latent carry a mood and a texture, not grain. Only integer noise, Pillow's
fixed-point resampling and elementary arithmetic are used, so that a seed paints the same picture on every machine.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

__all__ = ["PAINTERS", "SIZE", "paint"]

SIZE = 64
"""Side of a ToyBox picture in pixels."""

FloatImage = NDArray[np.float64]
Rng = np.random.Generator


def _rgb(*colour: int) -> FloatImage:
    return np.array(colour, dtype=np.float64)


def _gradient(top: FloatImage, bottom: FloatImage, rows: int = SIZE) -> FloatImage:
    """A vertical gradient, (rows, SIZE, 3)."""
    t = np.linspace(0.0, 1.0, rows)[:, None, None]
    return np.broadcast_to(top * (1 - t) + bottom * t, (rows, SIZE, 3)).copy()


def _noise(rng: Rng, cells: tuple[int, int], amplitude: float) -> FloatImage:
    """Smooth value noise in [-amplitude, amplitude], (SIZE, SIZE, 1), from a grid of ``cells`` (rows, columns)."""
    grid = Image.fromarray(rng.integers(0, 256, cells, dtype=np.uint8))
    smooth = np.asarray(grid.resize((SIZE, SIZE), Image.Resampling.BICUBIC), dtype=np.float64)
    return (smooth / 127.5 - 1.0)[..., None] * amplitude


def _over(image: FloatImage, colour: FloatImage, alpha: FloatImage) -> FloatImage:
    return image * (1 - alpha) + colour * alpha


def _disc(cx: float, cy: float, radius: float, softness: float = 1.0) -> FloatImage:
    """The coverage of a soft disc, (SIZE, SIZE, 1), 1 inside and 0 outside."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    distance = np.sqrt((x - cx) ** 2 + (y - cy) ** 2)
    return np.clip((radius - distance) / softness + 0.5, 0.0, 1.0)[..., None]


def _sky_over_ground(sky: FloatImage, ground: FloatImage, horizon: float, slope: float = 0.0) -> FloatImage:
    """Sky above a line through ``horizon`` (pixels from the top at the middle) that rises by ``slope`` per pixel."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    below = np.clip(y - (horizon + slope * (x - SIZE / 2)) + 0.5, 0.0, 1.0)[..., None]
    return _over(sky, ground, below)


def grass(rng: Rng) -> FloatImage:
    sky = _gradient(_rgb(112, 178, 240), _rgb(214, 236, 252))
    cloud = _disc(rng.uniform(6, 58), rng.uniform(8, 14), 7, 8)
    sky = _over(sky, _rgb(255, 255, 255), 0.7 * cloud)
    meadow = _gradient(_rgb(140, 205, 88), _rgb(58, 146, 48)) + _noise(rng, (9, 9), 11) * _rgb(1.0, 1.0, 0.6)
    return _sky_over_ground(sky, meadow, rng.uniform(29, 37), rng.uniform(-0.08, 0.08))


def beach(rng: Rng) -> FloatImage:
    sky = _gradient(_rgb(96, 178, 244), _rgb(206, 234, 250))
    sea = _gradient(_rgb(20, 108, 176), _rgb(52, 178, 208)) + _noise(rng, (16, 4), 6)
    sand = _gradient(_rgb(246, 222, 166), _rgb(228, 190, 122)) + _noise(rng, (8, 8), 6)
    horizon = rng.uniform(22, 28)
    image = _sky_over_ground(sky, sea, horizon)
    return _sky_over_ground(image, sand, horizon + rng.uniform(10, 13), rng.uniform(-0.06, 0.06))


def snow(rng: Rng) -> FloatImage:
    sky = _gradient(_rgb(150, 170, 198), _rgb(212, 222, 236))
    field = _gradient(_rgb(248, 250, 255), _rgb(222, 230, 246)) + _noise(rng, (6, 6), 5)
    image = _sky_over_ground(sky, field, rng.uniform(31, 38), rng.uniform(-0.1, 0.1))
    for _ in range(7):
        image = _over(image, _rgb(255, 255, 255), 0.8 * _disc(rng.uniform(2, 62), rng.uniform(2, 30), 1.3, 1.5))
    return image


def night(rng: Rng) -> FloatImage:
    sky = _gradient(_rgb(14, 16, 58), _rgb(54, 48, 112))
    for _ in range(6):
        sky = _over(sky, _rgb(255, 250, 220), 0.8 * _disc(rng.uniform(2, 62), rng.uniform(2, 30), 1.1, 1.5))
    moon_x = rng.choice([rng.uniform(7, 14), rng.uniform(50, 57)])
    sky = _over(sky, _rgb(250, 240, 200), _disc(moon_x, rng.uniform(8, 13), 5, 1.5))
    ground = _gradient(_rgb(30, 40, 64), _rgb(14, 20, 38)) + _noise(rng, (6, 6), 3)
    return _sky_over_ground(sky, ground, rng.uniform(38, 44), rng.uniform(-0.08, 0.08))


def sunset(rng: Rng) -> FloatImage:
    sky = _gradient(_rgb(92, 48, 128), _rgb(255, 190, 92)) + _noise(rng, (10, 3), 6)
    horizon = rng.uniform(38, 43)
    sun_x = rng.uniform(14, 50)
    sky = _over(sky, _rgb(255, 232, 150), 0.6 * _disc(sun_x, horizon - 3, 12, 12))
    sky = _over(sky, _rgb(255, 240, 176), _disc(sun_x, horizon - 3, 7, 1.5))
    ground = _gradient(_rgb(150, 82, 92), _rgb(66, 34, 66)) + _noise(rng, (12, 4), 4)
    return _sky_over_ground(sky, ground, horizon)


def brick(rng: Rng) -> FloatImage:
    brick_height, brick_width = 8, 16
    tone = _rgb(174, 78, 62) + rng.uniform(-10, 10)
    image = np.empty((SIZE, SIZE, 3))
    shift_x, shift_y = 4 * int(rng.integers(0, 4)), 4 * int(rng.integers(0, 2))
    shades = rng.uniform(-12, 12, (SIZE // brick_height + 2, SIZE // brick_width + 3))
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    row = (y + shift_y) // brick_height
    column = (x + shift_x + (row % 2) * brick_width // 2) // brick_width
    image[:] = tone + shades[row, column][..., None]
    mortar = ((y + shift_y) % brick_height == 0) | ((x + shift_x + (row % 2) * brick_width // 2) % brick_width == 0)
    return _over(image, _rgb(214, 190, 176), 0.8 * mortar[..., None]) + _noise(rng, (4, 4), 5)


def table(rng: Rng) -> FloatImage:
    plank = 16
    y, _ = np.mgrid[0:SIZE, 0:SIZE]
    shift = 4 * int(rng.integers(0, 4))
    row = (y + shift) // plank
    shades = rng.uniform(-12, 12, SIZE // plank + 2)
    image = _rgb(186, 128, 76) + shades[row][..., None] + _noise(rng, (22, 3), 9)
    seam = ((y + shift) % plank == 0)[..., None]
    return _over(image, _rgb(104, 64, 34), 0.75 * seam)


def leaves(rng: Rng) -> FloatImage:
    image = _gradient(_rgb(150, 84, 36), _rgb(116, 60, 26)) + _noise(rng, (5, 5), 10)
    colours = [_rgb(226, 116, 36), _rgb(238, 172, 56), _rgb(196, 62, 36), _rgb(208, 140, 44)]
    scale = 4
    for _ in range(16):
        leaf = Image.new("L", (SIZE, SIZE))
        long, short = rng.uniform(12, 17), rng.uniform(6, 9)
        stamp = Image.new("L", (20 * scale, 20 * scale))
        centre = 10 * scale
        box = (centre - long * scale / 2, centre - short * scale / 2, centre + long * scale / 2, centre + short * scale / 2)
        ImageDraw.Draw(stamp).ellipse(box, fill=255)
        turned = stamp.rotate(int(rng.integers(0, 12)) * 30, Image.Resampling.BILINEAR)
        leaf.paste(turned.resize((20, 20), Image.Resampling.BOX), (int(rng.integers(-10, 55)), int(rng.integers(-10, 55))))
        alpha = np.asarray(leaf, dtype=np.float64)[..., None] / 255
        image = _over(image, colours[int(rng.integers(0, len(colours)))], 0.85 * alpha)
    return image


PAINTERS: dict[str, Callable[[Rng], FloatImage]] = {
    painter.__name__: painter for painter in (grass, beach, snow, night, sunset, brick, table, leaves)
}


def paint(name: str, seed: int) -> FloatImage:
    """The background ``name`` painted from ``seed``: (SIZE, SIZE, 3) float64 in [0, 255]."""
    return np.clip(PAINTERS[name](np.random.default_rng(seed)), 0.0, 255.0)
