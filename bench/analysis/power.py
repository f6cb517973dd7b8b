"""How many votes tell one editor from another, before anyone votes.

A vote is +1 for the first editor, -1 for the second, 0 for neither. Its mean is the margin d; with a share w of votes for neither its
variance is v(d) = 1 - w - d^2. A two-sided test at level a has power b at margin d with

    n = design effect * ((z(1 - a/2) sqrt(v(0)) + z(b) sqrt(v(d))) / d)^2

votes on the pair of editors (the normal approximation to McNemar's test: Connor 1987, "Sample Size for Testing Differences in Proportions
for the Paired-Sample Design"). Several pairs share the level, as Bonferroni has it.

Votes that share a rater or a source picture are alike, which costs votes: the design effect (Kish 1965) is 1 + (m - 1) r for each kind of
cluster, with m votes a cluster and r their intra-class correlation; of two crossed kinds both excesses are added. It is stated, or taken
from the votes of a pilot, whose `preferences` tell it of each pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt

from bench.errors import ScoreError

__all__ = ["Power", "design_effect", "least_margin", "votes_needed"]


@dataclass(frozen=True)
class Power:
    """What is asked of a test: `level` (two-sided, shared by `comparisons` pairs of editors), `power`, and the share of votes for neither."""

    ties: float = 0.2
    level: float = 0.05
    power: float = 0.8
    comparisons: int = 1
    design_effect: float = 1.0

    def __post_init__(self) -> None:
        for name, value in (("level", self.level), ("power", self.power), ("share of ties", self.ties or 0.5)):
            if not 0 < value < 1:
                raise ScoreError(f"the {name} is {value:g}; it must lie between 0 and 1")
        if self.comparisons < 1 or not self.design_effect > 0:
            raise ScoreError("comparisons must be at least 1 and the design effect above 0")


def design_effect(per_rater: float, per_source: float, rater_icc: float, source_icc: float) -> float:
    """The design effect of votes on a pair of editors, `per_rater` of each rater and `per_source` of each source picture on average."""
    for name, value in (("rater_icc", rater_icc), ("source_icc", source_icc)):
        if not 0 <= value <= 1:
            raise ScoreError(f"{name} is {value:g}; an intra-class correlation lies between 0 and 1")
    return 1 + max(per_rater - 1, 0) * rater_icc + max(per_source - 1, 0) * source_icc


def votes_needed(margin: float, asked: Power) -> int:
    """Votes on a pair of editors that tell a `margin` (share for the one less share for the other, of all votes) from zero."""
    most = 1 - asked.ties
    if not 0 < margin <= most:
        raise ScoreError(
            f"a margin of {margin:g} cannot be: with {asked.ties:.0%} for neither it lies above 0 and is at most {most:g}"
        )
    return ceil(_votes(margin, asked))


def least_margin(votes: int, asked: Power) -> float:
    """The smallest margin that so many votes on a pair tell from zero; NaN where not even a unanimous vote would be."""
    from scipy.optimize import brentq

    most = 1 - asked.ties
    if votes < 1 or _votes(most, asked) > votes:
        return float("nan")
    return float(brentq(lambda margin: _votes(margin, asked) - votes, 1e-6, most))


def _votes(margin: float, asked: Power) -> float:
    from scipy.stats import norm

    most = 1 - asked.ties
    level = norm.ppf(1 - asked.level / (2 * asked.comparisons))
    root = level * sqrt(most) + norm.ppf(asked.power) * sqrt(max(most - margin**2, 0.0))
    return float(asked.design_effect * (root / margin) ** 2)
