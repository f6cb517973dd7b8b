"""Finished edits -> score tables: features kept, edits and sets scored, tables that refuse to mix, and the two axes of a run."""

from __future__ import annotations

from bench.scoring.current import read_scores
from bench.scoring.score import open_metrics, preflight, score_run
from bench.scoring.tables import Scores

__all__ = ["Scores", "open_metrics", "preflight", "read_scores", "score_run"]
