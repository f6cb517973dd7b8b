"""`import etabench`: the distribution's name for the package `bench`, whose three calls it hands on."""

from __future__ import annotations

from bench import Options, Run, report, run, score

__all__ = ["Options", "Run", "report", "run", "score"]
