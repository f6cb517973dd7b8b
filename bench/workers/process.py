"""A worker as a process of its own: `python -m bench.workers.process SETTINGS`, started by `bench.workers.local`.

It imports this module and what the run names, never the program that started it, so that the Python API may be called from anywhere: a
script without a main guard, a notebook, a test. Its standard input is a pipe that its parent holds open: a byte in it says to end after
the unit in hand; when it ends the parent is gone, and the worker stops as by SIGTERM. Ctrl-C is the parent's to hear.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.errors import EtabenchError, message_of
from bench.interrupts import told_to_stop
from bench.store import write_atomically

__all__ = ["ENOUGH", "main", "work"]

ENOUGH = b"."


def main(arguments: list[str]) -> None:
    """`work` as the settings (JSON) say: `folder`, what it takes, and `last_word`, the file for what comes back."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = json.loads(arguments[0])
    last_word = Path(settings.pop("last_word"))
    enough = threading.Event()
    threading.Thread(target=_watch, args=(enough,), name="parent", daemon=True).start()
    with suppress(KeyboardInterrupt):
        write_atomically(last_word, work(enough=enough.is_set, **settings).encode())


def work(folder: str, target: str, **settings: Any) -> str:
    """A task (`module:name`) in another process, maybe on another machine: "" when all is done, else what stopped it for good, in a line.

    Errors come back as text, since their types may not travel. What a signal raises passes: nothing is wrong, and the work is not done.
    """
    with told_to_stop() as told:
        try:
            module, _, name = target.partition(":")
            getattr(importlib.import_module(module), name)(folder, **settings)
        except BaseException as error:
            if told():
                raise
            if isinstance(error, EtabenchError):
                return message_of(error)
            return f"a worker stopped: {type(error).__name__}: {message_of(error)[:300]}"
    return ""


def _watch(enough: threading.Event) -> None:
    """Wait for a byte and for the pipe's end; unbuffered, as a thread that waits inside a buffered reader keeps the interpreter from ending."""
    with suppress(OSError):
        while os.read(sys.stdin.fileno(), 1):
            enough.set()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1:])
