"""Figures as parts of the page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from reports import ReportData
from reports.drawing import Drawing, blank, rendered
from reports.inline import inline_svg

XLINK = 'xmlns:xlink="http://www.w3.org/1999/xlink"'


def drawing(table: pd.DataFrame, points: int, panel: str = "") -> Drawing:
    """A figure with a marker for each row and both bands, as the report's figures name them."""
    figure = blank(4, 3)
    axes = figure.subplots()
    for row in range(points):
        axes.plot([row], [row], marker="o", gid=f"point-{row}{panel}")
    for kind in ("paired", "unpaired"):
        axes.fill_between([0, 1], [0, 0], [1, 1], alpha=0.1, gid=f"band-{kind}-alpha")
    return Drawing("made", 'A "title" <&>', "How to read it.", table, figure)


def points_of(drawn: Drawing, data: ReportData) -> list[dict[str, str]]:
    assert drawn.figure is not None
    svg = rendered(drawn.figure, drawn.name)["svg"]
    root = ET.fromstring(str(inline_svg(drawn, svg, data)))
    return [dict(node.attrib) for node in root.iter() if node.get("class") == "point"]


def test_an_svg_is_named_and_its_ids_are_its_own(data: ReportData) -> None:
    svg = rendered(drawing(pd.DataFrame(), 0).figure, "made")["svg"]
    text = str(inline_svg(drawing(pd.DataFrame(), 0), svg, data))
    root = ET.fromstring(text)
    assert (root.get("role"), root.get("aria-label")) == ("img", 'A "title" <&>')
    assert all(name.startswith("made-") for name in re.findall(r'\bid="([^"]+)"', text))
    assert set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text)) <= set(
        re.findall(r'\bid="([^"]+)"', text)
    )


def test_a_point_of_the_plane_is_a_link_that_tells_its_numbers(data: ReportData) -> None:
    table = data.tradeoff.assign(anchor=False)
    first, *_ = points_of(drawing(table, 6), data)
    assert (first["id"], first["role"], first["tabindex"]) == ("made-point-0", "link", "-1")
    assert first["aria-label"] == "alpha, η 0; 1 − LPIPS 0.95 [0.9, 0.99]; CLIP 0.2 [0.15, 0.24]; n = 2"
    assert first["data-link"] == "#editor=alpha&value=0.0"
    assert points_of(drawing(table, 6), data)[4]["data-link"] == "#editor=beta%3C%26%3E&value=0.5"


def test_a_point_of_a_curve_names_its_metric(data: ReportData) -> None:
    (point,) = points_of(drawing(data.curves[data.curves["metric"] == "csfid"], 1), data)
    assert point["aria-label"] == "alpha, η 0; CSFID 95; n = 2"


@pytest.mark.parametrize("missing", [np.nan, None])
def test_a_point_without_value_or_mean_says_less(data: ReportData, missing: float | None) -> None:
    table = pd.DataFrame({"editor": ['"copy" <1>; url(#x)'], "value": [missing], "lpips_mean": [missing]})
    (point,) = points_of(drawing(table, 1), data)
    assert point["aria-label"].startswith('"copy" <1>; url(#')
    assert point["data-link"].startswith("#editor=%22copy%22+")


def test_a_point_of_a_panel_is_one_too(data: ReportData) -> None:
    (point,) = points_of(drawing(data.tradeoff, 1, "-12"), data)
    assert (point["id"], point["data-link"]) == ("made-point-0-12", "#editor=alpha&value=0.0")


def test_a_point_beyond_the_table_is_left_as_it_is(data: ReportData) -> None:
    assert len(points_of(drawing(data.tradeoff, 9), data)) == 6
