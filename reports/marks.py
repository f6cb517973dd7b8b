"""What figures are put together from: markers that a page can point at, bands, keys, and panels that fit the figure's width."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.data import ReportData
from reports.drawing import HIDDEN, blank
from reports.style import Look, short

__all__ = [
    "BAND",
    "MARKER",
    "area",
    "band_note",
    "draw_curve",
    "draw_points",
    "entry",
    "has_within",
    "key",
    "marker_of",
    "opacity",
    "panels",
    "within_note",
]

BAND = 0.11
"""Opacity of a band at the most."""
MARKER = 4.5
"""Size in points of the marker of an editor."""
_SIZES = {"*": 8.5}
"""Marker sizes in points of the anchors that look small at the common one."""
_ANCHOR = 6.0


def marker_of(look: Look, size: float | None = None) -> dict[str, Any]:
    """How matplotlib draws the marker of an editor or an anchor."""
    own = (_SIZES.get(look.marker, _ANCHOR) if look.anchor else MARKER) if size is None else size
    return {"marker": look.marker, "markersize": own, "markeredgecolor": "white", "markeredgewidth": 0.5, "color": look.colour}


def opacity(editors: int) -> float:
    """Of one band where those of so many editors lie over each other: together they stay lighter than the curves."""
    return min(BAND, 0.36 / max(editors, 1))


def draw_points(ax: Any, x: Iterable[float], y: Iterable[float], rows: Iterable[Any], look: Look, **style: Any) -> None:
    """One marker per point, each findable by the row of the drawing's table it stands for."""
    for across, up, row in zip(x, y, rows, strict=True):
        own = {"linestyle": "none", "clip_on": False, "zorder": 5, "gid": f"point-{row}", **marker_of(look), **style}
        ax.plot([across], [up], **own)


def draw_curve(ax: Any, x: Iterable[float], y: Iterable[float], rows: Iterable[Any], look: Look, **line: Any) -> None:
    """A line through the points in the order given, and its markers."""
    ax.plot(x, y, **{"color": look.colour, "linestyle": look.dash, "clip_on": False, "zorder": 4, **line})
    draw_points(ax, x, y, rows, look, **({"color": line["color"]} if "color" in line else {}))


def has_within(rows: pd.DataFrame, prefix: str = "") -> bool:
    """Whether every point that has an interval has a within-sample band too, and there is one."""
    plain, within = ([f"{prefix}{name}{end}" for end in ("low", "high")] for name in ("", "within_"))
    known = rows[plain].notna().all(axis=1)
    return bool(known.any() and rows.loc[known, within].notna().all(axis=None))


def area(
    ax: Any, x: Any, rows: pd.DataFrame, look: Look, *, panel: int, alone: bool, alpha: float = BAND, colour: str = ""
) -> None:
    """The bands of a curve over the knob: the within-sample one, and beside it in the SVG the plain one, hidden.

    Where there is no within-sample one the plain one is shown if `alone`: there is nothing that is better compared by another.
    """
    drawn = [("paired", "within_low", "within_high")] if has_within(rows) else []
    drawn.append((HIDDEN.split("-")[1] if drawn or not alone else "only", "low", "high"))
    for kind, low, high in drawn:
        if rows[[low, high]].notna().all(axis=1).any():
            ax.fill_between(x, rows[low], rows[high], color=colour or look.colour, alpha=alpha, linewidth=0, zorder=1,
                            gid=f"band-{kind}-{look.number}-{panel}")  # fmt: skip


def within_note() -> str:
    """What a within-sample band shows, in a sentence."""
    return (
        "Bands: within-sample 95 %, from which what the editors share is taken out, each sample's mean over them; where the bands of two "
        "editors, each so far along its knob, do not overlap, their means are told apart (one comparison, uncorrected)."
    )


def band_note(data: ReportData, frames: Sequence[tuple[str, pd.DataFrame]], prefix: str = "") -> str:
    """What the bands of a figure show; `frames` are its editors and their rows."""
    inner = [name for name, rows in frames if has_within(rows, prefix)]
    rest = [name for name, rows in frames if name not in inner and rows[f"{prefix}low"].notna().any()]
    if not inner:
        return f"Bands: {data.interval}." if rest else ""
    plain = f" {', '.join(dict.fromkeys(rest))}: {data.interval}, for lack of editors with the same samples." if rest else ""
    return within_note() + plain


def entry(look: Look, **style: Any) -> Line2D:
    """How an editor or an anchor stands in a key."""
    return Line2D([], [], **{"linestyle": look.dash, **marker_of(look), **style})


def key(figure: Figure, handles: Sequence[Any], labels: Sequence[str], most: int = 28) -> None:
    """A legend above the panels, in as many columns as fit; the figure grows by its height. Labels are cut to `most` characters."""
    texts = [short(label, most) for label in labels]
    renderer: Any = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    widest = 0.0
    for text in texts:
        probe = figure.text(0, 0, text, fontsize="medium")
        widest = max(widest, probe.get_window_extent(renderer).width / figure.dpi)
        probe.remove()
    columns = max(1, int(figure.get_figwidth() / (widest + 0.5)))
    lines = math.ceil(len(texts) / columns)
    figure.set_figheight(figure.get_figheight() + 0.17 * lines)
    figure.legend(handles, texts, loc="outside upper left", ncols=math.ceil(len(texts) / lines), borderaxespad=0.2)


def panels(
    count: int, width: float, *, least: float, shape: float, extra: float = 0.1, sharex: bool = False, sharey: bool = False
) -> tuple[Figure, list[Any], int]:
    """A figure of `count` panels, its axes (those too many are gone) and the number of columns.

    Args:
        count: of panels, 1 or more.
        width: of the figure, in inches.
        least: of a panel, in inches: as many stand side by side as are no narrower, three at most.
        shape: height of a panel by its width.
        extra: inches of height beside the panels, for margins.
        sharex: whether all panels have one horizontal axis.
        sharey: one vertical axis.
    """
    columns = max(1, min(count, int(width / least), 2 if count in {2, 4} else 3))
    lines = math.ceil(count / columns)
    figure = blank(width, extra + lines * max(shape * min(width / columns, 4.2), 1.2), gap=0.04)
    axes = figure.subplots(lines, columns, squeeze=False, sharex=sharex, sharey=sharey).ravel()
    for ax in axes[count:]:
        ax.remove()
    return figure, list(axes[:count]), columns
