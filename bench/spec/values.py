"""Values of a spec that every record can hold: texts that can be printed, names that can be files, numbers that end."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from bench.suggest import kind_of

__all__ = ["Count", "Label", "Name", "Parameters", "Text"]

MOST_NAME = 100


def _printable(text: str) -> str:
    """A text of one line with nothing in it that steers a terminal. ValueError otherwise."""
    if not text.isprintable():
        raise ValueError(f"expected printable characters, got {kind_of(text)}")
    return text


def _shown(text: str) -> str:
    """A name as people read and write it: with something to see, and not too long for a file. ValueError otherwise."""
    if not _printable(text).strip():
        raise ValueError("expected something to read, got only spaces")
    if len(text) > MOST_NAME:
        raise ValueError(f"expected at most {MOST_NAME} characters, got {len(text)}")
    return text


def _finite(value: Any, place: str = "") -> None:
    """ValueError naming the place of a number among parameters that has no form in a record: infinite, no number, or without measure."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{place} is {value}; parameters must be finite")
    if isinstance(value, int) and value.bit_length() > 63:
        raise ValueError(f"{place} is {kind_of(value)}; parameters have 63 bits at most")
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        _finite(item, f"{place}.{str(key)[:80]}" if place else str(key)[:80])


def _finite_params(params: dict[str, Any]) -> dict[str, Any]:
    _finite(params)
    return params


def _label(text: str) -> str:
    return _shown(text) if text else text


Text = Annotated[str, Field(min_length=1), AfterValidator(_printable)]
Name = Annotated[Text, AfterValidator(_shown)]
Label = Annotated[str, AfterValidator(_label)]
"""A name, or nothing."""
Count = Annotated[int, Field(ge=1, lt=2**63)]
Parameters = Annotated[dict[str, Any], AfterValidator(_finite_params)]
