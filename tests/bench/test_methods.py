"""The methods paragraph of a run, its references, and how wide its figures are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_specs import SpecMaker, editor

from bench import api
from bench.commands.report import report_data, report_run
from bench.store import Run
from bench.workers.crew import Options


@pytest.fixture
def run(make_spec: SpecMaker, tmp_path: Path) -> Run:
    spec = make_spec(editor("Fade"), editor("Fade", label="loud", preset="loud"), editor("FailsOnce"), editor("Unchanged"))
    made = api.run(spec, tmp_path / "run", options=Options(executor="inline"))
    api.score(made)
    return made


@pytest.mark.slow
def test_the_paragraph_tells_data_editors_metrics_counts_and_environment(run: Run) -> None:
    data = report_data(run)
    fingerprints = set(data.cards)
    for part in (
        "We edited 3 samples of 2 source pictures of ",
        run.plan.manifest_hash[:16],
        "with 1 seed.",
        "Fade (fade, version 1",
        "loud (fade, version 1",
        "preset loud",
        "amount in {0, 0.5, 1}",
        "Controls: Unchanged.",
        "Of 12 units (one sample by one editor and seed) 11 were made and 1 failed; means cover what was made.",
        "at equal 1 − LPIPS by sign flips",
        "Made with etabench ",
        "in float32 on cpu.",
        *(f"fingerprint {print_}" for print_ in fingerprints),
    ):
        assert part in data.methods
    assert fingerprints
    assert len(data.families) == 2
    assert data.families["settings"].tolist() == ["gain 1", "gain 2"]
    assert data.statements[-1].text == "Not every edit was made: FailsOnce finished 2 of 3 units; the others finished all."


@pytest.mark.slow
def test_figures_are_as_wide_as_the_command_says_and_another_width_is_another_report(
    run: Run, etabench: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, _ = etabench("report", run.path, "--width", "3.25")
    assert code == 0
    assert "- Not every edit was made: FailsOnce finished 2 of 3 units; the others finished all." in out
    figure = run.report / "metric_curves.svg"
    assert 'width="234pt"' in figure.read_text(encoding="utf-8")
    report_run(run, anew=False, width=3.25)
    before = figure.stat().st_mtime_ns
    report_run(run, anew=False)
    assert figure.stat().st_mtime_ns != before
    assert 'width="396pt"' in figure.read_text(encoding="utf-8")
    assert etabench("report", run.path, "--width", "0")[0] == 2


@pytest.mark.slow
def test_a_run_without_the_axes_metrics_draws_what_there_is_and_lists_the_rest(make_spec: SpecMaker, tmp_path: Path) -> None:
    made = api.run(make_spec(metrics=["psnr", "mse"]), tmp_path / "few", options=Options(executor="inline"))
    api.score(made)
    page = api.report(made).read_text(encoding="utf-8")
    assert page.count("<figure") == 1
    assert "Left out for want of data" in page
    assert "Editability against fidelity" in page
    assert {path.stem for path in made.report.glob("*.png")} == {"metric_curves"}
