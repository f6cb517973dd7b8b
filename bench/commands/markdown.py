"""Markdown for a pull request's comment or a job's summary. Texts from manifests, runs and plug-ins are shown as code, where nothing in them
is markup, a link, a mention or an order to turn the direction of writing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from bench.commands.console import visible

__all__ = ["code", "number", "sentence", "table"]

LONGEST = 60
"""Characters of a text that are shown."""
_HARMLESS = set(" .,:;()'%-")
_PLAIN = re.compile(r"[\w.,:=+\-/ ]+", re.ASCII)


def code(text: str) -> str:
    """A text as code, in one line."""
    shown = shortened(text)
    if _PLAIN.fullmatch(shown):
        return f"`{shown}`"
    return f"<code>{''.join(each if each.isalnum() or each == ' ' else f'&#{ord(each)};' for each in shown)}</code>"


def shortened(text: str) -> str:
    """The text in one line of LONGEST characters at the most, with control characters written out."""
    line = visible(" ".join(text[: 4 * LONGEST].encode("utf-8", "replace").decode().split()))
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def sentence(text: str) -> str:
    """A sentence of ours that may name what others named: in one line, of 1000 characters at the most, with nothing in it that is markup."""
    line = visible(" ".join(text[:1000].encode("utf-8", "replace").decode().split()))
    return "".join(each if each.isalnum() or each in _HARMLESS else _entity(each) for each in line).replace("www.", "www&#46;")


def _entity(letter: str) -> str:
    """The letter as an entity; one that begins a mention or the number of an issue is followed by a joiner, after which it is none."""
    return f"&#{ord(letter)};{'&#8288;' if letter in '@#' else ''}"


def number(value: float, *, signed: bool = False) -> str:
    """A score with five digits, in words where it is no finite number."""
    if math.isnan(value):
        return "undefined"
    return f"{value:{'+' if signed else ''}.5g}".replace("inf", "infinite")


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> list[str]:
    """Lines of a table whose cells are Markdown; the first `left` columns are texts, the others numbers."""
    sides = [":--" if place < left else "--:" for place in range(len(titles))]
    return [f"| {' | '.join(cells)} |" for cells in (titles, sides, *rows)]
