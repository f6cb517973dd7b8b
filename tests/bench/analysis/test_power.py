from __future__ import annotations

import numpy as np
import pytest

from bench.analysis.power import Power, design_effect, least_margin, votes_needed
from bench.errors import ScoreError


def test_the_textbook_case() -> None:
    """60 % against 40 % without ties: 193.1 votes by the normal approximation of the sign test (1.96 + 0.8416 sqrt(0.96))^2 / 0.04."""
    assert votes_needed(0.2, Power(ties=0.0)) == 194


def test_ties_correlation_and_comparisons_cost_votes_or_spare_them() -> None:
    plain = votes_needed(0.2, Power(ties=0.0))
    assert votes_needed(0.2, Power(ties=0.3)) < plain, "at the same margin, what is undecided has no variance"
    assert votes_needed(0.2, Power(ties=0.0, design_effect=1.5)) == pytest.approx(1.5 * plain, abs=1)
    assert votes_needed(0.2, Power(ties=0.0, comparisons=6)) > plain
    assert design_effect(4, 10, 0.1, 0.05) == pytest.approx(1 + 3 * 0.1 + 9 * 0.05)
    assert design_effect(0.5, 1, 0.1, 0.05) == 1.0


def test_the_least_margin_is_the_inverse() -> None:
    asked = Power(ties=0.2, comparisons=3, design_effect=1.3)
    least = least_margin(500, asked)
    assert votes_needed(least * 1.001, asked) <= 500 < votes_needed(least * 0.99, asked)
    assert np.isnan(least_margin(3, asked)), "three votes tell nothing, even if unanimous"


def test_a_test_has_the_power_that_is_asked_for() -> None:
    """4,000 studies of the number of votes that is said to be needed: 80 % with a standard deviation of 0.6 %; the normal approximation
    is good to about a per cent here."""
    asked = Power(ties=0.2)
    votes, rng = votes_needed(0.25, asked), np.random.default_rng(0)
    drawn = rng.choice([1.0, -1.0, 0.0], p=[0.525, 0.275, 0.2], size=(4000, votes))
    z = drawn.mean(axis=1) / (drawn.std(axis=1, ddof=1) / np.sqrt(votes))
    assert (np.abs(z) > 1.96).mean() == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(
    ("margin", "more", "said"),
    [
        (0.0, {}, "a margin of 0 cannot be"),
        (0.9, {"ties": 0.2}, "at most 0.8"),
        (0.2, {"ties": 1.0}, "share of ties is 1"),
        (0.2, {"power": 0.0}, "the power is 0"),
        (0.2, {"design_effect": 0.0}, "the design effect above 0"),
    ],
)
def test_what_cannot_be_is_refused(margin: float, more: dict[str, float], said: str) -> None:
    with pytest.raises(ScoreError, match=said):
        votes_needed(margin, Power(**more))  # type: ignore[arg-type]
    with pytest.raises(ScoreError, match="between 0 and 1"):
        design_effect(2, 2, 1.5, 0.0)
