"""The folder of a report as a whole."""

from __future__ import annotations

import csv
import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest

from reports import EditRow, GalleryRow, Plane, ReportData, ReportError, write_report
from reports.style import looks
from reports.tradeoff import distance_plane

FIGURES = ("knob_curves", "tradeoff", "lpips_csfid", "attainment", "cost", "metric_curves")
TABLES = ("differences", "hypervolumes", "gains", "seeds")
VOID = {"meta", "link", "img", "br", "input"}


class Balance(HTMLParser):
    """Collects elements and fails on a tag that closes what is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


def parsed(text: str) -> Balance:
    parser = Balance()
    parser.feed(text)
    parser.close()
    return parser


def test_every_file_is_there_and_nothing_else(report: Path) -> None:
    expected = {f"{name}.{ending}" for name in FIGURES for ending in ("svg", "png", "pdf", "csv")}
    expected |= {"index.html", "curves.csv", "leaderboard.csv", "knob_zones.csv", *(f"{name}.csv" for name in TABLES)}
    assert {p.name for p in report.iterdir()} == expected | {"viewer-data.js", "pictures"}
    # Two samples with source and truth, three edits of one editor each and of the other where it did not fail, a further picture.
    assert len([p for p in (report / "pictures").rglob("*") if p.is_file()]) == 2 * 2 + 2 * 3 + 3 + 2
    for name in FIGURES:
        assert (report / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def holds(rows: list[dict[str, str]], frame: pd.DataFrame) -> None:
    """Every cell of the file is the frame's: floats to the last bit, missing values as empty cells."""
    assert len(rows) == len(frame)
    for row, want in zip(rows, frame.to_dict("records"), strict=True):
        assert set(want) <= set(row)
        for column, value in want.items():
            if pd.isna(value):
                assert row[column] == ""
            elif isinstance(value, float):
                assert float(row[column]) == value
            else:
                assert row[column] == str(value)


