"""The page about two runs in a browser: nothing that axe finds fault with, on a desk and on a telephone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page as BrowserPage

from reports.comparison import Exhibit, Page, write_page
from tests.helpers.browser import axe_violations

NASTY = "<img src=x onerror=alert(1)> مرحبا \u202e\x00 'x'"


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_by_all(page: BrowserPage, tmp_path: Path, width: int, scheme: str) -> None:
    for name in ("source", "first", "second"):
        Image.fromarray(np.full((64, 64, 3), 90, dtype=np.uint8)).save(tmp_path / f"{name}.png")
    shown = Exhibit(
        NASTY, NASTY * 50, NASTY, NASTY, "clip 1 → 2", *(tmp_path / f"{name}.png" for name in ("source", "first", "gone"))
    )
    cells = ("worse", NASTY, "clip", "0.5", "1", "2", "+1", "[0, 2]", "0.010", "16")
    titles = ("editor", "metric", "value", "first", "second", "difference", "95 % interval", "p", "n")
    made = Page("the second run is worse in 1 of 1 cells", NASTY, "b", titles, [("whole curves", [cells])], [shown], [NASTY])
    write_page(tmp_path / "page.html", made)
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto((tmp_path / "page.html").as_uri())
    assert page.locator("h1").inner_text() == "The second run is worse in 1 of 1 cells"
    assert page.locator("img").count() == 2
    assert page.locator(".missing").inner_text() == "the file is gone"
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert axe_violations(page) == []
