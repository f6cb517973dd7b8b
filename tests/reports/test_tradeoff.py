"""Planes: the ribbon's outline and the frames behind figures 2 and 3."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch

from reports.data import ReportData
from reports.drawing import paired
from reports.frames import empty
from reports.plane import draw_plane
from reports.ribbon import ribbon
from reports.style import looks
from reports.tradeoff import distance_plane, tradeoff_plane

LOOK = looks(["alpha", "beta<&>"], ["copy", "oracle"])


def test_ribbon_reaches_exactly_to_the_intervals_of_a_point() -> None:
    outline = ribbon(np.array([[1.0, 0.5, 1.75, 10.0, 8.0, 11.0]]))
    assert outline is not None
    low, high = outline.vertices.min(axis=0), outline.vertices.max(axis=0)
    # the 48 directions include the four axes, so only the rounding of sine and cosine remains
    np.testing.assert_allclose([*low, *high], [0.5, 8.0, 1.75, 11.0], rtol=1e-12)


def test_ribbon_covers_the_whole_segment_between_two_points() -> None:
    outline = ribbon(np.array([[0.0, -0.1, 0.1, 0.0, -0.1, 0.1], [1.0, 0.9, 1.1, 2.0, 1.9, 2.1]]))
    assert outline is not None
    inside = np.column_stack([np.linspace(0, 1, 9), np.linspace(0, 2, 9)])
    assert outline.contains_points(inside).all()
    assert not outline.contains_points([[0.5, 1.5], [0.5, 0.5]]).any()


def test_ribbon_without_finite_intervals_is_none() -> None:
    assert ribbon(np.array([[1.0, np.nan, np.nan, 10.0, 8.0, 11.0]])) is None
    assert ribbon(np.array([[1.0, 1.0, 1.0, 10.0, 10.0, 10.0]])) is None


def test_paired_joins_rows_of_the_same_edit_only(curves: pd.DataFrame) -> None:
    lacking = curves[~((curves["metric"] == "csfid") & (curves["editor"] == "alpha") & (curves["value"] == 0.5))]
    frame = paired(lacking, "lpips", "csfid")
    assert len(frame) == 7  # eight points less the one without a CSFID; anchors have no knob, which must not lose them
    assert list(frame.loc[frame["anchor"], "editor"]) == ["copy", "oracle"]
    beta = frame[frame["editor"] == "beta<&>"]
    want = curves[(curves["editor"] == "beta<&>") & (curves["metric"] == "csfid")]["mean"]
    assert list(beta["y_mean"]) == list(want)


def test_distance_plane_names_its_columns_and_says_that_csfid_has_no_interval(data: ReportData) -> None:
    drawing = distance_plane(replace(data, interval="an interval"), LOOK)
    ends = ("mean", "low", "high", "within_low", "within_high")
    assert list(drawing.table.columns)[5:] == [f"{m}_{e}" for m in ("lpips", "csfid") for e in ends]
    assert "They are of LPIPS; CSFID is one number per set and has none." in drawing.caption
    assert drawing.figure is not None


def test_tradeoff_without_anchors_or_without_editors(data: ReportData) -> None:
    own = data.curves[~data.curves["anchor"]]
    assert tradeoff_plane(replace(data, curves=own), LOOK).figure is not None
    anchors = data.curves[data.curves["anchor"]]
    drawing = tradeoff_plane(replace(data, curves=anchors, tradeoff=empty("tradeoff")), LOOK)
    assert drawing.figure is not None
    assert list(drawing.table["editor"]) == ["copy", "oracle"]


def test_an_anchor_is_drawn_once_when_both_frames_have_it(data: ReportData) -> None:
    extra = data.tradeoff.iloc[:1].assign(editor="copy")
    table = tradeoff_plane(replace(data, tradeoff=pd.concat([data.tradeoff, extra])), LOOK).table
    assert (table["editor"] == "copy").sum() == 1


def test_labels_keep_clear_of_each_other(data: ReportData) -> None:
    figure = tradeoff_plane(data, LOOK).figure
    assert figure is not None
    (ax,) = figure.axes
    boxes = [text.get_window_extent(figure.canvas.get_renderer()) for text in ax.texts]  # type: ignore[attr-defined]
    assert len(boxes) == 6  # two ends of each editor and two anchors
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


@pytest.mark.parametrize(("spread", "kind"), [(0.002, PathPatch), (0.2, LineCollection)], ids=["many samples", "few samples"])
def test_a_band_has_no_more_ink_than_its_curve(spread: float, kind: type) -> None:
    """Of few samples a ribbon would be an area in which the curve is lost; three crosses stand for it, and name it as the ribbon does."""
    means = np.linspace(0.2, 0.8, 9)
    frame = pd.DataFrame({"editor": "alpha", "knob": "eta", "value": range(9), "x_mean": means, "y_mean": means[::-1]})
    for axis in "xy":
        for name, end in (("low", -1), ("high", 1)):
            frame[f"{axis}_{name}"] = frame[f"{axis}_within_{name}"] = frame[f"{axis}_mean"] + end * spread
    ax = Figure(figsize=(5, 4)).subplots()
    draw_plane(ax, frame, looks(["alpha"], []))
    (band,) = [each for each in ax.get_children() if (each.get_gid() or "").startswith("band-paired-")]
    assert isinstance(band, kind)
    if isinstance(band, LineCollection):
        assert len(band.get_segments()) == 2 * 3
