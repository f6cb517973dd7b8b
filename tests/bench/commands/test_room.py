"""What a card has room for, as `etabench doctor` says it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.commands import catalogue, room


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(room, "TABLE", tmp_path / "memory.json")
    room.write_measured(
        {"small, 64 px": {"weights alone": 2.0, "quick": 3.04, "slow": 15.0}, "large, 1024 px": {"weights alone": 31.7}}
    )
    yield
    room.measured.cache_clear()


@pytest.mark.usefixtures("table")
def test_a_card_takes_what_its_memory_less_the_workspaces_holds() -> None:
    small, large = room.room(15.9)
    assert small["status"] == "ok"
    assert small["detail"] == "in full batches quick; in smaller ones or not at all slow (15.0 GiB)"
    assert (large["status"], large["detail"]) == ("absent", "no room: its weights take 31.7 GiB")
    assert room.room(16.0)[0]["detail"] == "in full batches quick, slow", "a GiB is for what torch does not allocate"
    assert room.measured()["small, 64 px"]["quick"] == 3.0


def test_the_doctor_tells_of_a_card_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "_cards", dict)
    assert not [row for row in catalogue.health() if "GiB" in row["item"]]
    rows = [row for row in catalogue.health(24.0) if row["item"].startswith("24 GiB, ")]
    assert [row["item"].removeprefix("24 GiB, ") for row in rows] == list(room.measured())
    monkeypatch.setattr(catalogue, "_cards", lambda: {"cuda:0 a card": 80.0, "cuda:1 a card": 80.0})
    rows = catalogue.health()
    assert len([row for row in rows if row["item"].startswith("80 GiB, ")]) == len(room.measured()), "once for equal cards"
    assert {"item": "device", "status": "ok", "detail": "cuda:0 a card, cuda:1 a card"} in rows
