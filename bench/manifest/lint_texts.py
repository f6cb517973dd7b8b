"""What is odd about texts: of one row, of rows about one picture, and of one text for many pictures."""

from __future__ import annotations

import difflib
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache

from bench.manifest.lint_masks import Severity
from bench.manifest.rows import SampleRow

__all__ = ["near_texts", "placeholders", "plain", "row_oddities", "script_of"]

_MANY_WORDS = 60
"""More words than a CLIP text encoder can surely take: it reads 77 tokens."""
_SPELLING = 0.8
"""Likeness (difflib ratio) from which two words are taken for spellings of one: enterance and entrance, dog and dogs."""
_NEIGHBOURS = 10
"""How many texts on either side, in alphabetical order, a text about the same picture is compared with."""
_PLACEHOLDERS = frozenset(
    {"caption", "image", "n a", "na", "nan", "nil", "none", "null", "placeholder", "tbd", "todo", "unknown"}
)
"""Texts, lower case and without punctuation, that stand where nobody wrote one."""
_MANY_PICTURES, _SENTENCE = 5, 4
"""Different pictures from which one text about all is a placeholder, and words from which it is none of a class's names."""


def row_oddities(entry: SampleRow, strip_brackets: bool, stands_in: bool = False) -> Iterator[tuple[Severity, str, str]]:
    """Severity, field and message of what is odd about the texts of a row.

    ``stands_in``: the card of the set says that the instruction is its target text.
    """
    texts = {"target_text": entry.raw_target_text, "source_text": entry.source_text, "instruction": entry.instruction}
    for name, text in texts.items():
        for severity, message in _text_oddities(text or "", strip_brackets):
            yield severity, name, message
    if entry.source_text is not None:
        if entry.source_text == entry.target_text:
            yield "warning", "target_text", "the same as the source text; nothing is asked for"
        elif plain(entry.source_text) == plain(entry.target_text):
            message = "differs from the source text in case, spaces or punctuation only"
            yield "warning", "target_text", message
    declared = stands_in and entry.instruction == entry.target_text
    captions = {plain(text) for text in (None if declared else entry.target_text, entry.source_text) if text}
    if entry.instruction is not None and plain(entry.instruction) in captions:
        message = "is one of the captions; an instruction is an order, such as 'make it snow'"
        yield "warning", "instruction", message


def _text_oddities(text: str, strip_brackets: bool) -> Iterator[tuple[Severity, str]]:
    if plain(text) in _PLACEHOLDERS or (text and not plain(text)):
        yield "warning", f"'{text}' says nothing; a placeholder?"
    if "[" in text or "]" in text:
        yield (
            ("info", "bracket markup, which is stripped")
            if strip_brackets
            else (
                "warning",
                "bracket markup goes to the editors as it is; set strip_brackets: true if it marks changed words",
            )
        )
    if "<" in text and ">" in text:
        yield "warning", "looks like HTML; it goes to the editors as it is"
    if text and (text != text.strip() or "  " in text):
        yield "info", "spaces at an end or double spaces"
    if not text.isprintable():
        yield "warning", "has control characters, such as a line break"
    if len(text.split()) > _MANY_WORDS:
        yield "warning", f"{len(text.split())} words; a CLIP text encoder reads 77 tokens and cuts the rest"


def plain(text: str) -> str:
    """The text without case, punctuation and repeated spaces."""
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())


def placeholders(rows: list[tuple[str, SampleRow]]) -> Iterator[tuple[str, str]]:
    """Field and message of each caption of a source that many different pictures have; rows are source id and row."""
    pictures: dict[str, dict[str, SampleRow]] = defaultdict(dict)
    for source_id, entry in rows:
        if entry.source_text and len(plain(entry.source_text).split()) >= _SENTENCE:
            pictures[plain(entry.source_text)].setdefault(source_id, entry)
    for known in pictures.values():
        if len(known) >= _MANY_PICTURES:
            first = next(iter(known.values()))
            message = f"'{first.source_text}' is the caption of {len(known)} different pictures, first of row {first.row} (id '{first.id}')"
            yield "source_text", f"{message}; a placeholder?"


def script_of(text: str) -> str:
    """The script that most letters of a text are of, as Unicode names it (``LATIN``, ``CJK``); empty without letters."""
    names = [unicodedata.name(letter, "").split(" ")[0].split("-")[0] for letter in text if letter.isalpha()]
    return max(dict.fromkeys(names), key=names.count, default="")


def near_texts(entries: list[SampleRow]) -> Iterator[tuple[SampleRow, SampleRow]]:
    """Rows about one picture, each with the first before it whose text is the same but for its spelling.

    A text is compared with its `_NEIGHBOURS` in alphabetical order, read forwards and backwards: with all, if they are few, and in any case
    with those that differ from it near an end. What that costs grows with the rows, not with their square.
    """
    texts = [plain(entry.target_text) for entry in entries]
    first = {text: place for place, text in reversed(list(enumerate(texts)))}
    nearest = dict(first)
    for order in (sorted(first), sorted(first, key=lambda text: text[::-1])):
        for place, text in enumerate(order):
            for other in order[place + 1 : place + 1 + _NEIGHBOURS]:
                if _alike(text, other):
                    older, newer = sorted((text, other), key=first.__getitem__)
                    nearest[newer] = min(nearest[newer], first[older])
    return (
        (entry, entries[nearest[text]])
        for place, (entry, text) in enumerate(zip(entries, texts, strict=True))
        if nearest[text] < place
    )


def _alike(a: str, b: str) -> bool:
    """Whether two plain texts are the same but for the spelling of their words."""
    words_a, words_b = a.split(), b.split()
    return len(words_a) == len(words_b) and all(x == y or _one_word(x, y) for x, y in zip(words_a, words_b, strict=True))


@lru_cache(maxsize=65536)
def _one_word(a: str, b: str) -> bool:
    matcher = difflib.SequenceMatcher(None, a, b)
    return matcher.real_quick_ratio() >= _SPELLING and matcher.quick_ratio() >= _SPELLING and matcher.ratio() >= _SPELLING
