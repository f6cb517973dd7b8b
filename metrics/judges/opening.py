"""From what a spec says of a judge to the judge: one of three kinds, or a list of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from metrics.base import MetricError
from metrics.judges.answers import Judge

__all__ = ["JudgeSpec", "Strict", "open_judge", "open_judges"]

JudgeSpec = str | Mapping[str, Any]
"""A judge in a spec: "local-dir:PATH", "folder:PATH", {folder: PATH, ...} or {server: URL, model: NAME, ...}."""
KINDS = "local-dir:PATH, folder:PATH, {folder: PATH, ...} or {server: URL, model: NAME, ...}"
SCENES, FOLDER = "local-dir:", "folder:"


class Strict(BaseModel):
    """Parameters of a judge: unknown ones are refused, and no kind of value is turned into another."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


Params = TypeVar("Params", bound=Strict)


def open_judges(spec: JudgeSpec | Sequence[JudgeSpec], device: str = "cpu") -> list[Judge]:
    """The judges of a spec, at least one.

    Raises:
        MetricError: one cannot be opened; the message says which.
    """
    items = [spec] if isinstance(spec, str | Mapping) else list(spec)
    return [open_judge(item, device) for item in items]


def open_judge(spec: JudgeSpec, device: str = "cpu") -> Judge:
    """One judge. Nothing is asked or downloaded.

    Raises:
        MetricError: `spec` is none of the kinds, a parameter is wrong, or weights or a package are missing.
    """
    if isinstance(spec, str) and spec.startswith(SCENES):
        from metrics.judges.toybox import SceneJudge

        return SceneJudge(spec, device)
    if isinstance(spec, str) and spec.startswith(FOLDER):
        spec = {"folder": spec.removeprefix(FOLDER)}
    if isinstance(spec, Mapping) and "folder" in spec:
        from metrics.judges.local import LocalJudge, LocalParams

        return LocalJudge(_checked(LocalParams, spec), device)
    if isinstance(spec, Mapping) and "server" in spec:
        from metrics.judges.server import ServerJudge, ServerParams

        return ServerJudge(_checked(ServerParams, spec))
    raise MetricError(f"judge: expected {KINDS}, got {str(spec)[:120]!r}")


def _checked(kind: type[Params], given: Mapping[str, Any]) -> Params:
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "judge"
        known = ", ".join(kind.model_fields)
        advice = f"; known are {known}" if first["type"] == "extra_forbidden" else ""
        raise MetricError(f"judge {where}: {first['msg'].removeprefix('Value error, ')}{advice}") from None
