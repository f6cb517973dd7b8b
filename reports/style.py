"""How everything looks: one colour and one marker per editor, black markers for anchors, and matplotlib's settings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from matplotlib.markers import MarkerStyle
from matplotlib.transforms import Affine2D

__all__ = ["GRID", "INK", "MUTED", "RC", "SECOND", "ZONE", "Look", "knob_name", "looks", "number", "swatch"]

INK, MUTED, GRID, SECOND, ZONE = "#1d2733", "#667380", "#e4e8ec", "#4a5560", "#f3e6bf"
"""Text, secondary text, grid lines, the second curve of a panel, the knob zone."""

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b5559b", "#e0a100", "#56b4e9", "#882255", "#7f7f2a")
"""Okabe and Ito's colours without black and yellow, a darker purple, and two of Tol's: apart in the common colour blindnesses."""
_MARKERS = ("o", "s", "D", "^", "v", "P", "p", "h")
_ANCHORS = ("*", "X", "P", "d", "8", "<", ">")
_DASHES: tuple[Any, ...] = ("solid", (0, (5, 1.6)), (0, (1.5, 1.5)))

RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Helvetica Neue", "Arial"],
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.titlesize": 10,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "text.color": INK,
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "axes.edgecolor": "#b4bdc6",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.major.pad": 5,
    "ytick.major.pad": 5,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "none",
}
"""Settings of every figure. Text stays text in SVG: searchable, and set in the font of the page."""


@dataclass(frozen=True)
class Look:
    """How one editor or anchor is drawn in every figure, table and gallery row."""

    colour: str
    marker: str
    dash: Any
    anchor: bool


def looks(editors: Iterable[str], anchors: Iterable[str]) -> dict[str, Look]:
    """A look for each name, given by order; from the ninth editor on colours repeat with another dash and marker."""
    chosen: dict[str, Look] = {}
    for i, name in enumerate(editors):
        turn = i // len(_COLOURS)
        marker = _MARKERS[(i + 3 * turn) % len(_MARKERS)]
        chosen[name] = Look(_COLOURS[i % len(_COLOURS)], marker, _DASHES[turn % len(_DASHES)], False)
    for i, name in enumerate(anchors):
        chosen[name] = Look("#000000", _ANCHORS[i % len(_ANCHORS)], "none", True)
    return chosen


def swatch(look: Look, size: int = 14) -> Markup:
    """The marker as a small inline SVG, so that tables and gallery speak the figures' language."""
    style = MarkerStyle(look.marker)
    unit = style.get_path().transformed(style.get_transform())
    scale = size * min(0.78, 0.48 / float(abs(unit.get_extents().get_points()).max()))
    outline: Any = unit.transformed(Affine2D().scale(scale, -scale).translate(size / 2, size / 2))
    points = [" ".join(f"{x:.2f},{y:.2f}" for x, y in polygon) for polygon in outline.to_polygons()]
    body = Markup("").join(Markup('<polygon points="{}"/>').format(p) for p in points)
    element = Markup('<svg class="swatch" width="{0}" height="{0}" viewBox="0 0 {0} {0}" fill="{1}" aria-hidden="true">{2}</svg>')
    return element.format(size, look.colour, body)


def knob_name(knob: object) -> str:
    """The knob as readers know it: ``eta`` is η, underscores are spaces."""
    text = knob if isinstance(knob, str) else ""
    return "η" if text == "eta" else text.replace("_", " ")


def number(value: float) -> str:
    """A knob value without needless digits."""
    return f"{value:.4g}"
