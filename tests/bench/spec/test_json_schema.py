"""The shipped schema says of a file what `load_spec` says, as far as a schema can."""

from __future__ import annotations

import importlib.util
import json
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.commands.schema import SCHEMA, read_schema, spec_schema
from bench.errors import SpecError
from bench.spec import load_spec, shipped_specs

KINDS = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}
PROSE = {"description", "default", "examples", "title", "$defs", "$schema"}
Check = Callable[[Any, Any, Any], list[str]]
"""A value, the schema that has the word, and the whole schema, to what is wrong."""
BASE: dict[str, Any] = {"name": "mine", "manifest": "toybox-mini", "editors": ["copy"], "metrics": ["psnr"]}


def mistakes(value: Any, schema: Any, whole: dict[str, Any]) -> list[str]:
    """What a validator finds, for the words that the schema uses; another word fails, so that none is passed over."""
    if isinstance(schema, bool):
        return [] if schema else ["not allowed"]
    strange = schema.keys() - WORDS.keys() - PROSE
    assert not strange, f"{strange}: words that this test does not know"
    return [each for word in schema.keys() & WORDS.keys() for each in WORDS[word](value, schema, whole)]


def of_any(value: Any, schema: Any, whole: Any) -> list[str]:
    each = [mistakes(value, form, whole) for form in schema["anyOf"]]
    return min(each, key=len) if all(each) else []


def of_one(value: Any, schema: Any, whole: dict[str, Any]) -> list[str]:
    fits = sum(not mistakes(value, each, whole) for each in schema["oneOf"])
    return [] if fits == 1 else [f"fits {fits} of the alternatives"]


def of_type(value: Any, schema: Any, _: Any) -> list[str]:
    wrong = not isinstance(value, KINDS[schema["type"]]) or (isinstance(value, bool) and schema["type"] != "boolean")
    return [f"no {schema['type']}"] if wrong else []


def of_keys(value: Any, schema: Any, whole: Any) -> list[str]:
    known, given = schema.get("properties", {}), value if isinstance(value, dict) else {}
    return [each for key in known.keys() & given for each in mistakes(given[key], known[key], whole)]


def of_further_keys(value: Any, schema: Any, whole: Any) -> list[str]:
    further = (value if isinstance(value, dict) else {}).keys() - schema.get("properties", {}).keys()
    return [each for key in further for each in mistakes(value[key], schema["additionalProperties"], whole)]


def of_length(word: str) -> Check:
    return lambda value, schema, _: ["too short"] if isinstance(value, list | str) and len(value) < schema[word] else []


def of_size(word: str, good: Callable[[float, float], bool]) -> Check:
    def check(value: Any, schema: Any, _: Any) -> list[str]:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return [word] if is_number and not good(value, schema[word]) else []

    return check


WORDS: dict[str, Check] = {
    "$ref": lambda value, schema, whole: mistakes(value, whole["$defs"][schema["$ref"].rpartition("/")[2]], whole),
    "anyOf": of_any,
    "oneOf": of_one,
    "type": of_type,
    "const": lambda value, schema, _: [] if value == schema["const"] else ["not the only choice"],
    "enum": lambda value, schema, _: [] if value in schema["enum"] else ["none of the choices"],
    "required": lambda value, schema, _: sorted(set(schema["required"]) - value.keys()) if isinstance(value, dict) else [],
    "properties": of_keys,
    "additionalProperties": of_further_keys,
    "items": lambda value, schema, whole: [
        each for item in (value if isinstance(value, list) else []) for each in mistakes(item, schema["items"], whole)
    ],
    "minItems": of_length("minItems"),
    "minLength": of_length("minLength"),
    "minimum": of_size("minimum", operator.ge),
    "exclusiveMinimum": of_size("exclusiveMinimum", operator.gt),
    "maximum": of_size("maximum", operator.le),
    "exclusiveMaximum": of_size("exclusiveMaximum", operator.lt),
}


def found(value: Any) -> list[str]:
    schema = read_schema()
    own = mistakes(value, schema, schema)
    if importlib.util.find_spec("jsonschema"):
        import jsonschema

        theirs = list(jsonschema.Draft202012Validator(schema).iter_errors(value))
        assert bool(theirs) == bool(own), (own, theirs)
    return own


def test_the_shipped_schema_is_what_the_code_says() -> None:
    assert read_schema() == spec_schema(), "python tests/docs/check_docs.py --write"


@pytest.mark.parametrize("name", sorted(shipped_specs()))
def test_shipped_specs_name_the_schema_and_keep_to_it(name: str) -> None:
    file = shipped_specs()[name]
    first, _, _ = file.read_text(encoding="utf-8").partition("\n")
    words, _, target = first.partition("$schema=")
    assert (words, (file.parent / target).resolve()) == ("# yaml-language-server: ", SCHEMA.resolve())
    assert found(yaml.safe_load(file.read_text(encoding="utf-8"))) == []
    assert found(json.loads(json.dumps(load_spec(name).resolved()))) == [], "the long form too"


@pytest.mark.parametrize(
    "changes",
    [
        {"presset": 1},
        {"editors": [{"name": "copy", "presset": "x"}]},
        {"editors": []},
        {"editors": "copy"},
        {"editors": [{"preset": "toybox"}]},
        {"editors": [{"name": "copy", "grid": ["x"]}]},
        {"limit": 0},
        {"limit": "3"},
        {"seeds": [-1]},
        {"name": 5},
        {"name": ""},
        {"dtype": "flaot32"},
        {"manifest": 3},
        {"manifest": {"path": "x", "fit": "crop"}},
        {"manifest": {"path": "x", "size": 4}},
        {"manifest": {"path": "x", "columns": {"image": 1}}},
        {"model": {"nam": "toybox"}},
        {"metrics": [{"name": "psnr", "params": 3}]},
        {"reference": {"kind": "truth"}},
        {"reference": {"kind": "toybox", "per_class": 10**9}},
        {"axes": {"editabilty": "clip"}},
        {"anchors": [1]},
    ],
)
def test_what_the_schema_refuses_load_spec_refuses(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert found(BASE) == []
    assert len(found(BASE | changes)) > 0
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(BASE | changes))
    with pytest.raises(SpecError):
        load_spec(tmp_path / "mine.yaml")


def test_names_can_be_completed() -> None:
    schema = read_schema()
    assert {"sdedit", "copy"} <= set(schema["properties"]["editors"]["items"]["anyOf"][0]["examples"])
    assert "toybox-mini" in schema["properties"]["manifest"]["anyOf"][0]["examples"]
    assert "lpips" in schema["$defs"]["MetricSpec"]["properties"]["name"]["examples"]
    assert all("description" in each for each in schema["$defs"]["EditorSpec"]["properties"].values())
