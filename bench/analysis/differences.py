"""Score rows -> what sets two editors apart at their operating points, and over whole curves: differences with intervals and tests.

The swap test and its points are those of `bench.scoring.swaps`. Holm's correction is over all pairs of editors of one metric.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, combinations
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.comparisons import VOLUME, volume_differences
from bench.analysis.paired import holm
from bench.plan import Plan
from bench.scoring import Scores
from bench.scoring.axes import Axes
from bench.scoring.swaps import Duel, Ring, Tested, outcome
from reports.frames import COLUMNS

__all__ = ["differences", "powerless"]

SIGNS: Mapping[bool | None, float] = {True: 1.0, False: -1.0, None: np.nan}
SIGNIFICANT = 0.05


def differences(plan: Plan, scores: Scores, axes: Axes) -> pd.DataFrame:
    """First less second, per metric and pair of editors: interval, p value, Holm's p value, and which is better.

    Both stand at the operating points that their common samples give them. Pair metrics and hypervolumes (`hypervolume`, in which
    whole curves are compared and the points have no value): swap test with points and curves made anew under each swap, and the interval
    of what it does not reject. Set metrics: as `Scores.set_pairs` has them, no interval; a test that was made by other axes or at other
    points is left out. There is no p where a score is undefined for one of the two only (`undefined` counts these samples).
    """
    ring = Ring(plan, scores.pairs, axes)
    duels = {(one, two): ring.duel(one, two) for one, two in combinations(ring.editors, 2)}
    rows = []
    for metric in dict.fromkeys(scores.pairs["metric"]):
        rows += [_duelled(metric, pair, duel) for pair, duel in duels.items() if duel.has(metric)]
    for row in scores.set_pairs.to_dict("records"):
        duel = duels.get((row["first"], row["second"]))
        if duel is not None and row["axes"] == axes.name and duel.values == (row["first_value"], row["second_value"]):
            keep = ("metric", "first", "first_value", "second", "second_value", "difference", "p", "p_least", "n")
            rows.append({key: row[key] for key in keep} | {"low": np.nan, "high": np.nan, "test": "swap", "undefined": 0})
    rows += volume_differences(plan, scores, axes)
    table = pd.DataFrame(rows, columns=list(COLUMNS["differences"]))
    for _, group in table.groupby("metric", sort=False):
        table.loc[group.index, "p_holm"] = holm(group["p"].to_numpy(dtype=np.float64))
    higher = _directions(scores) | {VOLUME: True}
    signs = table["metric"].map({metric: SIGNS[up] for metric, up in higher.items()})
    ahead = np.sign(table["difference"].astype(float)) * signs.astype(float)
    table["better"] = np.select([ahead > 0, ahead < 0], [table["first"], table["second"]], default="")
    return table.astype({"p_holm": "float64"})


def powerless(*tables: pd.DataFrame) -> list[str]:
    """Which families of tests cannot prove anything, because even the smallest p is too large after Holm's correction; a sentence for all
    of which the same is true.

    Each of the `tables` has the columns p, p_least and n, and metric where there is more than one family.
    """
    said: dict[str, list[str]] = {}
    split = [table.groupby("metric", sort=False) if "metric" in table else [("matched-fidelity gain", table)] for table in tables]
    for metric, group in chain.from_iterable(split):
        tests = group[np.isfinite(group["p"].astype(float))]
        if len(tests) and (least := float(tests["p_least"].min())) * len(tests) > SIGNIFICANT:
            each = (
                f"With at most {int(tests['n'].max())} samples and {len(tests)} comparison{'s' * (len(tests) > 1)} no p can pass"
            )
            corrected = f", {min(least * len(tests), 1):.2g} after Holm's correction" if len(tests) > 1 else ""
            said.setdefault(f"{each}: the smallest possible is {least:.2g}{corrected}", []).append(str(metric))
    return [f"{sentence} ({', '.join(metrics)})." for sentence, metrics in said.items()]


def _duelled(metric: str, pair: tuple[str, str], duel: Duel) -> dict[str, Any]:
    """A row of the differences; Holm's p value and who is better are told later."""
    first, second = duel.scores(metric)
    defined = np.isfinite(first) & np.isfinite(second)
    undefined = int((np.isfinite(first) != np.isfinite(second)).sum())
    found = outcome(duel.apart(metric), duel.turned)
    if undefined or not defined.any():
        known = float((first - second)[defined].mean()) if defined.any() else np.nan
        found = Tested(known, np.nan, np.nan, np.nan, found.least)
    ends = {"first": pair[0], "first_value": duel.values[0], "second": pair[1], "second_value": duel.values[1]}
    numbers = {"difference": found.difference, "low": found.low, "high": found.high, "p": found.p, "p_least": found.least}
    return {"metric": metric, "test": "swap"} | ends | numbers | {"n": int(defined.sum()), "undefined": undefined}


def _directions(scores: Scores) -> dict[str, bool | None]:
    prints = pd.concat([scores.pairs[["metric", "fingerprint"]], scores.sets[["metric", "fingerprint"]]]).drop_duplicates()
    return {m: scores.cards.get(p, {}).get("higher_is_better", False) for m, p in prints.itertuples(index=False)}
