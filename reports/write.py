"""The folder of a report: every file is written under a temporary name and renamed, the page last."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from reports.curves import knob_curves, zones
from reports.data import ReportData
from reports.drawing import Drawing, rendered
from reports.html import page
from reports.style import Look, looks
from reports.tradeoff import distance_plane, tradeoff_plane

__all__ = ["write_report"]


def _put(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def _csv(frame: pd.DataFrame) -> bytes:
    """UTF-8, ``\\n`` line ends, floats in their shortest exact form."""
    return str(frame.to_csv(index=False, lineterminator="\n")).encode("utf-8")


def _looks(data: ReportData) -> dict[str, Look]:
    """One look per name that occurs anywhere; editors and anchors each in the order of their first appearance."""
    anchors = [str(name) for name in data.curves.loc[data.curves["anchor"].astype(bool), "editor"]] if len(data.curves) else []
    if "anchor" in data.leaderboard:
        anchors += [str(name) for name in data.leaderboard.loc[data.leaderboard["anchor"].astype(bool), "editor"]]
    names = [str(name) for frame in (data.curves, data.tradeoff, data.leaderboard, data.units) for name in frame["editor"]]
    names += [editor for row in data.gallery for editor, _, _ in row.rows]
    known = dict.fromkeys(anchors)
    return looks((name for name in dict.fromkeys(names) if name not in known), known)


def _draw(data: ReportData, look: dict[str, Look]) -> list[Drawing]:
    return [
        knob_curves(data.curves, look, data.interval),
        tradeoff_plane(data.tradeoff, data.curves, look, data.interval),
        distance_plane(data.curves, data.sets, look, data.interval),
    ]


def write_report(folder: Path, data: ReportData) -> Path:
    """Write the report of ``data`` into ``folder`` (made if needed) and return the path of its ``index.html``.

    Beside the page: ``<figure>.svg``, ``.png`` and ``.csv`` for ``knob_curves``, ``tradeoff`` and ``lpips_csfid`` (those of a
    figure that cannot be drawn are removed), ``knob_zones.csv``, ``curves.csv`` and ``leaderboard.csv``. The same data gives the
    same bytes. Raises :class:`reports.ReportError` when a frame lacks a required column.
    """
    data = data.checked()
    folder.mkdir(parents=True, exist_ok=True)
    look = _looks(data)
    svgs: dict[str, bytes] = {}
    links: dict[str, list[str]] = {}
    _put(folder / "curves.csv", _csv(data.curves))
    _put(folder / "leaderboard.csv", _csv(data.leaderboard))
    _put(folder / "knob_zones.csv", _csv(zones(data.curves)))
    drawings = _draw(data, look)
    for drawing in drawings:
        if drawing.figure is None:
            for ending in ("svg", "png", "csv"):
                (folder / f"{drawing.name}.{ending}").unlink(missing_ok=True)
            continue
        svg, png = rendered(drawing.figure, drawing.name)
        for ending, content in (("svg", svg), ("png", png), ("csv", _csv(drawing.table))):
            _put(folder / f"{drawing.name}.{ending}", content)
        svgs[drawing.name] = svg
        links[drawing.name] = [f"{drawing.name}.{ending}" for ending in ("svg", "png", "csv")]
    links.setdefault("knob_curves", []).append("knob_zones.csv")
    index = folder / "index.html"
    _put(index, page(data, drawings, svgs, look, links).encode("utf-8"))
    return index
