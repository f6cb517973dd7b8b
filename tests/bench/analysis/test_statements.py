"""Sentences that a reader may quote: they say what the tests carry, and no more."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.analysis.statements import MOST, statements
from reports.data import Plane, Statement
from reports.frames import COLUMNS, empty
from reports.names import metric_name

PLANE = Plane("clip", "one_minus_lpips", {"one_minus_lpips": "lpips"})
NAMES = {
    "clip": metric_name("clip"),
    "lpips": metric_name("lpips"),
    "one_minus_lpips": metric_name("one_minus_lpips", made_of="lpips"),
}


def gain(first: str, second: str, value: float, half: float = 1.0, p: float = 0.01, **other: Any) -> dict[str, Any]:
    row = {"first": first, "second": second, "gain": value, "low": value - half, "high": value + half, "p": p / 2, "p_holm": p}
    return row | {"p_least": 1e-4, "fidelity_low": 0.4, "fidelity_high": 0.9, "n": 40} | other


def difference(
    metric: str, first: str, second: str, value: float, *, better: str, half: float = 0.01, p: float = 0.01
) -> dict[str, Any]:
    row = {"metric": metric, "first": first, "first_value": 0.5, "second": second, "second_value": 0.75, "difference": value}
    numbers = {"low": value - half, "high": value + half, "p": p / 2, "p_holm": p, "p_least": 1e-4, "n": 40, "undefined": 0}
    return row | numbers | {"test": "swap", "better": better}


def counted(editors: list[str], lacking: dict[str, int] | None = None) -> pd.DataFrame:
    done = [40 - (lacking or {}).get(name, 0) for name in editors]
    return pd.DataFrame({"editor": editors, "expected": 40, "done": done, "failed": 0, "scored": done})


def said(
    editors: list[str],
    gains: list[dict[str, Any]],
    differences: list[dict[str, Any]] | None = None,
    lacking: dict[str, int] | None = None,
    tradeoff: pd.DataFrame | None = None,
) -> list[Statement]:
    return statements(
        NAMES,
        PLANE,
        gains=pd.DataFrame(gains, columns=list(COLUMNS["gains"])),
        differences=pd.DataFrame(differences or [], columns=list(COLUMNS["differences"])),
        tradeoff=empty("tradeoff") if tradeoff is None else tradeoff,
        counts=counted(editors, lacking),
        editors=editors,
    )


def test_a_proven_gain_is_told_with_its_interval_and_test() -> None:
    (first, last) = said(["SDEdit", "DiffEdit"], [gain("SDEdit", "DiffEdit", -5.3, 3.4, p=0.003)])
    assert first.text == "At equal 1 − LPIPS, DiffEdit follows the text better than SDEdit (+5.3 CLIP score [1.9, 8.7]), n = 40."
    assert first.test == "sign flips of what each source picture adds to the gain, p = 0.003 after Holm's correction for 1 pair"
    assert first.part == "gains"
    assert last.text == "Every editor finished every unit: no edit is missing."


@pytest.mark.parametrize(
    ("half", "p"), [(1.0, 0.05), (1.0, 0.2), (6.0, 0.01)], ids=["at the level", "no", "the interval holds zero"]
)
def test_what_is_not_proven_is_not_told_apart(half: float, p: float) -> None:
    first = said(["a", "b"], [gain("a", "b", 5.0, half, p=p)])[0]
    assert first.text.startswith("At equal 1 − LPIPS, a and b are not told apart: +5.0 CLIP score [")
    assert "better" not in first.text


def test_a_difference_is_said_with_a_sign_even_where_it_is_none() -> None:
    assert "not told apart: 0.000 CLIP score [−1.000, 1.000]" in said(["a", "b"], [gain("a", "b", 0.0, p=1.0)])[0].text


def test_some_are_told_apart_and_the_others_named() -> None:
    gains = [gain("a", "b", 5.0), gain("a", "c", 7.0), gain("b", "c", 0.5, p=0.6)]
    first, second, *_ = said(["a", "b", "c"], gains)
    assert "a follows the text better than c (+7.0 CLIP score [6.0, 8.0]) and b (+5.0 [4.0, 6.0]), n = 40." in first.text
    assert "every p ≤ 0.010 after Holm's correction for 3 pairs" in first.test
    assert second.text == "At equal 1 − LPIPS, b and c are not told apart: +0.500 CLIP score [−0.500, 1.500], n = 40."


def test_curves_without_common_fidelity_are_named_and_nothing_is_claimed_of_them() -> None:
    nowhere = gain("a", "b", np.nan, p=np.nan, fidelity_low=np.nan, fidelity_high=np.nan)
    texts = [each.text for each in said(["a", "b", "c"], [nowhere, gain("a", "c", 5.0), gain("b", "c", 4.0)])]
    assert "Not compared at equal 1 − LPIPS, as their curves have no value of it in common: a and b." in texts
    assert not any("a follows" in text and "than b" in text for text in texts)


def test_few_samples_are_said_in_words() -> None:
    gains = [gain(one, two, 5.0, 6.0, p=0.19, p_least=0.031, n=6) for one, two in combinations("abcd", 2)]
    few = next(each for each in said(list("abcd"), gains) if "too few" in each.text)
    assert few.text == "6 samples are too few to prove any difference between editors: what the figures show is a hint."
    assert few.test.endswith("is 0.031, 0.19 after correction for 6 pairs")
    assert not any("too few" in each.text for each in said(list("ab"), [gain("a", "b", 5.0, p_least=0.031, n=6)]))


def test_operating_points_follow_the_direction_of_the_metric() -> None:
    """Of LPIPS the lower one is better: the sentence has the winner's difference, which is below zero."""
    rows = [difference("lpips", "a", "b", 0.07, better="b")]
    (told,) = [each for each in said(["a", "b"], [gain("a", "b", 1.0, p=0.5)], rows) if each.part == "differences"]
    assert told.text == (
        "At the operating points, b keeps more of the source than a at 0.5 (−0.070 LPIPS, lower is better [−0.080, −0.060]), n = 40."
    )


