"""Samples whose truth the judge does not tell from the source are named in a run's report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from made_scores import entry, plan_of, scores_of

from bench.analysis.untold import NAMED, untold
from bench.plan import Plan
from bench.scoring import Scores
from bench.toybox.telling import LEAST, told


def made(truths: Sequence[float], anchors: Sequence[str] = ("copy", "oracle")) -> tuple[Plan, Scores]:
    """Sources that score 90 and these truths, under labels that are not the anchors' names, and an editor that scores 0."""
    named = [replace(entry(f"the {name}", (0.0,), anchor=True), name=name) for name in anchors]
    plan = plan_of(entry("fade"), *named, samples=len(truths))
    of = {"the copy": [90.0] * len(truths), "the oracle": truths, "fade": [0.0] * len(truths)}
    return plan, scores_of(plan, lambda label, value, number, seed: (of[label][number], 0.0))


def test_what_the_judge_scores_alike_is_told_with_its_samples() -> None:
    (said,) = untold(*made([90.4, 98.0, 90 + LEAST, 80.0]))
    assert "2 of 4 samples" in said
    assert "(s0, s3)" in said


def test_many_are_counted() -> None:
    (said,) = untold(*made([91.0] * (NAMED + 2)))
    assert said.count(", s") == NAMED - 1
    assert " and 2 more)" in said


def test_nothing_is_said_where_all_are_told_or_an_anchor_or_a_score_lacks() -> None:
    assert untold(*made([98.0])) == []
    assert untold(*made([90.0], ["copy"])) == []
    assert untold(*made([np.nan])) == []


def test_a_missing_score_is_not_told() -> None:
    assert told(np.array([60.0, 60.0, np.nan]), np.array([65.0, np.nan, 90.0])).tolist() == [True, False, False]
