"""`import etabench`: the distribution's name for the package `bench`, whose three calls and version it hands on."""

from __future__ import annotations

from bench import Options, Run, __version__, report, run, score

__all__ = ["Options", "Run", "__version__", "report", "run", "score"]
