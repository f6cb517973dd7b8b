"""The tail of an error message: what the user probably meant, or what there is to choose from."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable

__all__ = ["did_you_mean", "kind_of", "shortened"]

MOST = 60
LONGEST = 60
"""Characters of a value, or of a word, that a message shows."""
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a string", list: "a list", dict: "a mapping"}


class _Short(reprlib.Repr):
    """The beginning of a value's repr, made without the rest of it, however much there is."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, 4 * LONGEST, LONGEST

    def repr_str(self, x: str, level: int) -> str:
        return repr(x[: self.maxstring])

    def repr_int(self, x: int, level: int) -> str:
        return repr(x) if x.bit_length() < 4 * LONGEST else f"a number of {x.bit_length()} bits"


_SHORT = _Short()


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """``did you mean 'x'?`` when one option is close to ``word``, else ``choose from a, b, c`` (empty without options).

    Of more than ``MOST`` options the first are named and the rest are counted.
    """
    known, word = sorted(set(options)), word[: 4 * LONGEST]
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    more = f" and {len(known) - MOST} more" if len(known) > MOST else ""
    return f"choose from {', '.join(known[:MOST])}{more}" if known else ""


def kind_of(value: object) -> str:
    """A value and its kind in words, shortened: ``'abc' (a string)``, ``nothing`` for None."""
    if value is None:
        return "nothing"
    shown = _SHORT.repr(value)
    if len(shown) > LONGEST:
        shown = f"{shown[: LONGEST - 3]}..."
    return f"{shown} ({_KINDS.get(type(value), type(value).__name__)})"


def shortened(text: str, most: int = 4 * LONGEST) -> str:
    """A text of a stranger's for a message: in one line, and what is longer than ``most`` letters without its middle, which nobody reads."""
    half, text = most // 2 - 2, " ".join(text.split())
    return text if len(text) <= most else f"{text[:half]}...{text[-half:]}"
