"""Printed numbers are whole, doubted where they contradict themselves, and laid beside runs that are comparable only."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import registry
from bench.analysis.published import Beside, Column, Printed, beside, published
from bench.errors import EtabenchError
from bench.manifest.benchmarks import benchmarks

EVERY = published()


def test_methods_and_metrics_have_names_that_exist() -> None:
    assert {each.editor for each in EVERY} - {""} <= registry.editors().keys()
    assert {each.column.metric for each in EVERY} - {""} <= registry.metrics().keys()
    assert {each.benchmark for each in EVERY} <= benchmarks().keys() | {"tedbench"}
    assert all(each.column.metric or each.column.why for each in EVERY if each.editor)
    assert all(each.source for each in EVERY)


def test_a_total_that_is_not_the_mean_of_its_row_is_marked() -> None:
    doubted = {each.method for each in published("imgedit-bench") if "the mean of its row" in each.doubt}
    assert doubted == {"FLUX.1 Kontext dev", "Ovis-U1", "GPT-4o"}
    plain = {each.method for each in published("gedit-bench") if each.column.name == "overall" and not each.doubt}
    assert {"AnyEdit", "MagicBrush"} <= plain


def test_an_unknown_benchmark_is_refused() -> None:
    with pytest.raises(EtabenchError, match="no published numbers of 'pie-bnch'; did you mean 'pie-bench'"):
        published("pie-bnch")


@pytest.fixture
def laid(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Beside]]:
    """Printed numbers of the test's own beside a run of the editor `copy` on two samples of a benchmark of that size."""
    return lambda run, *printed: _beside(run, printed, monkeypatch)


def _beside(run: Any, printed: tuple[Printed, ...], monkeypatch: pytest.MonkeyPatch) -> list[Beside]:
    monkeypatch.setattr("bench.analysis.published.published", lambda benchmark: printed)
    return beside(run, "mine")


def a(number: float, column: Column, **changes: Any) -> Printed:
    return Printed("mine", "table", "COPY", column, number, "a paper", True, editor="copy", **changes)


PSNR = Column("background dB", "higher", metric="mse", masking="", scale=100.0, tolerance=0.5)


def test_a_run_beside_printed_numbers(tmp_path: Path, laid: Callable[..., list[Beside]]) -> None:
    from bench import api

    spec = {
        "name": "mine",
        "manifest": "toybox-mini",
        "limit": 3,
        "device": "cpu",
        "editors": ["copy"],
        "metrics": ["mse"],
    }
    (tmp_path / "mine.yaml").write_text(json.dumps(spec))
    run = api.run(tmp_path / "mine.yaml", tmp_path / "run")
    api.score(run)
    (other,) = laid(run, a(0.0, PSNR))
    assert (other.verdict, other.reason) == ("not comparable", "the run edits toybox-mini")
    head = run.read_json("manifest.json")
    run.write_json("manifest.json", head | {"name": "hub/mine"})
    (same, off, absent, elsewhere) = laid(
        run,
        a(0.4, PSNR),
        a(0.6, PSNR),
        a(0.0, Column("x", "lower", metric="lpips")),
        a(0.0, Column("judge", "higher", why="judged by people")),
    )
    assert (same.verdict, same.mean, same.n) == ("agrees", 0.0, 3)
    assert off.verdict == "differs"
    assert (absent.verdict, absent.reason) == ("not comparable", "the run has no lpips")
    assert (elsewhere.verdict, elsewhere.reason) == ("not comparable", "judged by people")
    with pytest.raises(EtabenchError, match="no editor of it has printed numbers on mine"):
        laid(run)
