"""The colours of maps: a table that the browser puts in the place of greys, and the scale that says what they stand for."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.colors import to_hex

from reports.data import Heat

__all__ = ["HeatScale", "heat_scale"]

_COLOURS = "inferno"
"""Dark to bright without a turn, in grey and to colour-blind readers too."""
_STEPS = 17
"""Colours of the table, between which the browser interpolates."""
_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8)
"""Shares of the scale that have a number; its end is infinity."""


@dataclass(frozen=True)
class HeatScale:
    """What the page needs of it."""

    metric: str
    red: str
    green: str
    blue: str
    """``tableValues`` of an SVG filter."""
    gradient: str
    """CSS colours from 0 to infinity."""
    ticks: tuple[tuple[float, str], ...]
    """Per cent of the scale's length, and the value there."""


def heat_scale(heat: Heat) -> HeatScale | None:
    """The scale of the maps; None where there are none."""
    if not heat.metric:
        return None
    colours = [mpl.colormaps[_COLOURS](step / (_STEPS - 1))[:3] for step in range(_STEPS)]
    red, green, blue = (" ".join(f"{value:.4f}" for value in channel) for channel in zip(*colours, strict=True))
    ticks = [(100 * share, f"{heat.half * share / (1 - share):.2g}") for share in _TICKS]
    gradient = ", ".join(to_hex(colour) for colour in colours)
    return HeatScale(heat.metric, red, green, blue, gradient, (*ticks, (100.0, "\N{INFINITY}")))
