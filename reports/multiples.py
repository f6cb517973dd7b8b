"""The plane again and again: of each category of edits, and of each method that several editors are."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from reports.data import ReportData
from reports.drawing import Drawing, mixed, styled
from reports.marks import band_note, entry, key, panels
from reports.names import metric_names
from reports.plane import NUMBERS, draw_plane
from reports.style import FAINT, Look, short

__all__ = ["category_planes", "family_planes"]

_MOST = 12
_LEAST = 2
"""Samples of a category that is drawn."""


def category_planes(data: ReportData, look: Mapping[str, Look]) -> Drawing:
    """One panel per category, the largest first, all on the same axes: whether an editor is good at all kinds of edits alike."""
    name, title, names = "categories", "Editability against fidelity by category", metric_names(data)
    y, x = (names[column] for column in data.plane.columns)
    rows = data.categories.dropna(subset=["x_mean", "y_mean"])
    sizes = rows.groupby("category", sort=False)["samples"].first().sort_values(ascending=False, kind="stable")
    drawn = [str(each) for each in sizes[sizes >= _LEAST].index[:_MOST]]
    frame = rows[rows["category"].isin(drawn)].reset_index(drop=True)
    reason = mixed(data.curves, data.plane.fidelity, data.plane.editability)
    if len(drawn) < 2 or reason:
        lacking = f"Fewer than two categories have {_LEAST} samples or more with scores of both {y.title} and {x.title}."
        return Drawing(name, title, "", frame, None, lacking if len(drawn) < 2 else reason)
    with styled():
        figure, axes, columns = panels(len(drawn), data.width, least=1.7, shape=0.8, sharex=True, sharey=True)
        for i, (ax, category) in enumerate(zip(axes, drawn, strict=True)):
            own = frame[frame["category"] == category]
            draw_plane(ax, own, look, banded=False)
            ax.set_title(f"{short(category, 22)} (n = {sizes[category]})", loc="left")
            if i % columns == 0:
                ax.set_ylabel(f"{y.noun} →")
            if i >= len(drawn) - columns:
                ax.set_xlabel(f"{x.noun} →")
                ax.tick_params(labelbottom=True)
        _together(axes, frame)
        present = [each for each in look if each in set(frame["editor"])]
        key(figure, [entry(look[each]) for each in present], present)
    rest = len(sizes) - len(drawn)
    more = f" {rest} more categor{'ies are' if rest > 1 else 'y is'} smaller and not drawn." if rest else ""
    caption = (
        f"The plane of the whole run for the samples of each category alone; up and right is better. n counts samples.{more} Without bands: "
        "a category holds few samples, and a look at many panels finds a difference in some of them by chance. Both intervals of every point "
        "are in the table."
    )
    return Drawing(name, title, caption, frame, figure)


def family_planes(data: ReportData, look: Mapping[str, Look]) -> Drawing:
    """One panel per method with several editors: what its parameters change, the other editors behind it in grey."""
    name, title, names = "families", "One method, other parameters", metric_names(data)
    y, x = (names[column] for column in data.plane.columns)
    every = data.tradeoff.dropna(subset=["x_mean", "y_mean"]).assign(anchor=False)
    frame = every.merge(data.families, on="editor", how="inner").reset_index(drop=True)
    counts = frame.groupby("method", sort=False)["editor"].nunique()
    methods = [str(method) for method in counts[counts > 1].index]
    frame = frame[frame["method"].isin(methods)].reset_index(drop=True)
    reason = mixed(data.curves, data.plane.fidelity, data.plane.editability)
    if not methods or reason:
        return Drawing(
            name, title, "", frame, None, "No two editors with scores on both axes are one method." if not methods else reason
        )
    with styled():
        figure, axes, columns = panels(len(methods), data.width, least=2.4, shape=0.68)
        for i, (ax, method) in enumerate(zip(axes, methods, strict=True)):
            own = frame[frame["method"] == method]
            others = every[~every["editor"].isin(set(own["editor"])) & every["editor"].isin(list(look))]
            for _, rows in others.groupby("editor", sort=False):
                ordered = rows.sort_values("value", kind="stable")
                ax.plot(ordered["x_mean"], ordered["y_mean"], color=FAINT, linewidth=0.8, zorder=1)
            draw_plane(ax, own, look)
            ax.set_title(short(method), loc="left", fontweight="bold")
            ax.set_xlabel(f"{x.noun} →")
            if i % columns == 0:
                ax.set_ylabel(f"{y.noun} →")
        settings = frame.drop_duplicates("editor").set_index("editor")["settings"]
        key(
            figure,
            [entry(look[each]) for each in settings.index],
            [f"{short(str(e), 20)}: {s}" for e, s in settings.items()],
            most=48,
        )
    caption = (
        "Editors that are one method with other parameters, each swept over its knob; up and right is better. Grey: the other editors. "
        f"{band_note(data, [(str(e), r) for e, r in frame.groupby('editor', sort=False)], 'x_')}"
    )
    columns_ = ["method", "settings", "editor", "knob", "value", "n", *NUMBERS]
    return Drawing(name, title, caption.rstrip(), frame[columns_], figure)


def _together(axes: list[object], frame: pd.DataFrame) -> None:
    """Limits for all panels that share them."""
    for axis in "xy":
        low, high = float(frame[f"{axis}_mean"].min()), float(frame[f"{axis}_mean"].max())
        pad = 0.08 * (high - low) or 0.02 * abs(high) or 0.01
        axes[0].set(**{f"{axis}lim": (low - pad, high + pad)})  # type: ignore[attr-defined]