def test_csv_files_hold_the_numbers_given(data: ReportData, report: Path) -> None:
    def read(name: str) -> list[dict[str, str]]:
        with (report / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    holds(read("curves"), data.curves)
    holds(read("leaderboard"), data.leaderboard)
    holds(read("knob_curves"), data.curves[~data.curves["anchor"] & data.curves["metric"].isin(["clip", "one_minus_lpips"])])
    for name in (*TABLES, "attainment"):
        holds(read(name), getattr(data, name))
    trade = read("tradeoff")
    holds([row for row in trade if row["anchor"] == "False"], data.tradeoff.drop(columns="n"))
    assert [row["editor"] for row in trade if row["anchor"] == "True"] == ["copy", "oracle"]
    csfid = data.curves[data.curves["metric"] == "csfid"]
    assert [float(row["csfid_mean"]) for row in read("lpips_csfid")] == list(csfid["mean"])


def test_the_page_is_well_formed_and_needs_no_network(report: Path) -> None:
    text = (report / "index.html").read_text(encoding="utf-8")
    page = parsed(text)
    assert page.open == []
    without_names = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    assert "http:" not in without_names
    assert "https:" not in without_names
    assert "@import" not in text
    for tag, attributes in page.elements:
        source = attributes.get("src")
        assert source is None or (report / source).is_file(), tag
        link = attributes.get("href") or attributes.get("xlink:href")
        if link is not None and not link.startswith(("#", "data:")):
            assert (report / link).is_file(), link


def test_ids_are_unique_and_references_lead_somewhere(report: Path) -> None:
    text = (report / "index.html").read_text(encoding="utf-8")
    ids = [a["id"] for _, a in parsed(text).elements if a.get("id")]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(ids)
    assert {link for link in re.findall(r'href="#([^"]+)"', text) if not link.startswith("sample=")} <= set(ids)


@pytest.mark.parametrize("name", FIGURES)
def test_svg_is_xml_that_names_the_editors(name: str, report: Path) -> None:
    root = ET.parse(report / f"{name}.svg").getroot()
    words = {"".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"alpha", "beta<&>"} <= words
    if name not in ("knob_curves", "attainment", "cost"):
        assert {"copy", "oracle"} <= words


@pytest.mark.slow
def test_a_second_report_has_the_same_bytes_and_leaves_matplotlib_alone(data: ReportData, report: Path, tmp_path: Path) -> None:
    settings = dict(mpl.rcParams)
    index = write_report(tmp_path, data)
    assert index == tmp_path / "index.html"
    for path in sorted(found for found in report.rglob("*") if found.is_file()):
        assert path.read_bytes() == (tmp_path / path.relative_to(report)).read_bytes(), path.name
    assert dict(mpl.rcParams) == settings


@pytest.mark.slow
def test_texts_from_data_are_escaped_everywhere(data: ReportData, tmp_path: Path) -> None:
    evil = '"><script>alert(1)</script>'
    row = data.gallery[0]
    rows = [EditRow(evil, 0, row.rows[0].edits, {evil: row.source})]
    units = data.units.assign(reason=evil, sample_id=evil, editor=evil)
    hostile = replace(
        data,
        title=evil,
        gallery=[GalleryRow(evil, evil, evil, evil, row.source, row.truth, row.mask, rows)],
        units=units,
        curves=data.curves.replace({"editor": {"alpha": evil, "copy": evil + "2"}, "knob": {"eta": evil}}),
        leaderboard=data.leaderboard.replace({"editor": {"alpha": evil}, "selector": {"clip": evil}}),
        warnings=[evil],
        meta={evil: evil, "environment." + evil: evil},
        cards={evil: {"name": evil, evil: evil, "definition": evil}},
        interval=evil,
        set_interval=evil,
        differences=data.differences.replace({"metric": {"clip": evil}, "first": {"alpha": evil}}),
        gains=data.gains.replace({"first": {"alpha": evil}}),
        seeds=data.seeds.replace({"metric": {"clip": evil}}),
        judges=pd.DataFrame(
            [
                {
                    "metric": evil,
                    "truth": evil,
                    "rho": 0.5,
                    "low": 0.4,
                    "high": 0.6,
                    "agreement": 0.7,
                    "agreement_low": 0.6,
                    "agreement_high": 0.8,
                    "n": 3,
                    "undefined": 0.0,
                }
            ]
        ),
        judges_note=evil,
    )
    text = write_report(tmp_path / "report", hostile).read_text(encoding="utf-8")
    assert "<" not in (tmp_path / "report" / "viewer-data.js").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    page = parsed(text)
    assert page.open == []
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert text.count("&lt;script&gt;alert(1)") >= 12


@pytest.mark.slow
def test_control_characters_break_no_file(data: ReportData, tmp_path: Path) -> None:
    """XML has no place for them, a terminal obeys some, and half a surrogate pair is no UTF-8."""
    odd = "a\x00b\x1b[2J\x9b\uffff"
    curves = data.curves.replace({"editor": {"alpha": odd, "copy": odd + "2"}})
    board = data.leaderboard.replace({"editor": {"alpha": odd}})
    row = data.gallery[0]
    gallery = [
        GalleryRow(odd, odd, odd, "\ud800", row.source, None, None, [EditRow(odd, 0, row.rows[0].edits, {odd: row.source})])
    ]
    hostile = ReportData(odd, data.plane, curves=curves, leaderboard=board, gallery=gallery, warnings=[odd])
    folder = write_report(tmp_path / "report", hostile).parent
    for path in folder.glob("*.svg"):
        ET.parse(path)
    for path in (*folder.glob("*.csv"), *folder.glob("*.svg"), folder / "index.html", folder / "viewer-data.js"):
        text = path.read_bytes().decode("utf-8")
        assert not set(text) & set("\x00\x1b\x9b\uffff"), path.name
    assert "a\ufffdb\ufffd[2J" in (folder / "leaderboard.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("label", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\r=1"])
