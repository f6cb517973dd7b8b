"""The planes of a whole run: editability against fidelity, and the distance to the source against that to the target class."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports.data import ReportData
from reports.drawing import Drawing, blank, mixed, paired, styled
from reports.marks import band_note, entry, key, within_note
from reports.names import metric_names
from reports.plane import NUMBERS, draw_plane, keys_of, label_plane
from reports.style import Look

__all__ = ["distance_plane", "tradeoff_plane"]

_KEYS = ["editor", "anchor", "knob", "value"]
_COLUMNS = [*_KEYS, "n", *NUMBERS]


def _figure(data: ReportData, frame: pd.DataFrame, look: Mapping[str, Look], x_label: str, y_label: str) -> Any:
    with styled():
        figure = blank(data.width, min(0.66 * data.width, 5.0))
        ax = figure.subplots()
        ax.set(xlabel=x_label, ylabel=y_label)
        draw_plane(ax, frame, look)
        named = keys_of(frame, look)
        key(figure, [entry(look[name]) for name in named], list(named.values()))
        label_plane(ax, frame, look)
    return figure


def _by_editor(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(str(name), rows) for name, rows in frame[~frame["anchor"].astype(bool)].groupby("editor", sort=False)]


def tradeoff_plane(data: ReportData, look: Mapping[str, Look]) -> Drawing:
    """Editability against fidelity: one curve per editor with its joint band, anchors as points. Up and right is better."""
    name, title, names, tradeoff = "tradeoff", "Editability against fidelity", metric_names(data), data.tradeoff
    y, x = (names[column] for column in data.plane.columns)
    points = paired(data.curves, data.plane.fidelity, data.plane.editability)
    points = points[points["anchor"].astype(bool)]
    own = tradeoff.assign(anchor=False).dropna(subset=["x_mean", "y_mean"])
    own = own[~own["editor"].isin(set(points["editor"]))]
    parts = [part[_COLUMNS] for part in (own, points.assign(n=points["x_n"])) if len(part)]
    frame = pd.concat(parts, ignore_index=True) if parts else tradeoff.reindex(columns=_COLUMNS)
    reason = mixed(data.curves, data.plane.fidelity, data.plane.editability)
    if reason or not parts:
        return Drawing(name, title, "", frame, None, reason or f"No edit of this run has scores of both {y.title} and {x.title}.")
    figure = _figure(data, frame, look, f"{x.label}   (more faithful →)", f"{y.label}   (better aligned →)")
    caption = (
        "Each curve is one editor swept over its knob, the ends of the knob at its ends or in the key; up and right is better, and a curve "
        "that lies above another gives more edit at the same fidelity. Black markers are anchors: controls that show what the "
        "axes mean. A ribbon joins ellipses whose half-axes are the bands of both coordinates; where few samples make it so wide that "
        "it would have more ink than its curve, bars at the ends and in the middle stand for it. "
        f"{band_note(data, _by_editor(frame), 'x_')}"
    )
    return Drawing(name, title, caption.rstrip(), frame, figure)


def distance_plane(data: ReportData, look: Mapping[str, Look]) -> Drawing:
    """The metric of fidelity, as it is scored, against CSFID: with LPIPS the plane of the DiffEdit paper (arXiv 2210.11427)."""
    names, curves, metric = metric_names(data), data.curves, data.plane.made_of.get(data.plane.fidelity, data.plane.fidelity)
    own, word = names[metric], re.sub(r"\W+", "_", metric).strip("_")
    name, likeness = f"{word}_csfid", own.better == "higher"
    title = f"{'Likeness' if likeness else 'Distance'} to the source against distance to the target class"
    frame = paired(curves, metric, "csfid").rename(columns={"x_n": "n"})[_COLUMNS]
    table = frame.rename(columns=lambda c: re.sub("^x_", f"{word}_", re.sub("^y_", "csfid_", c)))
    reason = mixed(curves, metric, "csfid")
    if reason or frame.empty:
        scored = set(curves["metric"])
        lacking = " or ".join(names[key].title for key in (metric, "csfid") if key not in scored)
        reason = reason or (
            f"This run has no scores of {lacking}."
            if lacking
            else f"No edit of this run has scores of both {own.title} and CSFID."
        )
        return Drawing(name, title, "", table, None, reason)
    x_label = f"{own.label}   ({'more faithful →' if likeness else '← more faithful'})"
    figure = _figure(data, frame, look, x_label, "CSFID to the target class   (↓ closer)")
    shares = data.sets.loc[data.sets["metric"] == "csfid", "per_class"].dropna()
    each = f"{shares.mean():.3g}" if len(shares) else ""
    share = f" (here {each} edit{'s' * (each != '1')} per class on average)" if each else ""
    inner = frame["x_within_low"].notna().any()
    shown = within_note() if inner else f"Bands: {data.interval}."
    rest = (
        "one number per set and has none"
        if frame["y_low"].isna().all()
        else f"in the table, with its {data.set_interval or data.interval}"
    )
    caption = (
        f"Down and {'right' if likeness else 'left'} is better: close to the source, yet close to real pictures of the target class. "
        "CSFID compares feature means only, and a small class inflates it in proportion to one over its size"
        f"{share}: compare points of this figure with each other, not with other tables. {shown} They are of {own.title}; CSFID is {rest}."
    )
    return Drawing(name, title, caption, table, figure)
