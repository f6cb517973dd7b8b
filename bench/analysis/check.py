"""The verdict on a run: what of it is worse than a baseline by more than chance.

A cell is an editor at a knob value by a metric. Its loss is how much worse its mean over samples is than the baseline's, and it has
regressed where the loss exceeds the tolerance. That is the largest of

    machine    how far repeats with the same seeds moved the means of the metric, in this cell or on the average
    seeds      how far other seeds move the mean, from the spread of each sample over the draws (seeds of different samples are drawn apart,
               so that their variances add) and with the baseline's own share in it; of a set metric, from its values in the draws. Not
               where the run has the seeds of a draw on the baseline's class of devices: it is held against that draw, with the same noise
    least      LEAST of the baseline's mean: nobody would act on less

of which the first two are taken times a quantile of Student's t, with the number of repeats and with Satterthwaite's number for
degrees of freedom. The quantiles are such that a clean run fails, in any of its cells, with a chance of FALSE_ALARMS at most (Bonferroni). How
often it does, and how often a loss is found, is measured in docs/gate.md. A metric without a direction may move neither way. Scores that
are no numbers: `bench.analysis.kinds`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.analysis.baseline import Measured, fingerprints, measured
from bench.analysis.baseline_file import Baseline, Key
from bench.analysis.kinds import loss_of, odd
from bench.errors import BaselineError
from bench.scoring import Scores, read_scores
from bench.store import Run

__all__ = ["FALSE_ALARMS", "LEAST", "Judge", "Outcome", "Verdict", "Word", "check", "spreads"]

Floats = NDArray[np.float64]
Word = Literal["unchanged", "regressed", "improved", "not comparable"]

FALSE_ALARMS = 0.01
"""The chance that a clean run fails a check."""
LEAST = 0.005
"""The smallest loss that counts, as a share of the baseline's mean."""
ROUNDING = 1e-6
"""The smallest loss that counts where that mean is 0."""
WORST = 3
"""Samples of a cell that are named."""


