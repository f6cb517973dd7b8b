"""How a run becomes pictures: data frames and paths in, a folder with a self-contained page, figures and CSV files out."""

from __future__ import annotations

from reports.data import EditRow, GalleryRow, Heat, Plane, ReportData, ReportError, Statement
from reports.write import write_report

__all__ = ["EditRow", "GalleryRow", "Heat", "Plane", "ReportData", "ReportError", "Statement", "write_report"]
