"""How a metric's mean goes from turn to turn of sessions: what an editor loses by editing its own pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.analysis.intervals import Range, mean_interval
from reports.frames import COLUMNS

if TYPE_CHECKING:
    from bench.plan import Plan
    from bench.scoring import Scores

__all__ = ["turns"]


def turns(plan: Plan, scores: Scores, points: Mapping[str, float]) -> pd.DataFrame:
    """One row per editor at its operating point, pair metric and turn; columns as `reports.frames.COLUMNS["turns"]`.

    Empty where no sample follows another. The samples of a later turn are those of longer sessions: `n` stands beside each mean, and the
    `change` since the first turn is that within sessions which have both, each with the same seed.
    """
    number, session = plan.turns, plan.sessions
    rows = []
    if max(number.values(), default=1) > 1:
        at = scores.pairs[scores.pairs["value"] == scores.pairs["editor"].map(points)]
        at = at.assign(turn=at["sample_id"].map(number), session=at["sample_id"].map(session))
        one = ["editor", "metric", "session", "seed"]
        first = at[at["turn"] == 1].set_index(one)["score"].rename("first")
        at = at.join(first, on=one)
        cells: Any = at.groupby(["editor", "metric", "turn"], sort=False)
        for (editor, metric, turn), cell in cells:
            card = scores.cards.get(str(cell["fingerprint"].iloc[0]), {})
            within = Range(*card.get("bounds", (None, None)))
            interval = mean_interval(cell["score"].to_numpy(), cell["source_id"].tolist(), within=within)
            about = {"editor": editor, "value": points[editor], "metric": metric, "turn": int(turn)}
            higher = card.get("higher_is_better")
            ends = {"mean": interval.mean, "low": interval.low, "high": interval.high, "n": interval.n}
            rows.append(about | {"higher_is_better": higher} | ends | _change(cell))
    table = pd.DataFrame(rows, columns=list(COLUMNS["turns"]))
    order = {entry.label: place for place, entry in enumerate(plan.entries)}
    metrics = {name: place for place, name in enumerate(dict.fromkeys(scores.pairs["metric"]))}
    keys = {"metric": metrics, "editor": order}
    return table.sort_values(
        ["metric", "editor", "turn"], key=lambda column: column.map(keys[str(column.name)]) if column.name in keys else column
    ).reset_index(drop=True)


def _change(cell: pd.DataFrame) -> dict[str, float]:
    """Mean difference to the first turn of the same session and seed, with its interval; 0 without one for a first turn."""
    if (cell["turn"] == 1).all():
        return {"change": 0.0, "change_low": math.nan, "change_high": math.nan}
    moved = mean_interval((cell["score"] - cell["first"]).to_numpy(), cell["source_id"].tolist())
    return {"change": moved.mean, "change_low": moved.low, "change_high": moved.high}
