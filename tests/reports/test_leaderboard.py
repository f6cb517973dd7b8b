"""The leaderboard's cells."""

from __future__ import annotations

from dataclasses import replace

from reports.cells import Cell
from reports.data import Plane, ReportData
from reports.leaderboard import board
from reports.names import metric_names
from reports.style import looks

NAN = float("nan")
LOOK = looks(["alpha", "beta<&>"], ["copy", "oracle"])


def column(data: ReportData, title: str) -> list[Cell]:
    table = board(data, LOOK)
    at = [c.title for c in table.columns].index(title)
    return [row.cells[at] for row in table.rows]


def test_counts_come_from_the_counts_frame_and_failures_raise_an_alarm(data: ReportData) -> None:
    assert [(c.text, c.alarm) for c in column(data, "failed")] == [("0", ""), ("1", "failed"), ("0", ""), ("0", "")]
    assert [(c.text, c.alarm) for c in column(data, "scored")] == [("2", ""), ("1", "short"), ("2", ""), ("2", "")]


def test_the_leaderboards_own_counts_win(data: ReportData) -> None:
    own = replace(data, leaderboard=data.leaderboard.assign(failed=[5, 0, 0, 0]))
    assert [c.text for c in column(own, "failed")] == ["5", "0", "0", "0"]


def test_who_is_first_is_told_by_the_caller(data: ReportData) -> None:
    assert [c.best for c in column(data, "CLIP")] == [False, True, False, False]
    assert [c.best for c in column(data, "CSFID")] == [False, True, False, False]
    nobody = replace(data, leaderboard=data.leaderboard.drop(columns="csfid_best").assign(clip_best=False))
    assert not any(c.best for title in ("CLIP", "CSFID") for c in column(nobody, title))


def test_a_rank_says_what_it_stands_on(data: ReportData) -> None:
    ranks = column(data, "rank")
    assert [(c.text, c.note) for c in ranks[:2]] == [("2", "on the 1 of 2 samples that all ranked editors have"), ("1", "")]
    assert [c.text for c in ranks[2:]] == ["–", "–"]
    assert board(data, LOOK).columns[0].title == "rank"


def test_the_rank_at_worst_is_shown_where_an_editor_lacks_edits(data: ReportData) -> None:
    ranked = data.leaderboard.assign(rank_at_worst=[1.0, 2.0, NAN, NAN])
    lacking = replace(data, leaderboard=ranked.assign(edits_percent=[100.0, 50.0, 100.0, 100.0]))
    assert [c.text for c in column(lacking, "at worst")] == ["1", "2", "–", "–"]
    whole = replace(data, leaderboard=ranked.assign(edits_percent=[100.0, 100.0, 50.0, 100.0]))
    assert {"at worst", "rank at worst"}.isdisjoint(c.title for c in board(whole, LOOK).columns), "anchors are not ranked"


def test_a_mean_over_fewer_samples_than_planned_says_over_how_many(data: ReportData) -> None:
    frame = data.leaderboard.assign(clip_n=[1, 2, 2, 2])
    assert [c.note for c in column(replace(data, leaderboard=frame), "CLIP")] == ["1 of 2", "", "", ""]


def test_interval_text_and_bar_agree(data: ReportData) -> None:
    cell = column(data, "CLIP")[0]
    assert (cell.text, cell.interval) == ("0.260", "[0.210, 0.300]")
    # the column's range is 0.14 to 0.44
    assert cell.bar == (23.3, 30.0, 40.0)
    assert column(data, "CSFID")[0].bar is None


def test_directions_and_unknown_columns(data: ReportData) -> None:
    frame = data.leaderboard.assign(dino=[0.5, 0.4, 0.3, 0.2], dino_low=0.1, dino_high=0.9, comment=["x", None, "y", "z"])
    table = board(replace(data, leaderboard=frame), LOOK)
    better = {c.title: c.better for c in table.columns}
    assert (better["CLIP"], better["CSFID"], better["s / edit"], better["dino"]) == ("higher", "lower", "lower", "")
    assert [c.text for c in column(replace(data, leaderboard=frame), "comment")] == ["x", "–", "y", "z"]
    assert "dino low" not in better


def test_missing_scores_sort_last_and_show_a_dash(data: ReportData) -> None:
    frame = data.leaderboard.assign(clip=[float("nan"), 0.3, 0.2, 0.4])
    cell = column(replace(data, leaderboard=frame), "CLIP")[0]
    assert (cell.text, cell.sort, cell.best) == ("–", "", False)


def test_flags_become_badges(data: ReportData) -> None:
    badges = [[text for text, _ in cell.badges] for cell in column(data, "fair play")]
    assert badges == [["fine-tunes"], ["mask", "best of 4 by clip"], [], []]


def test_operating_point_is_shown_for_editors_only(data: ReportData) -> None:
    assert [row.point for row in board(data, LOOK).rows] == ["η 0.5", "strength 0.5", "", ""]


def test_the_axes_come_first_whatever_order_the_metrics_have(data: ReportData) -> None:
    assert [c.title for c in board(data, LOOK).columns][1:3] == ["CLIP", "CSFID"]
    frame = data.leaderboard.assign(ssim=0.5)
    assert [c.title for c in board(replace(data, leaderboard=frame, plane=Plane("ssim", "csfid")), LOOK).columns][1:4] == [
        "SSIM",
        "CSFID",
        "CLIP",
    ]


def test_a_metric_without_a_direction_has_no_arrow(data: ReportData) -> None:
    curves = data.curves[data.curves["metric"] == "clip"].astype({"higher_is_better": object})
    curves = curves.assign(metric="mask_fraction", higher_is_better=None)
    name = metric_names(replace(data, curves=curves))["mask_fraction"]
    assert (name.better, name.arrow) == ("", "")


def test_a_rank_that_tests_leave_open_is_a_range(data: ReportData) -> None:
    tied = replace(data, leaderboard=data.leaderboard.assign(rank_low=[1.0, 1.0, NAN, NAN], rank_high=[2.0, 1.0, NAN, NAN]))
    ranks = column(tied, "rank")
    assert [(cell.text, cell.sort) for cell in ranks] == [("1–2", "2.0"), ("1", "1.0"), ("–", ""), ("–", "")]
    titles = [each.title for each in board(tied, LOOK).columns]
    assert titles.count("rank") == 1
    assert not {"rank low", "rank high"} & set(titles)


def test_a_metric_whose_judge_is_doubted_has_a_dagger_wherever_it_is_named(data: ReportData) -> None:
    """In tables, sentences and axes alike, with the doubt beside its meaning; no other metric has one."""
    print_ = str(data.curves.loc[data.curves["metric"] == "clip", "fingerprint"].iloc[0])
    cards = {**data.cards, print_: {**data.cards.get(print_, {}), "doubt": "its judge failed 1 of 13 checks: black picture"}}
    doubted = replace(data, cards=cards)
    name = metric_names(doubted)["clip"]
    assert (name.title, name.noun) == ("CLIP †", "CLIP score †")
    assert name.label.endswith(" †")
    assert name.meaning.endswith("; its judge failed 1 of 13 checks: black picture")
    marked = [column.title for column in board(doubted, LOOK).columns if "†" in column.title]
    assert marked == ["CLIP †"]