def test_a_label_is_no_formula(data: ReportData, tmp_path: Path, label: str) -> None:
    board = data.leaderboard.replace({"editor": {"alpha": label}}).rename(columns={"selector": label}).assign(value=-0.5)
    index = write_report(tmp_path / "report", ReportData("x", data.plane, leaderboard=board))
    with (index.parent / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        header, first, *_ = csv.reader(file)
    shown = "'" + label.replace("\r", "\ufffd")
    if not label.startswith("\r"):  # which is no blank any more
        assert (first[0], shown in header) == (shown, True)
    assert not any(cell.strip().startswith(("=", "+", "@")) for cell in (*header, *first))
    assert first[header.index("value")] == "-0.5", "numbers stay numbers"


def test_another_report_may_write_and_clean_the_same_folder_meanwhile(
    data: ReportData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands between two steps of one, another may have done them all."""
    write, find, other = Path.write_bytes, Path.glob, list[Path]()

    def write_after_another(path: Path, content: bytes) -> int:
        if path.name.startswith(".tmp-") and path.parent not in other:
            other.append(path.parent)
            write_report(path.parent, empty_run)
        return write(path, content)

    def find_what_another_removes(path: Path, pattern: str) -> list[Path]:
        return [*find(path, pattern), path / pattern.replace("*", "gone")]

    empty_run = ReportData("nothing yet", data.plane)
    monkeypatch.setattr(Path, "write_bytes", write_after_another)
    monkeypatch.setattr(Path, "glob", find_what_another_removes)
    index = write_report(tmp_path / "report", empty_run)
    assert other == [index.parent]
    assert {p.name for p in index.parent.iterdir()} == {"index.html", "curves.csv", "leaderboard.csv", "knob_zones.csv"}


@pytest.mark.slow
def test_dollar_signs_and_underscores_are_not_markup(data: ReportData, tmp_path: Path) -> None:
    curves = data.curves.replace({"editor": {"alpha": "_a_$x$", "copy": "_copy"}})
    folder = write_report(tmp_path / "report", ReportData("x", data.plane, curves=curves)).parent
    svg = (folder / "tradeoff.svg").read_text(encoding="utf-8")
    assert ">_copy<" in svg
    assert ">_a_$x$<" in (folder / "knob_curves.svg").read_text(encoding="utf-8")


def test_an_empty_run_says_why_each_part_is_absent(data: ReportData, tmp_path: Path) -> None:
    index = write_report(tmp_path / "report", ReportData("nothing yet", data.plane))
    text = index.read_text(encoding="utf-8")
    assert "<figure" not in text
    for sentence in (
        "(No editor with a knob has scores of CLIP or 1 − LPIPS in this run)",
        "(No edit of this run has scores of both CLIP and 1 − LPIPS)",
        "(This run has no scores of LPIPS or CSFID)",
        "(No editor has scores of CLIP and 1 − LPIPS at every knob value)",
        "(No metric of this run has a value)",
        "There is no table here.",
        "There are no pictures here.",
    ):
        assert sentence in text
    for absent in ("Editor against editor", "At equal fidelity", "What the seed adds", "trust"):
        assert absent not in text, "a table without rows, and judges that were not asked for, are no gap"
    assert (
        (index.parent / "curves.csv")
        .read_text()
        .startswith("editor,anchor,knob,value,metric,mean,low,high,within_low,within_high,n,")
    )


def test_frames_without_any_column_count_as_empty(data: ReportData, tmp_path: Path) -> None:
    nothing = pd.DataFrame()
    bare = ReportData("x", data.plane, *[nothing] * 8)
    assert "There is no table here." in write_report(tmp_path / "report", bare).read_text(encoding="utf-8")


def test_a_figure_that_can_no_longer_be_drawn_leaves_no_stale_files(data: ReportData, report: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(report, tmp_path / "report"))
    assert len(list(folder.glob("lpips_csfid.*"))) == 4
    assert (folder / "gains.csv").is_file()
    write_report(folder, ReportData("nothing yet", data.plane))
    assert {p.name for p in folder.iterdir()} == {"index.html", "curves.csv", "leaderboard.csv", "knob_zones.csv"}


def test_a_run_without_csfid_says_so(data: ReportData) -> None:
    drawing = distance_plane(replace(data, curves=data.curves[data.curves["metric"] != "csfid"]), {})
    assert drawing.figure is None
    assert drawing.absent == "This run has no scores of CSFID."


@pytest.mark.slow
def test_mixed_fingerprints_are_not_drawn(data: ReportData, tmp_path: Path) -> None:
    curves = data.curves.copy()
    curves.loc[(curves["metric"] == "clip") & (curves["editor"] == "alpha"), "fingerprint"] = "another00000"
    text = write_report(tmp_path / "report", replace(data, curves=curves)).read_text(encoding="utf-8")
    assert text.count("The scores of clip carry different fingerprints (another00000, c11p00000001)") == 2
    shown = re.findall(r'<section id="(\w+)"[^>]*>\s*<h2[^>]*>.*?</h2>\s*<figure', text)
    assert shown == ["lpips_csfid", "attainment", "cost", "metric_curves"]
    assert "<g" in text
    assert "CLIP ↑</text>" not in text, "nor is a panel of it"
    whole = write_report(tmp_path / "whole", data).read_text(encoding="utf-8")
    assert "CLIP ↑</text>" in whole


def test_a_missing_column_is_named(data: ReportData, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"'curves' lacks column low, high; expected .* got editor"):
        write_report(tmp_path / "report", replace(data, curves=data.curves.drop(columns=["low", "high"])))
    assert not (tmp_path / "report").exists()


@pytest.mark.slow
def test_header_shows_warnings_identity_and_environment(report: Path) -> None:
    text = (report / "index.html").read_text(encoding="utf-8")
    for part in ("Only two samples.", "ab" * 32, "2.15.0", "c11p00000001", "Cosine of picture and text.", "1.25 edits per class"):
        assert part in text
    # The leaderboard; bands of figures are within-sample ones, differences and numbers read off curves have other intervals.
    assert text.count("95 % interval clustered by source image") == 1
    assert text.count("within-sample 95 %") == 4
    assert text.count("95 % interval of the jackknife over source images") == 2


def turned(data: ReportData) -> ReportData:
    """The same numbers under other names, fidelity a loss that an axis turns round."""
    names = {"clip": "word_match", "lpips": "gap", "one_minus_lpips": "minus_gap"}
    plane = Plane("word_match", "minus_gap", {"minus_gap": "gap"})
    board = data.leaderboard.rename(
        columns=lambda name: name.replace("clip", "word_match", 1) if name != "clip_in_loop" else name
    )
    pairs = [frame.replace({"metric": names}) for frame in (data.curves, data.pairs, data.differences)]
    return replace(data, plane=plane, curves=pairs[0], pairs=pairs[1], differences=pairs[2], leaderboard=board)


@pytest.mark.slow
def test_figures_tables_and_files_follow_the_plane(data: ReportData, report: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(report, tmp_path / "report"))
    text = write_report(folder, turned(data)).read_text(encoding="utf-8")
    expected = {path.name.replace("lpips_csfid", "gap_csfid") for path in report.iterdir()}
    assert {path.name for path in folder.iterdir()} == expected, "and no figure of the other plane is left"
    for part in (
        "word match (left axis)",
        "−gap (right axis)",
        "gap   (← more faithful)",
        "A&#39;s word match is",
        "put −gap on a scale",
    ):
        assert part in text, part
    assert "LPIPS" not in text
    assert "CLIP score" not in text
    for name in ("knob_zones.csv", "tradeoff.csv"):
        assert (folder / name).read_bytes() == (report / name).read_bytes(), "the same positions"
    root = ET.parse(folder / "metric_curves.svg").getroot()
    words = {"".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"gap ↓", "word match ↑"} <= words
    assert "−gap ↑" not in words, "a metric has one panel, as it is scored"


def test_a_plane_of_likeness_runs_to_the_right(data: ReportData) -> None:
    higher = data.curves.assign(higher_is_better=True).replace({"metric": {"one_minus_lpips": "ssim"}})
    drawing = distance_plane(
        replace(data, curves=higher, plane=Plane("clip", "ssim")), looks(["alpha", "beta<&>"], ["copy", "oracle"])
    )
    assert drawing.name == "ssim_csfid"
    assert drawing.title.startswith("Likeness to the source")
    assert drawing.caption.startswith("Down and right is better")
    assert drawing.figure is not None
    assert drawing.figure.axes[0].get_xlabel() == "SSIM to the source   (more faithful →)"


def test_files_are_named_without_signs(data: ReportData) -> None:
    curves = data.curves.replace({"metric": {"lpips": "lpips[region=background]"}})
    plane = Plane(
        "clip", "one_minus_lpips[region=background]", {"one_minus_lpips[region=background]": "lpips[region=background]"}
    )
    drawing = distance_plane(replace(data, curves=curves, plane=plane), looks(["alpha", "beta<&>"], ["copy", "oracle"]))
    assert drawing.name == "lpips_region_background_csfid"
    assert drawing.figure is not None
    assert drawing.figure.axes[0].get_xlabel() == "LPIPS (background) to the source   (← more faithful)"
