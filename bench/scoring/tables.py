"""The score tables of a run: their columns, how they are written, and the refusal to mix what cannot be compared."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.errors import ScoreError
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
    "n",
    "fingerprint",
    "inputs",
)
FLOATS = ("value", "score", "low", "high", "per_class", "first_value", "second_value", "difference", "p")
INTEGERS = ("seed", "n")


@dataclass(frozen=True)
class Scores:
    """Score tables and the cards behind them: fingerprint to the fields of the card.

    A card also has `bounds`, the ends of its metric's range, which are no part of the fingerprint. `set_pairs` holds the
    swap tests of set metrics between editors at their operating points.
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


def read_scores(run: Run) -> Scores:
    """The score tables of a run, empty where there are none. Raises ScoreError where a table is damaged."""
    import pandas as pd

    tables = []
    for name, columns in (("pairs", PAIR_COLUMNS), ("sets", SET_COLUMNS), ("set_pairs", SET_PAIR_COLUMNS)):
        path = run.scores / f"{name}.parquet"
        if not path.is_file():
            tables.append(frame([], columns))
            continue
        try:
            rows: list[Any] = pd.read_parquet(path)[list(columns)].to_dict("records")
            tables.append(frame(rows, columns))
        except (OSError, ValueError, KeyError) as error:
            raise ScoreError(
                f"{path} cannot be read ({type(error).__name__}); delete it and run `etabench score {run.path}`"
            ) from error
    cards = run.read_json("scores/cards.json") if (run.scores / "cards.json").is_file() else {}
    return Scores(tables[0], tables[1], cards, tables[2])


def check_unmixed(table: pd.DataFrame) -> pd.DataFrame:
    """The table itself; ScoreError where one metric comes in with two fingerprints, i.e. where the name means two things."""
    for metric, prints in table.groupby("metric", sort=True)["fingerprint"].unique().items():
        if len(prints) > 1:
            shown = ", ".join(sorted(map(str, prints)))
            raise ScoreError(
                f"metric {metric} has {len(prints)} fingerprints in one table ({shown}); such numbers cannot be compared"
            )
    return table
