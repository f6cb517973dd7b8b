"""The printed columns of a protocol, and turns, on the page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reports import write_report
from reports.data import ReportData
from reports.names import metric_names
from reports.protocol import protocol_table, turns_table
from reports.style import looks
from reports.turns import turn_panels

LOOK = looks(["alpha"], ["copy"])


@pytest.fixture
def printed(data: ReportData) -> ReportData:
    """Two columns of one editor: one with both forms, one with neither."""
    base = {"editor": "alpha", "knob": "amount", "value": 0.5, "better": "higher"}
    own = {"metric": "psnr", "mean": 26.5, "low": 25.0, "high": 28.0, "n": 7, "expected": 8, "reason": "7 of 8"}
    theirs = {"corrected_metric": "other", "corrected_mean": 24.0, "corrected_low": np.nan, "corrected_high": np.nan}
    none = dict.fromkeys((*own, *theirs), np.nan) | {"metric": "", "corrected_metric": "", "n": 0, "reason": "nobody says"}
    rows = [
        base | {"column": "PSNR dB"} | own | theirs,
        base | {"column": "CLIP"} | none,
        base | {"column": "CLIP", "value": 1.0} | none,
    ]
    turns = [
        {"editor": "alpha", "value": 0.5, "metric": "clip", "turn": turn, "mean": mean, "low": mean - 1, "high": mean + 1, "n": n}
        | {"higher_is_better": True, "change": change, "change_low": change - spread, "change_high": change + spread}
        for turn, mean, n, change, spread in ((1, 30.0, 5, 0.0, np.nan), (2, 28.0, 3, -1.5, 0.5))
    ]
    note = "mine; mean over samples; where published and corrected part: nowhere"
    return replace(data, protocol=pd.DataFrame(rows), protocol_note=note, turns=pd.DataFrame(turns), own_chain=True)


def test_published_and_corrected_stand_side_by_side_and_a_missing_column_is_one_line(printed: ReportData) -> None:
    found = protocol_table(printed, LOOK)
    texts = [[cell.text for cell in line.cells] for line in found.lines]
    assert texts[0] == ["PSNR dB", "alpha", "26.50", "24.00", "7", "7 of 8"]
    assert texts[1:] == [["CLIP", "all", "–", "–", "–", "nobody says"]]
    assert found.lines[0].cells[2].interval == "[25.00, 28.00]"
    assert found.lead.startswith("Mine; mean over samples; where published and corrected part: nowhere.")
    assert found.categories == ("PSNR dB", "CLIP")


def test_there_is_no_column_of_corrections_where_nothing_needs_one(printed: ReportData) -> None:
    sound = replace(printed, protocol=printed.protocol.assign(corrected_metric="", corrected_mean=np.nan))
    found = protocol_table(sound, LOOK)
    assert [column.title for column in found.columns] == ["printed column", "editor", "as published", "n", "remark"]
    assert {len(line.cells) for line in found.lines} == {5}


def test_turns_are_columns(printed: ReportData) -> None:
    found = turns_table(printed, LOOK, metric_names(printed))
    assert [column.title for column in found.columns] == ["metric", "editor", "turn 1", "turn 2", "n"]
    (line,) = found.lines
    assert [cell.text for cell in line.cells[1:]] == ["alpha", "30.00", "28.00", "5 / 3"]
    assert "the editor's own picture" in found.lead
    assert "the true picture of the turn before. Metrics" in turns_table(replace(printed, own_chain=False), LOOK, {}).lead


def test_turns_are_drawn_as_changes_since_the_first(printed: ReportData) -> None:
    drawing = turn_panels(printed, LOOK)
    assert drawing.figure is not None
    (ax,) = drawing.figure.axes
    (line,) = [each for each in ax.lines if list(each.get_xdata()) == [1, 2]]
    assert list(line.get_ydata()) == [0.0, -1.5]
    (band,) = [each for each in ax.collections if str(each.get_gid()).startswith("band-only-")]
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (-2.0, 0.0)
    assert "its own picture of the turn before" in drawing.caption
    assert "the true picture" in turn_panels(replace(printed, own_chain=False), LOOK).caption


def test_sessions_without_a_comparable_later_turn_have_no_figure(printed: ReportData) -> None:
    alone = printed.turns.assign(change=[0.0, np.nan])
    assert "first and of a later turn" in turn_panels(replace(printed, turns=alone), LOOK).absent


def test_a_run_without_protocol_and_sessions_has_neither(data: ReportData) -> None:
    assert not protocol_table(data, LOOK).lines
    assert not turns_table(data, LOOK, metric_names(data)).lines


def test_both_are_on_the_page_with_their_files(printed: ReportData, tmp_path: Path) -> None:
    page = write_report(tmp_path / "report", printed).read_text(encoding="utf-8")
    assert "By the printed columns" in page
    assert "Turn by turn" in page
    assert len(pd.read_csv(tmp_path / "report" / "protocol.csv")) == 3
    assert len(pd.read_csv(tmp_path / "report" / "turns.csv")) == 2
    assert "What is lost from turn to turn" in page
    assert pd.read_csv(tmp_path / "report" / "turn_curves.csv")["change"].tolist() == [0.0, -1.5]
    again = write_report(tmp_path / "report", replace(printed, turns=printed.turns[:0])).read_text(encoding="utf-8")
    assert "from turn to turn" not in again
    assert not (tmp_path / "report" / "turn_curves.csv").exists()
