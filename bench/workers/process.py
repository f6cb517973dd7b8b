"""A worker as a process of its own: `python -m bench.workers.process SETTINGS`, started by `bench.workers.local`.

It imports this module and what the run names, never the program that started it, so that the Python API may be called from anywhere: a
script without a main guard, a notebook, a test. Its standard input is a pipe that its parent holds open; when that ends the parent is
gone, and the worker stops at the next step.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType

from bench.errors import EtabenchError
from bench.store import write_atomically
from bench.workers.drain import drain

__all__ = ["main"]


def main(arguments: list[str]) -> None:
    """Drain a run folder as the settings (JSON: `folder`, `complaint`, and what `drain` takes) say.

    What stops the worker for good goes into the file `complaint` as one line.
    """
    settings = json.loads(arguments[0])
    folder, complaint = Path(settings.pop("folder")), Path(settings.pop("complaint"))
    orphaned = threading.Event()
    threading.Thread(target=_watch, args=(orphaned,), name="parent", daemon=True).start()
    signal.signal(signal.SIGTERM, _interrupt)
    with suppress(KeyboardInterrupt):
        try:
            drain(folder, stop=orphaned.is_set, **settings)
        except EtabenchError as error:
            write_atomically(complaint, str(error).encode())
        except Exception as error:
            text = f"a worker stopped: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
            write_atomically(complaint, text.encode())


def _watch(orphaned: threading.Event) -> None:
    """Wait for the pipe's end; unbuffered, since a thread that waits inside a buffered reader stops the interpreter from ending."""
    with suppress(OSError):
        while os.read(sys.stdin.fileno(), 1):
            pass
    orphaned.set()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main(sys.argv[1:])
