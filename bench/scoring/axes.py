"""The two axes of a run, and the knob value at which an editor is listed and compared.

A spec names two of its pair metrics: the one says how far an edit does what the text asks, the other how much of the source it keeps.
On an axis more is better, whichever way the metric runs. A score's position on it is

    the score itself               where higher is better, in the metric's own column
    1 less the score               where lower is better and 0 is the least that there is, as of a distance: 1 is no difference;
                                   in a column `one_minus_<metric>`
    the score's negative           where lower is better and 0 means nothing; in a column `minus_<metric>`

The operating point is the value of an editor's grid with the highest mean of both positions after they are put on one scale. Where the
run has the anchors copy and regenerate, and these lie apart, 0 and 1 of editability are copy and regenerate, and 0 and 1 of fidelity
are regenerate and copy; otherwise both scales run from the smallest to the largest mean of any editor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench.errors import SpecError
from bench.plan import Plan
from bench.scoring.tables import Scores

if TYPE_CHECKING:
    from bench.spec import AxesSpec

__all__ = ["Axes", "Axis", "anchor_ends", "balance", "mean_table", "operating_points", "scales"]

BOUNDS_BEFORE = (0.0, None)
"""The range of a metric whose card tells none, as those of the first runs: the only metrics that ran downwards were distances."""


@dataclass(frozen=True)
class Axis:
    """A pair metric as an axis on which more is better. `bounds` are the ends of the metric's range, None where there is none."""

    metric: str
    higher_is_better: bool = True
    bounds: tuple[float | None, float | None] = (None, None)

    @classmethod
    def of(cls, metric: str, scores: Scores) -> Axis:
        """The axis of the metric with this name in the tables; where it has no score, its direction is not known and not needed."""
        prints = scores.pairs.loc[scores.pairs["metric"] == metric, "fingerprint"]
        if not len(prints):
            return cls(metric)
        card = scores.cards.get(str(prints.iloc[0]), {})
        low, high = card.get("bounds", BOUNDS_BEFORE)
        return cls(metric, bool(card.get("higher_is_better", False)), (low, high))

    @property
    def column(self) -> str:
        """What curves and leaderboards call the position: the metric's own name where it is the score."""
        if self.higher_is_better:
            return self.metric
        return f"one_minus_{self.metric}" if self._is_distance else f"minus_{self.metric}"

    def position(self, scores: Any) -> Any:
        """A score's place on the axis; for a float, an array or a column, NaN where that is NaN."""
        return scores if self.higher_is_better else (1.0 if self._is_distance else 0.0) - scores

    @property
    def _is_distance(self) -> bool:
        return self.bounds[0] == 0


@dataclass(frozen=True)
class Axes:
    """The axes of a run, editability (y) and fidelity (x)."""

    editability: Axis
    fidelity: Axis

    @classmethod
    def of(cls, named: AxesSpec, scores: Scores) -> Axes:
        """The axes that a spec names, with the directions that the cards of the scores give them.

        SpecError for a set metric, and for a metric that has no direction.
        """
        sets, prints = set(scores.sets["metric"]), dict(zip(scores.pairs["metric"], scores.pairs["fingerprint"], strict=True))
        undirected = {
            name for name, print_ in prints.items() if scores.cards.get(print_, {}).get("higher_is_better", True) is None
        }
        mistake = named.mistake({*prints, *named.model_dump().values()} - sets, sets, undirected)
        if mistake:
            raise SpecError(mistake)
        return cls(Axis.of(named.editability, scores), Axis.of(named.fidelity, scores))

    def __iter__(self) -> Iterator[Axis]:
        return iter((self.editability, self.fidelity))

    @property
    def name(self) -> str:
        """Both metrics in one word, by which what was computed for other axes is known."""
        return f"{self.editability.metric} {self.fidelity.metric}"

    @property
    def made_of(self) -> dict[str, str]:
        """The columns that are no metrics of their own, each with the metric that it turns round."""
        return {axis.column: axis.metric for axis in self if axis.column != axis.metric}


def mean_table(pairs: pd.DataFrame, axes: Axes) -> pd.DataFrame:
    """Means of all pair metrics, and positions on the axes: editor, value, metric, mean."""
    finite = pairs[np.isfinite(pairs["score"])]
    means = finite.groupby(["editor", "value", "metric"], sort=False)["score"].mean().rename("mean").reset_index()
    turned = []
    for axis in axes:
        if axis.column != axis.metric:
            rows = means[means["metric"] == axis.metric]
            turned.append(rows.assign(metric=axis.column, mean=axis.position(rows["mean"])))
    return pd.concat([means, *turned], ignore_index=True)


def operating_points(plan: Plan, means: pd.DataFrame, axes: Axes) -> dict[str, float]:
    """Editor to knob value. Where an editor has no value with a mean on both axes, it is the middle of its grid.

    `means` has columns editor, value, metric and mean, as `mean_table` gives them.
    """
    rated = balance(plan, means, axes)
    chosen = {}
    for entry in plan.entries:
        finite = {value: score for value in entry.values if np.isfinite(score := rated.get((entry.label, value), np.nan))}
        chosen[entry.label] = max(finite, key=lambda value: finite[value]) if finite else entry.values[len(entry.values) // 2]
    return chosen


def balance(plan: Plan, means: pd.DataFrame, axes: Axes) -> dict[tuple[str, float], float]:
    """Mean of both scaled positions per (editor, value); NaN or not there where one is lacking."""
    series = {axis.column: means[means["metric"] == axis.column].set_index(["editor", "value"])["mean"] for axis in axes}
    if not all(len(each) for each in series.values()):
        return {}
    ends, scaled = scales(plan, means, axes), []
    for column, each in series.items():
        low, high = ends[column]
        scaled.append((each - low) / (high - low if high != low else 1.0))
    both = ((scaled[0] + scaled[1]) / 2).rename("score").reset_index()
    return {(str(row["editor"]), float(row["value"])): float(row["score"]) for row in both.to_dict("records")}


def scales(plan: Plan, means: pd.DataFrame, axes: Axes) -> Mapping[str, tuple[float, float]]:
    """What is 0 and what is 1 of each axis, by its column: the anchors' means, or the smallest and the largest of any editor."""
    series = {axis.column: means.loc[means["metric"] == axis.column, "mean"] for axis in axes}
    return anchor_ends(plan, means, axes) or {column: (float(each.min()), float(each.max())) for column, each in series.items()}


def anchor_ends(plan: Plan, means: pd.DataFrame, axes: Axes) -> Mapping[str, tuple[float, float]]:
    """Worst and best of each axis, by its column, as the anchors have it: copy and regenerate in editability, the reverse in fidelity.

    Empty where an anchor or one of its scores is lacking, or where the best is not above the worst.
    """
    labels = {entry.name: entry.label for entry in plan.entries if entry.anchor}
    rows = zip(means["editor"], means["metric"], means["mean"], strict=True)
    found = {(editor, metric): float(mean) for editor, metric, mean in rows}
    copy, new = ([found.get((labels.get(name, ""), axis.column), np.nan) for axis in axes] for name in ("copy", "regenerate"))
    ends = {axes.editability.column: (copy[0], new[0]), axes.fidelity.column: (new[1], copy[1])}
    return ends if all(np.isfinite(pair).all() and pair[0] < pair[1] for pair in ends.values()) else {}
