"""What votes say: preference rates, ratings, agreement of raters, lean to a side, and which raters to believe.

Votes on real trials count; duplicates and gold trials only tell what a rater is worth. An answer that did not come (a failure) is counted
and never an answer. "Tie" and "both bad" are answers of their own: the share of an editor is that of the votes that chose one of the two.
Intervals are 95 %, clustered by rater and by source picture (`bench.analysis.crossed`); Wilson's plain interval, as if all votes were
independent, stands beside it, since that is what others print.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.analysis.crossed import Crossed, crossed_mean, crossed_share, wilson
from bench.analysis.intervals import weighted_interval
from bench.analysis.paired import holm
from bench.errors import ScoreError
from bench.scoring.votes import PREFERENCE, RATINGS

__all__ = ["RULES", "agreement", "believed", "counted", "preferences", "raters", "ratings", "sides"]

RULES = {
    "none": "every rater counts",
    "gold": "a rater who got a gold trial wrong is left out",
    "duplicate": "a rater who preferred one edit and, shown the same two again, the other is left out",
    "any": "a rater who got a gold trial wrong, or contradicted themselves on a trial shown twice, is left out",
}
"""By which rule raters may be left out, in words."""
NORMAL = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""
Floats = NDArray[np.float64]


def counted(votes: pd.DataFrame) -> pd.DataFrame:
    """The votes that count: answered, on real trials."""
    return votes[(votes["kind"] == "trial") & (votes["failure"] == "")]


def raters(votes: pd.DataFrame) -> pd.DataFrame:
    """One row per rater: what they did, and how they did on the trials that test them.

    Columns: rater, answers, failures, gold, gold_wrong, duplicates, contradictions, left (share of choices that fell on the left one, NaN
    where none), undecided (share of preferences that are tie or both bad), seconds (median).
    """
    rows = []
    for rater, own in votes.groupby("rater", sort=True):
        answered = own[own["failure"] == ""]
        gold = answered[(answered["kind"] == "gold") & (answered["expected"] != "")]
        decided = _sided(answered)
        asked = answered[answered["question"] == PREFERENCE]
        rows.append(
            {
                "rater": rater,
                "answers": len(answered),
                "failures": len(own) - len(answered),
                "gold": len(gold),
                "gold_wrong": int((~_right(gold)).sum()),
                "duplicates": int((answered["kind"] == "duplicate").sum()),
                "contradictions": _contradictions(answered),
                "left": float(_left(decided).mean()) if len(decided) else np.nan,
                "undecided": float(asked["answer"].isin(["tie", "both_bad"]).mean()) if len(asked) else np.nan,
                "seconds": float(answered["seconds"].median()) if answered["seconds"].notna().any() else np.nan,
            }
        )
    names = ["rater", "answers", "failures", "gold", "gold_wrong", "duplicates", "contradictions", "left", "undecided", "seconds"]
    return pd.DataFrame(rows, columns=names)


def believed(votes: pd.DataFrame, rule: str) -> pd.DataFrame:
    """The votes of the raters whom `rule`, a key of RULES, leaves in. Raises ScoreError for another rule."""
    if rule not in RULES:
        raise ScoreError(f"no rule {rule!r} for leaving out raters; there are {', '.join(RULES)}")
    table = raters(votes)
    wrong = np.zeros(len(table), dtype=bool)
    if rule in {"gold", "any"}:
        wrong |= (table["gold_wrong"] > 0).to_numpy()
    if rule in {"duplicate", "any"}:
        wrong |= (table["contradictions"] > 0).to_numpy()
    return votes[~votes["rater"].isin(table.loc[wrong, "rater"])]


def preferences(votes: pd.DataFrame, by: str = "") -> pd.DataFrame:
    """One row per pair of editors, and per value of the column `by` where one is named; names of a pair in alphabetical order.

    Columns: `by`; first, second; n, raters, sources; wins, losses (votes for the first and for the second), ties, both_bad; share of the
    first among wins and losses, 0..1, with wilson_low, wilson_high and the clustered low, high; margin, (wins - losses) / n in -1..1, with
    margin_low, margin_high; design_effect, variance of the margin over what it were if votes were independent; p of a margin of zero
    by Student's t, and p_holm over the pairs of the table.
    """
    from scipy.stats import t

    rows: list[dict[str, Any]] = []
    for keys, own in _pairs(counted(votes), by):
        clusters = Crossed(own["rater"], own["source_id"])
        answers = own["answer"].value_counts()
        wins, losses, ties, bad = (int(answers.get(name, 0)) for name in ("first", "second", "tie", "both_bad"))
        decided = own[own["answer"].isin(["first", "second"])]
        share = crossed_share(_ones(decided["answer"] == "first"), Crossed(decided["rater"], decided["source_id"]))
        plain = wilson(share.value, share.n, NORMAL) if share.n else (np.nan, np.nan)
        values: Floats = _ones(own["answer"] == "first") - _ones(own["answer"] == "second")
        margin = crossed_mean(values, clusters, ends=(-1.0, 1.0))
        alone = values.var(ddof=1) / len(values) if len(values) > 1 else 0.0
        p = 2 * t.sf(abs(margin.value) / margin.error, clusters.freedom) if margin.error > 0 else np.nan
        rows.append(
            keys
            | {"n": len(own), "raters": own["rater"].nunique(), "sources": own["source_id"].nunique()}
            | {"wins": wins, "losses": losses, "ties": ties, "both_bad": bad}
            | {"share": share.value, "wilson_low": plain[0], "wilson_high": plain[1], "low": share.low, "high": share.high}
            | {"margin": margin.value, "margin_low": margin.low, "margin_high": margin.high}
            | {"design_effect": margin.error**2 / alone if alone else np.nan, "p": float(p)}
        )
    names = [*([by] if by else []), "first", "second", "n", "raters", "sources", "wins", "losses", "ties", "both_bad", "share"]
    names += ["wilson_low", "wilson_high", "low", "high", "margin", "margin_low", "margin_high", "design_effect", "p"]
    table = pd.DataFrame(rows, columns=names)
    return table.assign(p_holm=holm(table["p"].to_numpy(dtype=np.float64)))


def ratings(votes: pd.DataFrame) -> pd.DataFrame:
    """One row per editor and score: SC, PQ, and O, the square root of their product (ImagenHub), each in 0..1, higher is better.

    Columns: editor, value (of its knob), score, mean, low, high, n. O is of the votes that have both.
    """
    own = counted(votes)
    own = own[own["question"].isin(RATINGS)]
    whose = ["first", "rater", "source_id", "item"]
    wide = own.pivot_table(index=whose, columns="question", values="score", aggfunc="mean").reindex(columns=list(RATINGS))
    wide["O"] = np.sqrt(wide["SC"] * wide["PQ"])
    rows = []
    for editor, table in wide.groupby(level="first", sort=True):
        for score in (*RATINGS, "O"):
            known = table[score].dropna()
            clusters = Crossed(known.index.get_level_values("rater"), known.index.get_level_values("source_id"))
            found = crossed_mean(known.to_numpy(dtype=np.float64), clusters, ends=(0.0, 1.0))
            rows.append(
                {"editor": editor, "score": score, "mean": found.value, "low": found.low, "high": found.high, "n": found.n}
            )
    return pd.DataFrame(rows, columns=["editor", "score", "mean", "low", "high", "n"])


def agreement(votes: pd.DataFrame) -> pd.DataFrame:
    """Krippendorff's alpha of each question: 1 is full agreement of the raters of an item, 0 what chance would give.

    Preferences are nominal, ratings ordinal. Columns: question, alpha, low, high (the jackknife over source pictures), items (those with two
    raters or more), raters. NaN where no item has two raters or all answers are one.
    """
    rows = []
    own = counted(votes)
    for question, table in own.groupby("question", sort=True):
        column = "answer" if question == PREFERENCE else "score"
        values = sorted(table[column].unique())
        counts = table.groupby(["source_id", "item", column]).size().unstack(column, fill_value=0).reindex(columns=values)
        counts = counts[counts.sum(axis=1) > 1]
        alpha, low, high = _alpha(counts, nominal=question == PREFERENCE)
        rows.append(
            {"question": question, "alpha": alpha, "low": low, "high": high}
            | {"items": len(counts), "raters": table["rater"].nunique()}
        )
    return pd.DataFrame(rows, columns=["question", "alpha", "low", "high", "items", "raters"])


def sides(votes: pd.DataFrame) -> pd.DataFrame:
    """The share of choices that fell on the left edit, one row: left, low, high (clustered), wilson_low, wilson_high, n.

    0.5 is no lean, as far as every pair was shown on both sides equally often.
    """
    own = _sided(counted(votes))
    found = crossed_share(_left(own), Crossed(own["rater"], own["source_id"]))
    plain = wilson(found.value, found.n, NORMAL) if found.n else (np.nan, np.nan)
    return pd.DataFrame(
        [{"left": found.value, "low": found.low, "high": found.high}
        | {"wilson_low": plain[0], "wilson_high": plain[1], "n": found.n}]
    )  # fmt: skip


def _pairs(votes: pd.DataFrame, by: str) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """The preferences of each pair of editors, turned so that the first name is the alphabetically first."""
    own = votes[votes["question"] == PREFERENCE].copy()
    turned = own["first"] > own["second"]
    own.loc[turned, ["first", "second"]] = own.loc[turned, ["second", "first"]].to_numpy()
    own.loc[turned, "answer"] = own.loc[turned, "answer"].replace({"first": "second", "second": "first"})
    names = [*([by] if by else []), "first", "second"]
    for keys, table in own.groupby(names, sort=True):
        yield dict(zip(names, keys, strict=True)), table


def _right(gold: pd.DataFrame) -> pd.Series:
    given = gold["answer"].where(gold["question"] == PREFERENCE, gold["score"].map("{:g}".format))
    return given == gold["expected"]


def _sided(votes: pd.DataFrame) -> pd.DataFrame:
    """Choices of one of two edits whose sides are known."""
    return votes[votes["answer"].isin(["first", "second"]) & (votes["first_side"] != "")]


def _left(decided: pd.DataFrame) -> Floats:
    """1 where the left one was chosen, 0 where the right one was."""
    return _ones((decided["answer"] == "first") == (decided["first_side"] == "left"))


def _ones(true: pd.Series) -> Floats:
    return np.where(true, 1.0, 0.0)


def _contradictions(answered: pd.DataFrame) -> int:
    """On how many duplicates a rater answered the opposite: the other editor, or the other end of a rating."""
    before, again = (answered[answered["kind"] == kind] for kind in ("trial", "duplicate"))
    both = again.merge(before, on=["item", "question"], suffixes=("_again", ""))
    opposite = (both["answer"] + both["answer_again"]).isin(["firstsecond", "secondfirst"])
    return int((opposite | ((both["score"] - both["score_again"]).abs() > 0.5)).sum())


def _alpha(counts: pd.DataFrame, *, nominal: bool) -> tuple[float, float, float]:
    """Alpha of a table of answers (items, values) with its interval; the first level of the index is the source picture."""
    try:
        from krippendorff import alpha
    except ImportError as error:
        raise ScoreError("agreement of raters needs the krippendorff package: pip install 'etabench[study]'") from error
    sources = pd.factorize(counts.index.get_level_values(0))[0]
    table = counts.to_numpy(dtype=int)
    level: Literal["nominal", "ordinal"] = "nominal" if nominal else "ordinal"
    domain = list(range(table.shape[1])) if nominal else [float(value) for value in counts.columns]

    def one(weights: Floats) -> float:
        drawn = np.repeat(table, weights[sources].astype(int), axis=0)
        if not len(drawn) or (drawn.sum(axis=0) > 0).sum() < 2:
            return np.nan
        return float(alpha(value_counts=drawn, value_domain=domain, level_of_measurement=level))

    return weighted_interval(lambda rows: np.array([one(row) for row in rows]), int(sources.max(initial=-1)) + 1)
