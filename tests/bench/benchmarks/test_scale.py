from __future__ import annotations

from pathlib import Path

import pytest

from bench.benchmarks import scale
from bench.benchmarks.measure import Cost
from bench.store import Run


@pytest.mark.slow
def test_every_step_is_done_on_one_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, folder = scale.prepared(tmp_path, 2), tmp_path / "run"
    for step in scale.STEPS:
        scale._step(step, str(spec), str(folder))
    assert len(Run(folder).kept.shards.keys()) == 20, "ten seeds of two samples, each another result"
    assert (folder / "report" / "index.html").is_file()


def test_a_further_unit_is_told_from_the_two_largest_runs() -> None:
    found = {
        units: dict.fromkeys(scale.STEPS, Cost(0.0, cpu, peak, 0.0)) for units, cpu, peak in ((10, 1.0, 50.0), (1010, 3.0, 51.0))
    }
    lines = scale._table(found).splitlines()
    assert lines[0] == "|  | 10 units | 1,010 units | a further unit |"
    assert lines[2] == "| plan | 1.0 s, 50 | 3.0 s, 51 | 2.00 ms, 1.0 KiB |"
    assert len(lines) == 2 + len(scale.STEPS)
