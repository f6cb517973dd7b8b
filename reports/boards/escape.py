"""Texts of strangers in files of ours: labels and categories as Markdown and LaTeX, in which they can only be read."""

from __future__ import annotations

import re

from reports.text import printable

__all__ = ["LONGEST", "SENTENCES", "cut", "latex", "markdown"]

LONGEST = 120
"""Letters of a text that a table shows."""
SENTENCES = 800
"""Letters of what is said in sentences."""
_TURNING = {code: f"U+{code:04X}" for code in (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))}
"""Characters that turn the direction of what stands beside them."""
_MARKUP = {ord(letter): f"&#{ord(letter)};" for letter in "&<>|\\`*_[]#~!@$^{}\"'"}
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "[": r"{[}",
    "]": r"{]}",
    "−": r"$-$",
    "–": r"--",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "η": r"$\eta$",
} | {letter: f"\\{letter}" for letter in "{}$&#%_"}
_LATEX = {ord(letter): replaced for letter, replaced in _SPECIAL.items()}


def cut(text: str, most: int = LONGEST) -> str:
    """A text on one line, with nothing in it that cannot be shown or turns the line, at most so many letters."""
    line = " ".join(printable(text).translate(_TURNING).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def markdown(text: str, most: int = LONGEST) -> str:
    """A text that Markdown takes for text, also in a cell of a table: no markup, no link, no mention of a user."""
    found = cut(text, most).translate(_MARKUP)
    return re.sub(r"(?i)\b(www)\.|(://)", lambda m: f"{m[1]}&#46;" if m[1] else "&#58;//", found)


def latex(text: str, most: int = LONGEST) -> str:
    """A text that LaTeX sets as it is. Letters that a font lacks want LuaLaTeX or XeLaTeX and another font."""
    return cut(text, most).translate(_LATEX)
