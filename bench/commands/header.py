"""The lines above a report: data, model, seeds, protocol, environment, and by what rule operating points were chosen."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.analysis import protocol
from bench.plan import Plan
from bench.scoring.axes import Axes, anchor_ends, balance
from bench.store import Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["header"]


def header(run: Run, curves: pd.DataFrame, axes: Axes) -> dict[str, str]:
    """The lines by name, in order; `curves` is that of `bench.analysis.summary`. Keys of the environment begin with ``environment.``"""
    return _meta(run) | {"operating_point": _choice(run.plan, curves, axes)} | _environment(run)


def _meta(run: Run) -> dict[str, str]:
    spec, plan = run.spec, run.plan
    manifest = run.head
    model = (spec.model.name or spec.model.path or spec.model.hub) if spec.model else None
    written = datetime.datetime.fromtimestamp(run.plan_file.stat().st_mtime, tz=datetime.UTC)
    return {
        "date": written.strftime("%Y-%m-%d %H:%M UTC"),
        "spec": spec.description or spec.name,
        "model": f"{model} ({plan.model[:12]})" if plan.model else "none",
        "manifest": f"{manifest.name}, {len(plan.samples)} of {len(manifest.ids)} samples"
        + (f" ({manifest.about})" if manifest.about else ""),
        "manifest_hash": plan.manifest_hash[:16],
        "seeds": ", ".join(map(str, spec.seeds)),
        "dtype": plan.dtype,
        "resolution": f"{plan.resolution} px" if plan.resolution else "as given",
    } | _protocol(run)


def _protocol(run: Run) -> dict[str, str]:
    """The header's lines on the protocol of the run and where it departs from it, and on its chain where that is not the true one."""
    own = ", ".join(protocol.departures(run.spec, run.plan))
    name = f"{run.spec.protocol}{f'; departs from it: {own}' if own else ''}" if run.spec.protocol else ""
    said = {"protocol": name, "chain": "own: later turns edit the editor's own pictures" if run.spec.chain == "own" else ""}
    return {key: text for key, text in said.items() if text}


def _environment(run: Run) -> dict[str, str]:
    found = _flat(run.read("environment.json", dict[str, Any]))
    return {f"environment.{key}": str(value) for key, value in found.items() if value is not None}


def _choice(plan: Plan, means: pd.DataFrame, axes: Axes) -> str:
    """By what rule the operating points were chosen."""
    from reports.names import metric_name

    first, second = (metric_name(axis.column, made_of=axes.made_of.get(axis.column, "")).noun for axis in axes)
    rated = {point for point, score in balance(plan, means, axes).items() if math.isfinite(score)}
    if not rated:
        return f"middle of each grid, for lack of edits with scores of both {first} and {second}"
    scale = "copy and regenerate" if anchor_ends(plan, means, axes) else "the smallest and the largest mean of any editor"
    unrated = [
        entry.label for entry in plan.entries if entry.knob and not any((entry.label, value) in rated for value in entry.values)
    ]
    rest = f"; middle of the grid where there is no such mean ({', '.join(unrated)})" if unrated else ""
    return f"highest mean of {first} and {second}, scaled between {scale}{rest}"


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
