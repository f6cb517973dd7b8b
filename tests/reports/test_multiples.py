"""Planes by category and by method, costs and masks."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from reports import ReportData
from reports.dots import cost_panels, mask_dots
from reports.drawing import rendered
from reports.multiples import category_planes, family_planes
from reports.style import looks

LOOK = looks(["alpha", "beta<&>"], ["copy", "oracle"])


def sized(data: ReportData, sizes: dict[str, int]) -> ReportData:
    """The plane of the run as that of each category."""
    parts = [data.tradeoff.assign(category=name, samples=size, anchor=False) for name, size in sizes.items()]
    return replace(data, categories=pd.concat(parts, ignore_index=True))


def test_categories_are_drawn_by_size_and_small_ones_left_out(data: ReportData) -> None:
    drawing = category_planes(sized(data, {"remove": 4, "add": 9, "lonely": 1}), LOOK)
    assert drawing.figure is not None
    assert [ax.get_title(loc="left") for ax in drawing.figure.axes] == ["add (n = 9)", "remove (n = 4)"]
    assert "1 more category is smaller and not drawn." in drawing.caption
    assert set(drawing.table["category"]) == {"add", "remove"}
    assert rendered(drawing.figure, drawing.name)["svg"].count(b'id="point-') == len(drawing.table)


def test_at_most_twelve_categories_are_drawn(data: ReportData) -> None:
    drawing = category_planes(sized(data, {f"kind {number}": 30 - number for number in range(15)}), LOOK)
    assert drawing.figure is not None
    assert len(drawing.figure.axes) == 12
    assert "3 more categories are smaller" in drawing.caption


@pytest.mark.parametrize("sizes", [{"add": 9}, {"add": 9, "remove": 1}], ids=["one", "one large enough"])
def test_one_category_is_no_figure(data: ReportData, sizes: dict[str, int]) -> None:
    drawing = category_planes(sized(data, sizes), LOOK)
    assert drawing.figure is None
    assert drawing.absent.startswith("Fewer than two categories have 2 samples")


def test_a_family_stands_before_the_other_editors(data: ReportData) -> None:
    third = data.tradeoff[data.tradeoff["editor"] == "alpha"].assign(editor="gamma", x_mean=lambda rows: rows["x_mean"] - 0.2)
    more = replace(data, tradeoff=pd.concat([data.tradeoff, third], ignore_index=True))
    family = pd.DataFrame({"editor": ["alpha", "gamma"], "method": "method", "settings": ["steps 10", "steps 25"]})
    look = looks(["alpha", "beta<&>", "gamma"], [])
    drawing = family_planes(replace(more, families=family), look)
    assert drawing.figure is not None
    (ax,) = drawing.figure.axes
    assert set(drawing.table["editor"]) == {"alpha", "gamma"}
    assert sum(line.get_gid() is None for line in ax.get_lines()) == 3, "the curves of both and the grey one of the third"
    (legend,) = drawing.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["alpha: steps 10", "gamma: steps 25"]
    assert rendered(drawing.figure, drawing.name)["svg"].count(b'id="point-') == 6


def test_without_a_family_there_is_no_figure(data: ReportData) -> None:
    assert family_planes(data, LOOK).absent == "No two editors with scores on both axes are one method."


def test_costs_are_drawn_where_they_are_known(data: ReportData) -> None:
    drawing = cost_panels(data, LOOK)
    assert drawing.figure is not None
    (ax,) = drawing.figure.axes
    assert ax.get_xlabel() == "seconds per edit"
    assert ax.get_xscale() == "log"
    assert drawing.table.set_index("editor").loc["alpha", ["hypervolume_mean", "seconds_per_edit"]].tolist() == [0.4, 9.25]
    # Ticks are numbers and no formulas, which would be shown as they are written.
    drawing.figure.draw_without_rendering()
    assert not any("$" in label.get_text() for label in ax.get_xticklabels(which="both"))
    unknown = replace(data, leaderboard=data.leaderboard.drop(columns="seconds_per_edit"))
    assert cost_panels(unknown, LOOK).absent == "No editor's cost is recorded."
    assert cost_panels(replace(data, hypervolumes=data.hypervolumes[:0]), LOOK).figure is None


def test_masks_have_a_row_per_editor_and_a_panel_per_measure(data: ReportData) -> None:
    rows = [
        {"editor": name, "metric": measure, "mean": mean, "low": mean - 0.1, "high": mean + 0.1, "n": 4, "undefined": 0}
        for name, mean in (("alpha", 0.5), ("beta<&>", 0.7))
        for measure in ("intersection over union", "precision", "recall")
    ]
    drawing = mask_dots(replace(data, masks=pd.DataFrame(rows)), LOOK)
    assert drawing.figure is not None
    assert [ax.get_title(loc="left") for ax in drawing.figure.axes] == ["intersection over union", "precision", "recall"]
    assert rendered(drawing.figure, drawing.name)["svg"].count(b'id="point-') == 6
    assert mask_dots(data, LOOK).absent.startswith("No editor made a mask")
