"""Workers in processes of this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.store import Run
from bench.workers.crew import Crew, Died, Options, Work
from bench.workers.process import ENOUGH

__all__ = ["SECONDS_TO_END", "LocalCrew", "Process", "end"]

SECONDS_TO_END = 10.0
"""For all workers together: schedulers that end a job leave it half a minute, however many devices it has."""


@dataclass(frozen=True)
class Process:
    """A worker on this machine, and the file with its last word, which is written by one that was not killed."""

    process: subprocess.Popen[bytes]
    last_word: Path

    @classmethod
    def start(cls, work: Work, words: Path) -> Process:
        """Start it; its last word comes into the folder `words`."""
        last_word = words / f"{work.worker}.txt"
        settings = work.settings() | {"folder": work.folder, "last_word": str(last_word)}
        # -P and the parent's path: what is imported is what the parent would import, wherever the worker is started
        path = os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path)
        command = [sys.executable, "-P", "-m", "bench.workers.process", json.dumps(settings)]
        return cls(subprocess.Popen(command, stdin=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path}), last_word)

    def outcome(self) -> str | Died | None:
        """As `Crew.outcome`."""
        code = self.process.poll()
        if code is None:
            return None
        self.process.communicate()
        if self.last_word.is_file():
            return self.last_word.read_text(encoding="utf-8")
        return Died(f"signal {-code}, {signal.strsignal(-code)}" if code < 0 else f"exit code {code}")

    def finish(self) -> None:
        """Tell it to end after the unit in hand."""
        with suppress(BrokenPipeError):  # it has just ended
            assert self.process.stdin is not None
            self.process.stdin.write(ENOUGH)
            self.process.stdin.flush()


def end(workers: Sequence[Process], *, tell: bool) -> None:
    """Wait until workers end, whom to stop one may `tell` before; kill those that take too long."""
    for worker in workers if tell else ():
        worker.process.terminate()
    until = time.monotonic() + SECONDS_TO_END
    for worker in workers:
        try:
            worker.process.wait(max(until - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            worker.process.kill()
        worker.process.communicate()


class LocalCrew(Crew[Process]):
    """Processes of `bench.workers.process`."""

    def __init__(self, run: Run, devices: Sequence[str], options: Options, *more: Any) -> None:
        super().__init__(run, devices, options, *more)
        self._words = tempfile.TemporaryDirectory(prefix="etabench-")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            self._words.cleanup()

    def start(self, work: Work) -> Process:
        return Process.start(work, Path(self._words.name))

    def outcome(self, worker: Process) -> str | Died | None:
        return worker.outcome()

    def kill(self, worker: Process) -> None:
        worker.process.kill()

    def finish(self, workers: Sequence[Process]) -> None:
        for worker in workers:
            worker.finish()

    def stop(self, workers: Sequence[Process]) -> None:
        end(workers, tell=True)

    def leave(self, workers: Sequence[Process]) -> None:
        end(workers, tell=False)
