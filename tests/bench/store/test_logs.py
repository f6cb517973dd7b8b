from __future__ import annotations

import json
from pathlib import Path

from bench.store import Record
from bench.store.logs import WorkerLog, ends, logs


def record(status: str, **more: object) -> Record:
    return Record(key="k", status=status, identity={}, **more)  # type: ignore[arg-type]


def test_a_log_is_told_by_its_first_line_and_its_last(tmp_path: Path) -> None:
    log = WorkerLog(tmp_path / "logs", "w-1", host="here", pid=7)
    log.unit(record("done", seconds={"prepare": 1.0, "render": 0.5}), memory_mb=3.5)
    log.unit(record("failed", reason={"type": "Broken", "message": "é" * 1000, "traceback": "long"}, retries=({},)))
    (path,) = logs(tmp_path / "logs")
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [each["event"] for each in events] == ["start", "unit", "unit"]
    assert (events[1]["seconds"], events[1]["memory_mb"]) == (1.5, 3.5)
    assert "traceback" not in events[2]
    assert ends(path) == (events[0], events[2])
    log.end("enough")
    first, last = ends(path) or ({}, {})
    assert (first["host"], first["pid"], last["done"], last["failed"], last["why"]) == ("here", 7, 1, 1, "enough")


def test_a_line_that_a_kill_cut_and_a_file_of_others_cost_nothing(tmp_path: Path) -> None:
    WorkerLog(tmp_path, "w-1").unit(record("done"))
    with (tmp_path / "w-1.jsonl").open("a") as file:
        file.write('{"time": "2026')
    _, last = ends(tmp_path / "w-1.jsonl") or ({}, {})
    assert last["done"] == 1
    for content in (b"", b"\xff\n", b"[]\n", b'{"event": "unit"}\n', b"[" * 100_000):
        (tmp_path / "odd.jsonl").write_bytes(content)
        assert ends(tmp_path / "odd.jsonl") is None
    assert ends(tmp_path / "none.jsonl") is None
    assert list(logs(tmp_path / "none")) == []


def test_a_disk_without_room_costs_lines_and_no_work(tmp_path: Path) -> None:
    (tmp_path / "logs").write_bytes(b"no folder")
    WorkerLog(tmp_path / "logs", "w-1").unit(record("done"))
