"""Who agrees with whom: judges, people and metrics, by the order in which they put two edits of one sample.

Numbers of different scales have nothing in common but order, and a preference is nothing else. So everyone is reduced to orders: a metric or a
judge that scores puts the edit with the better score first, a tie is two equal scores, and a vote is what it says. A flip is no order, nor is
a missing score. Over the pairs of edits that both have looked at:

    alpha       Krippendorff's alpha for nominal data (the package `krippendorff`): 1 is agreement, 0 is what chance would give
    agreement   share of the pairs that both put in an order which they put in the same; 0.5 is a coin's
    tau         Kendall's tau-b over single edits, where both have scores

Several raters of one file are one group: against others its majority counts (its mean score of an edit), and within itself alpha is over
all raters and agreement over all pairs of raters that saw the same. Intervals are Student's on the jackknife over source pictures
(`intervals.weighted_interval`), so that edits of one picture count as one observation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import kendalltau

from bench.analysis.intervals import weighted_interval
from bench.analysis.votes import are_preferences
from bench.errors import ScoreError

if TYPE_CHECKING:
    from bench.scoring import Scores

__all__ = ["COLUMNS", "Rater", "agreement_table", "between", "edit_of", "ordered", "raters_of_scores", "raters_of_votes"]

COLUMNS = {
    "first": "a metric, a judge or a group of raters",
    "second": "another, or itself for the raters of a group among each other",
    "alpha": "Krippendorff's alpha of the orders, nominal",
    "alpha_low": "lower end of its 95 % interval",
    "alpha_high": "upper end of it",
    "agreement": "share of pairs that both put in an order which they put in the same",
    "agreement_low": "lower end of its 95 % interval",
    "agreement_high": "upper end of it",
    "tau": "Kendall's tau-b over edits; NaN where one gave preferences",
    "tau_low": "lower end of its 95 % interval",
    "tau_high": "upper end of it",
    "pairs": "pairs of edits that both looked at",
    "sources": "source pictures that these are of",
}
FIRST, SECOND, TIE, BAD = range(4)
CODES = {"first": FIRST, "second": SECOND, "tie": TIE, "both_bad": BAD}
Edit = tuple[str, str, float]
"""Sample, editor, knob value."""
Pair = tuple[Edit, Edit]
"""Two edits of one sample, in ascending order."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rater:
    """Someone who looked at edits: a metric, a judge, or a group of raters.

    Attributes:
        scores: edit to score, more is better; empty where only preferences were given.
        votes: pair to the codes that were voted, one for each rater who saw it; empty where only scores were given.
        sources: sample to source picture.
    """

    name: str
    sources: Mapping[str, str]
    scores: Mapping[Edit, float] = field(default_factory=dict)
    votes: Mapping[Pair, Sequence[int]] = field(default_factory=dict)

    def orders(self, pairs: Iterable[Pair]) -> dict[Pair, int]:
        """The order of each of the pairs that has one: the majority of the votes (a tie where there is none), or that of the scores."""
        found = {}
        for pair in pairs:
            if pair in self.votes:
                counts = np.bincount(self.votes[pair], minlength=4)
                best = int(counts.argmax())
                found[pair] = best if (counts == counts[best]).sum() == 1 else TIE
            elif not self.votes and pair[0] in self.scores and pair[1] in self.scores:
                found[pair] = _order(self.scores[pair[0]], self.scores[pair[1]])
        return found

    def pairs(self) -> set[Pair]:
        """All pairs that it looked at: of edits of one sample."""
        if self.votes:
            return set(self.votes)
        by_sample: dict[str, list[Edit]] = {}
        for edit in self.scores:
            by_sample.setdefault(edit[0], []).append(edit)
        return {pair for edits in by_sample.values() for pair in combinations(sorted(edits), 2)}