def test_hypervolumes_are_claimed_only_where_proven() -> None:
    proven = [difference("hypervolume", "a", "b", 0.12, better="a")]
    assert any("a covers more of the square" in each.text for each in said(["a", "b"], [gain("a", "b", 1.0, p=0.5)], proven))
    open_ = [difference("hypervolume", "a", "b", 0.12, better="a", p=0.4)]
    (told,) = [each for each in said(["a", "b"], [gain("a", "b", 1.0, p=0.5)], open_) if each.part == "hypervolumes"]
    assert "no editor is told from another" in told.text
    assert "covers more" not in told.text


def test_a_difference_without_direction_or_p_is_not_told() -> None:
    """Ties, metrics without a direction (no better one), and scores that are undefined for one of the two."""
    rows = [difference("clip", "a", "b", 3.0, better=""), difference("lpips", "a", "b", 3.0, better="a", p=np.nan)]
    assert not any(each.part == "differences" for each in said(["a", "b"], [gain("a", "b", 1.0, p=0.5)], rows))


def test_all_undefined() -> None:
    nothing = said(["a", "b"], [])
    assert nothing[0].text == "No two editors are compared at equal 1 − LPIPS: none has scores on both axes at every knob value."
    assert "better" not in " ".join(each.text for each in nothing)


def test_one_editor_is_described_and_not_compared() -> None:
    rows = pd.DataFrame(
        {"editor": "a", "knob": "eta", "value": [1.0, 0.0], "x_mean": [0.6, 0.9], "y_mean": [90.0, 66.0], "n": 6}
    ).reindex(columns=list(COLUMNS["tradeoff"]))
    first = said(["a"], [], tradeoff=rows)[0]
    assert first.text == (
        "a is the only editor, so nothing is compared; from 0 to 1 of its knob it takes CLIP score from 66.0 to 90.0 and 1 − LPIPS "
        "from 0.900 to 0.600, n = 6."
    )
    assert first.test == "no test: means of one editor"
    assert said(["a"], [])[0].text == "a is the only editor, so nothing is compared."
    assert said([], [])[0].text == "The run has anchors and no editor: nothing is compared."


def test_missing_edits_are_told_whatever_else_is() -> None:
    rows = [difference(name, "a", "b", 3.0, better="a") for name in ("clip", "lpips", "hypervolume")]
    found = said(
        ["a", "b", "c"], [gain("a", "b", 5.0), gain("a", "c", 0.1, p=0.9), gain("b", "c", np.nan)], rows, lacking={"c": 3}
    )
    assert found[-1].text == "Not every edit was made: c finished 37 of 40 units; the others finished all."
    assert len(found) == MOST


def test_twenty_editors_make_five_sentences_that_can_be_read() -> None:
    names = [f"editor {number}" for number in range(20)]
    gains = [gain(one, two, 2.0 * (names.index(two) - names.index(one))) for one, two in combinations(names, 2)]
    found = said(names, gains, lacking=dict.fromkeys(names[:9], 1))
    assert len(found) <= MOST
    assert found[0].text.startswith("At equal 1 − LPIPS, editor 0 follows the text better than editor 19 (+38.0 CLIP score")
    assert "and 16 more, n = 40" in found[0].text
    assert all(len(each.text) < 400 for each in found)


def test_odd_labels_stay_in_one_line_of_bearable_length() -> None:
    odd = "<b>编辑器</b>\n" + "x" * 10_000
    first = said([odd, "b"], [gain(odd, "b", 5.0)])[0]
    assert "\n" not in first.text
    assert len(first.text) < 250
    assert "<b>编辑器</b>" in first.text
