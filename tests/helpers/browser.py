"""A headless Chromium for tests of pages, as the fixture `page`: it reaches loopback and files only, and a page that complains fails its test.

Without Chromium on the machine these tests are skipped; where ETABENCH_BROWSER is set (as `.ci/run` does), that is an error.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

__all__ = ["axe_violations", "browser", "context", "page", "wait_until"]

_QUIET = ("--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")
_PATIENCE = 60_000
"""Milliseconds: a machine may be busy, and a test is not about how long things take."""
_OWN = {"", "127.0.0.1", "localhost", "::1"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for the tests of a file: a living one keeps an event loop, which other tests need for themselves."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=_PATIENCE)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        if os.environ.get("ETABENCH_BROWSER"):
            pytest.fail("ETABENCH_BROWSER is set and there is no Chromium; install it (Debian: apt-get install chromium)")
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", *_QUIET])
        yield opened
        opened.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A visitor with no memory of other tests, whose pages must ask nothing of another host and report no error."""
    opened = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    opened.set_default_timeout(_PATIENCE)
    faults: list[str] = []
    opened.on("request", lambda request: _foreign(request.url) and faults.append(f"asked {request.url}"))
    opened.on("weberror", lambda error: faults.append(str(error.error)))
    opened.on("console", lambda message: message.type == "error" and faults.append(message.text))
    yield opened
    opened.close()
    assert not faults, faults


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A page of 1440 by 900; ``set_viewport_size`` makes a phone of it, ``emulate_media`` a printer."""
    return context.new_page()


def wait_until(page: Page, expression: str) -> None:
    """Go on when an expression is true. Playwright's own waiting evaluates texts in the page, which the policy of ours forbids."""
    for _ in range(_PATIENCE // 50):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never came true: {expression}")


def axe_violations(page: Page) -> list[str]:
    """What axe-core finds against the page as it stands, a line each: rule, impact, and the first element."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{each['id']} ({each['impact']}, {len(each['nodes'])}): {each['nodes'][0]['html'][:200]}" for each in found]


def _foreign(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in {"file", "data", "blob", "about"} and (parts.hostname or "") not in _OWN
