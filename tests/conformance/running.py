"""Through the runner: a run that was killed and resumed, or shared by two workers, ends with the pictures of an untroubled one."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

from bench import api
from bench.spec import Spec
from bench.store import Record, Run
from bench.workers.drain import drain
from etabench_conformance.case import Case

SAMPLES = 2
"""One that a worker finishes, and one in which the next is stopped."""


def _planned(case: Case, folder: Path) -> Run:
    """A run folder with its plan and nothing done."""
    entry: dict[str, Any] = {"name": case.target, "preset": case.preset, "params": case.quick}
    if case.knob() is not None:
        entry["grid"] = [case.grid[0], case.grid[-1]]
    spec = Spec.model_validate(
        {
            "name": "conformance",
            "manifest": "toybox-mini",
            "samples": case.sample_ids(SAMPLES),
            "model": "toybox" if case.model is None else {"path": str(case.folder)},
            "device": "cpu",
            "editors": [entry],
            "metrics": ["lpips"],
            "reference": {"kind": "toybox", "per_class": 2},
        }
    )
    run = Run.create(folder)
    planned, manifest = api.plan(spec)
    run.begin(spec, planned, manifest)
    return run


def _pictures(run: Run) -> dict[str, tuple[str, ...]]:
    """Unit key to the SHA-256 of its edits, all of them done."""
    found = {}
    for folder in sorted(run.units.iterdir()):
        record = run.record(folder.name)
        assert record is not None
        assert record.status == "done", f"a unit failed: {record.reason}"
        found[record.key] = tuple(hashlib.sha256((folder / edit.file).read_bytes()).hexdigest() for edit in record.edits)
    assert len(found) == SAMPLES
    return found


class _AfterOne:
    """Stops a worker when it has committed one record."""

    def __init__(self) -> None:
        self.records = 0

    def watch(self, record: Record) -> None:
        self.records += 1

    def stop(self) -> bool:
        return self.records >= 1


def same_after_a_kill_and_by_two_workers(case: Case) -> None:
    """Two samples: by one worker in one go; and by one worker for the first, a second one that is stopped in the middle of the
    other, and a third that finishes it.
    """
    with tempfile.TemporaryDirectory() as temporary:
        whole = _planned(case, Path(temporary) / "whole")
        drain(whole.path)
        shared = _planned(case, Path(temporary) / "shared")
        first = _AfterOne()
        drain(shared.path, watch=first.watch, stop=first.stop)
        assert len(list(shared.units.iterdir())) == 1
        asked = 0

        def soon() -> bool:
            nonlocal asked
            asked += 1
            return asked > 4

        drain(shared.path, stop=soon)
        drain(shared.path)
        assert _pictures(shared) == _pictures(whole)
