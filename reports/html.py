"""The page: one file with its style, script, figures and pictures inside."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports.data import ReportData
from reports.drawing import Drawing, left_out
from reports.gallery import exhibits
from reports.leaderboard import board
from reports.style import Look
from reports.tables import Table

__all__ = ["inline_svg", "page"]

_HERE = Path(__file__).parent
_LOWER = (
    "protocol",
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


def inline_svg(svg: bytes, prefix: str) -> Markup:
    """An SVG file as an element of the page: no XML declaration or doctype, and ids that no other figure has."""
    text = svg.decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)
    return Markup(text)


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


def page(
    data: ReportData,
    drawings: Sequence[Drawing],
    tables: Sequence[Table],
    *,
    svgs: Mapping[str, bytes],
    look: Mapping[str, Look],
    links: Mapping[str, Sequence[str]],
) -> str:
    """The HTML of a report. ``svgs`` holds each drawn figure, ``links`` the files beside the page by drawing or table name."""
    absent, drawings = left_out(drawings), [drawing for drawing in drawings if drawing.figure is not None]
    parts: list[Drawing | Table] = [*drawings, *tables]
    shown_below = {part.name: part for part in parts if part.name in _LOWER}
    below = [shown_below[name] for name in _LOWER if name in shown_below]
    above = [drawing for drawing in drawings if drawing.name not in _LOWER]
    figures = [part for part in (*above, *below) if isinstance(part, Drawing)]
    numbers = {part.name: number for number, part in enumerate(figures, 1)}
    counted = [part.name for part in below if isinstance(part, Table)]
    numbers |= {name: number for number, name in enumerate(counted, 1 if data.judges_only else 2)}
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.tests["table"] = lambda part: isinstance(part, Table)
    environment.tests["hexadecimal"] = lambda text: re.fullmatch(r"[0-9a-f]{12,}", str(text)) is not None
    shown = exhibits(data, look)
    folded = {k.removeprefix("environment."): v for k, v in data.meta.items() if k.startswith("environment.")}
    return environment.get_template("template.html").render(
        data=data,
        style=Markup((_HERE / "style.css").read_text(encoding="utf-8")),
        script=Markup((_HERE / "script.js").read_text(encoding="utf-8")),
        meta={k: v for k, v in data.meta.items() if not k.startswith("environment.")},
        environment=folded,
        totals=_totals(data),
        above=above,
        absent=absent,
        below=below,
        numbers=numbers,
        figures={name: inline_svg(svg, name) for name, svg in svgs.items()},
        links=links,
        board=board(data, look),
        failures=_failures(data),
        exhibits=shown,
        categories=sorted({e.category for e in shown if e.category}),
        reduced=any(p.reduced for e in shown for r in e.rows for p in r.edits),
    )