def raters_of_scores(scores: Scores, anchors: Collection[str] = ()) -> list[Rater]:
    """Every pair metric of a run that has a direction, turned so that more is better; seeds are averaged, edits of `anchors` left out."""
    found = []
    for name, rows in scores.pairs[~scores.pairs["editor"].isin(list(anchors))].groupby("metric", sort=False):
        up = scores.cards.get(str(rows["fingerprint"].iloc[0]), {}).get("higher_is_better", False)
        if up is None:
            continue
        means = rows.dropna(subset="score").groupby(["sample_id", "editor", "value"])["score"].mean() * (1 if up else -1)
        sources = dict(zip(rows["sample_id"], rows["source_id"], strict=True))
        found.append(Rater(str(name), sources, {edit_of(key): float(score) for key, score in means.items()}))
    return found


def raters_of_votes(votes: pd.DataFrame, name: str) -> Rater:
    """The raters of a table of votes (`bench.analysis.votes`, with `source_id`) as one group."""
    sources = dict(zip(votes["sample_id"], votes["source_id"], strict=True))
    if not are_preferences(votes):
        means = votes.dropna(subset="score").groupby(["sample_id", "editor", "value"])["score"].mean()
        return Rater(name, sources, {edit_of(key): float(score) for key, score in means.items()}, _votes_of_scores(votes))
    found: dict[Pair, list[int]] = {}
    for row in votes[votes["vote"].isin(list(CODES))].to_dict("records"):
        first, second = ((row["sample_id"], row[side], float(row[f"{side}_value"])) for side in ("first", "second"))
        pair, code = ordered(first, second, CODES[row["vote"]])
        found.setdefault(pair, []).append(code)
    return Rater(name, sources, {}, found)


def _votes_of_scores(votes: pd.DataFrame) -> dict[Pair, list[int]]:
    """The orders of each rater's own scores."""
    found: dict[Pair, list[int]] = {}
    for _, rows in votes.dropna(subset="score").groupby("rater"):
        own = {
            edit_of(key): float(score) for key, score in rows.groupby(["sample_id", "editor", "value"])["score"].mean().items()
        }
        for pair in Rater("", {}, own).pairs():
            found.setdefault(pair, []).append(_order(own[pair[0]], own[pair[1]]))
    return found


def ordered(first: Edit, second: Edit, code: int) -> tuple[Pair, int]:
    """The pair in ascending order, and the code as it reads then."""
    if first <= second:
        return (first, second), code
    return (second, first), {FIRST: SECOND, SECOND: FIRST}.get(code, code)


