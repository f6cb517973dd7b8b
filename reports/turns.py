"""What editors lose from turn to turn of sessions, as a figure; the means are a table (`reports.protocol`)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.ticker import MaxNLocator

from reports.data import ReportData
from reports.drawing import Drawing, styled
from reports.marks import area, draw_curve, entry, key, opacity, panels
from reports.names import metric_names
from reports.style import MUTED, Look, short

__all__ = ["turn_panels"]


def turn_panels(data: ReportData, look: Mapping[str, Look]) -> Drawing:
    """One panel per metric, all editors in each: how far it is from the first turn of the same sessions."""
    name, title, names = "turn_curves", "What is lost from turn to turn", metric_names(data)
    known = data.turns[np.isfinite(data.turns["change"].astype(float))]
    later = set(known.loc[known["turn"] > 1, "metric"])
    rows = known[known["metric"].isin(later)].reset_index(drop=True)
    metrics = [str(each) for each in dict.fromkeys(rows["metric"])]
    if not metrics:
        return Drawing(name, title, "", rows, None, "No metric has a value of a first and of a later turn of one session.")
    drawn = rows.assign(
        mean=rows["change"], low=rows["change_low"], high=rows["change_high"], within_low=np.nan, within_high=np.nan
    )
    with styled():
        figure, axes, columns = panels(len(metrics), data.width, least=1.7, shape=0.85, sharex=True)
        for panel, (ax, metric) in enumerate(zip(axes, metrics, strict=True)):
            own = drawn[drawn["metric"] == metric]
            editors = own["editor"].nunique()
            ax.axhline(0, color=MUTED, linewidth=0.6, linestyle=(0, (2, 3)), zorder=1)
            for editor, unsorted in own.groupby("editor", sort=False):
                points, style = unsorted.sort_values("turn"), look[str(editor)]
                area(
                    ax,
                    points["turn"],
                    points.fillna({"low": 0.0, "high": 0.0}),
                    style,
                    panel=panel,
                    alone=True,
                    alpha=opacity(editors),
                )
                draw_curve(ax, points["turn"], points["mean"], points.index, style)
            about = names.get(metric)
            ax.set_title(f"{short(about.title)} {about.arrow}" if about else short(metric), loc="left", fontweight="bold")
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            if panel >= len(metrics) - columns:
                ax.set_xlabel("turn")
                ax.tick_params(labelbottom=True)
        present = [own for own in look if own in set(rows["editor"])]
        key(figure, [entry(look[own]) for own in present], present)
    own_chain = "its own picture" if data.own_chain else "the true picture"
    caption = (
        "Each metric less its value at the first turn of the same session, each editor at its operating point and every turn made from "
        f"{own_chain} of the turn before. The dashed line is no change; ↑ below it and ↓ above it is a loss. Later turns have fewer "
        f"sessions, whose number is in the table. Bands: {data.interval}."
    )
    return Drawing(name, title, caption, rows, figure)
