"""The JSON schema of a spec file, for editors that complete keys and underline mistakes; made from `bench.spec`, never by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import data_manifests
from bench.commands.catalogue import FACTS
from bench.spec import Spec
from bench.spec.protocols import GIVEN, protocols
from bench.store import write_atomically
from bench.toybox import embedded

__all__ = ["SCHEMA", "read_schema", "spec_schema", "write_schema"]

SCHEMA = Path(__file__).parents[1] / "specs" / "spec.schema.json"
"""Beside the shipped specs, whose first line names it."""


def spec_schema() -> dict[str, Any]:
    """The schema: the keys of `Spec`, the shorthands of a file, and the names that come with the package as examples.

    It tells less than `load_spec` finds: what two keys say together, and whether a name exists, is no matter of a schema.
    """
    schema = Spec.model_json_schema()
    kinds, top = schema["$defs"], schema["properties"]
    known = {
        kind: sorted(row["name"] for row in rows.values()) for kind, rows in json.loads(FACTS.read_text(encoding="utf-8")).items()
    }
    names = {
        "ManifestRef": data_manifests.names(),
        "ModelRef": [embedded.NAME],
        "EditorSpec": known["editors"],
        "MetricSpec": known["metrics"],
    }
    for kind, examples in names.items():
        kinds[kind]["properties"]["name"]["examples"] = list(examples)
    for place, kind in ((top, "manifest"), (top, "model"), (top["editors"], "items"), (top["metrics"], "items")):
        found = place[kind]
        name = str(found.get("$ref") or found["anyOf"][0]["$ref"]).rpartition("/")[2]
        short = {"type": "string", "minLength": 1, "examples": list(names[name])}
        place[kind] = {**found, "anyOf": [short, *found.get("anyOf", [{"$ref": found.get("$ref")}])]}
        place[kind].pop("$ref", None)
    top["anchors"]["items"]["examples"] = known["editors"]
    top["protocol"]["examples"] = sorted(protocols())
    filled = [key for key in schema["required"] if key in GIVEN]
    schema["required"] = [key for key in schema["required"] if key not in GIVEN]
    schema["anyOf"] = [{"required": filled}, {"required": ["protocol"]}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_untitled(schema), "title": "etabench spec"}


def read_schema() -> dict[str, Any]:
    """The schema that is shipped."""
    found: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return found


def write_schema() -> None:
    """Write the shipped schema anew."""
    write_atomically(SCHEMA, (json.dumps(spec_schema(), indent=1, ensure_ascii=False) + "\n").encode())


def _untitled(schema: Any, named: bool = False) -> Any:
    """Without the titles that only repeat a key; `named` says that the keys are those of a spec and not of the schema."""
    if isinstance(schema, dict):
        return {
            key: _untitled(value, key in ("properties", "$defs") and not named)
            for key, value in schema.items()
            if named or key != "title"
        }
    return [_untitled(item) for item in schema] if isinstance(schema, list) else schema
