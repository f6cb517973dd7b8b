"""The page: one file with its style, script and figures inside, of two views: the report, and the viewer of its pictures."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports.data import ReportData
from reports.drawing import Drawing, left_out
from reports.inline import inline_svg
from reports.leaderboard import board
from reports.style import Look, knob_name, swatch
from reports.tables import Table
from reports.viewer.grid import Grid
from reports.viewer.heat import heat_scale

__all__ = ["page"]

_HERE = Path(__file__).parent
_STYLES = ("style.css", "viewer/viewer.css")
_SCRIPTS = ("script.js", *(f"viewer/{name}.js" for name in ("model", "list", "stage", "choice", "sample", "viewer")))
_LOWER = (
    "protocol",
    "turn_curves",
    "turns",
    "differences",
    "attainment",
    "categories",
    "families",
    "hypervolumes",
    "cost",
    "gains",
    "masks",
    "metric_curves",
    "seeds",
    "coverage",
    "judges",
    "judges-table",
)
"""Figures and tables below the leaderboard, in order."""
_FIRST = "tradeoff"
"""The figure on the first screen."""
_SHOWN = 12
"""Samples whose picture leads from the report into the viewer."""


def _failures(data: ReportData) -> list[dict[str, object]]:
    """Units that are not done, grouped by editor, status and reason: with their number and first samples."""
    if data.units.empty:
        return []
    rows = data.units[data.units["status"] != "done"]
    groups = rows.fillna({"reason": ""}).groupby(["editor", "status", "reason"], sort=False)
    return [
        {"editor": e, "status": s, "reason": r, "count": len(g), "samples": [str(i) for i in dict.fromkeys(g["sample_id"])]}
        for (e, s, r), g in groups
    ]


def _totals(data: ReportData) -> list[tuple[str, int]]:
    """Counts over all editors for the header."""
    totals = [("samples", len(data.samples))] if len(data.samples) else []
    source = data.counts if len(data.counts) else data.leaderboard
    for name in ("expected", "done", "failed", "scored"):
        if len(source) and name in source:
            totals.append((f"units {name}", int(source[name].fillna(0).sum())))
    return totals


def _read(names: Sequence[str]) -> str:
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in names)


def _policy(script: str) -> str:
    """The page's own script, what that loads, and pictures; of anything else a browser takes nothing."""
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return (
        f"default-src 'none'; script-src 'sha256-{digest}' 'strict-dynamic'; style-src 'unsafe-inline'; "
        "img-src 'self' file: data:; base-uri 'none'; form-action 'none'"
    )


def _columns(data: ReportData, grid: Grid, look: Mapping[str, Look]) -> dict[str, object]:
    """What the viewer's own part of the page is made of: editors with their knobs, metrics, categories."""
    curves = data.curves
    knobs = {str(e): knob_name(k) for e, k in zip(curves["editor"], curves["knob"], strict=True)} if len(curves) else {}
    editors = [
        {
            "name": name,
            "swatch": swatch(look[name]),
            "anchor": look[name].anchor,
            "knob": knobs.get(name, ""),
            "last": len(values) - 1,
        }
        for name, values in zip(grid.editors, grid.values, strict=True)
    ]
    return {
        "editors": editors,
        "seeds": grid.seeds,
        "categories": sorted({row.category for row in data.gallery if row.category}),
        "shown": [(number, row) for number, row in enumerate(data.gallery[:_SHOWN])],
    }


def page(
    data: ReportData,
    drawings: Sequence[Drawing],
    tables: Sequence[Table],
    grid: Grid,
    *,
    svgs: Mapping[str, bytes],
    look: Mapping[str, Look],
    links: Mapping[str, Sequence[str]],
    sources: Mapping[str, str],
    embedded: str = "",
) -> str:
    """The HTML of a report.

    ``svgs`` holds each drawn figure, ``links`` the files beside the page by drawing or table name, ``sources`` the address of each
    picture by its name in the grid (empty where there is none), ``embedded`` the viewer's data as JSON where the page is to hold them itself.
    """
    given: list[Drawing | Table] = [*drawings, *tables]
    named = {part.name: part for part in given}
    parts = [part for name, part in named.items() if name not in _LOWER] + [named[name] for name in _LOWER if name in named]
    there = [part for part in parts if isinstance(part, Table) or part.name in svgs]
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["cut"] = lambda text, _most=0: text  # a board cuts what strangers wrote; a report shows it whole
    environment.tests["table"] = lambda part: isinstance(part, Table)
    environment.tests["hexadecimal"] = lambda text: re.fullmatch(r"[0-9a-f]{12,}", str(text)) is not None
    script = f'"use strict";\n{_read(_SCRIPTS)}'
    folded = {k.removeprefix("environment."): v for k, v in data.meta.items() if k.startswith("environment.")}
    drawn = {drawing.name: inline_svg(drawing, svgs[drawing.name], data) for drawing in drawings if drawing.name in svgs}
    return environment.get_template("template.html").render(
        data=data,
        style=Markup(_read(_STYLES)),
        script=Markup(script),
        policy=_policy(script),
        meta={k: v for k, v in data.meta.items() if not k.startswith("environment.")},
        environment=folded,
        totals=_totals(data),
        first=[part for part in there if part.name == _FIRST],
        above=[part for part in there if part.name not in (*_LOWER, _FIRST)],
        below=[part for part in there if part.name in _LOWER],
        absent=left_out(drawings),
        figures=drawn,
        bands={name for name, svg in drawn.items() if "band-paired-" in svg and "band-unpaired-" in svg},
        titles={part.name: part.title for part in there} | {"leaderboard": "Leaderboard"},
        links=links,
        board=board(data, look),
        failures=_failures(data),
        sources=sources,
        embedded=Markup(embedded),
        heat=heat_scale(data.heat),
        **_columns(data, grid, look),
    )
