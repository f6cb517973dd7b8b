"""The file of a baseline, as it is written and as it is read back.

    schema, manifest_hash, model
    fingerprints, higher_is_better, tolerances      by metric; a tolerance is {mean, worst}
    scores                                          rows [sample, editor, knob value, seed, metric, score]
    sets                                            the same of set metrics: a tolerance is a number, rows [editor, knob value, metric, score]

A score is a number, "inf", "-inf", or null where the metric left it undefined. A gate that reads nothing, or something else than was
written, would let everything through: whatever else stands in the file stops the comparison.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bench.errors import BaselineError, RunError
from bench.store import write_atomically
from bench.store.shapes import read_as
from bench.suggest import kind_of

__all__ = ["SCHEMA", "read_baseline", "save_baseline"]

SCHEMA = 1


def _readable(schema: int) -> int:
    if schema != SCHEMA:
        raise ValueError(f"is {schema}, this version reads {SCHEMA}")
    return schema


def _score(written: Any) -> Any:
    if written in (None, "inf", "-inf"):
        return written
    if isinstance(written, int | float) and not isinstance(written, bool) and abs(written) <= sys.float_info.max:
        return written
    raise ValueError(f'expected a number, "inf", "-inf" or null, got {kind_of(written)}')


Positive = Annotated[float, Field(gt=0)]
Score = Annotated[Any, AfterValidator(_score)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Tolerance(_Strict):
    mean: Positive
    worst: Positive


class _Sets(_Strict):
    fingerprints: dict[str, str]
    higher_is_better: dict[str, bool | None]
    tolerances: dict[str, Positive]
    scores: list[tuple[str, float, str, Score]] = Field(min_length=1)


class _Baseline(_Strict):
    schema_: Annotated[int, AfterValidator(_readable)] = Field(alias="schema")
    manifest_hash: str
    model: str = ""
    fingerprints: dict[str, str]
    higher_is_better: dict[str, bool | None]
    tolerances: dict[str, _Tolerance]
    scores: list[tuple[str, str, float, int, str, Score]] = Field(min_length=1)
    sets: _Sets | None = None


def read_baseline(path: Path) -> dict[str, Any]:
    """The content of a baseline file, its rows as tuples. BaselineError names what is wrong with it."""
    if not path.exists():
        raise BaselineError(f"no baseline at {path}; `etabench check RUN --baseline {path} --update` writes one")
    try:
        found = read_as(path, _Baseline, "mend it, or delete it and write it anew with --update")
    except RunError as error:
        raise BaselineError(f"not a baseline: {error}") from error
    content = found.model_dump(by_alias=True)
    _check(path, "", content)
    if found.sets is not None:
        _check(path, "sets.", content["sets"])
    return content


def save_baseline(path: Path, head: dict[str, Any], scores: Iterable[tuple[Any, ...]]) -> None:
    """Write a baseline, a row of `scores` a line, so that a change of it can be read."""
    rows = ",\n  ".join(json.dumps(row) for row in scores)
    rest = json.dumps({"schema": SCHEMA} | head, indent=1, sort_keys=True, allow_nan=False).removesuffix("\n}")
    write_atomically(path, f'{rest},\n "scores": [\n  {rows}\n ]\n}}\n'.encode())


def _check(path: Path, where: str, part: dict[str, Any]) -> None:
    """Every row is there once, and the parts speak of the same metrics."""
    named = {"higher_is_better": set(part["higher_is_better"]), "tolerances": set(part["tolerances"])}
    named["scores"] = {row[-2] for row in part["scores"]}
    for name, metrics in named.items():
        if other := sorted(metrics ^ set(part["fingerprints"])):
            raise BaselineError(f"{path}: {where}{name} and {where}fingerprints do not name the same metrics: {', '.join(other)}")
    row, times = Counter(row[:-1] for row in part["scores"]).most_common(1)[0]
    if times > 1:
        raise BaselineError(f"{path}: {where}scores: {list(row)} is there {times} times")
