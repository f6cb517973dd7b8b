"""A judge of judges: how well every metric of a run says what is known to be true of its edits.

ToyBox knows the truth: whether an edit succeeded, how much of the background it kept, how far it is from the right edit. For every
other metric of a scored run, and for each of these truths, this module tells two things, both with the metric turned so that higher is
better:

rho         Spearman's rank correlation with the truth over all edits of all editors and knob values; 1 orders them as the truth does
agreement   of all pairs of (editor, knob value) with different mean truths, the share that the metric's means order the same way, a
            tie counting half; 0.5 is a coin's

Intervals are percentile bootstraps over source pictures, with ranks and means computed anew in each resample. A set metric has one
value for each (editor, knob value): its rho is over those, and it has no interval, because sets resampled with replacement are biased.
Anchors that are no edits (copy, oracle and the like) take no part, since they would lend a correlation to anything.

Votes (`bench.analysis.votes`), of people or of a judge, can stand beside or in place of ToyBox's truths. Scores are averaged over their raters
and then are a truth like any other. Preferences order pairs of edits, so there is no rho, and agreement is over these pairs
(`bench.analysis.agreement`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from bench.analysis.agreement import Rater, between, edit_of, raters_of_votes
from bench.analysis.votes import are_preferences
from bench.errors import ScoreError
from bench.scoring.validations import DAGGER
from reports.frames import COLUMNS, empty

if TYPE_CHECKING:
    from bench.plan import Plan
    from bench.scoring import Scores

__all__ = ["HOW", "TRUTHS", "brief", "judge", "judges_of", "markdown", "note"]

TRUTHS: Mapping[str, str] = {
    "toybox_success": "edit success",
    "toybox_background_kept": "background kept",
    "toybox_truth_distance": "closeness to the right edit",
}
"""Metrics that are the truth, and what each is called on the page."""
HOW = (
    "ToyBox renders its pictures, so three things are known of every edit that elsewhere are matters of opinion. **Edit success**: a "
    "network that reads object, state, background and accessory (and never met the editors' model) reads from the edit what it reads "
    "from the ground truth. **Background kept**: one less the mean difference of edit and source outside the true mask. **Closeness to "
    "the right edit**: distance to the ground-truth picture, turned. Every metric is laid against these three. What holds on rendered "
    "pictures of 64 px need not hold on photographs, and the judge and the networks here are ToyBox's own: read it as what each *kind* of "
    "metric can and cannot see."
)
_INTERVALS = (("low", "high"), ("agreement_low", "agreement_high"))
RESAMPLES = 500
Floats = NDArray[np.float64]


def judge(
    pairs: pd.DataFrame,
    sets: pd.DataFrame,
    cards: Mapping[str, Mapping[str, Any]],
    *,
    votes: Mapping[str, pd.DataFrame] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per metric and truth, as a report wants its judges; ``pairs`` and ``sets`` are the score tables without anchors.

    A metric without a direction judges nothing and has no row. ``votes`` are further truths, by what they are called.

    ``n`` counts edits (cells for a set metric, pairs for preferences); ``undefined`` is the share of them that the metric gave no number;
    ``doubt`` says what speaks against the judge behind a metric, "" for nothing.
    Raises ScoreError where the run has no truth.
    """
    turned, of_sets = _turned(pairs, cards), _turned(sets, cards)
    table = turned.pivot_table(index=["source_id", "editor", "value", "unit"], columns="metric", values="score", dropna=False)
    truths = [name for name in TRUTHS if name in table.columns]
    if not truths and not votes:
        raise ScoreError(
            f"no truth to judge metrics by: score the run with {', '.join(TRUTHS)} on a ToyBox manifest, or give votes on its edits"
        )
    metrics = [str(name) for name in table.columns if name not in TRUTHS]
    known, rows = table[table[truths].notna().all(axis=1)], list[dict[str, Any]]()
    for truth in truths:
        rows += _by_truth(known[metrics], known[truth], TRUTHS[truth], of_sets, seed)
    for name, given in (votes or {}).items():
        if are_preferences(given):
            rows += _by_preferences(turned, given, name)
        else:
            column = _voted(pairs, given).reindex(table.index).dropna()
            rows += _by_truth(table.loc[column.index, metrics], column, name, of_sets, seed)
    found = pd.DataFrame(rows, columns=list(COLUMNS["judges"]))
    prints = dict(zip(pairs["metric"], pairs["fingerprint"], strict=True))
    found["doubt"] = [str(cards.get(prints.get(name, ""), {}).get("doubt") or "") for name in found["metric"]]
    return pd.concat([each.sort_values("rho", ascending=False, kind="stable") for _, each in found.groupby("truth", sort=False)])


