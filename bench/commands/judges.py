"""What the commands about judges do: put them to the test, let them compare editors, and lay them beside people and metrics."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench import registry
from bench.analysis.agreement import Rater, agreement_table, raters_of_scores, raters_of_votes
from bench.analysis.intervals import Range, mean_interval
from bench.analysis.judge_checks import failed, judge_checks, samples
from bench.analysis.summary import curves
from bench.analysis.votes import names_of, of_run, read_votes
from bench.devices import deterministic, pick_device
from bench.errors import RunError, ScoreError, SpecError
from bench.progress import Progress, silent
from bench.scoring import read_scores
from bench.scoring.answers import AnswerBook
from bench.scoring.axes import Axes, operating_points
from bench.scoring.preferences import judge_pairs, read_preferences
from bench.scoring.score import open_metrics
from bench.scoring.validations import DAGGER, Validation, doubt_of_judge, remember
from bench.scoring.votes import VOTES
from bench.store import write_atomically

if TYPE_CHECKING:
    from bench.spec import Spec
    from bench.store import Run

__all__ = ["DAGGER", "agreement", "brief", "compare_editors", "doubts", "plain", "standings", "validate"]


def validate(spec: Spec, folder: Path, *, number: int, size: int, progress: Progress = silent) -> dict[str, pd.DataFrame]:
    """Put the judge of every judged metric of a spec to the test; the checks of each, by the metric's name in tables.

    Replies and tables are kept in `folder`, so that a second call asks nothing anew, and the outcome is remembered for every later scoring.
    Raises SpecError where the spec has no judged metric.
    """
    from metrics.card import fingerprint
    from metrics.judges.metric import JudgedMetric

    own = [item for item in spec.metrics if issubclass(registry.load_metric(item.name), JudgedMetric)]
    if not own:
        raise SpecError(f"{spec.name}: no metric of the spec is said by a judge; add {{name: judge_vie, params: {{judge: ...}}}}")
    book, found = AnswerBook(folder / "answers.jsonl"), {}
    for name, metric in open_metrics(spec.model_copy(update={"metrics": own}), pick_device(spec.device)).items():
        assert isinstance(metric, JudgedMetric)
        metric.panel.journal = book
        with deterministic():
            table = judge_checks(metric, samples(number), size, progress)
        wrong = failed(table)
        passed = [str(check) for check in table["check"] if check not in wrong]
        day = datetime.datetime.now(datetime.UTC).date().isoformat()
        print_ = metric.card.fingerprint
        write_atomically(folder / f"{print_}.csv", table.to_csv(index=False).encode())
        identities = [fingerprint(each.identity) for each in metric.panel.judges]
        known = Validation(metric=name, judges=metric.card.judges, day=day, passed=passed, failed=wrong, identities=identities)
        remember(print_, known)
        found[name] = table
    return found


def compare_editors(run: Run, judge: Any, *, repeats: int, device: str | None, progress: Progress = silent) -> pd.DataFrame:
    """Let judges compare the run's editors at their operating points; `judge` is what a metric's parameter of that name holds."""
    from bench.toybox import embedded
    from metrics.judges.metric import JudgedMetric
    from metrics.judges.opening import open_judges

    given = embedded.named(JudgedMetric, {"judge": judge})["judge"]
    scores = read_scores(run)
    axes = Axes.of(run.spec.axes, scores)
    points = operating_points(run.plan, curves(run.plan, scores, axes), axes)
    editors = {entry.label: points[entry.label] for entry in run.plan.entries if not entry.anchor}
    if len(editors) < 2:
        raise RunError(f"{run.path}: a judge compares editors two by two, and the run has {len(editors)}; add one")
    with run.hold(run.spec, run.plan), deterministic():
        judges = open_judges(given, pick_device(device or run.spec.device))
        return judge_pairs(run, judges, editors, repeats=repeats, progress=progress)


def standings(table: pd.DataFrame) -> pd.DataFrame:
    """How often the first editor of a pair is preferred, a row a judge and pair, with the counts of every outcome.

    `preferred` is its share among preferences for either, its interval clustered by source picture; ties, flips and failures have no part in it.
    `doubt` is what speaks against the judge, "" for nothing.
    """
    rows = []
    for key, group in table.groupby(["rater", "judge", "first", "first_value", "second", "second_value"], sort=False):
        rater, identity, first, first_value, second, second_value = key
        counts = group["vote"].value_counts()
        clear = group[group["vote"].isin(["first", "second"])]
        wins = (clear["vote"] == "first").astype(float).tolist()
        interval = mean_interval(wins, clear["source_id"].tolist(), within=Range(0.0, 1.0, binary=True))
        row = {"judge": rater, "editor": first, "value": first_value, "other": second, "its_value": second_value}
        row |= {"preferred": interval.mean, "low": interval.low, "high": interval.high}
        row |= {f"{name}_wins" if name in ("first", "second") else name: int(counts.get(name, 0)) for name in VOTES}
        rows.append(row | {"failed": int(group["failure"].notna().sum()), "asked": len(group)})
        rows[-1]["doubt"] = doubt_of_judge(str(identity))
    return pd.DataFrame(rows)


def agreement(run: Run, files: Sequence[Path]) -> pd.DataFrame:
    """Judges and votes with each other and with every metric of a run. Votes are those of `files` and what `judge-pairs` left in the run."""
    scores = read_scores(run)
    anchors = [entry.label for entry in run.plan.entries if entry.anchor]
    raters = raters_of_scores(scores, anchors)
    own = [rater.name for rater in raters if _is_judged(scores.cards, scores.pairs, rater.name)]
    groups: list[Rater] = []
    for file, name in zip(files, names_of(files), strict=True):
        groups.append(raters_of_votes(of_run(read_votes(file), run.plan, str(file)), name))
    preferred = read_preferences(run)
    groups += [raters_of_votes(rows, f"{rater} (pairs)") for rater, rows in preferred.groupby("rater", sort=False)]
    names = [rater.name for rater in (*raters, *groups)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ScoreError(f"{twice} is the name of two: of a metric, or of a file of votes; rename the file")
    if not own and not groups:
        raise ScoreError(f"{run.path} has no judge and no votes; add a judged metric, `etabench judge-pairs`, or --votes FILE")
    return agreement_table([*groups, *raters], [*own, *(group.name for group in groups)])


def doubts(run: Run) -> list[str]:
    """What speaks against the judges whose scores a run has, a line for each metric."""
    scores = read_scores(run)
    names = dict(zip(scores.pairs["fingerprint"], scores.pairs["metric"], strict=True))
    return [f"{names[print_]}: {card['doubt']}" for print_, card in scores.cards.items() if card.get("doubt") and print_ in names]


def brief(table: pd.DataFrame, spans: Mapping[str, tuple[str, str]]) -> list[dict[str, Any]]:
    """The rows as a terminal has room for them: a number with its interval in one column; `spans` has the columns of its ends.

    What a doubtful judge says has a dagger in its first column in place of the doubt.
    """
    hidden, rows = {end for ends in spans.values() for end in ends} | {"doubt"}, []
    for row in table.to_dict("records"):
        if row.get("doubt"):
            first = next(iter(row))
            row[first] = f"{row[first]} {DAGGER}"
        shown = {}
        for name, value in row.items():
            if name in spans:
                low, high = (row[end] for end in spans[str(name)])
                span = f" ({low:.2f}..{high:.2f})" if np.isfinite(low) else ""
                shown[str(name)] = f"{value:.2f}{span}" if np.isfinite(value) else ""
            elif name not in hidden:
                shown[str(name)] = value
        rows.append(shown)
    return rows


def plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as JSON has them: no NaN, no NumPy."""
    found: list[dict[str, Any]] = json.loads(table.to_json(orient="records"))
    return found


def _is_judged(cards: Mapping[str, Mapping[str, Any]], pairs: pd.DataFrame, metric: str) -> bool:
    prints = pairs.loc[pairs["metric"] == metric, "fingerprint"]
    return bool(len(prints)) and "judges" in cards.get(str(prints.iloc[0]), {})
