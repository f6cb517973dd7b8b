"""Regression gate: a run against a committed baseline, sample by sample.

The comparison is paired: for every (sample, editor, knob value, seed, metric) of the baseline the run must have a score of the
same kind, or the comparison means nothing. These count as a regression, where there is a direction only in the bad one:

    mean     the mean paired difference of an (editor, knob value) exceeds the metric's `mean` tolerance
    worst    a single sample's difference exceeds the metric's `worst` tolerance
    kind     a score was undefined by the metric's own rule and is a number now, or the other way round: no tolerance covers that
    set      a set metric's value of an (editor, knob value) moved by more than its tolerance

A score is a number, infinite, undefined (the metric answered that it has none) or missing (nobody asked). Undefined is equal to undefined
and infinite to infinite; what is missing stops the comparison.

Tolerances stand in the baseline file and may be edited there. A new baseline gets 0.1 and 1 pooled standard deviations of the
scores within (editor, knob value): what is a tenth of the spread between samples no reader of a curve could see. A set metric gets half
the median half-width of its intervals: what other samples would have done to it twice over.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.analysis.baseline_file import read_baseline, save_baseline
from bench.errors import BaselineError
from bench.plan import Plan
from bench.scoring import read_scores
from bench.scoring.current import lacking
from bench.scoring.tables import check_unmixed
from bench.store import Run

if TYPE_CHECKING:
    import pandas as pd

    from bench.scoring import Scores

__all__ = ["Difference", "Verdict", "compare", "write_baseline"]

MEAN_SHARE, WORST_SHARE, SET_SHARE, SMALLEST_TOLERANCE = 0.1, 1.0, 0.5, 1e-6
Key = tuple[str, str, float, int, str]


@dataclass(frozen=True)
class Difference:
    """Of a run from its baseline: `loss` is positive where the run is worse, infinite where a score became undefined or defined.

    `sample` is empty for the mean over samples and for the value of a set.
    """

    editor: str
    value: float
    metric: str
    sample: str
    before: float
    after: float
    loss: float
    tolerance: float

    @property
    def regressed(self) -> bool:
        return self.loss > self.tolerance


@dataclass(frozen=True)
class Verdict:
    """Differences, worst first in units of their tolerance.

    compared: scores looked at, those of sets too.  undefined: those of them that are undefined in both.  extra: scores of the run that
    the baseline lacks.  unchecked: set metrics of the run that the baseline does not have.  failed: metrics of the baseline that are not
    compared since they failed in the run, with the reason.
    """

    differences: tuple[Difference, ...]
    compared: int
    undefined: int
    extra: int
    unchecked: tuple[str, ...]
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def regressions(self) -> list[Difference]:
        return [each for each in self.differences if each.regressed]

    @property
    def improvements(self) -> list[Difference]:
        return [each for each in reversed(self.differences) if -each.loss > each.tolerance]


def write_baseline(run: Run, path: Path) -> int:
    """Write the scores of `run` as a baseline and return how many; tolerances of metrics that stay the same are kept.

    Raises BaselineError where units of the run are not done, or edits or sets of edits lack scores.
    """
    plan, scores, table = _load(run)
    missing = _unfinished(run, plan)
    if missing:
        raise BaselineError(f"{run.path}: {missing} of {len(plan.units)} units are not done; a baseline needs a complete run")
    if not table and not scores.failed:
        raise BaselineError(f"{run.path} has no scores: run `etabench score {run.path}` first")
    for metric, number in lacking(run, scores).items():
        silent = scores.unanswered.loc[scores.unanswered["metric"] == metric, "reason"]
        why = f"its judge gave no verdict ({silent.iloc[0]})" if len(silent) else f"run `etabench score {run.path}` first"
        why = f"it failed ({scores.failed[metric]})" if metric in scores.failed else why
        raise BaselineError(f"{run.path}: {number} scores of {metric} are missing, and a baseline needs them all: {why}")
    prints = _fingerprints(scores.pairs)
    before = read_baseline(path) if path.exists() else {"fingerprints": {}, "tolerances": {}}
    kept = {metric: before["tolerances"][metric] for metric in prints if before["fingerprints"].get(metric) == prints[metric]}
    content: dict[str, Any] = {
        "manifest_hash": plan.manifest_hash,
        "model": plan.model,
        "fingerprints": prints,
        "higher_is_better": {metric: scores.cards[prints[metric]]["higher_is_better"] for metric in prints},
        "tolerances": {metric: kept.get(metric) or _tolerance(metric, table) for metric in prints},
    }
    sets = _sets(scores)
    if sets:
        content["sets"] = _baseline_of_sets(scores, sets, before.get("sets"))
    save_baseline(path, content, ((*key, _written(score)) for key, score in sorted(table.items())))
    return len(table) + len(sets)


def compare(run: Run, path: Path) -> Verdict:
    """Compare `run` with the baseline at `path`; a metric that failed in the run is left out and named.

    Raises BaselineError where that would be meaningless.
    """
    baseline = read_baseline(path)
    plan, scores, table = _load(run)
    if plan.manifest_hash != baseline["manifest_hash"]:
        ours, theirs = plan.manifest_hash[:12], baseline["manifest_hash"][:12]
        raise BaselineError(f"{path} is of manifest {theirs}, {run.path} of {ours}: scores cannot be compared")
    before = {tuple(row[:5]): _read_score(row[5]) for row in baseline["scores"] if row[4] not in scores.failed}
    _same_numbers(run, path, scores, _fingerprints(scores.pairs), baseline)
    _nothing_lost(run, path, before.keys() - table.keys(), len(before), "{4} of {1} at {2:g}, sample {0}, seed {3}")
    found, sets = list(_differences(baseline, before, table)), _sets(scores)
    theirs = baseline.get("sets") or {"fingerprints": {}, "higher_is_better": {}, "scores": []}
    before_sets = {tuple(row[:3]): _read_score(row[3]) for row in theirs["scores"] if row[2] not in scores.failed}
    _same_numbers(run, path, scores, _fingerprints(scores.sets), theirs)
    _nothing_lost(run, path, before_sets.keys() - sets.keys(), len(before_sets), "{2} of {0} at {1:g}")
    for (editor, value, metric), old in before_sets.items():
        new, up = sets[editor, value, metric], theirs["higher_is_better"][metric]
        found.append(Difference(editor, value, metric, "", old, new, _loss(old, new, up), theirs["tolerances"][metric]))
    both = [(old, table[key]) for key, old in before.items()] + [(old, sets[key]) for key, old in before_sets.items()]
    return Verdict(
        differences=tuple(sorted(found, key=lambda each: -each.loss / each.tolerance)),
        compared=len(both),
        undefined=sum(math.isnan(old) and math.isnan(new) for old, new in both),
        extra=len(table.keys() - before.keys()),
        unchecked=tuple(sorted({metric for _, _, metric in sets} - theirs["fingerprints"].keys())),
        failed={name: why for name, why in scores.failed.items() if name in baseline["fingerprints"] | theirs["fingerprints"]},
    )


def _same_numbers(run: Run, path: Path, scores: Scores, ours: Mapping[str, str], theirs: Mapping[str, Any]) -> None:
    """The metrics that both have are the same ones, and run in the same direction; a baseline may take a move in either for a loss."""
    for metric, print_ in theirs["fingerprints"].items():
        if ours.get(metric, print_) != print_:
            other = f"{run.path} has {ours[metric]}: they are not the same number"
            raise BaselineError(f"{path}: metric {metric} has fingerprint {print_}, {other}")
        told, known = theirs["higher_is_better"][metric], scores.cards[print_]["higher_is_better"] if metric in ours else None
        if metric in ours and told not in (None, known):
            raise BaselineError(f"{path}: higher_is_better of {metric} is {told}, its card says {known}; mend the file")


def _nothing_lost(run: Run, path: Path, lost: Collection[tuple[Any, ...]], number: int, words: str) -> None:
    if lost:
        where = words.format(*min(lost))
        raise BaselineError(f"{run.path} lacks {len(lost)} of {number} scores of {path} (first: {where}); run and score it fully")


def _loss(before: float, after: float, higher_is_better: bool | None) -> float:
    """How much worse a score became, without a direction how far it moved; infinite where it became undefined or stopped being so."""
    if math.isnan(before) != math.isnan(after):
        return math.inf
    if before == after or math.isnan(before):
        return 0.0
    if higher_is_better is None:
        return abs(after - before)
    return before - after if higher_is_better else after - before


def _differences(baseline: dict[str, Any], before: dict[Key, float], table: dict[Key, float]) -> Iterable[Difference]:
    cells: dict[tuple[str, float, str], list[Difference]] = defaultdict(list)
    for key, old in before.items():
        sample, editor, value, _, metric = key
        loss = _loss(old, table[key], baseline["higher_is_better"][metric])
        tolerance = baseline["tolerances"][metric]["worst"]
        cells[editor, value, metric].append(Difference(editor, value, metric, sample, old, table[key], loss, tolerance))
    for (editor, value, metric), found in cells.items():
        yield from found
        numbers = [each for each in found if math.isfinite(each.before) and math.isfinite(each.after)]
        if numbers:
            columns = ([each.before for each in numbers], [each.after for each in numbers], [each.loss for each in numbers])
            before_, after, loss = (float(np.mean(column)) for column in columns)
            yield Difference(editor, value, metric, "", before_, after, loss, baseline["tolerances"][metric]["mean"])


def _sets(scores: Scores) -> dict[tuple[str, float, str], float]:
    return {(row["editor"], float(row["value"]), row["metric"]): float(row["score"]) for row in scores.sets.to_dict("records")}


def _baseline_of_sets(
    scores: Scores, sets: Mapping[tuple[str, float, str], float], before: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What a baseline holds of set metrics; the tolerances of those that stay the same are kept."""
    prints, known = _fingerprints(scores.sets), before or {"fingerprints": {}, "tolerances": {}}
    half = ((scores.sets["high"] - scores.sets["low"]) / 2).groupby(scores.sets["metric"]).median()
    return {
        "fingerprints": prints,
        "higher_is_better": {metric: scores.cards[print_]["higher_is_better"] for metric, print_ in prints.items()},
        "tolerances": {
            metric: known["tolerances"][metric]
            if known["fingerprints"].get(metric) == prints[metric]
            else max(round(SET_SHARE * float(np.nan_to_num(half[metric])), 9), SMALLEST_TOLERANCE)
            for metric in prints
        },
        "scores": [[*key, _written(score)] for key, score in sorted(sets.items())],
    }


