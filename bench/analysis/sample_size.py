"""How many source pictures and seeds it takes to tell two editors apart, from what a run shows of their differences.

The difference of two editors on a picture is what they differ by, plus what is the picture's (standard deviation `picture_sd`), plus what is
the seed's (`seed_sd` for one edit of each). Over G pictures of r samples with M seeds each the mean has the variance

    (picture_sd^2 + seed_sd^2 / (r M)) / G

so that seeds help as far as they are the larger part, and pictures always do. The test is that of `bench.analysis.paired`, sign flips over
pictures, at 5 % over the number of pairs of editors, which is what Holm's correction asks of the surest pair; its power is that of
Student's t at the level that so few sign patterns allow. The editors stand at their operating points, as in reports, which here are
held: choosing them on the scores costs a report's own swap test some more, as docs/metrics.md has it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from bench.analysis.intervals import seed_spread
from bench.errors import RunError
from bench.plan import Plan
from bench.scoring import Scores, read_scores
from bench.scoring.axes import Axes
from bench.scoring.swaps import Ring
from bench.store import Run
from bench.suggest import did_you_mean

__all__ = ["LEVEL", "MOST", "POWERS", "Spread", "difference_told", "needed", "power", "power_of", "spread_of"]

LEVEL = 0.05
POWERS = (0.8, 0.9)
SEEDS = (1, 2, 4, 8)
MOST = 100_000
"""Pictures that are asked for at most."""
EXACT_UP_TO = 20
"""Pictures up to which the number of sign patterns limits the level."""


@dataclass(frozen=True)
class Spread:
    """What sets two editors apart on a metric, and what hides it: first less second over `pictures` source pictures with `samples` each.

    seed_sd is NaN where the run has one seed; picture_sd has the seeds' share in it then.
    """

    first: str
    second: str
    metric: str
    difference: float
    picture_sd: float
    seed_sd: float
    pictures: int
    samples: float
    seeds: int

    def error(self, pictures: int, seeds: int) -> float:
        """Standard error of the mean difference over so many pictures with so many seeds; the run's own seeds where it has one."""
        own = 0.0 if math.isnan(self.seed_sd) else self.seed_sd**2 / (self.samples * seeds)
        return math.sqrt((self.picture_sd**2 + own) / pictures)


def power(
    run: Run, *, first: str = "", second: str = "", metric: str = "", difference: float | None = None
) -> list[dict[str, object]]:
    """Per pair of editors and number of seeds the pictures that tell them apart: rows of a table for people and programs.

    `first` and `second` choose the pair or, one of them, the pairs with it; `metric` is the axis of editability by default, `difference`
    what is to be told, by default what the run shows. `told` is the smallest difference that the run's own number of pictures tells
    with the first of POWERS. Both, and the standard deviations, are in the metric's `unit`, in the words of its card. None stands for
    more than MOST.
    Raises RunError for editors and metrics that the run does not have, for a difference that is none, and where no pair has enough pictures.
    """
    if difference is not None and not (math.isfinite(difference) and difference):
        raise RunError(f"a difference of {difference:g} is none that could be told: give a number other than 0")
    plan, scores = run.plan, read_scores(run)
    axes = Axes.of(run.spec.axes, scores)
    name = metric or axes.editability.metric
    ring = Ring(plan, scores.pairs, axes)
    if name not in set(scores.pairs["metric"]):
        raise RunError(f"{run.path} has no scores of '{name}'; {did_you_mean(name, set(scores.pairs['metric']))}")
    for editor in filter(None, (first, second)):
        if editor not in ring.editors:
            raise RunError(f"{run.path} has no editor '{editor}'; {did_you_mean(editor, ring.editors)}")
    print_ = str(scores.pairs.loc[scores.pairs["metric"] == name, "fingerprint"].iloc[0])
    unit = str(scores.cards.get(print_, {}).get("scale", ""))
    if first and first == second:
        raise RunError(f"'{first}' is one editor; name two")
    pairs = list(combinations(ring.editors, 2))
    chosen = [(first, second)] if first and second else [pair for pair in pairs if {first, second} - {""} <= set(pair)]
    rows: list[dict[str, object]] = []
    for one, two in chosen:
        values = ring.duel(one, two).values if ring.duel(one, two).samples.size else (math.nan, math.nan)
        spread = spread_of(plan, scores, name, (one, values[0]), (two, values[1]))
        if spread is not None:
            rows += _rows(spread, LEVEL / len(pairs), difference, unit)
    if not rows:
        raise RunError(f"{run.path} has no two editors with scores of {name} on two source pictures or more")
    return rows