def _by_truth(table: pd.DataFrame, truth: pd.Series[float], title: str, sets: pd.DataFrame, seed: int) -> list[dict[str, Any]]:
    """A row for each metric of `table` (edits by metrics) and of the turned `sets`, against the truth of the same edits."""
    rows: list[dict[str, Any]] = []
    for metric in table.columns:
        seen = pd.concat([table[metric], truth.rename("truth")], axis=1).dropna()
        judged = _judged(seen, metric, "truth", seed)
        rows.append({"metric": metric, "truth": title, **judged, "undefined": 1 - len(seen) / max(len(table), 1)})
    cells = truth.groupby(["editor", "value"]).mean()
    for name, values in sets.groupby("metric"):
        both = pd.concat([values.set_index(["editor", "value"])["score"], cells], axis=1, join="inner").dropna()
        rows.append({"metric": str(name), "truth": title, **_judged_set(both), "undefined": 1 - len(both) / max(len(cells), 1)})
    return rows


def _voted(pairs: pd.DataFrame, votes: pd.DataFrame) -> pd.Series[float]:
    """The mean vote on each edit of the smallest seed, by what identifies an edit in a table."""
    means = votes.dropna(subset="score").groupby(["sample_id", "editor", "value"])["score"].mean()
    edits = pairs[pairs["seed"] == pairs["seed"].min()].drop_duplicates(["unit", "value"])
    voted = edits.merge(means.rename("vote").reset_index(), on=["sample_id", "editor", "value"])
    found: pd.Series[float] = voted.set_index(["source_id", "editor", "value", "unit"])["vote"]
    return found


def _by_preferences(turned: pd.DataFrame, votes: pd.DataFrame, title: str) -> list[dict[str, Any]]:
    group, rows = raters_of_votes(votes, title), list[dict[str, Any]]()
    for metric, scores in turned[~turned["metric"].isin(list(TRUTHS))].groupby("metric", sort=False):
        means = scores.dropna(subset="score").groupby(["sample_id", "editor", "value"])["score"].mean()
        rater = Rater(str(metric), group.sources, {edit_of(key): float(score) for key, score in means.items()})
        row = between(group, rater) or dict.fromkeys(("agreement", "agreement_low", "agreement_high"), np.nan) | {"pairs": 0}
        nothing = dict.fromkeys(("rho", "low", "high"), np.nan)
        shares = {name: row[name] for name in ("agreement", "agreement_low", "agreement_high")}
        lacking = 1 - len(rater.orders(group.votes)) / max(len(group.votes), 1)
        rows.append({"metric": metric, "truth": title, **nothing, **shares, "n": row["pairs"], "undefined": lacking})
    return sorted(rows, key=lambda row: -np.nan_to_num(row["agreement"], nan=-1.0))


def judges_of(plan: Plan, scores: Scores, votes: Mapping[str, pd.DataFrame] | None = None) -> pd.DataFrame:
    """The judges of a run, anchors left out; an empty frame where the run has no truth or no edits to judge by.

    ``votes`` (with `source_id`, see `bench.analysis.votes.of_run`) are further truths, by what they are called.
    """
    anchors = [entry.label for entry in plan.entries if entry.anchor]
    pairs, sets = (table[~table["editor"].isin(anchors)] for table in (scores.pairs, scores.sets))
    if not set(TRUTHS) & set(pairs["metric"]) and not votes:
        return empty("judges")
    return judge(pairs, sets, scores.cards, votes=votes)


def note(plan: Plan) -> str:
    """What the judges were tried on, and what the numbers mean."""
    editors = [entry.label for entry in plan.entries if not entry.anchor]
    return (
        f"Tried on {len(plan.samples)} samples, {len(editors)} editors ({', '.join(editors)}) and their knob values. rho is Spearman's "
        "rank correlation over all edits, the metric turned so that higher is better; intervals are 95 % bootstraps over source "
        "pictures. Agreement is the share of pairs of (editor, knob value) whose means the metric orders as the truth does. A set "
        "metric has one value for each (editor, knob value), and no interval; with single edits averaged away its rho is higher for that "
        "alone, so compare it with other metrics by its agreement."
    )


