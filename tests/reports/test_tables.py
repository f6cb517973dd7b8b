"""The tables beside the leaderboard."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from reports.cells import Cell
from reports.data import ReportData
from reports.leaderboard import board
from reports.style import looks
from reports.tables import Table, tables

LOOK = looks(["alpha", "beta<&>"], ["copy", "oracle"])


def table(data: ReportData, name: str) -> Table:
    return next(found for found in tables(data, LOOK) if found.name == name)


def column(found: Table, title: str) -> list[Cell]:
    at = [c.title for c in found.columns].index(title)
    return [line.cells[at] for line in found.lines]


def test_tables_without_rows_are_left_out(data: ReportData) -> None:
    assert [found.name for found in tables(data, LOOK)] == ["differences", "hypervolumes", "gains", "seeds", "coverage"]
    assert tables(ReportData("nothing", data.plane), LOOK) == []


def test_a_verdict_needs_holms_p(data: ReportData) -> None:
    verdicts = column(table(data, "differences"), "verdict")
    assert [(cell.text, cell.best) for cell in verdicts] == [("beta<&> is better", True), ("no proof", False)]


def test_what_is_undefined_for_one_of_the_two_has_no_verdict(data: ReportData) -> None:
    one_sided = replace(data, differences=data.differences.assign(p=[np.nan, 0.3], p_holm=[np.nan, 0.6], undefined=[1, 0]))
    verdicts = [cell.text for cell in column(table(one_sided, "differences"), "verdict")]
    assert verdicts == ["not tested: undefined for one of them (1 of the samples)", "no proof"]


def test_tests_that_can_prove_nothing_are_named_above_the_table(data: ReportData) -> None:
    sentence = "With 8 pictures and 10 comparisons no p can pass."
    assert sentence not in table(data, "differences").lead
    assert table(replace(data, powerless=[sentence]), "differences").lead.endswith(sentence)


def test_a_difference_of_whole_curves_stands_at_no_knob_value(data: ReportData) -> None:
    whole = data.differences.assign(metric="hypervolume", first_value=np.nan, second_value=np.nan)
    assert [cell.interval for cell in column(table(replace(data, differences=whole), "differences"), "A")] == ["", ""]


def test_the_largest_hypervolume_of_unequal_samples_is_not_marked(data: ReportData) -> None:
    unequal = replace(data, hypervolumes=data.hypervolumes.assign(n=[2, 1]))
    assert not any(cell.best for cell in column(table(unequal, "hypervolumes"), "hypervolume"))


def test_a_difference_has_a_sign_a_bar_round_zero_and_its_own_digits(data: ReportData) -> None:
    clip, csfid = column(table(data, "differences"), "A − B")
    assert (clip.text, clip.interval) == ("−0.033", "[−0.060, −0.010]")
    # The axis of a metric reaches as far as its farthest end on both sides of zero: -0.06..0.06.
    assert clip.bar == (0.0, 41.7, 22.2)
    assert clip.centred
    assert (csfid.text, csfid.bar) == ("+10.00", None)


def test_small_p_values_are_not_zero(data: ReportData) -> None:
    tiny = replace(data, differences=data.differences.assign(p=[0.0001, np.nan]))
    assert [cell.text for cell in column(table(tiny, "differences"), "p")] == ["< 0.001", "–"]


def test_metrics_can_be_filtered(data: ReportData) -> None:
    found = table(data, "differences")
    assert found.categories == ("CLIP", "CSFID")
    assert [line.category for line in found.lines] == ["CLIP", "CSFID"]


def test_the_largest_hypervolume_is_marked(data: ReportData) -> None:
    assert [cell.best for cell in column(table(data, "hypervolumes"), "hypervolume")] == [False, True]


def test_curves_that_do_not_overlap_say_so(data: ReportData) -> None:
    nothing = dict.fromkeys(("gain", "low", "high", "fidelity_low", "fidelity_high"), np.nan)
    found = table(replace(data, gains=data.gains.assign(**nothing)), "gains")
    assert column(found, "1 − LPIPS")[0].text == "curves do not overlap"
    assert column(found, "gain of A over B")[0].text == "–"


def covered(curves: pd.DataFrame, **first: float) -> pd.DataFrame:
    frame = curves.copy()
    for name, value in first.items():
        frame.loc[0, name] = value
    return frame


def test_a_complete_run_says_so_in_one_sentence(data: ReportData) -> None:
    found = table(data, "coverage")
    assert found.lines == ()
    assert found.lead.startswith("Every planned edit was made")


def test_what_is_missing_is_listed_with_bounds(data: ReportData) -> None:
    curves = covered(data.curves, n=1, coverage=0.5, bound_low=0.1, bound_high=np.inf)
    found = table(replace(data, curves=curves), "coverage")
    (row,) = found.lines
    assert [cell.text for cell in row.cells] == ["alpha", "CLIP", "50%", "1 of 2", "0", "0.200", "0.100 to ∞"]
    assert row.cells[2].alarm == "short"
    endless = covered(data.curves, coverage=0.5, bound_low=-np.inf, bound_high=np.inf)
    assert column(table(replace(data, curves=endless), "coverage"), "bounds")[0].text == "none"


def test_a_value_that_lacks_scores_says_so_in_the_leaderboard(data: ReportData) -> None:
    curves = data.curves.copy()
    curves.loc[(curves["editor"] == "alpha") & (curves["metric"] == "clip") & (curves["value"] == 0.5), "n"] = 1
    rows = board(replace(data, curves=curves), LOOK)
    at = [c.title for c in rows.columns].index("CLIP")
    assert [row.cells[at].note for row in rows.rows] == ["1 of 2", "", "", ""]


def test_a_metric_that_is_not_known_here_is_told_by_its_card(data: ReportData) -> None:
    curves = pd.concat([data.curves, data.curves[data.curves["metric"] == "clip"].assign(metric="own_thing", fingerprint="x")])
    cards = {**data.cards, "x": {"definition": "How own it is. And more."}}
    frame = data.leaderboard.assign(own_thing=[1.0, 2.0, 3.0, 4.0])
    columns = {c.title: c for c in board(replace(data, curves=curves, cards=cards, leaderboard=frame), LOOK).columns}
    assert (columns["own thing"].meaning, columns["own thing"].better) == ("How own it is", "higher")
