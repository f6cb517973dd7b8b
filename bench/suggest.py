"""The tail of an error message: what the user probably meant, or what there is to choose from."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean", "kind_of"]

MOST = 60
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a string", list: "a list", dict: "a mapping"}


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """``did you mean 'x'?`` when one option is close to ``word``, else ``choose from a, b, c`` (empty without options).

    Of more than ``MOST`` options the first are named and the rest are counted.
    """
    known = sorted(set(options))
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    more = f" and {len(known) - MOST} more" if len(known) > MOST else ""
    return f"choose from {', '.join(known[:MOST])}{more}" if known else ""


def kind_of(value: object) -> str:
    """A value and its kind in words, shortened: ``'abc' (a string)``, ``nothing`` for None."""
    if value is None:
        return "nothing"
    shown = repr(value)
    if len(shown) > 60:
        shown = f"{shown[:57]}..."
    return f"{shown} ({_KINDS.get(type(value), type(value).__name__)})"
