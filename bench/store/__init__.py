"""The run folder: the run with its records, the claims of workers, and files that are there in full or not at all."""

from __future__ import annotations

from bench.store.files import png_bytes, write_atomically
from bench.store.record import EditFile, Record
from bench.store.run import Run

__all__ = ["EditFile", "Record", "Run", "png_bytes", "write_atomically"]
