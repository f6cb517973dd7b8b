"""Pydantic's findings about a spec in the words of its author: file, dotted place, expected, got, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bench.spec.policy import TAGS
from bench.suggest import did_you_mean, kind_of

__all__ = ["one_line"]

Place = tuple[str | int, ...]
"""Keys and list indices from the top of a spec."""

_EXPECTED = {
    "string_type": "a string",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "finite_number": "a finite number",
}
_LONGEST = 600
"""Characters of a finding; what it quotes may be as large as a spec."""
_ORDER = ("extra_forbidden", "missing")


def one_line(error: ValidationError, model: type[BaseModel], source: str, overrides: Mapping[Place, str]) -> str:
    """The first mistake as ``<source>: editors[1].presset: unknown key; did you mean 'preset'?``.

    Unknown keys come first, because a mistyped key also makes the right one missing. Where an override (given with the place
    that it set) caused the mistake, it is named in place of the file. Further mistakes are counted.
    """
    details = sorted(error.errors(), key=lambda d: _ORDER.index(d["type"]) if d["type"] in _ORDER else len(_ORDER))
    first = details[0]
    first["loc"] = tuple(part for part in first["loc"] if part not in TAGS)
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    place = _dotted(first["loc"])
    message = _message(first, model)
    if len(message) > _LONGEST:
        message = f"{message[:_LONGEST]}..."
    return f"{_origin(first, source, overrides)}: {place}{': ' if place else ''}{message}{more}"


def _dotted(loc: Place) -> str:
    text = ""
    for part in loc:
        key = part if isinstance(part, int) else ascii(part[:80])[1:-1] if not part.isprintable() else part[:80]
        text += f"[{part}]" if isinstance(part, int) else f".{key}" if text else str(key)
    return text


def _origin(detail: ErrorDetails, source: str, overrides: Mapping[Place, str]) -> str:
    """The override that set the place, or that made a mapping of something that is none; else ``source``."""
    loc = detail["loc"]
    for place, override in overrides.items():
        if loc[: len(place)] == place or (detail["type"] in _EXPECTED and loc == place[: len(loc)]):
            return f"--set {override}"
    return source


def _message(detail: ErrorDetails, model: type[BaseModel]) -> str:
    kind, got = detail["type"], detail["input"]
    context: dict[str, Any] = detail.get("ctx", {})
    if kind in _EXPECTED:
        quote = "; put it in quotes to make it text" if kind == "string_type" and isinstance(got, bool | int | float) else ""
        return f"expected {_EXPECTED[kind]}, got {kind_of(got)}{quote}"
    match kind:
        case "extra_forbidden":
            key = str(detail["loc"][-1])
            owner = _model_at(model, detail["loc"][:-1])
            message = f"unknown key; {did_you_mean(key, owner.model_fields if owner else ())}"
        case "missing":
            message = "missing; it is required"
        case "literal_error":
            choices = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
            message = f"expected one of {', '.join(choices)}, got {kind_of(got)}; {did_you_mean(got if isinstance(got, str) else '', choices)}"
        case "too_short" | "string_too_short":
            message = "empty; give at least one" if kind == "too_short" else "empty; give a text or leave the key out"
        case "value_error":
            message = str(context["error"])
        case _:
            message = f"{detail['msg'][:1].lower()}{detail['msg'][1:]}, got {kind_of(got)}"
    return message


def _model_at(model: type[BaseModel], loc: Place) -> type[BaseModel] | None:
    """The model whose fields are the legal keys at ``loc``."""
    for part in loc:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        inner = _model_in(field.annotation) if field else None
        if inner is None:
            return None
        model = inner
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for found in map(_model_in, get_args(annotation)) if found), None)
