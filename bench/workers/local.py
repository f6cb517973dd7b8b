"""Workers in processes of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from bench.errors import RunError
from bench.store import Record, Run, claims
from bench.workers.crew import Options

__all__ = ["LocalCrew"]

FRUITLESS_DEATHS = 3
SECONDS_TO_END = 10.0


class LocalCrew:
    """Processes of `bench.workers.process`. One that dies while it holds a unit turns that unit into a failed record and is replaced.

    From one that dies over a batch nobody can tell which unit it was: it fails none, and its successors take single units.
    """

    def __init__(self, run: Run, devices: Sequence[str], options: Options) -> None:
        self._run, self._devices, self._options = run, devices, options
        self._complaints = tempfile.TemporaryDirectory(prefix="etabench-")
        self._processes: list[subprocess.Popen[bytes]] = []
        self._fruitless = 0
        self._batch: int | None = None

    def __enter__(self) -> LocalCrew:
        self._processes = [self._start(device) for device in self._devices]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in self._processes:
            if error is not None:
                process.terminate()
        for process in self._processes:
            try:
                process.wait(SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                process.kill()
            process.communicate()
        self._complaints.cleanup()

    def check(self) -> bool:
        for number, process in enumerate(self._processes):
            if process.poll() not in (None, 0):
                process.communicate()
                self._bury(process)
                self._processes[number] = self._start(self._devices[number])
        working = any(process.poll() is None for process in self._processes)
        complaints = list(Path(self._complaints.name).glob("*.txt"))
        if complaints:
            raise RunError(complaints[0].read_text(encoding="utf-8"))
        return working

    def _start(self, device: str) -> subprocess.Popen[bytes]:
        options = self._options
        settings = {
            "folder": str(self._run.path.resolve()),
            "complaint": str(Path(self._complaints.name) / f"{uuid.uuid4().hex}.txt"),
            "device": device,
            "threads": options.threads,
            "batch": self._batch,
            "fail_on_error": options.fail_on_error,
        }
        # -P and the parent's path: what is imported is what the parent would import, wherever the worker is started
        path = os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path)
        command = [sys.executable, "-P", "-m", "bench.workers.process", json.dumps(settings)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path})

    def _bury(self, process: subprocess.Popen[bytes]) -> None:
        held = [path for path in self._run.claims.glob("*") if claims.claimant(path) == process.pid]
        if len(held) > 1:
            self._batch = 1
            for path in held:
                path.unlink(missing_ok=True)
            return
        for path in held:
            text = f"the worker process ended with exit code {process.returncode} (out of memory?)"
            unit = next((unit for unit in self._run.plan.units if unit.key == path.name), None)
            identity, hub = (unit.identity, self._run.plan.origins(unit)) if unit else ({}, {})
            reason = {"type": "WorkerDied", "message": text}
            self._run.commit(Record(key=path.name, status="failed", identity=identity, hub=hub, reason=reason))
            path.unlink(missing_ok=True)
        self._fruitless += not held
        if self._fruitless > FRUITLESS_DEATHS:
            code = process.returncode
            raise RunError(f"worker processes keep dying before they take a unit (exit code {code}); try --executor inline")
