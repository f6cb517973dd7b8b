"""The judges judged, and a page of them alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from reports import Plane, ReportData, write_report
from reports.judges import judges_figure, judges_table, verdicts

NAN = float("nan")
PLANE = Plane("clip", "ssim")


def judged(*rows: tuple[str, str, float, float, float]) -> pd.DataFrame:
    columns = ["metric", "truth", "rho", "low", "high"]
    return pd.DataFrame(rows, columns=columns).assign(agreement=0.75, agreement_low=0.7, agreement_high=0.8, n=100, undefined=0.0)


JUDGES = judged(
    ("clip", "edit success", 0.5, 0.4, 0.6),
    ("mse", "edit success", 0.8, 0.7, 0.9),
    ("accuracy", "edit success", 0.75, 0.6, 0.85),
    ("fid", "edit success", 0.95, NAN, NAN),
    ("clip", "background kept", -0.6, -0.7, -0.5),
    ("mse", "background kept", 0.1, -0.1, 0.2),
)


def test_the_verdict_names_the_best_and_what_cannot_be_told_from_it() -> None:
    assert verdicts(JUDGES) == [("edit success", ["mse"], ["accuracy"]), ("background kept", [], [])]


def test_metrics_without_an_interval_count_where_there_is_no_other() -> None:
    only = judged(("fid", "x", 0.9, NAN, NAN), ("kid", "x", 0.7, NAN, NAN), ("sfid", "x", NAN, NAN, NAN))
    assert verdicts(only) == [("x", ["fid"], [])]


def test_the_table_has_a_row_per_metric_and_says_what_to_trust() -> None:
    found = judges_table(ReportData("x", PLANE, judges=JUDGES))
    assert [line.cells[0].text for line in found.lines] == ["FID", "MSE", "accuracy", "CLIP"]
    assert [column.title for column in found.columns] == ["metric", "edit success", "agrees", "background kept", "agrees", "n"]
    mse = found.lines[1].cells
    assert (mse[1].text, mse[1].interval, mse[1].best, mse[2].text) == ("+0.80", "[+0.70, +0.90]", True, "75%")
    assert found.lines[0].cells[3].text == "–"
    assert found.lead.startswith("For edit success, trust MSE; not told apart from it: accuracy. For background kept, no metric")


def test_the_figure_has_a_panel_per_truth_and_a_line_per_metric() -> None:
    figure = judges_figure(ReportData("x", PLANE, judges=JUDGES)).figure
    assert figure is not None
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["edit success", "background kept"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["FID", "MSE", "accuracy", "CLIP"]


def test_a_page_of_judges_alone_leaves_a_runs_parts_out(tmp_path: Path) -> None:
    page = write_report(tmp_path / "report", ReportData("judges", PLANE, judges=JUDGES, judges_note="Of 100 edits."))
    text = page.read_text(encoding="utf-8")
    for part in ("Leaderboard", "There is no", "Gallery", "Identity of the numbers"):
        assert part not in text
    assert "Of 100 edits." in text
    assert {path.name for path in page.parent.iterdir()} == {
        "index.html",
        *(f"judges.{ending}" for ending in ("svg", "png", "pdf", "csv")),
    }


@pytest.mark.slow
def test_judges_join_a_run(data: ReportData, tmp_path: Path) -> None:
    text = write_report(tmp_path / "report", replace(data, judges=JUDGES)).read_text(encoding="utf-8")
    for part in ("Leaderboard", "Which metric to trust for which question", 'id="judges"', 'id="judges-table"'):
        assert part in text
