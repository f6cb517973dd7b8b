"""How everything looks: one colour and one marker per editor, black markers for anchors, and matplotlib's settings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from matplotlib.colors import to_hex, to_rgb
from matplotlib.font_manager import fontManager
from matplotlib.markers import MarkerStyle
from matplotlib.transforms import Affine2D

__all__ = [
    "FAINT",
    "GRID",
    "INK",
    "MUTED",
    "RC",
    "SECOND",
    "WIDTH",
    "ZONE",
    "Look",
    "contrast",
    "knob_name",
    "legible",
    "looks",
    "number",
    "short",
    "swatch",
]

INK, MUTED, GRID, SECOND, ZONE, FAINT = "#1d2733", "#5b6773", "#e4e8ec", "#4a5560", "#f3e6bf", "#aab3bc"
"""Text, secondary text, grid lines, the second curve of a panel, the knob zone, curves that only stand behind others."""
WIDTH = 5.5
"""Inches, as wide as the text of a paper in one column; printed so, no text of a figure is smaller than 7 points."""

_COLOURS = ("#394eff", "#6a0000", "#699327", "#c044ac", "#864a1e", "#5d91fd", "#283a72", "#6a00c3")
"""Found by a search for eight colours that keep apart as they are, under protanopia, deuteranopia and tritanopia (Machado et al. 2009), and
by their lightness alone, each at a contrast of 3 with white at least."""
_MARKERS = ("o", "s", "D", "^", "v", "P", "p", "h")
_ANCHORS = ("*", "X", "P", "d", "8", "<", ">")
_DASHES: tuple[Any, ...] = ("solid", (0, (5, 1.6)), (0, (1.5, 1.5)))
_READABLE = 4.5
"""Contrast of text with white, by WCAG 2.2 level AA."""
_SHORT = 28

_WRITTEN_BY = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans CJK KR",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "Hiragino Sans",
    "PingFang SC",
    "Apple SD Gothic Neo",
    "Yu Gothic",
    "Microsoft YaHei",
    "Malgun Gothic",
    "Noto Sans Arabic",
    "Noto Sans Hebrew",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Noto Emoji",
    "Symbola",
    "Arial Unicode MS",
)
"""Fonts for what DejaVu Sans does not hold, in order; those that a machine has. In SVG the viewer's fonts do it; in PNG and PDF a box
stands for a character that none of them holds."""

RC: dict[str, Any] = {
    "font.family": ["DejaVu Sans", *(name for name in _WRITTEN_BY if name in set(fontManager.get_font_names()))],
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8.5,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.columnspacing": 1.4,
    "text.color": INK,
    "text.parse_math": False,
    "text.hinting": "no_hinting",
    "axes.unicode_minus": True,
    "axes.edgecolor": "#b4bdc6",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.major.pad": 4,
    "ytick.major.pad": 4,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}
"""Settings of every figure. Text stays text in SVG and PDF: searchable, in SVG set in the font of the page. Without hinting it is as wide in
every file as where it was measured."""


@dataclass(frozen=True)
class Look:
    """How one editor or anchor is drawn in every figure, table and gallery row."""

    colour: str
    marker: str
    dash: Any
    anchor: bool
    number: int = 0
    """Its place among all editors and anchors, by which a page finds what is drawn of it."""


def looks(editors: Iterable[str], anchors: Iterable[str]) -> dict[str, Look]:
    """A look for each name, given by order; from the ninth editor on colours repeat, each time with another dash and marker."""
    chosen: dict[str, Look] = {}
    for i, name in enumerate(editors):
        turn = i // len(_COLOURS)
        marker = _MARKERS[(i + 3 * turn) % len(_MARKERS)]
        chosen[name] = Look(_COLOURS[i % len(_COLOURS)], marker, _DASHES[turn % len(_DASHES)], False, len(chosen))
    for i, name in enumerate(anchors):
        chosen[name] = Look("#000000", _ANCHORS[i % len(_ANCHORS)], "none", True, len(chosen))
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


def contrast(colour: str) -> float:
    """With white, 1..21, by WCAG 2.2."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 1.05 / (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)


def legible(colour: str) -> str:
    """The colour, darkened until text in it can be read on white."""
    dark = to_rgb(colour)
    while contrast(to_hex(dark)) < _READABLE:
        dark = (dark[0] * 0.96, dark[1] * 0.96, dark[2] * 0.96)
    return str(to_hex(dark))


def short(text: str, most: int = _SHORT) -> str:
    """The text in one line of `most` characters at the most, as there is room for in a figure."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def knob_name(knob: object) -> str:
    """The knob as readers know it: ``eta`` is η, underscores are spaces."""
    text = knob if isinstance(knob, str) else ""
    return "η" if text == "eta" else text.replace("_", " ")


def number(value: float) -> str:
    """A knob value without needless digits."""
    return f"{value:.4g}"
