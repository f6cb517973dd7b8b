"""A drawing: a figure or the reason why there is none, the sentence that explains it, and the numbers behind it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from reports.style import RC

__all__ = ["Drawing", "blank", "mixed", "paired", "rendered"]

_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


@dataclass(frozen=True)
class Drawing:
    """One figure of the report."""

    name: str
    """File name without ending."""
    title: str
    caption: str
    """How to read it and what interval is shown."""
    table: pd.DataFrame
    """Every number that is drawn."""
    figure: Figure | None
    absent: str = ""
    """Why there is no figure."""


def blank(width: float, height: float, gap: float = 0.02) -> Figure:
    """An empty figure that can measure its own text: size in inches, ``gap`` between panels as a share of the figure."""
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(wspace=gap, hspace=gap))
    FigureCanvasAgg(figure)
    return figure


def rendered(figure: Figure, name: str) -> tuple[bytes, bytes]:
    """SVG and PNG (200 dpi) of a figure; the same figure gives the same bytes."""
    svg, png = io.BytesIO(), io.BytesIO()
    settings: dict[str, Any] = {**RC, "svg.hashsalt": name}
    with mpl.rc_context(settings):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        figure.savefig(svg, format="svg", metadata=_NO_METADATA)
        figure.savefig(png, format="png", dpi=200, metadata={"Software": None})
    return svg.getvalue(), png.getvalue()


def paired(curves: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """Two metrics of the same edits side by side: editor, anchor, knob, value, ``x_mean`` .. ``y_high``, n; input order kept."""
    keys = ["editor", "anchor", "knob", "value"]

    def one(metric: str, axis: str) -> pd.DataFrame:
        rows = curves.loc[curves["metric"] == metric, [*keys, "mean", "low", "high", "n"]]
        names = {"mean": f"{axis}_mean", "low": f"{axis}_low", "high": f"{axis}_high", "n": f"{axis}_n"}
        return rows.rename(columns=names)

    both = one(x, "x").merge(one(y, "y"), on=keys, how="inner")
    return both.dropna(subset=["x_mean", "y_mean"])


def mixed(curves: pd.DataFrame, *metrics: str) -> str:
    """A sentence naming the metric whose scores carry several fingerprints, or nothing."""
    for metric in metrics:
        prints = sorted(set(curves.loc[curves["metric"] == metric, "fingerprint"].astype(str)))
        if len(prints) > 1:
            return f"The scores of {metric} carry different fingerprints ({', '.join(prints)}) and cannot share an axis."
    return ""
