"""What there is to choose from, and what is installed: rows for `etabench list` and `etabench doctor`."""

from __future__ import annotations

import inspect
import json
import os
import shutil
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import data_manifests
from bench import environment, registry
from bench.commands.room import room
from bench.devices import best_dtype
from bench.errors import EtabenchError
from bench.spec import load_spec, shipped_specs
from bench.store import write_atomically
from bench.suggest import did_you_mean
from bench.toybox import embedded

__all__ = ["DETAILS", "editors", "embedded_models", "health", "manifests", "metrics", "one", "protocols", "specs", "write_facts"]

Rows = list[dict[str, Any]]
DETAILS = frozenset({"grid", "presets", "checkpoint", "target"})
"""Fields that a table has no room for."""
FACTS = Path(__file__).parent / "facts.json"
DRIVERS = ("nvidia-smi", "rocm-smi")
EXTRAS = {
    "ray": "--executor ray",
    "submitit": "--executor slurm",
    "starlette": "etabench study serve",
    "uvicorn": "etabench study serve",
    "krippendorff": "etabench agreement, etabench study report",
}


def editors(live: bool = False) -> Rows:
    """Registered editors; one that cannot be imported says why.

    What comes with the package is told from `facts.json`, which took long to import once; `live` imports it.
    """
    return _listed(registry.editors(), "editors", _editor, live)


def metrics(live: bool = False) -> Rows:
    """Registered metrics; one that cannot be imported says why. `live` as in `editors`."""
    return _listed(registry.metrics(), "metrics", _metric, live)


def write_facts() -> None:
    """Write `facts.json` anew."""
    rows = {"editors": editors(live=True), "metrics": metrics(live=True)}
    own = {kind: {row["target"]: row for row in found} for kind, found in rows.items()}
    write_atomically(FACTS, (json.dumps(own, indent=1, ensure_ascii=False) + "\n").encode())


def _listed(points: Mapping[str, EntryPoint], kind: str, describe: Callable[[str], dict[str, Any]], live: bool) -> Rows:
    known = {} if live else json.loads(FACTS.read_text(encoding="utf-8"))[kind]
    rows: Rows = []
    for name, point in points.items():
        ours = point.dist is not None and point.dist.name == "etabench" and point.value in known
        rows.append(known[point.value] if ours else describe(name) | {"target": point.value})
    return rows


def _editor(name: str) -> dict[str, Any]:
    kinds = {"presets": [], "needs": [], "families": [], "tested_on": "", "checkpoint": ""}
    row: dict[str, Any] = {"name": name, "knob": "", "grid": []} | kinds
    try:
        cls = registry.load_editor(name)
    except EtabenchError as error:
        return row | {"summary": str(error)}
    from editors.task import FAMILIES

    row |= {"presets": sorted(cls.presets), "needs": sorted(cls.needs), "tested_on": cls.tested_on, "checkpoint": cls.checkpoint}
    row |= {"families": [family for family in FAMILIES if family in cls.families] if cls.needs_model else []}
    row |= {"knob": cls.knob.name, "grid": list(cls.knob.grid)} if cls.knob else {"knob": "anchor" if cls.anchor else ""}
    return row | {"summary": _summary(cls)}


def _metric(name: str) -> dict[str, Any]:
    try:
        cls = registry.load_metric(name)
    except EtabenchError as error:
        return {"name": name, "kind": "", "summary": str(error)}
    from metrics.base import PairMetric

    return {"name": name, "kind": "pair" if issubclass(cls, PairMetric) else "set", "summary": _summary(cls)}


def _preset(cls: type[Any], preset: str) -> str:
    """The parameters of a preset, and the knob values where they are its own."""
    grid = {f"grid of {cls.knob.name}": list(cls.grids[preset])} if preset in cls.grids else {}
    return ", ".join(f"{name} {value!r}" for name, value in {**cls.presets[preset], **grid}.items())


def one(kind: str, name: str, rows: Rows) -> dict[str, Any]:
    """The row of ``name`` with what only a single thing has room for. Raises ``EtabenchError`` with a suggestion."""
    found = {row["name"]: row for row in rows}
    if name not in found:
        raise EtabenchError(f"no {name!r} among the {kind}; {did_you_mean(name, found)}")
    row = dict(found[name])
    if kind == "editors":
        cls = registry.load_editor(name)
        fields = {key: f"{field.description} (default {field.default!r})" for key, field in cls.Params.model_fields.items()}
        row |= {"version": cls.version, "summary": inspect.getdoc(cls) or "", "parameters": fields}
        row["presets"] = {preset: _preset(cls, preset) for preset in cls.presets}
    if kind == "manifests":
        from bench.manifest.benchmarks import benchmarks

        row = {"name": name} | benchmarks()[name].card.as_dict() if name in benchmarks() else row
    if kind == "protocols":
        from bench.spec.protocols import protocol_of

        row = {"name": name} | protocol_of(name).as_dict()
    if kind == "metrics":
        metric = registry.load_metric(name)
        taken = [parameter for key, parameter in inspect.signature(metric).parameters.items() if key != "device"]
        row |= {"summary": inspect.getdoc(metric) or "", "parameters": [str(parameter) for parameter in taken]}
    return row


