"""Samples on which nothing that rests on the judge can be said, read off the anchors of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from bench.toybox.telling import LEAST, told

if TYPE_CHECKING:
    from bench.plan import Plan
    from bench.scoring import Scores

__all__ = ["untold"]

NAMED = 5
"""Samples that the sentence names before it counts the rest."""


def untold(plan: Plan, scores: Scores) -> list[str]:
    """A sentence on the samples whose ground truth the CLIP score does not tell from the source, or none.

    It takes the anchors ``copy`` and ``oracle``, which are source and truth; where the run lacks one, nothing is known.
    """
    rows = scores.pairs[scores.pairs["metric"] == "clip"]
    labels = {entry.name: entry.label for entry in plan.entries}
    ends = [rows[rows["editor"] == labels.get(name)].groupby("sample_id")["score"].mean() for name in ("copy", "oracle")]
    both = pd.concat(ends, axis=1, keys=("source", "truth"), join="inner").dropna()
    blind = both.index[~told(both["source"].to_numpy(), both["truth"].to_numpy())]
    if not len(blind):
        return []
    more = f" and {len(blind) - NAMED} more" if len(blind) > NAMED else ""
    return [
        f"clip does not tell {len(blind)} of {len(both)} samples edited from unedited: it scores the ground truth less than {LEAST:g} "
        f"above the source ({', '.join(blind[:NAMED])}{more}). They count in every mean, where their clip says nothing of the edit."
    ]
