"""Categories and families."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from made_scores import AXES, entry, plan_of, scores_of

from bench.analysis import summary
from bench.analysis.groups import by_category, families
from bench.plan import Plan
from bench.scoring import Scores


def made(kinds: list[str | None]) -> tuple[Plan, Scores]:
    plan = plan_of(entry("a"), entry("copy", (0.0,), anchor=True))
    samples = [replace(sample, category=kinds[number % len(kinds)]) for number, sample in enumerate(plan.samples)]
    plan = replace(plan, samples=tuple(samples))
    scores = scores_of(plan, lambda label, value, number, seed: (10.0 * number + value, 0.1 * number))
    kind = scores.pairs["sample_id"].map({sample.id: sample.category for sample in samples})
    return plan, replace(scores, pairs=scores.pairs.assign(category=kind))


def test_each_category_has_the_means_of_its_own_samples() -> None:
    plan, scores = made(["add", "remove", None])
    table = by_category(plan, scores, AXES)
    assert list(dict.fromkeys(table["category"])) == ["add", "remove"], "samples without a category are in none"
    point = table[(table["category"] == "remove") & (table["editor"] == "a") & (table["value"] == 0.5)].iloc[0]
    assert (point["samples"], point["n"]) == (4, 4)
    assert point["y_mean"] == np.mean([10.0 * number + 0.5 for number in (1, 4, 7, 10)])
    assert set(table.loc[table["anchor"], "editor"]) == {"copy"}


def test_one_category_is_the_whole_run_and_not_told_again() -> None:
    plan, scores = made(["add"])
    assert by_category(plan, scores, AXES).empty
    assert len(summary.tradeoff(plan, scores, AXES))


def test_a_family_is_one_method_with_other_parameters() -> None:
    weak = replace(entry("weak"), name="method", params={"guidance": 1.0, "steps": 25, "clip_first": True})
    strong = replace(weak, label="strong", params={"guidance": 7.5, "steps": 25, "clip_first": False})
    table = families(plan_of(weak, entry("alone"), strong))
    assert table.to_dict("records") == [
        {"editor": "weak", "method": "method", "settings": "guidance 1, clip first on"},
        {"editor": "strong", "method": "method", "settings": "guidance 7.5, clip first off"},
    ]
    other_grid = replace(weak, label="few", values=(0.5,))
    assert set(families(plan_of(weak, other_grid))["settings"]) == {"other knob values"}
    assert families(plan_of(entry("a"), entry("b"))).empty
