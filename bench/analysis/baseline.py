"""Regression gate: a run against a committed baseline, sample by sample.

The comparison is paired: for every (sample, editor, knob value, seed, metric) of the baseline the run must have a score of the
same kind, or the comparison means nothing. Two things count as a regression, both only in the bad direction of the metric:

    mean     the mean paired difference of an (editor, knob value) exceeds the metric's `mean` tolerance
    worst    a single sample's difference exceeds the metric's `worst` tolerance

Tolerances stand in the baseline file and may be edited there. A new baseline gets 0.1 and 1 pooled standard deviations of the
scores within (editor, knob value): what is a tenth of the spread between samples no reader of a curve could see.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import BaselineError
from bench.plan import Plan
from bench.scoring import read_scores
from bench.scoring.tables import check_unmixed
from bench.store import Run, write_atomically

if TYPE_CHECKING:
    from bench.scoring import Scores

__all__ = ["Difference", "Verdict", "compare", "write_baseline"]

SCHEMA = 1
MEAN_SHARE, WORST_SHARE, SMALLEST_TOLERANCE = 0.1, 1.0, 1e-6
Key = tuple[str, str, float, int, str]


@dataclass(frozen=True)
class Difference:
    """Of a run from its baseline: `loss` is positive where the run is worse. `sample` is empty for the mean over samples."""

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
    """Differences, worst first in units of their tolerance; `compared` scores; `extra` scores of the run that the baseline lacks."""

    differences: tuple[Difference, ...]
    compared: int
    extra: int

    @property
    def regressions(self) -> list[Difference]:
        return [each for each in self.differences if each.regressed]

    @property
    def improvements(self) -> list[Difference]:
        return [each for each in reversed(self.differences) if -each.loss > each.tolerance]


def write_baseline(run: Run, path: Path) -> int:
    """Write the scores of `run` as a baseline and return how many; tolerances of metrics that stay the same are kept.

    Raises BaselineError where units of the run are not done or not scored.
    """
    plan, scores, table = _load(run)
    missing = _unfinished(run, plan)
    if missing:
        raise BaselineError(f"{run.path}: {missing} of {len(plan.units)} units are not done; a baseline needs a complete run")
    if not table:
        raise BaselineError(f"{run.path} has no scores: run `etabench score {run.path}` first")
    prints = _fingerprints(scores)
    before = _read(path) if path.is_file() else {"fingerprints": {}, "tolerances": {}}
    kept = {metric: before["tolerances"][metric] for metric in prints if before["fingerprints"].get(metric) == prints[metric]}
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "manifest_hash": plan.manifest_hash,
        "model": plan.model,
        "fingerprints": prints,
        "higher_is_better": {metric: bool(scores.cards[prints[metric]]["higher_is_better"]) for metric in prints},
        "tolerances": {metric: kept.get(metric) or _tolerance(metric, table) for metric in prints},
        "scores": [[*key, None if math.isnan(score) else score] for key, score in sorted(table.items())],
    }
    rows = ",\n  ".join(json.dumps(row) for row in content.pop("scores"))
    head = json.dumps(content, indent=1, sort_keys=True, allow_nan=False).removesuffix("\n}")
    write_atomically(path, f'{head},\n "scores": [\n  {rows}\n ]\n}}\n'.encode())
    return len(table)


def compare(run: Run, path: Path) -> Verdict:
    """Compare `run` with the baseline at `path`. Raises BaselineError where that would be meaningless."""
    baseline = _read(path)
    plan, scores, table = _load(run)
    if plan.manifest_hash != baseline["manifest_hash"]:
        ours, theirs = plan.manifest_hash[:12], baseline["manifest_hash"][:12]
        raise BaselineError(f"{path} is of manifest {theirs}, {run.path} of {ours}: scores cannot be compared")
    before = {tuple(row[:5]): math.nan if row[5] is None else float(row[5]) for row in baseline["scores"]}
    prints = _fingerprints(scores)
    for metric, print_ in baseline["fingerprints"].items():
        if prints.get(metric, print_) != print_:
            other = f"{run.path} has {prints[metric]}: they are not the same number"
            raise BaselineError(f"{path}: metric {metric} has fingerprint {print_}, {other}")
    lost = [key for key, score in before.items() if math.isnan(table.get(key, math.nan)) and not math.isnan(score)]
    if lost:
        sample, editor, value, seed, metric = sorted(lost)[0]
        where = f"{metric} of {editor} at {value:g}, sample {sample}, seed {seed}"
        raise BaselineError(
            f"{run.path} lacks {len(lost)} of {len(before)} scores of {path} (first: {where}); run and score it fully"
        )
    differences = sorted(_differences(baseline, before, table), key=lambda each: -each.loss / each.tolerance)
    return Verdict(tuple(differences), len(before), len(table.keys() - before.keys()))


def _differences(baseline: dict[str, Any], before: dict[Key, float], table: dict[Key, float]) -> Iterable[Difference]:
    cells: dict[tuple[str, float, str], list[Difference]] = defaultdict(list)
    for key, old in before.items():
        sample, editor, value, _, metric = key
        if not math.isnan(old):
            loss = (old - table[key]) * (1 if baseline["higher_is_better"][metric] else -1)
            tolerance = baseline["tolerances"][metric]["worst"]
            cells[editor, value, metric].append(Difference(editor, value, metric, sample, old, table[key], loss, tolerance))
    for (editor, value, metric), found in cells.items():
        columns = ([each.before for each in found], [each.after for each in found], [each.loss for each in found])
        before_, after, loss = (float(np.mean(column)) for column in columns)
        yield Difference(editor, value, metric, "", before_, after, loss, baseline["tolerances"][metric]["mean"])
        yield from found


def _load(run: Run) -> tuple[Plan, Scores, dict[Key, float]]:
    plan, scores = run.plan, read_scores(run)
    check_unmixed(scores.pairs)
    table = {
        (row["sample_id"], row["editor"], float(row["value"]), int(row["seed"]), row["metric"]): float(row["score"])
        for row in scores.pairs.to_dict("records")
    }
    return plan, scores, table


def _unfinished(run: Run, plan: Plan) -> int:
    return sum((record := run.record(unit.key)) is None or record.status != "done" for unit in plan.units)


def _fingerprints(scores: Scores) -> dict[str, str]:
    return {str(metric): str(prints.iloc[0]) for metric, prints in scores.pairs.groupby("metric")["fingerprint"]}


def _tolerance(metric: str, table: dict[Key, float]) -> dict[str, float]:
    cells: dict[tuple[str, float], list[float]] = defaultdict(list)
    for (_, editor, value, _, name), score in table.items():
        if name == metric and not math.isnan(score):
            cells[editor, value].append(score)
    spread = [float(np.var(scores, ddof=1)) for scores in cells.values() if len(scores) > 1]
    pooled = math.sqrt(sum(spread) / len(spread)) if spread else 0.0
    shares = {"mean": MEAN_SHARE, "worst": WORST_SHARE}
    return {name: max(round(share * pooled, 9), SMALLEST_TOLERANCE) for name, share in shares.items()}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BaselineError(f"no baseline at {path}; `etabench check RUN --baseline {path} --update` writes one") from None
    except (OSError, ValueError) as error:
        raise BaselineError(f"{path} is not a baseline: {' '.join(str(error).split())}") from error
    wanted = {
        "schema": int,
        "manifest_hash": str,
        "fingerprints": dict,
        "higher_is_better": dict,
        "tolerances": dict,
        "scores": list,
    }
    if not isinstance(content, dict) or not all(isinstance(content.get(name), kind) for name, kind in wanted.items()):
        raise BaselineError(f"{path} is not a baseline: it needs {', '.join(wanted)}; write it anew with --update")
    if content["schema"] != SCHEMA:
        raise BaselineError(f"{path} has schema {content['schema']}, this version reads {SCHEMA}; write it anew with --update")
    for metric in content["fingerprints"]:
        if not all(_positive(content["tolerances"].get(metric, {}).get(name)) for name in ("mean", "worst")):
            raise BaselineError(f"{path}: tolerances.{metric} needs `mean` and `worst`, both numbers above 0")
    if not all(isinstance(row, list) and len(row) == 6 and row[4] in content["fingerprints"] for row in content["scores"]):
        raise BaselineError(
            f"{path}: every row of scores must be [sample, editor, value, seed, metric, score] of a metric it names"
        )
    return content


def _positive(number: Any) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number) and number > 0
