"""The simulated fleet makes a whole run, and counts what it asked of the store."""

from __future__ import annotations

import os

import pytest

from bench.benchmarks import fleet
from bench.benchmarks.fleet import CountedStore, Traffic


@pytest.mark.slow
def test_a_fleet_makes_every_unit_and_its_requests_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETABENCH_SCRATCH", "as it was")
    found = fleet.simulate(20, 3, 0.0, 0.0)
    assert (found.workers, found.units) == (3, 20)
    assert found.made >= 20
    assert sum(path.endswith("record.json") for path in CountedStore.store) >= 20
    # a claim, 11 pictures, a record and a mark, and three logs twice; a claim is given back
    assert found.each("put") >= 14
    assert found.each("delete") >= 1
    assert found.requests["list"] >= 3
    assert os.environ["ETABENCH_SCRATCH"] == "as it was"


def test_the_page_marks_what_a_store_would_not_take() -> None:
    traffic = Traffic(10, 100, 101, {"put": 1400, "delete": 100, "get": 400, "head": 100, "list": 50, "refused": 10}, 5.0)
    text = fleet.page([traffic], seconds=2.0, latency=0.02)
    assert "| 10 | 14.0 | 4.0 | 1.0 | 0.5 | 1.0 | 0.10 | 1 |" in text
    # 1,000 GPUs with units of a second: 15 writes and 5 reads a unit; of 60 s: a sixtieth, and 1,000 claims refreshed every 15 s
    assert "| 1 s | **15,000** | 5,000 | 0 | " in text
    assert "| 60 s | 250 | 83 | 133 | " in text
    assert "that is 90,910 units" in text
