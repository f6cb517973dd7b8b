"""What the viewer knows of a run beside its pictures: compact columns that a browser reads in one go."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.cells import decimals, finite
from reports.data import ReportData
from reports.names import metric_name
from reports.style import Look, knob_name
from reports.viewer.grid import ORIGINALS, Grid
from reports.viewer.pictures import State

__all__ = ["as_json", "columns"]

_DIGITS = 5
"""Significant digits of a score in the viewer; the run's tables have all of them."""
_INFINITE = 1e308
"""What stands for infinity, which JSON has not; the viewer shows it as such."""


def columns(data: ReportData, grid: Grid, look: Mapping[str, Look], states: Mapping[str, State]) -> dict[str, Any]:
    """The viewer's data. Arrays over units and edits are flat, in the order of :class:`Grid`; ``states`` is one character a picture.

    A score is null where there is none, and null with its place in ``undefined`` where the metric leaves it undefined by its own rule.
    """
    knobs = {str(e): knob_name(k) for e, k in zip(data.curves["editor"], data.curves["knob"], strict=True)}
    points = {str(e): finite(v) for e, v in zip(data.leaderboard["editor"], data.leaderboard.get("value", ()), strict=False)}
    edits, maps, extras = _states(data, grid, states)
    return {
        "title": data.title,
        "samples": {
            "id": list(grid.samples),
            "category": [row.category or "" for row in data.gallery],
            "source": [row.source_text or "" for row in data.gallery],
            "target": [row.target_text for row in data.gallery],
            "originals": "".join(
                states.get(f"{n:05d}/{name}", State.NONE) for n in range(len(grid.samples)) for name in ORIGINALS
            ),
        },
        "seeds": list(grid.seeds),
        "editors": [
            {
                "name": name,
                "knob": knobs.get(name, ""),
                "values": values,
                "anchor": look[name].anchor,
                "at": _nearest(values, points.get(name)),
            }
            for name, values in zip(grid.editors, grid.values, strict=True)
        ],
        "edits": edits,
        "maps": maps,
        "extras": extras,
        "failures": _failures(data.units, grid),
        "metrics": _metrics(data, grid),
    }


def as_json(content: object) -> str:
    """JSON that may stand in a page or a script: no tag can begin in it."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _nearest(values: Sequence[float], point: float | None) -> int:
    """The place of the operating point, the middle where there is none."""
    return len(values) // 2 if point is None else min(range(len(values)), key=lambda k: abs(values[k] - point))


def _states(data: ReportData, grid: Grid, states: Mapping[str, State]) -> tuple[str, str, dict[int, list[list[str]]]]:
    """One character for each edit and one for its map, none where there are no maps; for each unit that has further pictures, their names
    and characters.
    """
    edits = [str(State.NONE)] * (len(grid.samples) * len(grid.seeds) * grid.cells)
    maps = list(edits) if data.heat.metric else []
    extras: dict[int, list[list[str]]] = {}
    for number, sample in enumerate(data.gallery):
        for row in sample.rows:
            start, at = grid.of_row(number, row), number * len(grid.seeds) + grid.seeds.index(row.seed)
            for value, _ in row.edits:
                cell = grid.place[row.editor, float(value)]
                edits[at * grid.cells + cell] = str(states[f"{start}-{cell}"])
                if data.heat.metric and value in row.maps:
                    maps[at * grid.cells + cell] = str(states[f"{start}-{cell}-map"])
            if row.extras:
                editor = grid.editors.index(row.editor)
                found = [[name, str(states[f"{start}-{editor}-{k}"])] for k, name in enumerate(row.extras)]
                extras[at * len(grid.editors) + editor] = found
    return "".join(edits), "".join(maps), extras


def _places(frame: pd.DataFrame, grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Of each row, sample * seeds + seed; and whether the grid has it."""
    sample = pd.Index(grid.samples).get_indexer(pd.Index(frame["sample_id"].astype(str)))
    seed = pd.Index(grid.seeds).get_indexer(pd.Index(frame["seed"]))
    return sample * len(grid.seeds) + seed, (sample >= 0) & (seed >= 0)


def _failures(units: pd.DataFrame, grid: Grid) -> dict[str, Any]:
    """Reasons, each once, and the number of its reason for each unit that is not done."""
    rows = units[units["status"] != "done"] if len(units) else units
    at, known = _places(rows, grid)
    reasons: dict[str, int] = {}
    found: dict[int, int] = {}
    for place, there, row in zip(at.tolist(), known.tolist(), rows.to_dict("records"), strict=True):
        if there and row["editor"] in grid.editors:
            said = f"{row['status']}: {row['reason']}" if isinstance(row["reason"], str) and row["reason"] else str(row["status"])
            found[place * len(grid.editors) + grid.editors.index(row["editor"])] = reasons.setdefault(said, len(reasons))
    return {"reasons": list(reasons), "units": found}


def _metrics(data: ReportData, grid: Grid) -> list[dict[str, Any]]:
    """Every pair metric with its scores."""
    pairs = data.pairs
    if not len(pairs):
        return []
    at, known = _places(pairs, grid)
    keys = zip(pairs["editor"].astype(str), pairs["value"].astype(float), strict=True)
    cell = np.fromiter((grid.place.get(key, -1) for key in keys), np.int64, len(pairs))
    known &= cell >= 0
    place, size = at * grid.cells + cell, len(grid.samples) * len(grid.seeds) * grid.cells
    score, metric = pairs["score"].to_numpy(float), pairs["metric"].astype(str).to_numpy()
    found = []
    for name in _ordered(dict.fromkeys(metric.tolist()), data.plane.made_of, data.plane.columns):
        here = known & (metric == name)
        print_ = str(pairs["fingerprint"].to_numpy()[metric == name][0])
        higher = data.cards.get(print_, {}).get("higher_is_better")
        about = metric_name(name, better="" if higher is None else "higher" if higher else "lower")
        values: NDArray[np.float64] = np.full(size, np.nan)
        values[place[here]] = score[here]
        digits = decimals(values[np.isfinite(values)].tolist())
        undefined = np.sort(place[here & np.isnan(score)]).tolist()
        found.append({"name": name, "title": about.title, "better": about.better, "digits": digits + 1,
                      "undefined": undefined, "scores": _rounded(values)})  # fmt: skip
    return found


def _ordered(names: Iterable[str], made_of: Mapping[str, str], axes: Sequence[str]) -> list[str]:
    """The metrics of the axes first."""
    leading = [made_of.get(axis, axis) for axis in axes]
    return sorted(names, key=lambda name: leading.index(name) if name in leading else len(leading))


def _rounded(values: NDArray[np.float64]) -> list[float | None]:
    """To :data:`_DIGITS` significant digits, None for NaN, :data:`_INFINITE` for infinity."""
    sound = np.isfinite(values) & (values != 0)
    scale = np.ones_like(values)
    scale[sound] = 10.0 ** (_DIGITS - 1 - np.floor(np.log10(np.abs(values[sound]))))
    short = np.where(np.isinf(values), np.sign(values) * _INFINITE, np.round(values * scale) / scale)
    return [None if math.isnan(value) else value for value in short.tolist()]
