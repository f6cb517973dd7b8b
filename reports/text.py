"""What a report says, in characters that its files can hold: texts come from manifests, plug-ins and run folders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import pandas as pd
from pandas.api.types import infer_dtype, is_numeric_dtype

__all__ = ["computable", "inert", "printable"]

T = TypeVar("T")

_CONTROLS = (*(code for code in range(32) if chr(code) not in "\n\t"), *range(127, 160), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF)
_UNPRINTABLE = dict.fromkeys(_CONTROLS, "\ufffd")
"""Control characters, halves of a pair, and what is no character: XML and UTF-8 do not hold them, and a terminal obeys some."""
_FORMULA = ("=", "+", "-", "@")
"""How a text begins that a spreadsheet takes for a formula, after any blanks."""


def printable(content: T) -> T:
    """The same with U+FFFD for every character that is none to show: a text, or all texts of a frame, a mapping, a sequence, a dataclass."""
    found: Any = content
    if isinstance(content, str):
        found = content.translate(_UNPRINTABLE)
    elif isinstance(content, pd.DataFrame):
        found = content.rename(columns=printable).apply(_mapped, to=printable) if len(content.columns) else content
    elif isinstance(content, Mapping):
        found = {printable(key): printable(value) for key, value in content.items()}
    elif isinstance(content, tuple | list):
        found = type(content)(printable(item) for item in content)
    elif is_dataclass(content) and not isinstance(content, type):
        found = replace(content, **{each.name: printable(getattr(content, each.name)) for each in fields(content)})
    return found


def inert(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame for a file that a spreadsheet may open: a text or title that would be computed there begins with ``'``."""
    return frame.rename(columns=_inert).apply(_mapped, to=_inert) if len(frame.columns) else frame


def computable(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as it was before `inert`, for who reads such a file again."""
    return frame.rename(columns=_computable).apply(_mapped, to=_computable) if len(frame.columns) else frame


def _computable(cell: Any) -> Any:
    return cell[1:] if isinstance(cell, str) and cell.startswith("'") and cell[1:].lstrip().startswith(_FORMULA) else cell


def _inert(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip().startswith(_FORMULA) else cell


def _mapped(column: pd.Series[Any], to: Callable[[Any], Any]) -> pd.Series[Any]:
    """A column of another kind than numbers, cell by cell, of texts each text once; its kind stays what it is."""
    if is_numeric_dtype(column.dtype):
        return column
    if infer_dtype(column, skipna=False) == "string":
        return column.map({text: to(text) for text in column.unique()}).astype(column.dtype)
    return pd.Series([to(cell) for cell in column], index=column.index, dtype=column.dtype, name=column.name)