def brief(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The table in the columns that a terminal has room for."""

    def number(row: Mapping[str, Any], name: str, ends: tuple[str, str]) -> str:
        if not np.isfinite(row[name]):
            return ""
        span = f" ({row[ends[0]]:.2f}..{row[ends[1]]:.2f})" if np.isfinite(row[ends[0]]) else ""
        return f"{row[name]:.2f}{span}"

    rows: list[dict[str, Any]] = []
    for row in ({str(key): value for key, value in each.items()} for each in table.to_dict("records")):
        shown = {name: number(row, name, ends) for name, ends in zip(("rho", "agreement"), _INTERVALS, strict=True)}
        rows.append({"metric": _marked(row), "truth": row["truth"], **shown, "n": row["n"]})
    return rows


def markdown(table: pd.DataFrame, text: str, picture: str = "") -> str:
    """A page of the repository: what was done, the answer in short, the figure in the file ``picture``, and the numbers."""
    from reports.judges import verdicts

    lines = ["# Which metric to trust for which question", "", HOW, "", text, "", "## In short", ""]
    for question, best, near in verdicts(table.groupby("truth", sort=False).filter(lambda rows: rows["rho"].notna().any())):
        others = f" Not told apart from it: {', '.join(f'`{name}`' for name in near)}." if near else ""
        answer = f"`{best[0]}` goes with it best.{others}" if best else "no metric goes with it: no interval lies above zero."
        lines.append(f"- **{question}**: {answer}")
    if picture:
        lines += ["", f"![Rank correlation of every metric with each truth]({picture})"]
    lines += ["", "Written by `etabench validate-metrics --table docs/metric_validation.md`."]
    for truth, rows in table.groupby("truth", sort=False):
        lines += [
            "",
            f"## {str(truth).capitalize()}",
            "",
            "| metric | rho | 95 % | agreement | 95 % | n |",
            "|---|---|---|---|---|---|",
        ]
        for row in rows.to_dict("records"):
            ends = [f"{row[a]:.2f} to {row[b]:.2f}" if np.isfinite(row[a]) else "" for a, b in _INTERVALS]
            rho, agreement = (f"{row[name]:.2f}" if np.isfinite(row[name]) else "-" for name in ("rho", "agreement"))
            lines.append(f"| {_marked(row)} | {rho} | {ends[0]} | {agreement} | {ends[1]} | {row['n']} |")
    doubts = dict(zip(table["metric"], table["doubt"], strict=True))
    notes = [f"- {name} {DAGGER}: {doubt}." for name, doubt in doubts.items() if doubt]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def _marked(row: Mapping[Any, Any]) -> str:
    """The name of a metric, with a dagger where its judge is doubtful."""
    return f"{row['metric']} {DAGGER}" if row.get("doubt") else str(row["metric"])


def _turned(scores: pd.DataFrame, cards: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Scores with the sign that makes higher better, of metrics that have a direction."""
    higher = [cards.get(each, {}).get("higher_is_better", False) for each in scores["fingerprint"]]
    sign = np.array([np.nan if up is None else 1.0 if up else -1.0 for up in higher], dtype=np.float64)
    return scores.assign(score=scores["score"] * sign)[np.isfinite(sign)]


def _judged(seen: pd.DataFrame, metric: str, truth: str, seed: int) -> dict[str, Any]:
    if len(seen) < 3:
        return dict.fromkeys(("rho", "low", "high", "agreement", "agreement_low", "agreement_high"), np.nan) | {"n": len(seen)}
    sources = pd.factorize(seen.index.get_level_values("source_id"))[0]
    cells = seen.groupby(["editor", "value"]).ngroup().to_numpy()
    values: Floats = seen[[metric, truth]].to_numpy(dtype=np.float64).T
    members = [np.flatnonzero(sources == number) for number in range(sources.max() + 1)]
    rng = np.random.default_rng(seed)
    drawn = [
        np.concatenate([members[number] for number in rng.integers(len(members), size=len(members))]) for _ in range(RESAMPLES)
    ]
    resampled = np.array([(_spearman(*values[:, rows]), _agreement(*_means(values[:, rows], cells[rows]))) for rows in drawn])
    (rho_low, rho_high), (agreement_low, agreement_high) = (_ends(column) for column in resampled.T)
    return {
        "rho": _spearman(*values),
        "low": rho_low,
        "high": rho_high,
        "agreement": _agreement(*_means(values, cells)),
        "agreement_low": agreement_low,
        "agreement_high": agreement_high,
        "n": len(seen),
    }


def _judged_set(both: pd.DataFrame) -> dict[str, Any]:
    values: Floats = both.to_numpy(dtype=np.float64).T
    enough = len(both) > 2
    nothing = dict.fromkeys(("low", "high", "agreement_low", "agreement_high"), np.nan)
    return nothing | {
        "rho": _spearman(*values) if enough else np.nan,
        "agreement": _agreement(*values) if enough else np.nan,
        "n": len(both),
    }


def _ends(resampled: Floats) -> tuple[float, float]:
    """The 95 % percentile interval of what is finite; NaN where nothing is."""
    finite = resampled[np.isfinite(resampled)]
    return (float(np.quantile(finite, 0.025)), float(np.quantile(finite, 0.975))) if len(finite) else (np.nan, np.nan)


def _spearman(x: Floats, y: Floats) -> float:
    """Spearman's rho with mean ranks for ties; NaN where one side is constant."""
    a, b = rankdata(x), rankdata(y)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else np.nan


def _means(values: Floats, cells: NDArray[Any]) -> Floats:
    """Means (2, cells) of the metric and the truth over the edits of each cell that has any."""
    counts = np.bincount(cells)
    sums = np.stack([np.bincount(cells, weights=row, minlength=len(counts)) for row in values])
    return np.asarray(sums[:, counts > 0] / counts[counts > 0])


def _agreement(metric: Floats, truth: Floats) -> float:
    """Share of the pairs with different truths that the metric orders as the truth does, a tie counting half."""
    first, second = np.triu_indices(len(truth), 1)
    wanted, given = np.sign(truth[first] - truth[second]), np.sign(metric[first] - metric[second])
    differ = wanted != 0
    return float(((wanted * given)[differ] + 1).mean() / 2) if differ.any() else np.nan