def _written(score: float) -> float | str | None:
    """A score as JSON has it: null is undefined."""
    return None if math.isnan(score) else score if math.isfinite(score) else str(score)


def _read_score(written: Any) -> float:
    return math.nan if written is None else float(written)


def _load(run: Run) -> tuple[Plan, Scores, dict[Key, float]]:
    plan, scores = run.plan, read_scores(run)
    check_unmixed(scores.pairs)
    check_unmixed(scores.sets)
    table = {
        (row["sample_id"], row["editor"], float(row["value"]), int(row["seed"]), row["metric"]): float(row["score"])
        for row in scores.pairs.to_dict("records")
    }
    return plan, scores, table


def _unfinished(run: Run, plan: Plan) -> int:
    return sum((record := run.record(unit.key)) is None or record.status != "done" for unit in plan.units)


def _fingerprints(table: pd.DataFrame) -> dict[str, str]:
    return {str(metric): str(prints.iloc[0]) for metric, prints in table.groupby("metric")["fingerprint"]}


def _tolerance(metric: str, table: dict[Key, float]) -> dict[str, float]:
    cells: dict[tuple[str, float], list[float]] = defaultdict(list)
    for (_, editor, value, _, name), score in table.items():
        if name == metric and math.isfinite(score):
            cells[editor, value].append(score)
    spread = [float(np.var(scores, ddof=1)) for scores in cells.values() if len(scores) > 1]
    pooled = math.sqrt(sum(spread) / len(spread)) if spread else 0.0
    shares = {"mean": MEAN_SHARE, "worst": WORST_SHARE}
    return {name: max(round(share * pooled, 9), SMALLEST_TOLERANCE) for name, share in shares.items()}
