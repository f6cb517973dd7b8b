"""What all figures owe: points and bands that can be found, files that stay the same, any text, any width."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd
import pytest

from reports import ReportData
from reports.curves import knob_curves
from reports.drawing import Drawing, left_out, rendered
from reports.panels import metric_panels
from reports.style import looks
from reports.tradeoff import tradeoff_plane

LOOK = looks(["alpha", "beta<&>"], ["copy", "oracle"])


def ids(svg: bytes, start: str) -> list[str]:
    return re.findall(rf'id="({start}[^"]*)"', svg.decode())


@pytest.mark.parametrize("draw", [tradeoff_plane, knob_curves, metric_panels], ids=lambda each: each.__name__)
def test_every_row_has_a_marker_of_its_own(data: ReportData, draw: object) -> None:
    drawing: Drawing = draw(data, LOOK)  # type: ignore[operator]
    assert drawing.figure is not None
    svg = rendered(drawing.figure, drawing.name)["svg"]
    assert sorted(ids(svg, "point-")) == sorted(f"point-{row}" for row in drawing.table.index)
    assert list(drawing.table.index) == list(range(len(drawing.table)))
    everything = re.findall(r'\bid="([^"]+)"', svg.decode())
    assert len(set(everything)) == len(everything)


def test_a_marker_stands_for_the_row_it_names(data: ReportData) -> None:
    drawing = tradeoff_plane(data, LOOK)
    assert drawing.figure is not None
    (ax,) = drawing.figure.axes
    found = {line.get_gid(): line.get_xydata()[0].tolist() for line in ax.get_lines() if str(line.get_gid()).startswith("point")}
    for row, point in drawing.table.iterrows():
        assert found[f"point-{row}"] == [point["x_mean"], point["y_mean"]]


def test_plain_intervals_are_in_the_svg_alone_and_hidden_there(data: ReportData) -> None:
    drawing = tradeoff_plane(data, LOOK)
    assert drawing.figure is not None
    files = rendered(drawing.figure, drawing.name)
    assert set(ids(files["svg"], "band-paired")) == {"band-paired-0", "band-paired-1"}
    hidden = re.findall(r'<g visibility="hidden" id="([^"]+)"', files["svg"].decode())
    assert set(hidden) == {f"band-unpaired-{number}" for number in range(4)}
    # A figure without them has the same picture.
    for artist in drawing.figure.findobj(lambda each: str(each.get_gid()).startswith("band-unpaired")):
        artist.remove()
    assert rendered(drawing.figure, drawing.name)["png"] == files["png"]


def test_an_editor_that_nothing_is_beside_shows_its_own_interval_and_the_caption_says_so(data: ReportData) -> None:
    alone = {name: float("nan") for name in ("within_low", "within_high")}
    curves = data.curves.assign(**alone)
    drawing = knob_curves(replace(data, curves=curves, interval="an interval"), LOOK)
    assert drawing.figure is not None
    svg = rendered(drawing.figure, drawing.name)["svg"]
    assert len(ids(svg, "band-only-")) == 4
    assert not ids(svg, "band-paired-") + ids(svg, "band-unpaired-")
    assert "Bands: an interval." in drawing.caption
    some = curves.assign(**data.curves.loc[data.curves["editor"] == "alpha", list(alone)])
    assert (
        "beta<&>: an interval, for lack of editors with the same samples."
        in knob_curves(replace(data, curves=some, interval="an interval"), LOOK).caption
    )


def test_the_same_figure_gives_the_same_files(data: ReportData) -> None:
    first, second = (rendered(tradeoff_plane(data, LOOK).figure, "tradeoff") for _ in range(2))  # type: ignore[arg-type]
    assert first == second
    assert set(first) == {"svg", "png", "pdf"}
    assert first["pdf"].startswith(b"%PDF")
    assert b"CreationDate" not in first["pdf"]


@pytest.mark.parametrize("width", [3.3, 5.5, 12.0])
def test_a_figure_is_as_wide_as_asked(data: ReportData, width: float) -> None:
    """And its panels keep to it: no warning of axes without room, which would be an error here."""
    for draw in (tradeoff_plane, knob_curves, metric_panels):
        figure = draw(replace(data, width=width), LOOK).figure
        assert figure is not None
        svg = rendered(figure, "figure")["svg"].decode()
        assert f'width="{72 * width:g}pt"' in svg


@pytest.mark.slow
def test_labels_of_any_script_and_length_are_drawn(data: ReportData) -> None:
    """Where no font has a character a box stands for it, in silence; the SVG has the text."""
    odd = "编辑器 ✏️ مرحبا " + "x" * 10_000
    frames = {name: getattr(data, name).replace({"editor": {"alpha": odd}}) for name in ("curves", "tradeoff")}
    look = looks([odd, "beta<&>"], ["copy", "oracle"])
    for draw in (tradeoff_plane, knob_curves, metric_panels):
        drawing = draw(replace(data, **frames), look)
        assert drawing.figure is not None
        assert "编辑器" in rendered(drawing.figure, drawing.name)["svg"].decode()


def test_two_samples_whose_scores_are_hardly_defined_are_drawn(data: ReportData) -> None:
    """PSNR of untouched pictures is infinite: what is not finite has no place on an axis and takes no room."""
    rows = data.curves[(data.curves["metric"] == "lpips")]
    psnr = rows.assign(
        metric="psnr", mean=float("inf"), low=float("nan"), high=float("nan"), fingerprint="p", higher_is_better=True
    )
    psnr.loc[(psnr["editor"] == "alpha") & (psnr["value"] == 1.0), "mean"] = 1e6
    plane = replace(data.plane, editability="psnr")
    few = replace(data, plane=plane, curves=pd.concat([rows, psnr], ignore_index=True))
    drawing = metric_panels(few, LOOK)
    assert drawing.figure is not None
    assert rendered(drawing.figure, drawing.name)["png"]
    knob = knob_curves(few, LOOK)
    assert knob.figure is None or rendered(knob.figure, knob.name)["png"]


def test_what_is_left_out_is_said_in_one_line(data: ReportData) -> None:
    nothing = ReportData("nothing", data.plane).checked()
    drawings = [knob_curves(nothing, LOOK), tradeoff_plane(data, LOOK), metric_panels(nothing, LOOK)]
    assert left_out(drawings) == (
        "Left out for want of data: Alignment and fidelity along the knob (No editor with a knob has scores of CLIP or 1 − LPIPS in this run); "
        "Every metric along the knob (No metric of this run has a value)."
    )
    assert left_out(drawings[1:2]) == ""
