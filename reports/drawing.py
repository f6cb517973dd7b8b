"""A drawing: a figure or the reason why there is none, the sentence that explains it, and the numbers behind it.

What a page may take hold of in the SVG of a figure has an id: ``point-<row>`` each marker of row ``row`` of ``Drawing.table``, and
``band-paired-<number>`` and ``band-unpaired-<number>`` the within-sample band and the plain interval of the editor with this
``Look.number``; in a figure of several panels one more ``-<panel>`` follows. The unpaired ones are in the SVG alone and hidden there
(``visibility="hidden"``). Where an editor has no within-sample band its interval is shown in its place, as ``band-only-<number>``.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from reports.style import RC

__all__ = ["HIDDEN", "Drawing", "blank", "left_out", "mixed", "paired", "rendered", "styled"]

HIDDEN = "band-unpaired-"
"""How the ids of what only a page shows begin."""
_METADATA: Mapping[str, Mapping[str, Any]] = {
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
}
"""What a file says of its making, by its ending: nothing that changes."""


@dataclass(frozen=True)
class Drawing:
    """One figure of the report."""

    name: str
    """File name without ending."""
    title: str
    caption: str
    """How to read it and what interval is shown."""
    table: pd.DataFrame
    """Every number that is drawn, rows numbered from 0."""
    figure: Figure | None
    absent: str = ""
    """Why there is no figure."""


@contextmanager
def styled() -> Iterator[None]:
    """Within it figures are made and measured as they are drawn: our settings, and no word of characters that no font holds."""
    with mpl.rc_context(RC), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from", category=UserWarning)
        yield


def blank(width: float, height: float, gap: float = 0.02) -> Figure:
    """An empty figure that can measure its own text: size in inches, ``gap`` between panels as a share of the figure."""
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(wspace=gap, hspace=gap))
    FigureCanvasAgg(figure)
    return figure


def rendered(figure: Figure, name: str) -> dict[str, bytes]:
    """A figure as ``svg``, ``png`` (300 dpi) and ``pdf``; the same figure gives the same bytes."""
    files = {ending: io.BytesIO() for ending in _METADATA}
    hidden = figure.findobj(lambda artist: str(artist.get_gid() or "").startswith(HIDDEN))
    with styled(), mpl.rc_context({"svg.hashsalt": name}):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for ending, file in files.items():
            for artist in hidden:
                artist.set_visible(ending == "svg")
            figure.savefig(file, format=ending, dpi=300, metadata=_METADATA[ending])
    found = {ending: file.getvalue() for ending, file in files.items()}
    return found | {"svg": found["svg"].replace(f'<g id="{HIDDEN}'.encode(), f'<g visibility="hidden" id="{HIDDEN}'.encode())}


def left_out(drawings: Sequence[Drawing]) -> str:
    """One line that names the figures that there are none of, each with the reason; empty where all are there."""
    gone = [f"{drawing.title} ({drawing.absent.rstrip('.')})" for drawing in drawings if drawing.figure is None]
    return f"Left out for want of data: {'; '.join(gone)}." if gone else ""


def paired(curves: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """Two metrics of the same edits side by side: editor, anchor, knob, value, all numbers of both with ``x_`` and ``y_``; order kept."""
    keys, numbers = ["editor", "anchor", "knob", "value"], ["mean", "low", "high", "within_low", "within_high", "n"]

    def one(metric: str, axis: str) -> pd.DataFrame:
        rows = curves.loc[curves["metric"] == metric, [*keys, *numbers]]
        return rows.rename(columns={name: f"{axis}_{name}" for name in numbers})

    both = one(x, "x").merge(one(y, "y"), on=keys, how="inner")
    return both.dropna(subset=["x_mean", "y_mean"]).reset_index(drop=True)


def mixed(curves: pd.DataFrame, *metrics: str) -> str:
    """A sentence naming the metric whose scores carry several fingerprints, or nothing."""
    for metric in metrics:
        prints = sorted(set(curves.loc[curves["metric"] == metric, "fingerprint"].astype(str)))
        if len(prints) > 1:
            return f"The scores of {metric} carry different fingerprints ({', '.join(prints)}) and cannot share an axis."
    return ""