def manifests() -> Rows:
    """Manifests that come with the package, and published benchmarks that are read from a copy of yours or from the hub."""
    from bench.manifest.benchmarks import benchmarks

    rows: Rows = []
    for name in data_manifests.names():
        folder = data_manifests.path(name)
        with (folder / "metadata.jsonl").open(encoding="utf-8") as lines:
            rows.append({"name": name, "samples": sum(bool(line.strip()) for line in lines), "where": str(folder)})
    for name, benchmark in benchmarks().items():
        card = benchmark.card
        whole = next(iter(card.splits.values())).rows
        rows.append({"name": name, "samples": whole, "where": f"hub {card.hub}" if card.hub else card.where})
    return rows


def printed() -> Rows:
    """Printed numbers of published benchmarks, a row a table."""
    from bench.analysis.published import published

    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for each in published():
        about = {"name": each.benchmark, "table": each.table, "methods": set(), "source": each.source}
        row = rows.setdefault((each.benchmark, each.table), about)
        row["methods"].add(each.method)
    return [row | {"methods": len(row["methods"])} for row in rows.values()]


def printed_of(benchmark: str) -> Rows:
    """Every printed number of one benchmark. Raises EtabenchError where nothing is known of it."""
    from bench.analysis.published import published

    return [
        {
            "table": each.table,
            "method": each.method,
            "column": each.column.name,
            "printed": each.number,
            "tolerance": each.column.tolerance or None,
            "here": f"{each.column.metric or 'none'} of {each.editor or 'no editor'}",
            "seen at its source": "yes" if each.certain else "no",
            "doubt": each.doubt,
        }
        for each in published(benchmark)
    ]


def protocols() -> Rows:
    """Published protocols: which printed columns are scored here, of how many."""
    from bench.spec.protocols import protocols as known

    return [
        {
            "name": each.name,
            "title": each.title,
            "columns": f"{sum(bool(c.metric and c.metric.registered) for c in each.columns)} of {len(each.columns)}",
            "average": each.average,
        }
        for each in known().values()
    ]


def embedded_models() -> Rows:
    """Models that come with the package."""
    return [{"name": embedded.NAME, "present": embedded.present("generator"), "folder": str(embedded.TOYBOX / "generator")}]


def specs() -> Rows:
    """Specs that come with the package."""
    return [
        {"name": name, "description": load_spec(name).description, "file": str(file)} for name, file in shipped_specs().items()
    ]


def health(gib: float | None = None) -> Rows:
    """Python, packages, extras, devices and embedded weights, and what has room on each device, or on one of `gib` GiB; status is ok,
    absent (optional) or missing (needed).
    """
    rows = [{"item": name, "status": "ok", "detail": version} for name, version in environment.versions().items()]
    have = {row["item"] for row in rows}
    needed = [name for name in environment.PACKAGES if name not in EXTRAS and name not in have]
    rows += [{"item": name, "status": "missing", "detail": "pip install -e ."} for name in needed]
    rows += [{"item": name, "status": "absent", "detail": f"only for {use}"} for name, use in EXTRAS.items() if name not in have]
    cards = _cards()
    rows.append({"item": "device", "status": "ok", "detail": ", ".join(cards) or f"cpu, {os.cpu_count()} cores"})
    for size in sorted(set(cards.values()) if gib is None else {gib}):
        rows += room(size)
    for name, there, folder in embedded.health():
        detail = str(folder) if there else f"{folder} lacks {embedded.NETWORKS[name]}: `make train-toybox`"
        rows.append({"item": f"{embedded.NAME} {name}", "status": "ok" if there else "missing", "detail": detail})
    for name, row in (("editor", editors()), ("metric", metrics())):
        rows += [
            {"item": f"{name} {each['name']}", "status": "missing", "detail": each["summary"]}
            for each in row
            if "cannot be imported" in each["summary"]
        ]
    return rows


def _cards() -> dict[str, float]:
    """The CUDA devices that torch sees, described, and the GiB of each; it is asked, which takes long, only where there is a driver to
    see any by.
    """
    if not any(map(shutil.which, DRIVERS)):
        return {}
    import torch

    found = {}
    for number in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(number)
        gib, kind = card.total_memory / 2**30, f"compute capability {card.major}.{card.minor}"
        found[f"cuda:{number} {card.name} ({gib:.0f} GiB, {kind}, dtype auto is {best_dtype(f'cuda:{number}')})"] = gib
    return found


def _summary(cls: type) -> str:
    return (inspect.getdoc(cls) or "").split("\n", 1)[0]
