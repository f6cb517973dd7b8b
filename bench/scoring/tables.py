"""The score tables of a run: their columns, how they are read, merged and written, and the refusal to mix what cannot be compared.

Whoever writes a table takes the lock, reads what is there, merges and writes, so that of two scorings neither loses what the other made. A
scoring at work only appends, and merges once it is through.
Of two rows with one key (`PAIR_KEY`, `SET_KEY`, `SET_PAIR_KEY`) the one that was computed last stands.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict

from bench.errors import RunError, ScoreError
from bench.store import Run
from bench.store.files import appearing

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

__all__ = [
    "PAIR_COLUMNS",
    "PAIR_KEY",
    "SET_COLUMNS",
    "SET_KEY",
    "SET_PAIR_COLUMNS",
    "SET_PAIR_KEY",
    "UNANSWERED_COLUMNS",
    "Scores",
    "append_table",
    "check_unmixed",
    "frame",
    "locked",
    "merged",
    "read_cards",
    "read_failed",
    "read_table",
    "write_table",
]

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
    "inputs",
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
UNANSWERED_COLUMNS = ("unit", "sample_id", "editor", "value", "metric", "kind", "reason", "fingerprint", "inputs")
COLUMNS = {"pairs": PAIR_COLUMNS, "sets": SET_COLUMNS, "set_pairs": SET_PAIR_COLUMNS, "unanswered": UNANSWERED_COLUMNS}
PAIR_KEY = ("unit", "editor", "value", "metric", "fingerprint", "inputs")
"""What a score of an edit belongs to; `inputs` hashes the picture and what of its sample no key of a unit has, "" in the tables of old."""
SET_KEY = ("editor", "value", "metric", "fingerprint", "inputs")
SET_PAIR_KEY = ("metric", "fingerprint", "first", "second")
FLOATS = ("value", "score", "low", "high", "per_class", "first_value", "second_value", "difference", "p", "p_least")
INTEGERS = ("seed", "n")
OPTIONAL = ("category", "knob", "note")
"""Columns of texts in which a row may have none."""
LOCK_SECONDS = 60.0
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Scores:
    """Score tables and the cards behind them: fingerprint to the fields of the card.

    A card also has `bounds`, the ends of its metric's range, which are no part of the fingerprint, and where a judge says the scores the
    `doubt` about it, "" for none. `set_pairs` holds the swap tests of set metrics between editors at the operating points that their
    common samples give them on `axes`; those of a table that does not say so are no longer known, as their points were held fixed.
    `failed` holds metrics that the last scoring could not make a column of, with the reason; no table has a row of them. `stale` is how
    many scores lie in the folder that are of other pictures than the run has now, or do not say of which; no table has them either.
    `unanswered` holds the edits of which a judge gave no score, with the kind of the failure (`metrics.judges.answers.FAILURES`) and
    its reason; they have no row in `pairs`.
    """

    pairs: pd.DataFrame
    sets: pd.DataFrame
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    set_pairs: pd.DataFrame = field(default_factory=lambda: frame([], SET_PAIR_COLUMNS))
    failed: dict[str, str] = field(default_factory=dict)
    stale: int = 0
    unanswered: pd.DataFrame = field(default_factory=lambda: frame([], UNANSWERED_COLUMNS))

    def whole(self) -> Scores:
        """Itself, for who needs every column. Raises ScoreError where a metric failed."""
        for metric, reason in self.failed.items():
            raise ScoreError(f"metric {metric} failed: {reason}")
        return self


def frame(rows: Sequence[dict[str, Any]] | Sequence[tuple[Any, ...]], columns: Sequence[str]) -> pd.DataFrame:
    """A frame of `rows` with exactly `columns` and the dtypes of the tables, empty or not."""
    import pandas as pd

    return _typed(pd.DataFrame(list(rows), columns=list(columns)))


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    kinds = {name: "float64" if name in FLOATS else "int64" if name in INTEGERS else "object" for name in table.columns}
    return table.astype(kinds)


def write_table(run: Run, name: str, table: pd.DataFrame) -> None:
    """Write `scores/<name>.parquet` atomically, in the place of what was there and appended."""
    _write(run.scores / f"{name}.parquet", table)
    for part in _parts(run, name):
        run.remove_file(part)


def append_table(run: Run, name: str, table: pd.DataFrame) -> None:
    """Add rows to a table as a file of their own, `scores/<name>.<number>.parquet`: nothing is read or written but they."""
    parts = _parts(run, name)
    number = int(parts[-1].name.split(".")[1]) + 1 if parts else 1
    _write(run.scores / f"{name}.{number:06d}.parquet", table)


def read_table(run: Run, name: str, *, anew: bool = False) -> pd.DataFrame:
    """All rows of `scores/<name>.parquet` and, after them, of what was appended to it; none where there is no such file.

    Raises ScoreError where one is damaged; `anew` counts that as not there, for who makes it anew.
    """
    import pandas as pd

    columns, found = COLUMNS[name], list[pd.DataFrame]()
    whole = run.scores / f"{name}.parquet"
    for path in (*([whole] if whole.is_file() else ()), *_parts(run, name)):
        try:
            table = pd.read_parquet(path)
            if name == "pairs" and "inputs" not in table:
                table["inputs"] = ""
            if name == "set_pairs" and "axes" not in table:
                continue
            found.append(_checked(_typed(table[list(columns)])))
        except Exception as error:
            if not anew:
                raise ScoreError(f"{path} is damaged ({type(error).__name__}); {_again(run)}") from error
    found = [table for table in found if len(table)] or found
    return pd.concat(found, ignore_index=True) if len(found) > 1 else found[0] if found else frame([], columns)


def _write(path: Path, table: pd.DataFrame) -> None:
    with appearing(path) as scratch:
        table.to_parquet(scratch, index=False)


def _parts(run: Run, name: str) -> list[Path]:
    """What was appended to a table, in that order."""
    return sorted(run.scores.glob(f"{name}.[0-9][0-9][0-9][0-9][0-9][0-9].parquet"))


def read_cards(run: Run, *, anew: bool = False) -> dict[str, dict[str, Any]]:
    """Fingerprint to card, empty where there is no `scores/cards.json`. Raises ScoreError as `read_table` does."""
    found = _read_words(run, "cards", CardFields, anew)
    return {print_: card.model_dump(mode="json", exclude_unset=True) for print_, card in found.items()}


def read_failed(run: Run, *, anew: bool = False) -> dict[str, str]:
    """Metric to why the last scoring could not make a column of it. Raises ScoreError as `read_table` does."""
    return _read_words(run, "failed", str, anew)


class CardFields(BaseModel):
    """What a card holds (`metrics.card.Card`) and what stands beside it, as far as it is there; it may have more."""

    model_config = ConfigDict(extra="allow", strict=True)

    name: str
    higher_is_better: bool | None
    version: str = ""
    network: str = ""
    weights: str = ""
    resolution: str = ""
    resize: str = ""
    value_range: str = ""
    scale: str = ""
    masking: str = ""
    nan_rule: str = ""
    definition: str = ""
    source: str = ""
    bounds: tuple[float | None, float | None] = (None, None)
    binary: bool = False
    spatial: bool = False
    doubt: str = ""
    texts: int = 0
    texts_cut: int = 0


def _read_words(run: Run, name: str, kind: type[Kind], anew: bool) -> dict[str, Kind]:
    if not (run.scores / f"{name}.json").is_file():
        return {}
    try:
        return run.read(f"scores/{name}.json", dict[str, kind], _again(run))  # type: ignore[valid-type]
    except RunError as error:
        if not anew:
            raise ScoreError(str(error)) from error
        return {}


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


def merged(old: pd.DataFrame, new: pd.DataFrame, key: Sequence[str]) -> pd.DataFrame:
    """The rows of both; of two with the same `key` the later one, so that those of `new` stand."""
    import pandas as pd

    both = [table for table in (old, new) if len(table)]
    return pd.concat(both).drop_duplicates(list(key), keep="last", ignore_index=True) if both else old


@contextmanager
def locked(run: Run) -> Iterator[None]:
    """Keep the run's tables to oneself while the block runs. The lock is the system's: whoever dies gives it back. Of a run at a URL they are
    what is there when the block begins, and are there when it ends.

    Raises ScoreError where another process keeps it for a minute.
    """
    from filelock import FileLock, Timeout

    run.scores.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run.scores / ".lock")
    try:
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout:
        raise ScoreError(f"{run.scores} is locked by another scoring; wait for it and score again") from None
    try:
        with run.alone("scores", LOCK_SECONDS):
            yield
    except TimeoutError:
        raise ScoreError(f"{run.name} is locked by a scoring on another machine; wait for it and score again") from None
    finally:
        lock.release()


def check_unmixed(table: pd.DataFrame) -> pd.DataFrame:
    """The table itself; ScoreError where one metric comes in with two fingerprints, i.e. where the name means two things."""
    for metric, prints in table.groupby("metric", sort=True)["fingerprint"].unique().items():
        if len(prints) > 1:
            shown = ", ".join(sorted(map(str, prints)))
            raise ScoreError(
                f"metric {metric} has {len(prints)} fingerprints in one table ({shown}); such numbers cannot be compared"
            )
    return table
