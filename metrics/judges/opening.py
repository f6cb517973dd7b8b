"""From what a spec says of a judge to the judge: one of three kinds, or a list of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metrics.base import MetricError
from metrics.judges.answers import Judge
from metrics.judges.params import SCENES, checked

__all__ = ["JudgeSpec", "open_judge", "open_judges"]

JudgeSpec = str | Mapping[str, Any]
"""A judge in a spec: "local-dir:PATH", "folder:PATH", {folder: PATH, ...} or {server: URL, model: NAME, ...}."""
KINDS = "local-dir:PATH, folder:PATH, {folder: PATH, ...} or {server: URL, model: NAME, ...}"
FOLDER = "folder:"


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

        return LocalJudge(checked(LocalParams, spec), device)
    if isinstance(spec, Mapping) and "server" in spec:
        from metrics.judges.server import ServerJudge, ServerParams

        return ServerJudge(checked(ServerParams, spec))
    raise MetricError(f"judge: expected {KINDS}, got {str(spec)[:120]!r}")
