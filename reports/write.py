"""The folder of a report: every file is written under a temporary name and renamed, the page last."""

from __future__ import annotations

import uuid
from collections import defaultdict
from pathlib import Path

import pandas as pd

from reports.curves import knob_curves, zones
from reports.data import ReportData
from reports.dots import cost_panels, mask_dots
from reports.drawing import Drawing, rendered
from reports.html import page
from reports.judges import judges_figure, judges_table
from reports.multiples import category_planes, family_planes
from reports.names import metric_names
from reports.panels import attainment_panels, metric_panels
from reports.protocol import protocol_table, turns_table
from reports.style import Look, looks
from reports.tables import Table, tables
from reports.text import inert, printable
from reports.tradeoff import distance_plane, tradeoff_plane
from reports.turns import turn_panels
from reports.viewer.columns import as_json, columns
from reports.viewer.grid import Grid
from reports.viewer.pictures import State, data_uris, put_pictures

__all__ = ["write_report"]

FIGURES = (
    "knob_curves",
    "tradeoff",
    "*_csfid",
    "attainment",
    "categories",
    "families",
    "cost",
    "masks",
    "metric_curves",
    "turn_curves",
    "judges",
)
TABLES = ("protocol", "turns", "differences", "hypervolumes", "gains", "seeds", "coverage")
_FILES = (
    *(f"{name}.{ending}" for name in FIGURES for ending in ("svg", "png", "pdf", "csv")),
    *(f"{name}.csv" for name in TABLES),
)
"""What may lie beside the page from this report or an earlier one."""


def _put(path: Path, content: bytes) -> None:
    """Write a file that is there in full or not at all, whoever else writes it too."""
    temporary = path.with_name(f".tmp-{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _csv(frame: pd.DataFrame) -> bytes:
    """UTF-8, ``\\n`` line ends, floats in their shortest exact form; a text that a spreadsheet would compute begins with ``'``."""
    return str(inert(frame).to_csv(index=False, lineterminator="\n")).encode("utf-8")


def _looks(data: ReportData) -> dict[str, Look]:
    """One look per name that occurs anywhere; editors and anchors each in the order of their first appearance."""
    anchors = [str(name) for name in data.curves.loc[data.curves["anchor"].astype(bool), "editor"]] if len(data.curves) else []
    if "anchor" in data.leaderboard:
        anchors += [str(name) for name in data.leaderboard.loc[data.leaderboard["anchor"].astype(bool), "editor"]]
    names = [str(name) for frame in (data.curves, data.tradeoff, data.leaderboard, data.units) for name in frame["editor"]]
    names += [row.editor for sample in data.gallery for row in sample.rows]
    known = dict.fromkeys(anchors)
    return looks((name for name in dict.fromkeys(names) if name not in known), known)


def _draw(data: ReportData, look: dict[str, Look]) -> list[Drawing]:
    """The figures of the page. What a run has not is said; judges and sessions are not part of most runs and not missed."""
    judges = [judges_figure(data)] if len(data.judges) else []
    if data.judges_only:
        return judges
    return [
        knob_curves(data, look),
        tradeoff_plane(data, look),
        distance_plane(data, look),
        attainment_panels(data, look),
        category_planes(data, look),
        family_planes(data, look),
        cost_panels(data, look),
        mask_dots(data, look),
        metric_panels(data, look),
        *([turn_panels(data, look)] if len(data.turns) else []),
        *judges,
    ]


def _tabulate(data: ReportData, look: dict[str, Look]) -> list[Table]:
    names = metric_names(data)
    ours = [] if data.judges_only else [protocol_table(data, look), turns_table(data, look, names), *tables(data, look)]
    return [*(each for each in ours if each.lines or each.lead), *([judges_table(data)] if len(data.judges) else [])]


def _address(name: str, state: State) -> str:
    """Of a picture beside the page, the small one where there are two; empty where there is none."""
    return {State.WHOLE: f"pictures/{name}.png", State.REDUCED: f"pictures/{name}.webp"}.get(state, "")


def write_report(folder: Path, data: ReportData, *, single_file: bool = False) -> Path:
    """Write the report of ``data`` into ``folder`` (made if needed) and return the path of its ``index.html``.

    The page opens from disk without a server, wherever the folder is moved: ``viewer-data.js`` and ``pictures/`` belong to its viewer,
    the latter the PNG files themselves (hard links where the file system has them, else copies) and small WebP copies of large ones;
    those that did not change are left as they are. With ``single_file`` there is also ``report.html``, in which all of it is embedded,
    pictures reduced to 512 pixels, and that is the path returned.

    Beside the page: ``<figure>.svg``, ``.png``, ``.pdf`` and ``.csv`` for each figure that there is (``tradeoff``, ``knob_curves``,
    ``<fidelity>_csfid``, as a rule ``lpips_csfid``, and the others of :data:`FIGURES`); ``<table>.csv`` for those of :data:`TABLES`;
    ``knob_zones.csv``, ``curves.csv`` and ``leaderboard.csv``. Files of what the data no longer has are removed. The same data gives the
    same bytes. Raises :class:`reports.ReportError` when a frame lacks a required column, and when a single file would hold more than
    64 MiB of pictures.
    """
    data = printable(data.checked())
    folder.mkdir(parents=True, exist_ok=True)
    look = _looks(data)
    svgs: dict[str, bytes] = {}
    links: dict[str, list[str]] = {}
    if not data.judges_only:
        _put(folder / "curves.csv", _csv(data.curves))
        _put(folder / "leaderboard.csv", _csv(data.leaderboard))
        _put(folder / "knob_zones.csv", _csv(zones(data)))
        links |= {"knob_curves": ["knob_zones.csv"], "leaderboard": ["leaderboard.csv", "curves.csv"]}
    drawings, tabulated = _draw(data, look), _tabulate(data, look)
    for drawing in drawings:
        if drawing.figure is not None:
            files = rendered(drawing.figure, drawing.name)
            svgs[drawing.name] = files["svg"]
            for ending, content in (files | {"csv": _csv(drawing.table)}).items():
                _put(folder / f"{drawing.name}.{ending}", content)
            links[drawing.name] = [f"{drawing.name}.{ending}" for ending in (*files, "csv")] + links.get(drawing.name, [])
    for table in tabulated:
        if table.lines and table.name != "judges-table":
            _put(folder / f"{table.name}.csv", _csv(table.frame))
            links[table.name] = [f"{table.name}.csv"]
    kept = {linked for files in links.values() for linked in files}
    for file in (found for pattern in _FILES for found in folder.glob(pattern)):
        if file.name not in kept:
            file.unlink(missing_ok=True)
    grid = Grid.of(data, look)
    states = put_pictures(folder / "pictures", grid.pictures(data))
    sources = defaultdict(str, {name: _address(name, state) for name, state in states.items()})
    if states:
        _put(folder / "viewer-data.js", f"receiveRun({as_json(columns(data, grid, look, states))});\n".encode())
    else:
        (folder / "viewer-data.js").unlink(missing_ok=True)
    index, single = folder / "index.html", folder / "report.html"
    _put(index, page(data, drawings, tabulated, grid, svgs=svgs, look=look, links=links, sources=sources).encode("utf-8"))
    if not single_file:
        single.unlink(missing_ok=True)
        return index
    states, embedded = data_uris(grid.pictures(data))
    inside = as_json(columns(data, grid, look, states) | {"embedded": embedded})
    alone = page(
        data, drawings, tabulated, grid, svgs=svgs, look=look, links={}, sources=defaultdict(str, embedded), embedded=inside
    )
    _put(single, alone.encode("utf-8"))
    return single
