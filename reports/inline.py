"""A figure as a part of the page: named, its points known to the keyboard and to screen readers, and leading to their edits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from reports.cells import finite, minus
from reports.data import ReportData
from reports.drawing import Drawing
from reports.names import MetricName, metric_names
from reports.style import knob_name, number

__all__ = ["inline_svg"]

_POINT = re.compile(r'\bid="point-(\d+)(?:-\d+)?"')


def inline_svg(drawing: Drawing, svg: bytes, data: ReportData | None = None) -> Markup:
    """The SVG of a drawing as an element: no XML declaration or doctype, ids that no other figure has, and the drawing's title.

    A group ``point-<row>``, or ``point-<row>-<panel>``, of the SVG becomes a link to the edits of that row of the drawing's table,
    labelled with its numbers, where the ``data`` of its run are given.
    """
    text, prefix = svg.decode("utf-8"), drawing.name
    text = text[text.index("<svg") :]
    rows: list[dict[Any, Any]] = []
    if data is not None and _POINT.search(text):
        rows, names, run = drawing.table.to_dict("records"), metric_names(data), data
        text = _POINT.sub(lambda found: f"{found[0]}{_point(rows, int(found[1]), names, run)}", text)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'\bhref="#([^"]+)"', rf'href="#{prefix}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)
    role = Markup('<svg role="{}" aria-label="{}"').format("group" if rows else "img", drawing.title)
    return Markup(role + Markup(text.removeprefix("<svg")))


def _point(rows: list[dict[Any, Any]], place: int, names: Mapping[str, MetricName], data: ReportData) -> Markup:
    """The attributes of one point."""
    if place >= len(rows):
        return Markup("")
    row = rows[place]
    link = {"editor": str(row["editor"])}
    value = finite(row.get("value"))
    if value is not None:
        link["value"] = repr(value)
    text = ' class="point" role="link" tabindex="-1" aria-label="{}" data-link="#{}"'
    return Markup(text).format(_told(row, names, data), urlencode(link))


def _told(row: Mapping[Any, Any], names: Mapping[str, MetricName], data: ReportData) -> str:
    """Editor, knob value, means with their intervals, and n."""
    value, knob = finite(row.get("value")), knob_name(row.get("knob"))
    parts = [f"{row['editor']}, {knob} {number(value)}" if knob and value is not None else str(row["editor"])]
    axes = {"x": data.plane.fidelity, "y": data.plane.editability, "": row.get("metric", "")}
    for column in row:
        stem = re.fullmatch(r"(?:(\w+)_)?mean", str(column))
        mean = finite(row[column])
        if stem is None or mean is None:
            continue
        start = stem[1] or ""
        name = str(axes.get(start, start))
        low, high = (finite(row.get(f"{start}_{end}".lstrip("_"))) for end in ("low", "high"))
        known = f" [{low:.4g}, {high:.4g}]" if low is not None and high is not None else ""
        parts.append(minus(f"{names[name].title if name in names else name} {mean:.4g}{known}"))
    n = finite(row.get("n"))
    return "; ".join([*parts, *([f"n = {n:.0f}"] if n is not None else [])])
