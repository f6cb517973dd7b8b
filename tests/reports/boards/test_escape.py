"""Texts of strangers stay texts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from reports.boards.escape import LONGEST, cut, latex, markdown

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![x](http://evil/x.png)",
    "a | b",
    "`code` *bold* _it_ ~~gone~~ # head",
    "http://evil.example www.evil.example <http://evil.example>",
    "&lt;script&gt;",
    "\\",
    "line\nbreak\r\n\n# head",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_shows_a_text_as_it_is(text: str) -> None:
    rendered = MarkdownIt("gfm-like", {"linkify": False}).enable("table").renderInline(markdown(text))
    assert "<" not in rendered
    shown = rendered.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")
    assert shown == cut(text)


@given(st.text(max_size=300))
def test_no_text_leaves_its_cell_in_markdown(text: str) -> None:
    table = f"| a | b |\n|---|---|\n| {markdown(text)} | last |\n"
    rendered = MarkdownIt("commonmark").enable("table").render(table)
    assert rendered.count("<td>") == 2
    assert "<td>last</td>" in rendered


@given(st.text(max_size=300))
def test_no_text_is_an_order_to_latex(text: str) -> None:
    found = latex(text)
    assert found.count("\n") == 0
    rest = re.sub(r"\\(?:text[a-z]+\{\}|[{}$&#%_])|\$-\$|\$\\(?:uparrow|downarrow|eta)\$|\{[\[\]]\}", "", found)
    assert not set(rest) & set("\\{}$&#%_^~")


@given(st.text())
def test_a_text_is_cut_to_one_line_that_is_read_from_left_to_right_or_by_its_letters_alone(text: str) -> None:
    found = cut(text)
    assert len(found) <= LONGEST
    assert "\n" not in found
    assert not set(found) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
    assert cut(found) == found


def test_what_turns_the_line_is_named() -> None:
    assert cut("a\u202eb") == "aU+202Eb"
    assert cut("x" * 10_000) == "x" * (LONGEST - 1) + "…"


def test_mentions_and_addresses_are_not_made_links_by_who_shows_markdown() -> None:
    found = markdown("@all http://evil.example www.evil.example")
    assert not re.search(r"@|://|www\.", found)
