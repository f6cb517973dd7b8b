"""The viewer, clicked through in a browser."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from reports import Heat, ReportData, write_report
from tests.helpers.browser import axe_violations, wait_until

from .conftest import HOSTILE, SAMPLES

pytestmark = pytest.mark.slow
Open = Callable[..., None]


@pytest.fixture
def opened(page, site: Path) -> Open:
    """Opens the report of the run at an address and waits for the viewer."""

    def opened(address: str = "#viewer", file: Path = site / "index.html") -> None:
        page.goto(f"{file.as_uri()}{address}")
        page.locator("#sample-title").filter(has_text=re.compile(".")).wait_for()

    return opened


def told(page) -> dict[str, str]:
    """What the address names, once it has followed."""
    wait_until(page, "location.hash.startsWith('#sample=')")
    page.wait_for_timeout(250)  # it follows after 150 ms
    return {key: values[0] for key, values in parse_qs(urlsplit(page.url).fragment).items()}


def rows(page) -> list[str]:
    return page.locator(".line .id").all_inner_texts()


def stage(page) -> np.ndarray:
    """The stage as it is drawn, without what lies over the pictures."""
    page.evaluate("Promise.all([...document.querySelectorAll('#stage img[src]')].map((image) => image.decode()))")
    with Image.open(io.BytesIO(page.locator("#stage").screenshot())) as image:
        return np.asarray(image.convert("RGB"))[20:-20, 20:-20]


def test_the_report_leads_into_the_viewer_and_back(page, site: Path) -> None:
    page.goto((site / "index.html").as_uri())
    page.locator("#pictures .samples a").nth(1).click()
    page.locator("#sample-title", has_text="s01").wait_for()
    expect(page.locator("#report")).to_be_hidden()
    wait_until(page, "document.querySelector('#stage-under').naturalWidth === 8")
    page.get_by_role("link", name="← Report").click()
    expect(page.locator("#leaderboard")).to_be_visible()
    expect(page.locator("#viewer")).to_be_hidden()
    page.locator("#pictures .lead a").click()
    expect(page.locator("#sample-title")).to_have_text("s01")
    expect(page.locator("#list")).to_be_focused()


def test_an_address_leads_to_sample_editor_value_and_seed(page, opened: Open) -> None:
    opened("#sample=s33&editor=beta%3C%26%3E&value=0.5&seed=7")
    expect(page.locator("#sample-title")).to_have_text("s33")
    expect(page.locator(".line[aria-selected=true] .id")).to_have_text("s33")
    expect(page.locator(".edit.chosen output")).to_have_text("0.5")
    expect(page.locator(".edit.chosen h3 span")).to_have_text("beta<&>")
    expect(page.locator("[name=seed] option:checked")).to_have_text("7")
    expect(page.locator("#scores tr.chosen td")).to_have_text("1.2700")
    assert told(page) == {"sample": "s33", "editor": "beta<&>", "value": "0.5", "seed": "7"}


def test_the_address_follows_and_what_it_names_wrongly_is_passed_over(page, opened: Open) -> None:
    opened("#sample=nowhere&editor=nobody&value=9&seed=x")
    assert told(page) == {"sample": "s00", "editor": "alpha", "value": "0.5", "seed": "0"}
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="beta<&>, strength 0.5").click()
    assert told(page) == {"sample": "s01", "editor": "beta<&>", "value": "0.5", "seed": "0"}
    page.evaluate("window.location.hash = '#sample=s09'")
    page.locator("#sample-title", has_text="s09").wait_for()


def test_only_rows_in_sight_are_drawn_and_keys_walk_the_list(page, opened: Open) -> None:
    opened()
    assert 5 < page.locator(".line").count() < 30
    page.keyboard.press("ArrowDown")
    expect(page.locator("#sample-title")).to_have_text("s01")
    page.keyboard.press("End")
    assert page.locator("#sample-title").inner_text() == list(HOSTILE)[-1]
    chosen = page.locator("#list").get_attribute("aria-activedescendant")
    assert page.locator(f"#{chosen}").get_attribute("aria-posinset") == str(SAMPLES)
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert page.locator("#edits output").all_inner_texts() == ["1", "1"], "sideways all knobs move"


def test_samples_sort_by_a_score_and_by_disagreement_with_what_lacks_one_last(page, opened: Open) -> None:
    opened()
    page.locator("[name=metric]").select_option(label="CLIP")
    assert rows(page)[0] == list(HOSTILE)[-1], "alpha scores higher and higher"
    assert page.locator("#sample-title").inner_text() == list(HOSTILE)[-1], "the first is shown"
    page.locator("[name=order]").select_option(label="lowest first")
    assert rows(page)[:5] == ["s00", "s01", "s02", "s03", "s05"]
    page.locator("#list").press("End")
    assert (rows(page)[-1], page.locator(".line .key").last.inner_text()) == ("s04", "no score")
    page.locator("[name=less]").select_option(label="beta<&>")
    assert rows(page)[:3] == ["s20", "s19", "s21"], "the editors cross at the twentieth sample"
    assert page.locator(".line .key").all_inner_texts()[:3] == ["0", "0.2", "0.2"]
    page.locator("[name=order]").select_option(label="highest first")
    assert rows(page)[0] == "s00"


@pytest.mark.parametrize(
    ("field", "value", "left"),
    [
        ("text", "CAT NUMBER 3", ["s03", "s30", "s31", "s32", "s33", "s34", "s35", "s36", "s37"]),
        ("text", "\u05e9\u05dc", [list(HOSTILE)[1]]),
        ("state", "with a failed unit", ["s02"]),
        ("state", "with a missing edit", ["s02", "s03", "s05"]),
        ("state", "with an undefined score", ["s04"]),
        ("category", "kind 2", [f"s{number:02d}" for number in range(2, 38, 3)] + [next(iter(HOSTILE))]),
    ],
)
def test_samples_are_filtered(page, opened: Open, field: str, value: str, left: list[str]) -> None:
    opened()
    control = page.locator(f"[name={field}]")
    if field == "text":
        control.fill(value)
    else:
        control.select_option(label=value)
    assert page.locator("#list-count").inner_text() == f"{len(left)} of {SAMPLES} samples"
    assert rows(page) == left[: len(rows(page))]
    assert page.locator("#sample-title").inner_text() == left[0]


def test_no_sample_left_is_said(page, opened: Open) -> None:
    opened()
    page.locator("[name=text]").fill("no such words")
    assert page.locator("#list-count").inner_text() == f"0 of {SAMPLES} samples"
    assert rows(page) == []
    expect(page.locator("#sample-title")).to_have_text("s00")


def test_failures_count_for_the_seed_and_the_editors_that_are_shown(page, opened: Open) -> None:
    opened()
    page.locator("[name=state]").select_option(label="with a failed unit")
    page.locator("[name=seed]").select_option(label="7")
    assert page.locator("#list-count").inner_text() == f"0 of {SAMPLES} samples"
    page.locator("[name=seed]").select_option(label="0")
    page.locator(".menu summary").click()
    page.get_by_role("checkbox", name="beta<&>").uncheck()
    assert page.locator("#list-count").inner_text() == f"0 of {SAMPLES} samples"
    assert [card.get_attribute("aria-label") for card in page.locator(".edit:visible").all()] == ["alpha", "copy"]


def test_one_slider_moves_all_editors_and_each_has_its_own(page, opened: Open) -> None:
    opened("#sample=s01")
    page.locator("#knobs-all").fill("100")
    assert page.locator("#edits output").all_inner_texts() == ["1", "1"]
    own = page.get_by_role("slider", name="beta<&>: strength")
    own.press("ArrowLeft")
    assert page.locator("#edits output").all_inner_texts() == ["1", "0.5"]
    assert own.get_attribute("aria-valuetext") == "0.5"
    expect(page.locator("#sample-title")).to_have_text("s01")
    page.locator("#stage-slide").press("ArrowRight")
    assert page.locator("#stage-slide").input_value() == "51"
    assert page.locator("#edits output").all_inner_texts() == ["1", "0.5"]


def test_arrow_keys_walk_the_edits(page, opened: Open) -> None:
    opened("#sample=s01")
    page.get_by_role("radio", name="along the whole knob").click()
    assert page.locator(".edit .strip:not(.extras) button").count() == 7
    page.get_by_role("button", name="alpha, η 0.5").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.querySelector('img').alt") == "alpha, η 1"
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.querySelector('img').alt") == "beta<&>, strength 0.5"
    assert page.locator("#edits button[tabindex='0']").count() == 1, "one tab stop"


def test_the_stage_compares(page, opened: Open) -> None:
    opened("#sample=s01&editor=copy")
    page.get_by_role("radio", name="difference").click()
    assert stage(page).max() == 0, "a copy differs nowhere from its source"
    page.get_by_role("button", name="alpha, η 0.5").click()
    page.locator("#stage-gain select").select_option("1")
    # Blue is 40 in the source and 90 in the edit.
    assert (stage(page) == (0, 0, 50)).all()
    page.locator("#stage-gain select").select_option("4")
    assert (stage(page) == (0, 0, 200)).all()
    page.get_by_role("radio", name="edit alone").click()
    assert (stage(page) == (200, 100, 90)).all()
    page.get_by_role("radio", name="flicker").click()
    page.locator("#stage-with").select_option(label="the ground truth")
    page.get_by_role("button", name="Swap").click()
    expect(page.locator("#stage-left")).to_have_text("ground truth")
    assert (stage(page) == (40, 100, 200)).all(), "no timer where motion is not wanted"
    page.get_by_role("button", name="Swap").click()
    assert (stage(page) == (200, 100, 90)).all()
    page.locator("#stage-with").select_option(label="beta<&>")
    page.get_by_role("button", name="Swap").click()
    expect(page.locator("#stage-left")).to_have_text("beta<&>, strength 0.5")


@pytest.mark.parametrize("page_name", ["index.html", "report.html"])
def test_the_map_says_where_an_edit_is_far_from_its_source(page, opened: Open, site: Path, page_name: str) -> None:
    import matplotlib as mpl

    opened("#sample=s01&editor=alpha&value=0.5", site / page_name)
    expect(page.locator("#stage-scale")).to_be_hidden()
    page.get_by_role("radio", name="difference").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="LPIPS map")).to_be_checked()
    expect(page.locator("#stage-left")).to_have_text("map of alpha, η 0.5")
    expect(page.locator("#stage-scale")).to_contain_text("LPIPS against the source, place by place")
    expect(page.locator("#stage-other")).to_be_hidden()
    # Grey 128 is the middle of the colours; a browser rounds each of them.
    middle = np.array(mpl.colormaps["inferno"](128 / 255)[:3]) * 255
    assert np.abs(stage(page).astype(float) - middle).max() <= 3
    page.get_by_role("button", name="copy").click()
    expect(page.locator("#stage-missing")).to_have_text("no map was made of this edit: score the run again")
    expect(page.locator("#stage-scale")).to_be_hidden()
    page.get_by_role("radio", name="edit alone").click()
    assert (stage(page) == (200, 100, 40)).all()


def test_a_run_without_maps_says_why(page, opened: Open, looked_at: ReportData, tmp_path: Path) -> None:
    one = replace(looked_at, gallery=looked_at.gallery[:1], heat=Heat(why="lpips failed: no <file>"))
    opened("#viewer", write_report(tmp_path / "report", one))
    expect(page.locator(".no-map")).to_have_text("No map of distances: lpips failed: no <file>.")
    assert page.get_by_role("radio", name="map").count() == 0


def test_flicker_runs_by_itself_and_can_be_paused(page, opened: Open) -> None:
    page.emulate_media(reduced_motion="no-preference")
    opened("#sample=s01&editor=alpha&value=1")
    page.get_by_role("radio", name="flicker").click()
    for shown in ("source", "alpha, η 1", "source"):
        page.locator("#stage-left", has_text=shown).wait_for()
    page.get_by_role("button", name="Pause").click()
    assert page.evaluate("stage.timer") == 0
    page.get_by_role("button", name="Go on").click()
    assert page.evaluate("stage.timer") != 0


def test_the_mask_dims_what_lies_outside_and_is_offered_where_there_is_one(page, opened: Open) -> None:
    opened("#sample=s01")
    page.get_by_role("checkbox", name="dim outside the mask").check()
    expect(page.locator("#stage-mask")).to_be_visible()
    assert page.locator("#originals .under").all_inner_texts() == ["source", "ground truth", "mask"]
    page.evaluate("window.location.hash = '#sample=s00'")
    page.locator("#sample-title", has_text="s00").wait_for()
    expect(page.locator("#stage-mask")).to_be_hidden()
    assert not page.get_by_role("checkbox", name="dim outside the mask").is_visible()
    assert page.locator("#originals .under").all_inner_texts() == ["source"]
    assert page.locator("#stage-with option[value=truth]").is_disabled()


def test_what_is_missing_says_why(page, opened: Open) -> None:
    opened("#sample=s02&editor=beta%3C%26%3E&value=0.5")
    expect(page.locator(".edit.chosen .failure")).to_have_text("failed: NotFinite at <step 3>")
    expect(page.locator("#stage-missing")).to_have_text("failed: NotFinite at <step 3>")
    expect(page.locator("#scores tr.chosen td")).to_have_text("–")
    for address, said in (
        ("#sample=s03&editor=alpha&value=1", "not delivered"),
        ("#sample=s05&editor=alpha&value=0", "its file is gone"),
    ):
        page.evaluate("(address) => { window.location.hash = address; }", address)
        page.locator("#stage-missing", has_text=said).wait_for()
    page.evaluate("window.location.hash = '#sample=s04&editor=alpha&value=0.5'")
    page.locator("#scores tr.chosen td", has_text="undefined").wait_for()


def test_large_pictures_are_small_in_rows_and_whole_on_the_stage(page, opened: Open) -> None:
    opened("#sample=s06&editor=alpha&value=0")
    wait_until(page, "document.querySelector('#stage-under').naturalWidth === 600")
    wait_until(page, "document.querySelector('.edit.chosen img').naturalWidth === 256")
    assert page.evaluate("getComputedStyle(document.querySelector('#stage')).aspectRatio") == "600 / 300"
    with page.context.expect_page() as full:
        page.get_by_role("link", name="Full size").click()
    assert full.value.url.endswith(".png")


@pytest.mark.parametrize("width", [1440, 360])
@pytest.mark.parametrize("sample", HOSTILE)
def test_hostile_texts_are_texts(page, opened: Open, sample: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    opened(f"#sample={quote(sample, safe='')}")
    assert page.locator("#sample-title").inner_text() == sample
    assert page.locator("#sample-target").inner_text() == f"→ {HOSTILE[sample]}"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.title() == "Pictures of small run · etabench"
    expect(page.locator("#sample-source")).to_have_text("a <b>dog</b>")


def test_no_file_lies_outside_the_folder(site: Path) -> None:
    assert {path.name for path in site.parent.iterdir()} == {"report"}
    assert {path.name for path in (site / "pictures").iterdir()} == {f"{number:05d}" for number in range(SAMPLES)}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1440, 900), (360, 740)], ids=["desktop", "phone"])
def test_axe_finds_nothing(page, opened: Open, size: tuple[int, int], scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": size[0], "height": size[1]})
    opened("#sample=s02&editor=beta%3C%26%3E")
    page.locator("[name=metric]").select_option(label="CLIP")
    page.get_by_role("radio", name="along the whole knob").click()
    assert axe_violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_tab_stops_are_few(page, opened: Open) -> None:
    opened("#sample=s01")
    reachable = ", ".join(f"#viewer {each}" for each in ("a", "button", "input", "select", "summary", "[tabindex]"))
    stop = "(each) => each.tabIndex >= 0 && !each.disabled && each.checkVisibility()"
    stops = page.evaluate(f"[...document.querySelectorAll('{reachable}')].filter({stop}).length")
    # Eleven controls, the list, two steps, the stage's six, the table, two of the knobs, the edits, two sliders.
    assert stops <= 27


def test_a_single_file_needs_nothing_beside_it(page, opened: Open, site: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copy(site / "report.html", tmp_path / "alone.html"))
    opened("#sample=s06&editor=alpha&value=0", alone)
    wait_until(page, "document.querySelector('#stage-under').naturalWidth === 512")
    wait_until(page, "document.querySelector('.edit.chosen img').naturalWidth === 512")
    assert not page.get_by_role("link", name="Full size").is_visible()
    page.get_by_role("link", name="← Report").click()
    assert page.locator("details.files").count() == 0, "no links to files that are not there"


def test_a_page_that_was_sent_alone_says_what_it_lacks(browser, site: Path, tmp_path: Path) -> None:
    """In a context of its own: that a file is missing is an error of the page elsewhere."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{Path(shutil.copy(site / 'index.html', tmp_path)).as_uri()}#viewer")
    page.get_by_role("alert").filter(has_text="viewer-data.js and the folder pictures/ belong beside this page").wait_for()
    context.close()


def test_one_editor_with_one_value_and_no_scores(page, opened: Open, looked_at: ReportData, tmp_path: Path) -> None:
    one = [replace(row, rows=[replace(row.rows[0], edits=row.rows[0].edits[:1])]) for row in looked_at.gallery[:1]]
    index = write_report(tmp_path / "report", ReportData("one", looked_at.plane, gallery=one))
    opened("#viewer", index)
    assert page.locator(".edit:visible").count() == 1
    expect(page.locator("#knobs-all")).to_be_hidden()
    assert page.locator("[name=metric] option").count() == 1
    expect(page.locator("#list-count")).to_have_text("1 of 1 samples")
    assert told(page) == {"sample": "s00", "editor": "alpha", "value": "0"}


def test_print_shows_the_sample_without_its_controls(page, opened: Open) -> None:
    opened("#sample=s01")
    page.emulate_media(media="print")
    expect(page.locator("#sample-title")).to_be_visible()
    assert page.locator(".edit:visible").count() == 3
    for part in ("#controls", "#list", ".tools", "#knobs-all"):
        expect(page.locator(part)).to_be_hidden()