@dataclass(frozen=True)
class Outcome:
    """A cell of the baseline beside the run's.

    before, after: means over the `n` samples that are numbers on both sides, NaN without any; of a set its values, n = 1.
    loss: positive where the run is worse, infinite where it is worse without a number.  reason: what is no number on one side only.
    worst: samples with the largest losses, with their scores before and after.
    """

    editor: str
    value: float
    metric: str
    before: float
    after: float
    loss: float
    tolerance: float
    n: int
    word: Word
    reason: str = ""
    worst: tuple[tuple[str, float, float], ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What became of every cell of the baseline, worst first in units of its tolerance.

    how: what the run was held against, in words.  notes: what else a reader must know.  unchecked: metrics, and editors with their knob
    values, that the run has and the baseline does not.
    """

    run: str
    spec: str
    how: str
    outcomes: tuple[Outcome, ...]
    notes: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()

    def of(self, word: Word) -> list[Outcome]:
        return [each for each in self.outcomes if each.word == word]

    @property
    def exit_code(self) -> int:
        """0 where all is as good as it was, 1 where something is worse, 2 where nothing is but something cannot be compared."""
        return 1 if self.of("regressed") else 2 if self.of("not comparable") else 0


def check(run: Run, baseline: Baseline, name: str = "the baseline") -> Verdict:
    """Hold `run` against `baseline`, which messages call `name`.

    Raises BaselineError where manifest, fingerprints or directions are others, so that no number means the same.
    """
    scores = read_scores(run)
    _same_numbers(run, scores, baseline, name)
    found, judge = measured(run, scores, baseline.samples), Judge(baseline)
    notes = [f"{metric} failed in the run: {why}" for metric, why in scores.failed.items() if metric in baseline.fingerprints]
    if run.plan.model != baseline.model:
        notes.append(f"model {run.plan.model[:12] or 'none'}, the baseline is of {baseline.model[:12] or 'none'}")
    others = {key: (old, found.packages.get(key, "none")) for key, old in baseline.packages.items() if key != "etabench"}
    moved = [f"{key} {old} → {new}" for key, (old, new) in sorted(others.items()) if old != new]
    notes += [f"versions since the baseline: {', '.join(moved)}"] if moved else []
    outcomes = judge.judge(found, scores.failed)
    return Verdict(str(run.path), run.spec.name, judge.how(found), outcomes, tuple(notes), _unchecked(found, baseline))


class Judge:
    """A baseline, and what follows from it for any run."""

    def __init__(self, baseline: Baseline) -> None:
        self.baseline = baseline
        self.draws, self.repeats = len(baseline.draws), len(baseline.repeats)
        self.cells: Mapping[Key, Floats] = {**baseline.pairs, **{key: cell[:, None] for key, cell in baseline.sets.items()}}
        """Scores (draws + repeats, samples); a set is a cell of one sample."""
        signs = {None: None, True: 1.0, False: -1.0}
        self.signs = {metric: signs[up] for metric, up in baseline.higher_is_better.items()}

    def draw_of(self, found: Measured) -> int | None:
        """The draw whose noise a run shares; None where it shares none."""
        same = found.device == self.baseline.device and found.seeds in self.baseline.draws
        return self.baseline.draws.index(found.seeds) if same else None

    def how(self, found: Measured) -> str:
        """What a run is held against, in words."""
        seeds = f"seed{'s' * (len(found.seeds) > 1)} {', '.join(map(str, found.seeds))} on {found.device}"
        if self.draw_of(found) is not None:
            return f"{seeds}, as in the baseline: the same noise, compared sample by sample; tolerances from {_counted(self.repeats, 'repeat')}"
        theirs = f"seeds {', '.join(map(str, sum(self.baseline.draws, ())))} on {self.baseline.device}"
        return f"{seeds}, the baseline has {theirs}: other noise; tolerances from {_counted(self.draws, 'draw')} of seeds"

    def judge(self, found: Measured, failed: Mapping[str, str] | None = None) -> tuple[Outcome, ...]:
        """What became of every cell, worst first. Metrics that `failed` in the run are not comparable, for the reason given.

        Raises BaselineError where the run has other seeds and the baseline only one draw.
        """
        draw = self.draw_of(found)
        if draw is None and self.draws < 2:
            raise BaselineError(f"{self.how(found)}, and one draw tells of no spread; make a baseline with --seeds 2 or more")
        outcomes = []
        for key, known in self.cells.items():
            before = known[: self.draws] if draw is None else known[[draw]]
            seeds = 0 if draw is not None else len(found.seeds) if key in self.baseline.pairs else len(self.baseline.draws[0])
            outcomes.append(self._outcome(key, before, found, seeds, (failed or {}).get(key[2], "")))
        return tuple(sorted(outcomes, key=_order))

    def _outcome(self, key: Key, before: Floats, found: Measured, seeds: int, failed: str) -> Outcome:
        """The outcome of a cell with the scores (draws, samples) `before`; `seeds` of the run, 0 where it shares the noise."""
        sign, of_edits = self.signs[key[2]], key in self.baseline.pairs
        names = self.baseline.samples if of_edits else ("",)
        after = found.pairs.get(key) if of_edits else np.array([found.sets[key]]) if key in found.sets else None
        missing = tuple(range(len(names))) if after is None else found.missing.get(key, ())
        after = np.full(len(names), np.nan) if after is None else after
        strange = odd(before, after, missing, sign, names)
        both = np.flatnonzero(np.isfinite(before).all(axis=0) & np.isfinite(after))
        old, new = before[:, both].mean(axis=0), after[both]
        means = (float(old.mean()), float(new.mean())) if len(both) else (math.nan, math.nan)
        loss = loss_of(*means, sign) if len(both) else 0.0
        tolerance = self.tolerance(key, before[:, both], seeds) if len(both) else ROUNDING
        loss = loss if loss > tolerance else strange.loss or loss
        word: Word = "improved" if -loss > tolerance else "unchanged"
        if loss > tolerance:
            word = "regressed"
        elif failed or strange.stops:
            word = "not comparable"
        worst = strange.infinite
        if of_edits and word == "regressed":
            lost = [
                (loss_of(b, a, sign), names[place], b, a)
                for place, b, a in zip(both.tolist(), old.tolist(), new.tolist(), strict=True)
            ]
            worst += tuple(row[1:] for row in sorted(lost, key=lambda row: -row[0])[:WORST] if row[0] > 0)
        reason = f"the metric failed: {failed}" if failed else strange.reason
        return Outcome(*key, *means, loss, tolerance, len(both), word, reason, worst[:WORST])

    def tolerance(self, key: Key, before: Floats, seeds: int) -> float:
        """The largest loss that is chance, from scores (draws, samples) all of which are numbers."""
        from scipy.special import stdtrit

        chance = FALSE_ALARMS / len(self.cells) / (2 if self.signs[key[2]] is None else 1)
        found = max(LEAST * abs(float(before.mean())), ROUNDING)
        if self.repeats:
            found = max(found, -float(stdtrit(self.repeats, chance)) * max(self.moved[key], self._usual[key[2]]))
        if seeds:
            variances = before.var(axis=0, ddof=1)
            if total := float(variances.sum()):
                freedom = (self.draws - 1) * total**2 / float((variances**2).sum())
                error = math.sqrt(total * (len(self.baseline.draws[0]) / seeds + 1 / self.draws)) / before.shape[1]
                found = max(found, -float(stdtrit(freedom, chance)) * error)
        return found

    @cached_property
    def moved(self) -> Mapping[Key, float]:
        """How far a repeat moves the mean of a cell: the root mean square over the repeats, 0 where no sample is a number in all of them."""
        found = {}
        for key, cell in self.cells.items():
            numbers = cell[:, np.isfinite(cell).all(axis=0)]
            moves = numbers[self.draws :].mean(axis=1) - numbers[0].mean() if numbers.size else np.zeros(1)
            found[key] = float(np.sqrt(np.mean(np.square(moves))))
        return found

    @cached_property
    def _usual(self) -> Mapping[str, float]:
        """The same on the average over the cells of a metric."""
        squares: dict[str, list[float]] = {}
        for (_, _, metric), moved in self.moved.items():
            squares.setdefault(metric, []).append(moved**2)
        return {metric: math.sqrt(math.fsum(each) / len(each)) for metric, each in squares.items()}


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"


def spreads(baseline: Baseline) -> list[dict[str, Any]]:
    """What a baseline measured, a row a cell: the mean, and by how much of it another seed, a repeat and nothing but chance may move it."""
    judge = Judge(baseline)
    rows = []
    for key, cell in judge.cells.items():
        draws = cell[: judge.draws, np.isfinite(cell).all(axis=0)]
        if draws.size:
            mean, variances = (
                float(draws.mean()),
                draws.var(axis=0, ddof=1) if judge.draws > 1 else np.full(draws.shape[1], np.nan),
            )
            row = {"editor": key[0], "value": key[1], "metric": key[2], "mean": mean}
            row |= {"seeds": math.sqrt(variances.sum()) / draws.shape[1], "machine": judge.moved[key]}
            row["same_seeds"] = judge.tolerance(key, draws, 0)
            row["other_seeds"] = judge.tolerance(key, draws, len(baseline.draws[0])) if judge.draws > 1 else math.nan
            rows.append(row)
    return rows


def _order(outcome: Outcome) -> tuple[int, float]:
    """Regressions, then what cannot be compared, then the rest, each by loss in units of tolerance."""
    rank = {"regressed": 0, "not comparable": 1}.get(outcome.word, 2)
    return rank, -outcome.loss / outcome.tolerance


def _same_numbers(run: Run, scores: Scores, baseline: Baseline, name: str) -> None:
    """The run is of the baseline's manifest, and metrics that both have are the same ones and run in the same direction.

    A baseline may take a move in either direction for a loss.
    """
    if run.plan.manifest_hash != baseline.manifest_hash:
        ours, theirs = run.plan.manifest_hash[:12], baseline.manifest_hash[:12]
        raise BaselineError(f"{name} is of manifest {theirs}, {run.path} of {ours}: scores cannot be compared")
    ours_ = fingerprints(scores)
    for metric, print_ in baseline.fingerprints.items():
        if ours_.get(metric, print_) != print_:
            other = f"{run.path} has {ours_[metric]}: they are not the same number"
            raise BaselineError(f"{name}: metric {metric} has fingerprint {print_}, {other}")
        told = baseline.higher_is_better[metric]
        if metric in ours_ and told not in (None, known := scores.cards[print_]["higher_is_better"]):
            raise BaselineError(f"{name}: higher_is_better of {metric} is {told}, its card says {known}; mend the file")


def _unchecked(found: Measured, baseline: Baseline) -> tuple[str, ...]:
    """What the run has and the baseline does not: metrics, and of those that it has editors at knob values."""
    extra = [key for key in (*found.pairs, *found.sets) if key not in baseline.pairs and key not in baseline.sets]
    metrics = sorted({metric for _, _, metric in extra} - baseline.fingerprints.keys())
    cells = sorted({(editor, value) for editor, value, metric in extra if metric in baseline.fingerprints})
    return (*metrics, *(f"{editor} at {value:g}" for editor, value in cells))
