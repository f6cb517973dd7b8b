"""The knob zone and figure 1."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from reports import ReportData
from reports.curves import knob_curves, knob_zone, zones
from reports.panels import metric_panels
from reports.style import looks


def test_zone_of_two_straight_lines_is_a_point_and_therefore_none() -> None:
    assert knob_zone([0, 1], [0, 1], [1, 0]) == []


def test_zone_lies_between_the_crossings_of_one_half() -> None:
    # editability scaled: 0, .25, 1, 1 crosses 1/2 a third of the way from 1 to 2; fidelity scaled: 1, 1, .75, 0 a third from 2 to 3
    ((low, high),) = knob_zone([0, 1, 2, 3], [10, 12, 18, 18], [0.9, 0.9, 0.7, 0.1])
    assert low == pytest.approx(4 / 3, abs=1e-12)  # rounding of one division
    assert high == pytest.approx(2 + 1 / 3, abs=1e-12)


def test_zone_may_have_two_parts() -> None:
    zone = knob_zone([0, 1, 2, 3, 4], [0, 1, 1, 1, 1], [1, 1, 0, 1, 0])
    assert zone == [(0.5, 1.5), (2.5, 3.5)]


def test_zone_reaching_the_end_of_the_grid_ends_there() -> None:
    assert knob_zone([0, 1, 2], [0, 1, 1], [0, 1, 1]) == [(0.5, 2)]


@pytest.mark.parametrize(
    ("values", "editability", "fidelity"),
    [([0], [1], [1]), ([0, 1], [1, 1], [1, 0]), ([0, 1], [0, float("nan")], [1, 0]), ([], [], [])],
    ids=["one point", "flat", "not finite", "empty"],
)
def test_no_zone(values: list[float], editability: list[float], fidelity: list[float]) -> None:
    assert knob_zone(values, editability, fidelity) == []


def test_zones_ignore_anchors_and_the_order_of_rows(data: ReportData) -> None:
    found = zones(data)
    assert list(found["editor"]) == ["alpha", "beta<&>"]
    shuffled = zones(replace(data, curves=data.curves.iloc[::-1]))
    pd.testing.assert_frame_equal(found, shuffled.sort_values("editor", ignore_index=True))


def test_caption_says_when_no_editor_has_a_zone(data: ReportData) -> None:
    look, curves = looks(["alpha", "beta<&>"], ["copy", "oracle"]), data.curves
    flat = curves.assign(mean=curves["mean"].where(curves["metric"] != "clip", 0.25))
    assert "no editor has one here" in knob_curves(replace(data, curves=flat), look).caption
    drawn = knob_curves(replace(data, interval="an interval"), look).caption
    assert "no editor has one here" not in drawn
    assert "are at least 0.5" in drawn
    assert "Bands: within-sample 95 %" in drawn


def test_a_value_without_a_mean_keeps_its_place_on_the_knob(data: ReportData) -> None:
    """The smallest value has no score of CLIP, as PSNR has none of an untouched picture: the next one does not slide into its place."""
    curves = data.curves.copy()
    curves.loc[(curves["metric"] == "clip") & (curves["value"] == 0.0) & ~curves["anchor"], ["mean", "low", "high"]] = np.nan
    drawing = metric_panels(replace(data, curves=curves), looks(["alpha", "beta<&>"], ["copy", "oracle"]))
    assert drawing.figure is not None
    of_clip, of_lpips = drawing.figure.axes[:2]
    assert of_clip.get_title(loc="left") == "CLIP ↑"
    assert list(of_clip.get_lines()[0].get_xdata()) == [0.5, 1.0]
    assert list(of_lpips.get_lines()[0].get_xdata()) == [0.0, 0.5, 1.0]


def test_one_metric_alone_is_still_drawn(data: ReportData) -> None:
    look, curves = looks(["alpha", "beta<&>"], ["copy", "oracle"]), data.curves
    drawing = knob_curves(replace(data, curves=curves[curves["metric"] == "clip"]), look)
    assert drawing.figure is not None
    assert set(drawing.table["metric"]) == {"clip"}
