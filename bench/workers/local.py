"""Workers in processes of this machine."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

from bench.errors import EtabenchError, RunError
from bench.store import Record, Run, claims
from bench.workers.crew import Options
from bench.workers.drain import drain

__all__ = ["LocalCrew"]


FRUITLESS_DEATHS = 3


class LocalCrew:
    """Spawned processes. One that dies while it holds a unit turns that unit into a failed record and is replaced.

    From one that dies over a batch nobody can tell which unit it was: it fails none, and its successors take single units.
    """

    def __init__(self, run: Run, devices: Sequence[str], options: Options) -> None:
        self._run, self._devices, self._options = run, devices, options
        self._context = multiprocessing.get_context("spawn")
        self._errors: Any = self._context.SimpleQueue()
        self._processes: list[Any] = []
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
            process.join(timeout=10)
            if process.is_alive():
                process.kill()
                process.join()

    def check(self) -> bool:
        if not self._errors.empty():
            raise RunError(self._errors.get())
        for number, process in enumerate(self._processes):
            if process.exitcode not in (None, 0):
                self._bury(process)
                self._processes[number] = self._start(self._devices[number])
        return any(process.exitcode is None for process in self._processes)

    def _start(self, device: str) -> Any:
        options = self._options
        how = {"device": device, "threads": options.threads, "batch": self._batch, "fail_on_error": options.fail_on_error}
        process = self._context.Process(target=_work, args=(str(self._run.path), how, self._errors), daemon=True)
        process.start()
        return process

    def _bury(self, process: Any) -> None:
        held = [path for path in self._run.claims.glob("*") if claims.claimant(path) == process.pid]
        if len(held) > 1:
            self._batch = 1
            for path in held:
                path.unlink(missing_ok=True)
            return
        for path in held:
            text = f"the worker process ended with exit code {process.exitcode} (out of memory?)"
            identity = next((unit.identity for unit in self._run.plan.units if unit.key == path.name), {})
            self._run.commit(
                Record(key=path.name, status="failed", identity=identity, reason={"type": "WorkerDied", "message": text})
            )
            path.unlink(missing_ok=True)
        self._fruitless += not held
        if self._fruitless > FRUITLESS_DEATHS:
            code = process.exitcode
            raise RunError(f"worker processes keep dying before they take a unit (exit code {code}); try --executor inline")


def _work(folder: str, how: dict[str, Any], errors: Any) -> None:
    signal.signal(signal.SIGTERM, _interrupt)
    parent = multiprocessing.parent_process()
    with suppress(KeyboardInterrupt):
        try:
            drain(folder, stop=_orphaned(parent), **how)
        except EtabenchError as error:
            errors.put(str(error))
        except Exception as error:
            errors.put(f"a worker stopped: {type(error).__name__}: {' '.join(str(error).split())[:300]}")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _orphaned(parent: Any) -> Callable[[], bool]:
    return lambda: parent is not None and not parent.is_alive()
