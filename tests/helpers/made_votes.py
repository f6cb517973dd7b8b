"""Votes of made-up raters on made-up editors, whose strengths are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.scoring.votes import votes_frame

STRENGTHS = (-0.5, 0.0, 0.2, 0.6)


def vote(**changes: Any) -> dict[str, Any]:
    """A row of the frame: the first rater prefers a to b, a shown on the left."""
    row: dict[str, Any] = {"study": "made", "rater": "r1", "position": 0, "kind": "trial", "item": "i1", "sample_id": "s1"}
    row |= {"source_id": "p1", "category": "", "question": "preference", "first": "a", "first_value": 0.5, "second": "b"}
    row |= {"second_value": 0.5, "first_side": "left", "answer": "first", "score": None, "expected": "", "seconds": 2.0}
    return row | {"time": "2026-01-01T00:00:00+00:00", "failure": ""} | changes


def rating(**changes: Any) -> dict[str, Any]:
    """A row of the frame: the first rater gives a 1 to a for SC."""
    return vote(question="SC", second="", second_value=None, first_side="", answer="", score=1.0) | changes


def drawn_votes(
    rng: np.random.Generator,
    raters: int,
    sources: int,
    each: int = 20,
    *,
    strengths: Sequence[float] = STRENGTHS,
    source_sd: float = 0.0,
    rater_sd: float = 0.0,
    tie: float = 0.5,
    lean: float = 0.0,
) -> pd.DataFrame:
    """Votes by the model of `bench.analysis.strengths`: `each` rater votes on so many pairs, drawn without replacement.

    source_sd, rater_sd: how much an editor's strength varies from picture to picture and from rater to rater.
    """
    names, theta = "abcdefgh"[: len(strengths)], np.array(strengths)
    of_source = rng.normal(0, source_sd, (sources, len(names)))
    of_rater = rng.normal(0, rater_sd, (raters, len(names)))
    pairs = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
    rows = []
    for rater in range(raters):
        for number in rng.permutation(sources * len(pairs))[:each].tolist():
            source, (i, j) = number // len(pairs), pairs[number % len(pairs)]
            one, other = (theta[k] + of_source[source, k] + of_rater[rater, k] for k in (i, j))
            left = bool(rng.random() < 0.5)
            weights = np.exp([one + (left - 0.5) * lean, other - (left - 0.5) * lean, np.log(tie) + (one + other) / 2])
            answer = ("first", "second", "tie")[int(np.searchsorted(np.cumsum(weights / weights.sum()), rng.random()))]
            about = {"rater": f"r{rater}", "item": str(number), "source_id": f"p{source}", "sample_id": f"s{source}"}
            rows.append(vote(**about, first=names[i], second=names[j], answer=answer, first_side="left" if left else "right"))
    return votes_frame(rows)