def spread_of(plan: Plan, scores: Scores, metric: str, one: tuple[str, float], two: tuple[str, float]) -> Spread | None:
    """The spread of the first editor at its knob value less the second; None below two source pictures with numbers for both."""
    tables = [_scores(plan, scores, metric, *each) for each in (one, two)]
    both = tables[0].index.intersection(tables[1].index)
    gaps = _gaps(*(table.loc[both] for table in tables)).dropna()
    sources = {sample.id: sample.source_id for sample in plan.samples}
    groups = (
        np.unique([sources[name] for name in gaps.index], return_inverse=True)[1] if len(gaps) else np.zeros(0, dtype=np.intp)
    )
    pictures = int(groups.max()) + 1 if len(gaps) else 0
    if pictures < 2:
        return None
    size, seeds = len(gaps) / pictures, gaps.shape[1]
    sums = np.bincount(groups, weights=gaps.mean(axis=1).to_numpy()) / size
    long = gaps.stack()
    parts = seed_spread(long.to_numpy(), [str(name) for name, _ in long.index])
    seed_sd = math.nan if parts is None else parts.seed_sd
    own = 0.0 if parts is None else seed_sd**2 / (size * seeds)
    variance = max(float(sums.var(ddof=1)) - own, 0.0)
    return Spread(one[0], two[0], metric, float(sums.mean()), math.sqrt(variance), seed_sd, pictures, size, seeds)


def power_of(difference: float, error: float, pictures: int, level: float) -> float:
    """The chance that sign flips over `pictures` find a difference whose mean has this standard error, 0..1."""
    from scipy.stats import nct, norm, t

    if pictures <= EXACT_UP_TO:
        patterns = 2.0 ** (pictures - 1)
        level = math.floor(level * patterns + 1e-9) / patterns
    if not level or not error:
        return float(bool(level) and difference != 0)
    far = abs(difference) / error
    if far > 30 or pictures > 500:
        return float(norm.sf(norm.isf(level / 2) - far))
    edge = t.isf(level / 2, pictures - 1)
    return float(nct.sf(edge, pictures - 1, far))


def needed(spread: Spread, difference: float, seeds: int, chance: float, level: float) -> int | None:
    """The fewest pictures of which a difference is found with that chance; None where MOST are too few."""

    def enough(pictures: int) -> bool:
        return power_of(difference, spread.error(pictures, seeds), pictures, level) >= chance

    if not enough(MOST):
        return None
    low, high = 1, MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def difference_told(spread: Spread, pictures: int, seeds: int, chance: float, level: float) -> float:
    """The smallest difference that so many pictures tell with that chance; infinite where no sign pattern is rare enough."""
    error = spread.error(pictures, seeds)
    if power_of(1e6 * (error or 1.0), error, pictures, level) < chance:
        return math.inf
    low, high = 0.0, 30 * error
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if power_of(middle, error, pictures, level) >= chance else (middle, high)
    return high


def _rows(spread: Spread, level: float, difference: float | None, unit: str) -> list[dict[str, object]]:
    known = not math.isnan(spread.seed_sd)
    wanted = spread.difference if difference is None else abs(difference)
    rows = []
    for seeds in dict.fromkeys((*SEEDS, spread.seeds)) if known else (spread.seeds,):
        row: dict[str, object] = {"first": spread.first, "second": spread.second, "metric": spread.metric, "unit": unit}
        row["difference"] = wanted
        row |= {"picture_sd": spread.picture_sd, "seed_sd": spread.seed_sd if known else None, "seeds": seeds}
        row |= {f"pictures_{100 * chance:.0f}": needed(spread, wanted, seeds, chance, level) for chance in POWERS}
        told = difference_told(spread, spread.pictures, seeds, POWERS[0], level)
        rows.append(row | {"told": told if math.isfinite(told) else None, "of": spread.pictures})
    return sorted(rows, key=lambda row: int(str(row["seeds"])))


def _scores(plan: Plan, scores: Scores, metric: str, editor: str, value: float) -> pd.DataFrame:
    """Scores of an editor at a knob value by sample and seed; infinite ones count as undefined."""
    rows = scores.pairs
    rows = rows[(rows["editor"] == editor) & (rows["value"] == value) & (rows["metric"] == metric)]
    table = rows.pivot_table(index="sample_id", columns="seed", values="score", aggfunc="mean")
    return table.where(np.isfinite(table))


def _gaps(one: pd.DataFrame, two: pd.DataFrame) -> pd.DataFrame:
    """First less second by sample and seed; an editor without a say of the seed has the same scores with all of the other's."""
    if one.shape[1] == 1 or two.shape[1] == 1:
        wide, single = (one, two.iloc[:, 0]) if two.shape[1] == 1 else (two, one.iloc[:, 0])
        return wide.sub(single, axis=0) * (1 if wide is one else -1)
    both = one.columns.intersection(two.columns)
    return one[both] - two[both]
