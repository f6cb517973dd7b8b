"""How a leaderboard over runs becomes a page, Markdown, LaTeX and CSV: tables in, the bytes of files out."""

from __future__ import annotations

from reports.boards.data import BoardData, DivisionData, RunRow, VersionNote
from reports.boards.files import board_files, board_page, flat_table

__all__ = ["BoardData", "DivisionData", "RunRow", "VersionNote", "board_files", "board_page", "flat_table"]
