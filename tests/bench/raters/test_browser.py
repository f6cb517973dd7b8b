"""The voting pages in a browser: keys, two raters, a telephone, texts of strangers, and what a reader of screens would miss."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, expect
from served_study import HOSTILE, serving, small_study

from bench.raters.export import votes_of
from bench.raters.ledger import Ledger
from bench.raters.study import StudyFolder
from tests.helpers.browser import axe_violations

pytestmark = pytest.mark.slow
KEYS = {"ArrowLeft": "left", "ArrowRight": "right", "ArrowDown": "tie", "b": "both_bad"}


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return small_study(tmp_path / "study", votes=50)


@pytest.fixture
def address(folder: StudyFolder) -> Iterator[str]:
    with serving(folder) as served:
        yield served


def votes(folder: StudyFolder) -> pd.DataFrame:
    study = folder.read()
    return votes_of(study, Ledger(folder.ledger, study))


def begin(page: Page, address: str, name: str) -> None:
    page.goto(f"{address}&PROLIFIC_PID={name}")
    page.get_by_role("button", name="I agree").click()
    ready(page, 1)


def ready(page: Page, number: int) -> None:
    """The question of that number is there, pictures and all."""
    expect(page.locator(".progress span")).to_have_text(f"{number} of 6")
    expect(page.locator(".tools")).to_be_visible()  # shown by the script, once all pictures are there
    expect(page.locator("#vote button").first).to_be_enabled()
    page.evaluate(
        "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )  # no key is heard before it is painted


def test_a_whole_session_by_keyboard_with_a_refresh_in_the_middle(page: Page, address: str, folder: StudyFolder) -> None:
    begin(page, address, "P1")
    pressed = []
    for number, key in enumerate(("ArrowLeft", "ArrowRight", "ArrowDown", "b", "ArrowLeft", "ArrowRight"), 1):
        ready(page, number)
        if number == 3:
            before = page.content()
            page.reload()
            ready(page, 3)
            assert page.content() == before, "the same pair, the same sides"
        page.keyboard.press(key)
        pressed.append(KEYS[key])
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    assert len(page.locator("#code").inner_text()) == 8
    found = votes(folder)
    sides = found["answer"].where(
        found["answer"].isin(["tie", "both_bad"]),
        (found["answer"].eq("first") == found["first_side"].eq("left")).map({True: "left", False: "right"}),
    )
    assert sides.tolist() == pressed
    assert found["seconds"].between(0.001, 60).all(), "measured from the pictures being visible"


def test_a_closed_tab_is_gone_on_with(page: Page, address: str, folder: StudyFolder) -> None:
    begin(page, address, "P1")
    page.keyboard.press("ArrowLeft")
    ready(page, 2)
    text = page.locator(".texts").inner_text()
    other = page.context.new_page()
    page.close()
    other.goto(f"{address}&PROLIFIC_PID=P1")
    ready(other, 2)
    assert other.locator(".texts").inner_text() == text


def test_two_raters_at_once_do_not_meet(browser: Browser, address: str, folder: StudyFolder) -> None:
    contexts = [browser.new_context() for _ in range(2)]
    pages = [context.new_page() for context in contexts]
    for name, page in zip(("P1", "P2"), pages, strict=True):
        begin(page, address, name)
    for number in range(1, 7):
        for page, key in zip(pages, ("ArrowLeft", "ArrowRight"), strict=True):
            ready(page, number)
            page.keyboard.press(key)
    for page in pages:
        expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    for context in contexts:
        context.close()
    found = votes(folder)
    left = (found["answer"].eq("first") == found["first_side"].eq("left")).groupby(found["rater"]).agg(["size", "mean"])
    assert left.to_numpy().tolist() == [[6, 1.0], [6, 0.0]]


def test_a_double_click_is_one_vote(page: Page, address: str, folder: StudyFolder) -> None:
    begin(page, address, "P1")
    page.get_by_role("button", name="Left is better").dblclick()
    ready(page, 2)
    assert len(votes(folder)) == 1


def test_a_vote_is_sent_again_until_it_is_stored(browser: Browser, address: str, folder: StudyFolder) -> None:
    """The server is not reached; the page says so and keeps the answer. A context of its own: what fails is told on its console."""
    down = [True]
    with browser.new_context() as context:
        page = context.new_page()
        begin(page, address, "P1")
        page.route("**/vote", lambda route: route.abort() if down else route.continue_())
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("status")).to_contain_text("not stored yet")
        assert len(votes(folder)) == 0
        down.clear()
        ready(page, 2)
    assert len(votes(folder)) == 1


def test_flicker_and_zoom_show_the_original_and_more(page: Page, address: str) -> None:
    begin(page, address, "P1")
    edit, original = page.locator(".left img").first, page.locator(".left img").last
    expect(original).to_be_hidden()
    page.keyboard.down(" ")
    expect(edit).to_be_hidden()
    expect(original).to_be_visible()
    assert original.get_attribute("src") == page.locator(".source img").get_attribute("src")
    page.keyboard.up(" ")
    expect(edit).to_be_visible()
    page.locator(".left .frame").hover(position={"x": 5, "y": 5})
    page.keyboard.press("z")
    expect(page.get_by_role("button", name="Zoom")).to_have_attribute("aria-pressed", "true")
    scales = page.locator(".frame img:visible").evaluate_all("images => images.map(image => getComputedStyle(image).transform)")
    assert len(scales) == 3
    assert {scale.startswith("matrix(3") for scale in scales} == {True}, "all pictures alike"
    page.keyboard.press("z")
    expect(page.locator("main.zoomed")).to_have_count(0)
    button = page.get_by_role("button", name="Hold to see")
    button.dispatch_event("pointerdown", {"pointerId": 1})
    expect(edit).to_be_hidden()
    button.dispatch_event("pointerup", {"pointerId": 1})
    expect(edit).to_be_visible()


def test_a_telephone_shows_all_of_it(page: Page, address: str, folder: StudyFolder) -> None:
    page.set_viewport_size({"width": 360, "height": 780})
    begin(page, address, "P1")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    boxes = [box for name in ("left", "right") if (box := page.locator(f".{name} .frame").bounding_box())]
    assert boxes[0]["y"] == boxes[1]["y"], "the two edits side by side"
    assert min(box["width"] for box in boxes) > 150
    for button in page.locator("#vote button").all():
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= 44
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
    page.get_by_role("button", name="Both are bad").click()
    ready(page, 2)
    assert votes(folder)["answer"].tolist() == ["both_bad"]


def test_texts_of_strangers_break_nothing(page: Page, tmp_path: Path) -> None:
    folder = small_study(tmp_path / "hostile", texts=HOSTILE, votes=50, trials=18, duplicates=0, golds=0)
    seen = set()
    with serving(folder) as address:
        page.set_viewport_size({"width": 400, "height": 800})
        page.goto(f"{address}&PROLIFIC_PID=P1")
        page.get_by_role("button", name="I agree").click()
        for number in range(1, 19):
            expect(page.locator(".progress span")).to_have_text(f"{number} of 18")
            expect(page.locator(".tools")).to_be_visible()
            expect(page.locator("#vote button").first).to_be_enabled()
            assert page.title() == f"Question {number} of 18"
            page.wait_for_load_state()  # of the style, without which nothing is laid out
            assert page.evaluate("document.documentElement.scrollWidth") <= 400
            assert page.locator(".texts img, .texts script").count() == 0
            box = page.locator(".texts").bounding_box()
            assert box is not None
            assert box["height"] < 300
            text = page.locator(".wanted").text_content() or ""
            seen.add(text[:9])
            if len(text) >= 10_000:
                page.locator(".texts").focus()
                page.keyboard.press("ArrowDown")
                page.locator(".texts").evaluate(
                    "texts => new Promise(done => { const look = () => texts.scrollTop > 0 ? done() : setTimeout(look, 20); look(); })"
                )
            page.get_by_role("button", name="Equally good").click()
        expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    assert len(seen) == len(HOSTILE)
    assert votes(folder)["answer"].tolist() == ["tie"] * 18, "a key that scrolled a long text was no vote"


def test_pages_are_accessible(page: Page, address: str) -> None:
    page.goto(f"{address}&PROLIFIC_PID=P1")
    assert axe_violations(page) == []
    page.get_by_role("button", name="I agree").click()
    for number in range(1, 7):
        ready(page, number)
        if number == 1:
            assert axe_violations(page) == []
        page.keyboard.press("b")
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    assert axe_violations(page) == []


def test_ratings_by_keyboard(page: Page, tmp_path: Path) -> None:
    folder = small_study(tmp_path / "ratings", form="ratings")
    with serving(folder) as address:
        begin(page, address, "P1")
        assert axe_violations(page) == []
        for number in range(1, 7):
            ready(page, number)
            for key in ("2", "6", "Enter"):
                page.keyboard.press(key)
        expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    scores = votes(folder).groupby("question")["score"].unique().map(list).to_dict()
    assert scores == {"SC": [0.5], "PQ": [1.0]}


def test_a_focused_button_keeps_its_keys(page: Page, address: str, folder: StudyFolder) -> None:
    """Who moves by Tab votes by Space and Enter, as on any page."""
    begin(page, address, "P1")
    page.get_by_role("button", name="Both are bad").focus()
    page.keyboard.press(" ")
    ready(page, 2)
    page.get_by_role("button", name="Right is better").focus()
    page.keyboard.press("Enter")
    ready(page, 3)
    found = votes(folder)
    assert found["answer"].iloc[0] == "both_bad"
    assert (found["answer"].iloc[1] == "first") == (found["first_side"].iloc[1] == "right")
