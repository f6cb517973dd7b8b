"""The score tables of a run: their columns, how they are written, and the refusal to mix what cannot be compared."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from bench.errors import RunError, ScoreError
from bench.store import Run, write_atomically

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PAIR_COLUMNS", "SET_COLUMNS", "SET_PAIR_COLUMNS", "Scores", "check_unmixed", "frame", "read_scores", "write_table"]

PAIR_COLUMNS = (
    "unit",
    "sample_id",
    "source_id",
    "category",
    "editor",
    "knob",
    "value",
    "seed",
    "metric",
    "score",
    "fingerprint",
)
SET_COLUMNS = ("editor", "knob", "value", "metric", "score", "low", "high", "n", "fingerprint", "per_class", "inputs", "note")
SET_PAIR_COLUMNS = (
    "metric",
    "first",
    "first_value",
    "second",
    "second_value",
    "difference",
    "p",
    "p_least",
    "n",
    "axes",
    "fingerprint",
    "inputs",
)
FLOATS = ("value", "score", "low", "high", "per_class", "first_value", "second_value", "difference", "p", "p_least")
INTEGERS = ("seed", "n")
OPTIONAL = ("category", "knob", "note")
"""Columns of texts in which a row may have none."""
TABLES = {"pairs": PAIR_COLUMNS, "sets": SET_COLUMNS, "set_pairs": SET_PAIR_COLUMNS}


@dataclass(frozen=True)
class Scores:
    """Score tables and the cards behind them: fingerprint to the fields of the card.

    A card of a pair metric also has `bounds`, the ends of its range, which are no part of the fingerprint. `set_pairs` holds the
    swap tests of set metrics between editors at the operating points that their common samples give them on `axes`; those of a table
    that does not say so are no longer known, as their points were held fixed.
    """

    pairs: pd.DataFrame
    sets: pd.DataFrame
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    set_pairs: pd.DataFrame = field(default_factory=lambda: frame([], SET_PAIR_COLUMNS))


def frame(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """A frame of `rows` with exactly `columns` and the dtypes of the tables, empty or not."""
    import pandas as pd

    table = pd.DataFrame(list(rows), columns=list(columns))
    kinds = {name: "float64" if name in FLOATS else "int64" if name in INTEGERS else "object" for name in columns}
    return table.astype(kinds)


def write_table(run: Run, name: str, table: pd.DataFrame) -> None:
    """Write `scores/<name>.parquet` atomically."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_atomically(run.scores / f"{name}.parquet", buffer.getvalue())


def read_scores(run: Run, *, anew: bool = False) -> Scores:
    """The score tables of a run, empty where there are none.

    Raises ScoreError that names what is damaged; `anew` counts that as not there, for who makes it anew.
    """
    tables = [_read(run, name, columns, anew) for name, columns in TABLES.items()]
    path, cards = run.scores / "cards.json", dict[str, dict[str, Any]]()
    if path.is_file():
        try:
            found = run.read("scores/cards.json", dict[str, CardFields], _again(run))
            cards = {print_: card.model_dump(mode="json", exclude_unset=True) for print_, card in found.items()}
        except RunError as error:
            if not anew:
                raise ScoreError(str(error)) from error
    for table in tables if not anew else ():
        lacking = table.loc[~table["fingerprint"].isin(list(cards)), "metric"]
        if len(lacking):
            raise ScoreError(f"{path} lacks the card of {lacking.iloc[0]}; {_again(run)}")
    return Scores(tables[0], tables[1], cards, tables[2])


class CardFields(BaseModel):
    """What tables and reports read of a card; it may have more."""

    model_config = ConfigDict(extra="allow", strict=True)

    name: str
    higher_is_better: bool | None
    definition: str = ""
    bounds: tuple[float | None, float | None] = (None, None)
    texts: int = 0
    texts_cut: int = 0


def _read(run: Run, name: str, columns: Sequence[str], anew: bool) -> pd.DataFrame:
    import pandas as pd

    path = run.scores / f"{name}.parquet"
    try:
        if path.is_file():
            table = pd.read_parquet(path)
            if name == "set_pairs" and "axes" not in table:
                return frame([], columns)  # made before swaps chose their points anew
            rows: list[Any] = table[list(columns)].to_dict("records")
            return _checked(frame(rows, columns))
    except Exception as error:
        if not anew:
            raise ScoreError(f"{path} is damaged ({type(error).__name__}); {_again(run)}") from error
    return frame([], columns)


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    """The table itself; ValueError where a text is none, or lacks where there must be one."""
    for name in table.columns.difference([*FLOATS, *INTEGERS]):
        for cell in table[name].unique():
            missing = name in OPTIONAL and (cell is None or (isinstance(cell, float) and math.isnan(cell)))
            if not (isinstance(cell, str) or missing):
                raise ValueError(f"{name}: {cell!r} is no text")
    return table


def _again(run: Run) -> str:
    return f"`etabench score {run.path}` makes it anew"


def check_unmixed(table: pd.DataFrame) -> pd.DataFrame:
    """The table itself; ScoreError where one metric comes in with two fingerprints, i.e. where the name means two things."""
    for metric, prints in table.groupby("metric", sort=True)["fingerprint"].unique().items():
        if len(prints) > 1:
            shown = ", ".join(sorted(map(str, prints)))
            raise ScoreError(
                f"metric {metric} has {len(prints)} fingerprints in one table ({shown}); such numbers cannot be compared"
            )
    return table
