"""Parts of a run beside each other: the plane of each category, and the editors that are one method with other parameters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from bench.analysis.summary import tradeoff
from bench.plan import Plan
from bench.scoring import Scores
from bench.scoring.axes import Axes
from reports.frames import COLUMNS, empty

__all__ = ["by_category", "families"]


def by_category(plan: Plan, scores: Scores, axes: Axes) -> pd.DataFrame:
    """The rows of `tradeoff` for the samples of each category, anchors too; empty where there are not two categories."""
    names = list(dict.fromkeys(sample.category for sample in plan.samples if sample.category))
    if len(names) < 2:
        return empty("categories")
    anchors, parts = {entry.label for entry in plan.entries if entry.anchor}, []
    for name in names:
        pairs = scores.pairs[scores.pairs["category"] == name]
        rows = tradeoff(plan, replace(scores, pairs=pairs), axes)
        count = sum(sample.category == name for sample in plan.samples)
        parts.append(rows.assign(category=name, samples=count, anchor=rows["editor"].isin(anchors)))
    return pd.concat(parts, ignore_index=True)[list(COLUMNS["categories"])]


def families(plan: Plan) -> pd.DataFrame:
    """Editors of which several are one method: what method, and the parameters in which they differ; empty where there are none."""
    rows = []
    methods: dict[str, list[Any]] = {}
    for entry in plan.entries:
        if not entry.anchor:
            methods.setdefault(entry.name, []).append(entry)
    for method, members in methods.items():
        names = dict.fromkeys(name for entry in members for name in entry.hashed_params)
        varied = [name for name in names if len({repr(entry.hashed_params.get(name)) for entry in members}) > 1]
        for entry in members if len(members) > 1 else ():
            settings = ", ".join(f"{name.replace('_', ' ')} {_word(entry.params.get(name))}" for name in varied)
            rows.append({"editor": entry.label, "method": method, "settings": settings or "other knob values"})
    return pd.DataFrame(rows, columns=list(COLUMNS["families"]))


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, int | float) else str(value)
