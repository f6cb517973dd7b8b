"""`board.json`: what a board says, and all that it ever said. A number that was made anew keeps its place under the version it had.

A board that is written again with the same runs and scores is what it was. Otherwise it has one version more, which says what moved: metrics
with another fingerprint and the fields of their cards that differ, editors that came and went, edits that were made anew, ranks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from bench.boards.votes import COLUMN
from bench.errors import BoardError, RunError
from bench.store.files import json_bytes, write_atomically
from bench.store.shapes import read_as

__all__ = ["FILE", "Earlier", "History", "Version", "earlier_columns", "plain", "read_history", "with_version", "write_history"]

FILE = "board.json"
OUTSIDE = ("version", "date", "made_by", "why")
"""What of a version is no part of what it says."""


@dataclass(frozen=True)
class Version:
    """What a board says at one time. `rows`, `tests` and `categories` are those of all divisions, which each row names."""

    version: int
    date: str
    made_by: str
    why: tuple[str, ...]
    manifest: dict[str, str]
    seeds: tuple[int, ...]
    axes: dict[str, str]
    metrics: dict[str, str]
    cards: dict[str, dict[str, Any]]
    runs: tuple[dict[str, Any], ...]
    rows: tuple[dict[str, Any], ...]
    tests: tuple[dict[str, Any], ...]
    categories: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class History:
    """All versions of a board, the latest last."""

    title: str
    versions: tuple[Version, ...] = ()
    schema: Literal[1] = 1


@dataclass(frozen=True)
class Earlier:
    """A column of an earlier version: a metric by another fingerprint; editor to mean, low and high."""

    metric: str
    version: int
    values: Mapping[str, tuple[float, float, float]]


def read_history(folder: Path) -> History | None:
    """The history in a board's folder, None where there is none. BoardError where it cannot be read."""
    if not (folder / FILE).exists():
        return None
    try:
        return read_as(folder / FILE, History, "move it away, and a new history begins")
    except RunError as error:
        raise BoardError(str(error)) from error


def write_history(folder: Path, history: History) -> None:
    """Write `board.json`."""
    write_atomically(folder / FILE, json_bytes(asdict(history)))


def plain(rows: Sequence[Mapping[Any, Any]]) -> tuple[dict[str, Any], ...]:
    """Rows of a table as JSON holds them: what is not a finite number is None."""
    return tuple({str(key): _plain(value) for key, value in row.items()} for row in rows)


def with_version(history: History, now: Version) -> History:
    """The history with what a board says `now`, numbered and with its reasons; the same where that is what it said last."""
    if not history.versions:
        return replace(history, versions=(replace(now, version=1, why=("the first",)),))
    last = history.versions[-1]
    if _said(last) == _said(now):
        return history
    why = tuple(_moved(last, now)) or ("statistics are computed otherwise",)
    return replace(history, versions=(*history.versions, replace(now, version=last.version + 1, why=why)))


def earlier_columns(history: History) -> list[Earlier]:
    """The columns of earlier versions that the latest has by another fingerprint, of the same manifest and samples, the newest first."""
    latest, found = history.versions[-1], dict[tuple[str, str], Earlier]()
    seen = {(metric, print_) for metric, print_ in latest.metrics.items()}
    for version in reversed(history.versions[:-1]):
        if version.manifest != latest.manifest:
            continue
        for metric, print_ in version.metrics.items():
            column = _column(version, metric)
            if metric in latest.metrics and (metric, print_) not in seen and (metric, print_) not in found:
                same = {row["editor"] for row in latest.rows}
                values = {str(row["editor"]): _ends(row, column) for row in version.rows if row["editor"] in same}
                found[metric, print_] = Earlier(column, version.version, values)
    return list(found.values())


def _column(version: Version, metric: str) -> str:
    """What the rows of a version call a metric, which an axis may turn round."""
    turned = (f"{sign}_{metric}" for sign in ("one_minus", "minus"))
    return next((name for name in turned if any(name in row for row in version.rows)), metric)


def _ends(row: Mapping[str, Any], column: str) -> tuple[float, float, float]:
    mean, low, high = (row.get(name) for name in (column, f"{column}_low", f"{column}_high"))
    return tuple(math.nan if value is None else float(value) for value in (mean, low, high))  # type: ignore[return-value]


def _said(version: Version) -> str:
    return json.dumps({name: value for name, value in asdict(version).items() if name not in OUTSIDE}, sort_keys=True)


def _moved(last: Version, now: Version) -> Iterator[str]:
    for thing in ("manifest", "seeds", "axes"):
        if getattr(last, thing) != getattr(now, thing):
            yield f"other {thing}: no number may be compared with those before"
    for metric, print_ in now.metrics.items():
        before = last.metrics.get(metric)
        if before is None:
            yield f"{metric} is new"
        elif before != print_:
            yield f"{metric} is another metric ({before} before, {print_} now): {_differing(last.cards[before], now.cards[print_])}"
    for metric in sorted(last.metrics.keys() - now.metrics.keys()):
        yield f"{metric} is gone"
    voted, votes = (
        {row["editor"]: row.get(COLUMN) for row in version.rows if row.get(COLUMN) is not None} for version in (last, now)
    )
    if voted != votes:
        yield "people's votes are new" if not voted else "people's votes are gone" if not votes else "people voted otherwise"
    old, new = ({row["editor"]: row for row in version.rows if not row["anchor"]} for version in (last, now))
    yield from (f"{name} is new" for name in new if name not in old)
    yield from (f"{name} is gone" for name in old if name not in new)
    for name in sorted(old.keys() & new.keys()):
        if old[name].get("edits_digest") != new[name].get("edits_digest"):
            yield f"{name} has other edits"
    for name in sorted(old.keys() & new.keys()):
        places = [_place(row[name]) for row in (old, new)]
        if places[0] != places[1]:
            yield f"{name} was {places[0]} and is {places[1]}"


def _place(row: Mapping[str, Any]) -> str:
    ends = dict.fromkeys(row[key] for key in ("rank_low", "rank_high") if row.get(key) is not None)
    return f"{'–'.join(f'{end:.0f}' for end in ends)} of {row['division']}" if ends else f"not ranked in {row['division']}"


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    prose = {"definition", "source", "texts", "texts_cut"}
    names = [name for name in now.keys() | before.keys() if before.get(name) != now.get(name) and name not in prose]
    return ", ".join(sorted(names)) or "its card says the same"


def _plain(value: Any) -> Any:
    item = value.item() if hasattr(value, "item") else value
    if isinstance(item, float) and not math.isfinite(item):
        return None
    return item
