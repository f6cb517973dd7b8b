"""The page of a board in a browser, and its other forms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Page

from reports import ReportData
from reports.boards import BoardData, DivisionData, RunRow, VersionNote, board_files, flat_table
from reports.boards.data import CATEGORY_COLUMNS, TEST_COLUMNS
from reports.boards.tables import categories, looks_of, ranking, told_apart
from tests.helpers.browser import axe_violations

SAID = "on the 1 of 2 samples that all ranked editors have"


@pytest.fixture
def board(data: ReportData) -> BoardData:
    table = data.leaderboard.assign(
        anchor=[False, False, True, True], rank_low=[1.0, 1.0, None, None], rank_high=[2.0, 2.0, None, None], standing=[SAID, SAID, "", ""],
        hypervolume=[0.4, 0.5, None, None], hypervolume_low=[0.3, 0.4, None, None], hypervolume_high=[0.5, 0.6, None, None], device="cpu",
    )  # fmt: skip
    tests = pd.DataFrame([["alpha", "beta<&>", -0.1, -0.2, 0.05, 0.04, 0.08, 0.001, 2]], columns=list(TEST_COLUMNS))
    kinds = [
        [category, editor, metric, 0.5, 0.4, 0.6, 1]
        for category in ("add", "<b>")
        for editor in ("alpha", "beta<&>")
        for metric in data.plane.columns
    ]
    frame = pd.DataFrame([*kinds, ["add", "copy", "clip", 0.2, None, None, 1]], columns=list(CATEGORY_COLUMNS))
    division = DivisionData("mask", replace(data, leaderboard=table, powerless=["Nothing can be proven."]), tests, frame)
    return BoardData(
        title="A board",
        about={"manifest": "small"},
        divisions=[division],
        runs=[RunRow("one", "sd", "cpu", "ab" * 8, "../one/report/index.html"), RunRow("two <i>", "sd", "gpu", "cd" * 8)],
        owners={"alpha": "one", "beta<&>": "two <i>", "copy": "one", "oracle": "one"},
        notes=["Mind the devices."],
        versions=[VersionNote(1, "2026-01-02", "etabench", ["the first"])],
    )


def test_words_that_stand_for_all_ranks_are_said_once(board: BoardData) -> None:
    grid = ranking(board.divisions[0], looks_of(board))
    assert grid.lead == (f"Ranked {SAID}.",)
    at = [column.title for column in grid.columns].index("rank")
    assert [(row.cells[at].text, row.cells[at].note) for row in grid.rows[:2]] == [("1–2", ""), ("1–2", "")]
    (division,) = board.divisions
    one = division.data.leaderboard.assign(standing=["not ranked: has 1 of 2 samples", "", "", ""])
    told = ranking(replace(division, data=replace(division.data, leaderboard=one)), looks_of(board))
    assert told.lead == ("alpha: not ranked: has 1 of 2 samples.",)


def test_a_category_without_a_score_has_a_dash(board: BoardData) -> None:
    clip, kept = categories(board.divisions[0], looks_of(board))
    assert (clip.title, kept.title) == ("CLIP", "1 − LPIPS")
    assert [row.editor for row in clip.rows] == ["alpha", "beta<&>", "copy"]
    assert [cell.text for cell in clip.rows[2].cells] == ["0.200", "–"]
    assert clip.rows[0].cells[0].interval == "[0.400, 0.600]"


def test_pairs_show_difference_and_both_p(board: BoardData) -> None:
    (row,) = told_apart(board.divisions[0], looks_of(board)).rows
    assert [cell.text for cell in row.cells] == ["beta<&>", "−0.100", "0.040", "0.080", "2"]


def test_every_form_has_the_same_numbers(board: BoardData) -> None:
    files = {name: content.decode() for name, content in board_files(board).items()}
    assert files.keys() == {"index.html", "board.md", "board.tex", "board.csv"}
    for name in ("index.html", "board.md", "board.tex"):
        for text in ("0.293", "1–2" if name != "board.tex" else "1--2", "0.500"):
            assert text in files[name], (name, text)
    assert r"\toprule" in files["board.tex"]
    assert r"beta\textless{}\&\textgreater{}" in files["board.tex"]
    assert flat_table(board)["run"].tolist() == ["one", "two <i>", "one", "one"]
    assert board_files(board) == board_files(board)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1440, 390])
def test_the_page_fits_is_accessible_and_sorts(board: BoardData, page: Page, tmp_path: Path, width: int) -> None:
    (tmp_path / "index.html").write_bytes(board_files(board)["index.html"])
    page.set_viewport_size({"width": width, "height": 900})
    page.goto((tmp_path / "index.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("summary").first.click()
    assert axe_violations(page) == []
    table = page.locator("#division-1 table").first
    names = [name.split("\n")[0].strip() for name in table.locator("tbody th").all_inner_texts()]
    assert names == ["alpha", "beta<&>", "copy", "oracle"]
    table.get_by_role("button", name="CLIP").click()
    by_clip = [name.split("\n")[0].strip() for name in table.locator("tbody th").all_inner_texts()]
    assert by_clip == ["oracle", "beta<&>", "alpha", "copy"]
    assert page.get_by_role("link", name="one").first.get_attribute("href") == "../one/report/index.html"
    assert page.locator("i, b:has-text('<b>')").count() == 0
