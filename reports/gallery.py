"""The gallery: pictures as data URIs, in the order the page lays them out."""

from __future__ import annotations

import base64
import io
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from markupsafe import Markup
from PIL import Image, UnidentifiedImageError

from reports.data import GalleryRow, ReportData
from reports.style import Look, knob_name, number, swatch

__all__ = ["MAX_SIDE", "EditorRow", "Exhibit", "Picture", "embed", "exhibits"]

MAX_SIDE = 384
"""Longest side in pixels that is embedded as it is; a larger picture is shown reduced to it."""
_MOST_BYTES = 2**28
"""Size of a file from which on it is not read: more than noise of 8192 x 8192 pixels takes."""
_PIXEL_ART = 128
"""Longest side in pixels up to which a picture is enlarged by whole pixels."""


@dataclass(frozen=True)
class Picture:
    """One picture of the page; without ``uri`` it is a box that says why it is not there."""

    label: str
    uri: str
    missing: str = ""
    pixels: bool = False
    reduced: bool = False
    note: str = ""
    """Scores of the edit, shown when enlarged."""


@dataclass(frozen=True)
class EditorRow:
    """All pictures of one editor for one sample; the anchors, which have one picture each, share a row."""

    editor: str
    swatch: Markup
    knob: str
    edits: tuple[Picture, ...]
    extras: tuple[Picture, ...]
    failure: str


@dataclass(frozen=True)
class Exhibit:
    """One sample."""

    sample_id: str
    category: str
    source_text: str | None
    target_text: str
    originals: tuple[Picture, ...]
    """Source, ground truth and mask, as far as the sample has them; the source comes first."""
    rows: tuple[EditorRow, ...]


def embed(path: Path, label: str, note: str = "") -> Picture:
    """The PNG at ``path`` as a data URI, byte for byte where it has at most :data:`MAX_SIDE`. Nothing else is read."""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode) or about.st_size > _MOST_BYTES:
            raise OSError("no file of a picture")
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            image.load()
            side = max(image.size)
            pixels, reduced = side <= _PIXEL_ART, side > MAX_SIDE
            if reduced:
                shown = image.convert("RGB")
                shown.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
                buffer = io.BytesIO()
                shown.save(buffer, "PNG", optimize=True)
                content = buffer.getvalue()
    except FileNotFoundError:
        return Picture(label, "", missing=f"no file {path.name}")
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError):
        return Picture(label, "", missing=f"unreadable {path.name}")
    return Picture(label, "data:image/png;base64," + base64.b64encode(content).decode("ascii"), "", pixels, reduced, note)


def _notes(pairs: pd.DataFrame) -> dict[tuple[str, str, str], str]:
    """(sample, editor, knob value) to a line of its scores, of the smallest seed."""
    lines: dict[tuple[str, str, str], list[str]] = {}
    if len(pairs):
        for row in pairs[pairs["seed"] == pairs["seed"].min()].to_dict("records"):
            key = (str(row["sample_id"]), str(row["editor"]), number(row["value"]))
            lines.setdefault(key, []).append(f"{row['metric']} {row['score']:.4g}")
    return {key: " · ".join(parts) for key, parts in lines.items()}


def _failures(units: pd.DataFrame) -> dict[tuple[str, str], str]:
    """(sample, editor) to the reason why there is nothing to show."""
    if not len(units):
        return {}
    rows = units[units["status"] != "done"].to_dict("records")
    reasons = [f": {r['reason']}" if isinstance(r["reason"], str) and r["reason"] else "" for r in rows]
    return {(str(r["sample_id"]), str(r["editor"])): f"{r['status']}{why}" for r, why in zip(rows, reasons, strict=True)}


def _exhibit(
    row: GalleryRow,
    look: Mapping[str, Look],
    knobs: Mapping[str, str],
    notes: Mapping[tuple[str, str, str], str],
    failures: Mapping[tuple[str, str], str],
) -> Exhibit:
    given = (("source", row.source), ("ground truth", row.truth), ("mask", row.mask))
    originals = tuple(embed(path, label) for label, path in given if path is not None)
    shown = {editor: (edits, extras) for editor, edits, extras in row.rows}
    lost = [editor for sample, editor in failures if sample == row.sample_id and editor not in shown]
    rows: list[EditorRow] = []
    controls: list[Picture] = []
    for editor in sorted((*shown, *lost), key=list(look).index):
        edits, extras = shown.get(editor, ((), {}))
        own = look[editor]
        reason = "" if edits else failures.get((row.sample_id, editor), "no edits")
        pictures = tuple(
            embed(path, editor if own.anchor else number(value), notes.get((row.sample_id, editor, number(value)), ""))
            for value, path in edits
        )
        if own.anchor:
            controls += pictures or (Picture(editor, "", missing=reason),)
        else:
            further = tuple(embed(path, name) for name, path in extras.items())
            rows.append(EditorRow(editor, swatch(own), knobs.get(editor, ""), pictures, further, reason))
    if controls:
        rows.append(EditorRow("anchors", Markup(""), "", tuple(controls), (), ""))
    return Exhibit(row.sample_id, row.category or "", row.source_text, row.target_text, originals, tuple(rows))


def exhibits(data: ReportData, look: Mapping[str, Look]) -> list[Exhibit]:
    """The gallery of ``data``: every file is read once, nothing is drawn. ``look`` must know every editor."""
    curves = data.curves
    knobs = {str(e): knob_name(k) for e, k in zip(curves["editor"], curves["knob"], strict=True)} if len(curves) else {}
    notes, failures = _notes(data.pairs), _failures(data.units)
    return [_exhibit(row, look, knobs, notes, failures) for row in data.gallery]
