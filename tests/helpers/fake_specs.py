"""Parts of specs with fake editors and metrics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.spec import Spec

HERE = Path(__file__).parent
SpecMaker = Callable[..., Spec]
"""Fake editors and keys of a spec to the spec; the fixture `make_spec`."""


def editor(name: str, **more: Any) -> dict[str, Any]:
    return {"name": f"{HERE / 'fake_editors.py'}:{name}"} | more


def metric(name: str, **params: Any) -> dict[str, Any]:
    return {"name": f"{HERE / 'fake_metrics.py'}:{name}", "params": params}


PAIR_METRICS = [metric("Alignment"), metric("Distance")]
ALL_METRICS = [*PAIR_METRICS, metric("ColourGap"), metric("ClassGap")]
