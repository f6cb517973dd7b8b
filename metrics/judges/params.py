"""Parameters of judges: strict, and refused in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from metrics.base import MetricError

__all__ = ["SCENES", "Strict", "checked"]

SCENES = "local-dir:"
"""How a judge in a spec begins that is an image-text network with its scenes."""


class Strict(BaseModel):
    """Unknown parameters are refused, and no kind of value is turned into another."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


Params = TypeVar("Params", bound=Strict)


def checked(kind: type[Params], given: Mapping[str, Any]) -> Params:
    """The parameters of that kind.

    Raises:
        MetricError: a value or a name is wrong; the message names it and shows no value, which may be a secret in the wrong place.
    """
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "judge"
        known = ", ".join(kind.model_fields)
        advice = f"; known are {known}" if first["type"] == "extra_forbidden" else ""
        raise MetricError(f"judge {where}: {first['msg'].removeprefix('Value error, ')}{advice}") from None
