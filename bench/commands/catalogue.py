"""What there is to choose from, and what is installed: rows for `etabench list` and `etabench doctor`."""

from __future__ import annotations

import importlib.util
import inspect
import os
from typing import Any

import data_manifests
from bench import environment, registry
from bench.errors import EtabenchError
from bench.spec import load_spec, shipped_specs
from bench.suggest import did_you_mean
from bench.toybox import embedded

__all__ = ["DETAILS", "editors", "embedded_models", "health", "manifests", "metrics", "one", "specs"]

Rows = list[dict[str, Any]]
DETAILS = frozenset({"grid", "presets", "checkpoint", "target"})
"""Fields that a table has no room for."""
EXTRAS = {"ray": "--executor ray", "submitit": "--executor slurm"}


def editors() -> Rows:
    """Registered editors; one that cannot be imported says why."""
    rows: Rows = []
    for name, point in registry.editors().items():
        row: dict[str, Any] = {
            "name": name,
            "knob": "",
            "grid": [],
            "presets": [],
            "needs": [],
            "tested_on": "",
            "checkpoint": "",
            "summary": "",
            "target": point.value,
        }
        try:
            cls = registry.load_editor(name)
        except EtabenchError as error:
            rows.append(row | {"summary": str(error)})
            continue
        knob = {"knob": cls.knob.name, "grid": list(cls.knob.grid)} if cls.knob else {"knob": "anchor" if cls.anchor else ""}
        about = {
            "tested_on": cls.tested_on,
            "checkpoint": cls.checkpoint,
            "summary": _summary(cls),
        }
        rows.append(row | knob | {"presets": sorted(cls.presets), "needs": sorted(cls.needs)} | about)
    return rows


def metrics() -> Rows:
    """Registered metrics; one that cannot be imported says why."""
    rows: Rows = []
    for name, point in registry.metrics().items():
        try:
            cls = registry.load_metric(name)
            kind, summary = "pair" if hasattr(cls, "score") else "set", _summary(cls)
        except EtabenchError as error:
            kind, summary = "", str(error)
        rows.append({"name": name, "kind": kind, "summary": summary, "target": point.value})
    return rows


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
        row["presets"] = {preset: ", ".join(f"{k} {v!r}" for k, v in given.items()) for preset, given in cls.presets.items()}
    if kind == "metrics":
        metric = registry.load_metric(name)
        taken = [parameter for key, parameter in inspect.signature(metric).parameters.items() if key != "device"]
        row |= {"summary": inspect.getdoc(metric) or "", "parameters": [str(parameter) for parameter in taken]}
    return row


def manifests() -> Rows:
    """Manifests that come with the package."""
    rows: Rows = []
    for name in data_manifests.names():
        folder = data_manifests.path(name)
        with (folder / "metadata.jsonl").open(encoding="utf-8") as lines:
            rows.append({"name": name, "samples": sum(bool(line.strip()) for line in lines), "folder": str(folder)})
    return rows


def embedded_models() -> Rows:
    """Models that come with the package."""
    return [{"name": embedded.NAME, "present": embedded.present("generator"), "folder": str(embedded.TOYBOX / "generator")}]


def specs() -> Rows:
    """Specs that come with the package."""
    return [
        {"name": name, "description": load_spec(name).description, "file": str(file)} for name, file in shipped_specs().items()
    ]


def health() -> Rows:
    """Python, packages, extras, devices and embedded weights; status is ok, absent (optional) or missing (needed)."""
    rows = [{"item": name, "status": "ok", "detail": version} for name, version in environment.versions().items()]
    have = {row["item"] for row in rows}
    needed = [name for name in environment.PACKAGES if name not in EXTRAS and name not in have]
    rows += [{"item": name, "status": "missing", "detail": "pip install -e ."} for name in needed]
    rows += [{"item": name, "status": "absent", "detail": f"only for {use}"} for name, use in EXTRAS.items() if name not in have]
    if importlib.util.find_spec("torch"):
        import torch

        devices = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        rows.append({"item": "device", "status": "ok", "detail": ", ".join(devices) or f"cpu, {os.cpu_count()} cores"})
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


def _summary(cls: type) -> str:
    return (inspect.getdoc(cls) or "").split("\n", 1)[0]