def agreement_table(raters: Sequence[Rater], of: Collection[str]) -> pd.DataFrame:
    """One row for each two raters that looked at common pairs and of which one is among `of`, and for each group within itself; in `COLUMNS`.

    Raises ScoreError where the package `krippendorff` is not installed, or no two looked at the same.
    """
    try:
        import krippendorff  # noqa: F401
    except ImportError:
        raise ScoreError("agreement needs the extra judges: pip install 'etabench[judges]'") from None
    both = (
        (one, two) if one.name in of else (two, one) for one, two in combinations(raters, 2) if {one.name, two.name} & set(of)
    )
    rows = [row for one, two in both if (row := between(one, two))]
    rows += [row for each in raters if (row := _within(each))]
    if not rows:
        raise ScoreError(
            "no two of the metrics, judges and votes looked at the same pair of edits; score the run, or add votes on it"
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def between(one: Rater, two: Rater) -> dict[str, Any] | None:
    """The row of two raters in `COLUMNS`, None where they looked at no common pair."""
    common = sorted(one.pairs() & two.pairs())
    first, second = one.orders(common), two.orders(common)
    bad_too = bool(one.votes) and bool(two.votes)
    pairs = [pair for pair in common if pair in first and pair in second and (bad_too or BAD not in (first[pair], second[pair]))]
    if not pairs:
        return None
    sources = [one.sources[pair[0][0]] for pair in pairs]
    codes = np.array([[first[pair], second[pair]] for pair in pairs])
    counts = np.stack([(codes == code).sum(axis=1) for code in range(4)], axis=1)
    clear = np.asarray((codes < TIE).all(axis=1))
    return {
        "first": one.name,
        "second": two.name,
        **_named("alpha", _clustered(lambda rows: _alpha(counts[rows]), sources, (-1.0, 1.0))),
        **_named("agreement", _share(np.logical_and(clear, codes[:, 0] == codes[:, 1]), clear, sources)),
        **_named("tau", _tau(one, two)),
        "pairs": len(pairs),
        "sources": len(set(sources)),
    }


def _within(group: Rater) -> dict[str, Any] | None:
    """The raters of a group among each other, None where no two saw the same pair."""
    seen = {pair: codes for pair, codes in group.votes.items() if len(codes) > 1}
    if not seen:
        return None
    sources = [group.sources[pair[0][0]] for pair in seen]
    counts = np.array([np.bincount(codes, minlength=4) for codes in seen.values()])
    same = (counts[:, :TIE] * (counts[:, :TIE] - 1) / 2).sum(axis=1)
    clear = counts[:, :TIE].sum(axis=1)
    return {
        "first": group.name,
        "second": group.name,
        **_named("alpha", _clustered(lambda rows: _alpha(counts[rows]), sources, (-1.0, 1.0))),
        **_named("agreement", _share(same, clear * (clear - 1) / 2, sources)),
        **_named("tau", (np.nan, np.nan, np.nan)),
        "pairs": len(seen),
        "sources": len(set(sources)),
    }


def _alpha(counts: NDArray[np.int64]) -> float:
    """Krippendorff's alpha of counts (units, 4); NaN where only one value was ever given, which says nothing of agreement."""
    import krippendorff

    if (counts.sum(axis=0) > 0).sum() < 2:
        return np.nan
    return float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))


def _tau(one: Rater, two: Rater) -> tuple[float, float, float]:
    edits = sorted(one.scores.keys() & two.scores.keys())
    if len(edits) < 3:
        return np.nan, np.nan, np.nan
    values = np.array([[one.scores[edit], two.scores[edit]] for edit in edits])
    return _clustered(
        lambda rows: float(kendalltau(values[rows, 0], values[rows, 1]).statistic),
        [one.sources[e[0]] for e in edits],
        (-1.0, 1.0),
    )


def _clustered(
    compute: Callable[[NDArray[np.intp]], float], sources: Sequence[str], ends: tuple[float, float]
) -> tuple[float, float, float]:
    """`compute` of rows, with its interval clustered by the source of each."""
    groups = np.unique(np.asarray(sources), return_inverse=True)[1]
    rows = np.arange(len(groups))

    def statistic(weights: Floats) -> Floats:
        return np.array([compute(np.repeat(rows, each[groups].astype(np.intp))) for each in weights])

    return weighted_interval(statistic, int(groups.max()) + 1, ends=ends)


def _share(right: NDArray[Any], of: NDArray[Any], sources: Sequence[str]) -> tuple[float, float, float]:
    """Sum of `right` over the sum of `of`, with its interval clustered by source."""
    groups = np.unique(np.asarray(sources), return_inverse=True)[1]
    top, bottom = (np.bincount(groups, weights=np.asarray(each, dtype=np.float64)) for each in (right, of))

    def statistic(weights: Floats) -> Floats:
        counted = weights @ bottom
        return np.divide(weights @ top, counted, out=np.full(len(weights), np.nan), where=counted > 0)

    return weighted_interval(statistic, len(bottom), ends=(0.0, 1.0))


def _named(name: str, interval: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), interval, strict=True))


def _order(first: float, second: float) -> int:
    return TIE if first == second else FIRST if first > second else SECOND


def edit_of(key: Any) -> Edit:
    """The edit of a key (sample, editor, value) of a frame's index."""
    sample, editor, value = key
    return str(sample), str(editor), float(value)
