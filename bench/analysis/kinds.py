"""What a score is, before it is a number: infinite, undefined (the metric answered that it has none), missing (nobody asked, or it failed).

Where a sample is something else than it was, no difference says by how much: undefined or missing on one side only, it cannot be compared;
infinite on one side only, it is lost or won, by the direction of the metric. What it is on both sides alike is no difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Odd", "loss_of", "odd"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Odd:
    """The samples of a cell that are no number on one side only.

    reason: in words, "" where there are none.  stops: whether some cannot be compared.  loss: infinite where one is lost, minus infinity
    where some are won and none is lost, else 0.  infinite: samples that are infinite on one side, with their scores before and after.
    """

    reason: str = ""
    stops: bool = False
    loss: float = 0.0
    infinite: tuple[tuple[str, float, float], ...] = ()


def loss_of(before: float, after: float, sign: float | None) -> float:
    """How much worse a score became; `sign` is 1 where higher is better, -1 where lower is, None where any move is a loss."""
    if before == after:
        return 0.0
    return abs(after - before) if sign is None else sign * (before - after)


def odd(before: Floats, after: Floats, missing: Sequence[int], sign: float | None, samples: Sequence[str]) -> Odd:
    """What is other about the scores `after` (samples,) than about those `before` (draws, samples), which may differ among themselves.

    `missing` are places in `after`, `samples` the names of all places.
    """
    made = np.ones(len(after), dtype=np.bool_)
    made[list(missing)] = False
    found: dict[str, list[str]] = {"are missing": [samples[place] for place in missing]}
    infinite = []
    for place in np.flatnonzero(made & (_kinds(before) != _kinds(after)).all(axis=0)).tolist():
        known, new = before[:, place][~np.isnan(before[:, place])], float(after[place])
        old = float(known[0]) if len(known) else math.nan
        if math.isnan(old):
            word = "are undefined in the baseline and defined now"
        elif math.isnan(new):
            word = "are undefined now and were not in the baseline"
        else:
            word = "are infinite now and were not" if math.isinf(new) else "were infinite and are not now"
            infinite.append((samples[place], old, new))
        found.setdefault(word, []).append(samples[place])
    losses = [loss_of(old, new, sign) for _, old, new in infinite]
    said = [f"{len(names)} of {len(after)} scores {word}{_first(names)}" for word, names in found.items() if names]
    stops = len(infinite) < sum(map(len, found.values()))
    return Odd("; ".join(said), stops, max(losses, default=0.0), tuple(infinite))


def _kinds(scores: Floats) -> NDArray[np.int8]:
    """0 of a number, 1 of what is undefined, 2 and -2 of what is infinite."""
    return np.where(np.isnan(scores), 1, np.where(np.isinf(scores), 2 * np.sign(np.nan_to_num(scores)), 0)).astype(np.int8)


def _first(names: Sequence[str]) -> str:
    return f" (first: sample {names[0]})" if names[0] else ""
