"""The report in a browser."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import expect

from reports import ReportData, Statement, write, write_report
from tests.helpers.browser import axe_violations

from .test_inline import drawing

pytestmark = pytest.mark.slow
STATEMENT = Statement(
    "At equal 1 − LPIPS alpha <i>follows</i> the text better, +5.3 [2.0, 8.9], n = 40.", "sign flips, p = 0.01", "gains"
)


@pytest.fixture(scope="module")
def index(data: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with statements, methods, references, and a first figure with points and both bands."""
    told = replace(data, statements=[STATEMENT], methods="We used <alpha>.\nTwice.", references="@misc{alpha,\n  title={A}\n}")
    with pytest.MonkeyPatch.context() as patch:
        first = replace(drawing(data.tradeoff, 6), name="tradeoff", title="Editability against fidelity")
        draw = write._draw
        patch.setattr(write, "_draw", lambda *given: [first, *(each for each in draw(*given) if each.name != "tradeoff")])
        return write_report(tmp_path_factory.mktemp("page") / "report", told)


@pytest.fixture
def opened(page, index: Path):
    page.goto(index.as_uri())
    return page


def test_the_browser_shows_a_file_and_axe_finds_faults_in_it(page, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text("<!DOCTYPE html><html><head><title>x</title></head><body><img src='data:,'></body></html>", encoding="utf-8")
    page.goto(bad.as_uri())
    assert page.title() == "x"
    assert any("image-alt" in violation for violation in axe_violations(page))


def test_the_first_screen_has_statements_with_their_tests_beside_the_figure(opened) -> None:
    said = opened.locator("#statements li")
    assert said.inner_text().startswith(STATEMENT.text)
    expect(said.locator("small")).to_have_text("sign flips, p = 0.01; At equal fidelity")
    assert said.locator("a").get_attribute("href") == "#gains"
    figure, words = opened.locator("#tradeoff .drawing").bounding_box(), said.bounding_box()
    assert words["x"] + words["width"] < figure["x"]
    assert words["y"] < 900 > figure["y"] + figure["height"]


def test_navigation_says_what_parts_show(opened) -> None:
    names = opened.locator("nav a").all_inner_texts()
    assert names[:3] == ["Pictures", "Editability against fidelity", "Alignment and fidelity along the knob"]
    assert not any(re.search(r"(Figure|Table) \d", name) for name in names)
    for link in opened.locator("nav a").all():
        assert opened.locator(link.get_attribute("href")).count() == 1


def test_the_first_tab_stop_skips_to_the_content(opened) -> None:
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.textContent") == "Skip to what the run shows"
    opened.keyboard.press("Enter")
    assert opened.evaluate("document.activeElement.id") == "content"


def test_tab_stops_are_few(opened) -> None:
    reachable = "a, button, input, select, summary, [tabindex]"
    stops = opened.evaluate(
        f"[...document.querySelectorAll('{reachable}')].filter((e) => e.tabIndex >= 0 && e.checkVisibility()).length"
    )
    tables, figures, filters, links = (
        opened.locator(each).count() for each in ("table.sortable", "figure", "[data-filters]", "nav a")
    )
    # A scroll box, a heading row and the files of each table; a scroll box, points, bands and files of each figure; two samples; and
    # what a page has once.
    assert stops <= 3 * tables + 4 * figures + filters + links + 2 + 10


def test_a_table_sorts_by_its_headings_which_arrow_keys_reach(opened) -> None:
    board = opened.locator("#leaderboard table.sortable")
    order = lambda: [text.split("\n")[0] for text in board.locator("tbody th").all_inner_texts()]  # noqa: E731
    opened.get_by_role("button", name="CLIP ↑").first.click()
    assert order() == ["oracle", "beta<&>", "alpha", "copy"]
    opened.keyboard.press("ArrowRight")
    assert opened.evaluate("document.activeElement.textContent") == "CSFID ↓"
    opened.keyboard.press("Enter")
    assert order() == ["oracle", "beta<&>", "alpha", "copy"]
    opened.keyboard.press("Enter")
    assert order() == ["copy", "alpha", "beta<&>", "oracle"]
    assert board.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"


def test_printing_shows_all_rows_columns_and_details_whatever_is_filtered(opened) -> None:
    rows = opened.locator("#differences tbody tr")
    opened.locator("#differences").get_by_role("button", name="CSFID").click()
    assert [row.is_visible() for row in rows.all()] == [False, True]
    assert not opened.get_by_text("Cosine of picture and text.").is_visible()
    opened.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    opened.emulate_media(media="print")
    assert all(row.is_visible() for row in rows.all())
    assert opened.get_by_text("Cosine of picture and text.").is_visible()
    expect(opened.locator("nav")).to_be_hidden()
    assert opened.evaluate(
        "[...document.querySelectorAll('.scroll, .drawing')].every((e) => getComputedStyle(e).overflowX === 'visible')"
    )
    opened.emulate_media(media="screen")
    opened.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert not opened.get_by_text("Cosine of picture and text.").is_visible()
    assert [row.is_visible() for row in rows.all()] == [False, True]


def test_a_point_tells_its_numbers_and_leads_to_its_edits(opened) -> None:
    points = opened.locator("#tradeoff .point")
    points.nth(4).hover()
    assert (
        opened.locator("#tip").inner_text()
        == "beta<&>, strength 0.5\n1 − LPIPS 0.7 [0.65, 0.74]\nCLIP 0.2933 [0.2433, 0.3333]\nn = 2"
    )
    opened.mouse.move(0, 0)
    expect(opened.locator("#tip")).to_be_hidden()
    points.first.focus()
    opened.keyboard.press("ArrowRight")
    assert opened.locator("#tip").inner_text().startswith("alpha, η 0.5\n")
    assert opened.locator("#tradeoff .point[tabindex='0']").count() == 1
    opened.keyboard.press("Enter")
    expect(opened.locator(".edit.chosen output")).to_have_text("0.5")
    expect(opened.locator(".edit.chosen h3 span")).to_have_text("alpha")


def test_one_kind_of_band_is_shown_at_a_time(opened) -> None:
    paired, unpaired = (opened.locator(f"[id='tradeoff-band-{kind}-alpha']") for kind in ("paired", "unpaired"))
    assert (paired.is_visible(), unpaired.is_visible()) == (True, False)
    opened.locator("#tradeoff").get_by_role("button", name="band of each mean").click()
    assert (paired.is_visible(), unpaired.is_visible()) == (False, True)
    assert opened.locator("#attainment [aria-label=Bands]").count() == 0, "where there is one kind there is no choice"


def test_methods_and_references_can_be_copied(opened) -> None:
    opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened.get_by_role("button", name="Copy this paragraph").click()
    opened.get_by_role("button", name="Copied").wait_for()
    assert opened.evaluate("navigator.clipboard.readText()") == "We used <alpha>.\nTwice."
    opened.get_by_text("BibTeX of the editors and metrics used").click()
    expect(opened.locator("#references-text")).to_have_text("@misc{alpha,\n  title={A}\n}")


def test_nothing_is_cut_off_at_a_desktop_and_the_page_never_scrolls_sideways(opened) -> None:
    assert (
        opened.evaluate("[...document.querySelectorAll('.scroll, .drawing')].filter((e) => e.scrollWidth > e.clientWidth).length")
        == 0
    )
    opened.set_viewport_size({"width": 360, "height": 740})
    assert opened.evaluate("document.documentElement.scrollWidth") <= 360
    # 8.5 pt of a figure 10 inches wide, drawn 960 px wide, in a box of its own.
    smallest = "Math.min(...[...document.querySelectorAll('#knob_curves svg text')].map((e) => e.getBoundingClientRect().height))"
    assert opened.evaluate(smallest) >= 11


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1440, 900), (360, 740)], ids=["desktop", "phone"])
def test_axe_finds_nothing(opened, size: tuple[int, int], scheme: str) -> None:
    opened.emulate_media(color_scheme=scheme)
    opened.set_viewport_size({"width": size[0], "height": size[1]})
    opened.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert axe_violations(opened) == []


def test_figures_left_out_are_listed_in_a_line(data: ReportData, page, tmp_path: Path) -> None:
    bare = write_report(tmp_path / "report", ReportData("bare", data.plane, leaderboard=data.leaderboard))
    page.goto(bare.as_uri())
    said = page.locator("p.absent", has_text="Left out for want of data").inner_text()
    assert "Editability against fidelity (No edit of this run has scores" in said
    assert page.locator("figure").count() == 0
    assert axe_violations(page) == []
