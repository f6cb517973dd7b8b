"""Table cells that the page only has to lay out: columns, values with their intervals, and how numbers become text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

__all__ = ["Cell", "Column", "decimals", "finite", "interval_cell", "minus", "p_cell", "plain_cell", "whole_cell"]


@dataclass(frozen=True)
class Column:
    """A sortable column. ``better`` is "higher", "lower" or "" where there is no direction."""

    title: str
    meaning: str
    better: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Cell:
    """One value: its text, what it sorts by, and how it is shown."""

    text: str
    sort: str
    interval: str = ""
    bar: tuple[float, float, float] | None = None
    """Left end, right end and mean of the interval in percent of the column's range."""
    best: bool = False
    alarm: str = ""
    """"failed" or "short" (fewer scored than expected)."""
    badges: tuple[tuple[str, str], ...] = ()
    note: str = ""
    """What the reader must know of this value: how many scores it lacks."""
    swatch: Markup | str = ""
    centred: bool = False
    """Whether the middle of the bar is zero."""


def finite(value: object) -> float | None:
    """`value` as a float if it is a finite number."""
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def decimals(values: Sequence[float]) -> int:
    """Decimals that show the largest of `values` with about three digits."""
    largest = max((abs(v) for v in values), default=0.0)
    return 2 if largest == 0 else min(max(3 - math.floor(math.log10(largest)), 0), 3)


def interval_cell(
    value: object, low: object, high: object, digits: int, span: tuple[float, float], *, signed: bool = False, best: bool = False
) -> Cell:
    """The value with its interval, and where both lie in `span`."""
    left, right = span
    mean, lower, upper = finite(value), finite(low), finite(high)
    if mean is None:
        return Cell("–", "")
    plus = "+" if signed else ""
    if lower is None or upper is None:
        return Cell(minus(f"{mean:{plus}.{digits}f}"), repr(mean), best=best)
    ends = [min(max((v - left) / (right - left) * 100, 0.0), 100.0) for v in (lower, upper, mean)]
    bar = (round(ends[0], 1), round(ends[1] - ends[0], 1), round(ends[2], 1))
    text = f"[{lower:{plus}.{digits}f}, {upper:{plus}.{digits}f}]"
    return Cell(minus(f"{mean:{plus}.{digits}f}"), repr(mean), minus(text), bar, best, centred=signed)


def minus(text: str) -> str:
    """The text with typographic minus signs."""
    return text.replace("-", "−")


def p_cell(value: object) -> Cell:
    """A p value."""
    found = finite(value)
    if found is None:
        return Cell("–", "")
    return Cell("< 0.001" if found < 0.001 else f"{found:.3f}", repr(found))


def plain_cell(value: object, digits: int) -> Cell:
    """A number, a dash where there is none."""
    found = finite(value)
    return Cell("–", "") if found is None else Cell(f"{found:.{digits}f}", repr(found))


def whole_cell(value: object) -> Cell:
    """A whole number, a dash where there is none."""
    found = finite(value)
    return Cell("–", "") if found is None else Cell(f"{found:.0f}", repr(found))
