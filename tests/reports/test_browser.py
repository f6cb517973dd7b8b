"""The page in a browser."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

from tests.helpers.browser import axe_violations


def test_the_browser_shows_a_file_and_axe_finds_faults_in_it(page: Page, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text("<!DOCTYPE html><html><head><title>x</title></head><body><img src='data:,'></body></html>", encoding="utf-8")
    page.goto(bad.as_uri())
    assert page.title() == "x"
    assert any("image-alt" in violation for violation in axe_violations(page))
