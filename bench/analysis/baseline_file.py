"""The file of a baseline, as it is written and as it is read back. It holds what was measured; what follows from that is decided anew
by every check.

    schema, spec, manifest_hash, model, device      `device` is kind and dtype, as in "cpu float32"
    packages                                        versions that it was made with; they are shown and not compared
    fingerprints, higher_is_better                  by metric
    draws                                           lists of seeds: the spec was run once with each
    repeats                                         what was other about each further run with the seeds of the first draw
    scores                                          rows [editor, knob value, metric, sample, scores of the draws, of the repeats]
    sets                                            the same of set metrics, without the sample

A score is a number, "inf", "-inf", or null where the metric left it undefined; that of a sample is the mean over the seeds of a draw. A
gate that reads nothing, or something else than was written, would let everything through: whatever else stands in the file stops the
comparison.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bench.errors import BaselineError, RunError
from bench.store import write_atomically
from bench.store.shapes import read_as
from bench.suggest import kind_of

__all__ = ["DIGITS", "SCHEMA", "Baseline", "Key", "read_baseline", "save_baseline", "written"]

SCHEMA = 2
DIGITS = 7
"""Digits of a score in the file: what single precision has."""
Floats = NDArray[np.float64]
Key = tuple[str, float, str]
"""A cell: editor, knob value, metric."""


@dataclass(frozen=True)
class Baseline:
    """What was measured of a spec, run with several seeds and several times.

    pairs: scores (draws + repeats, samples) of each cell of a pair metric, the repeats last.  sets: likewise (draws + repeats,) of
    set metrics.  NaN is undefined.
    """

    spec: str
    manifest_hash: str
    model: str
    device: str
    packages: Mapping[str, str]
    fingerprints: Mapping[str, str]
    higher_is_better: Mapping[str, bool | None]
    draws: tuple[tuple[int, ...], ...]
    repeats: tuple[str, ...]
    samples: tuple[str, ...]
    pairs: Mapping[Key, Floats] = field(repr=False)
    sets: Mapping[Key, Floats] = field(repr=False)


def _readable(schema: int) -> int:
    if schema < SCHEMA:
        raise ValueError(f"is {schema}, whose tolerances nobody had measured; `etabench baseline SPEC --out FILE` makes it anew")
    if schema > SCHEMA:
        raise ValueError(f"is {schema}, this version reads {SCHEMA}")
    return schema


def _score(found: Any) -> Any:
    if found in (None, "inf", "-inf"):
        return found
    if isinstance(found, int | float) and not isinstance(found, bool) and abs(found) <= sys.float_info.max:
        return found
    raise ValueError(f'expected a number, "inf", "-inf" or null, got {kind_of(found)}')


Score = Annotated[Any, AfterValidator(_score)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Schema(BaseModel):
    """What is asked of a file first: other versions have other keys."""

    model_config = ConfigDict(strict=True)

    schema_: Annotated[int, AfterValidator(_readable)] = Field(alias="schema")


class _File(_Strict):
    schema_: int = Field(alias="schema")
    spec: str
    manifest_hash: str
    model: str
    device: str
    packages: dict[str, str]
    fingerprints: dict[str, str]
    higher_is_better: dict[str, bool | None]
    draws: list[Annotated[list[int], Field(min_length=1)]] = Field(min_length=1)
    repeats: list[str]
    scores: list[tuple[str, float, str, str, list[Score], list[Score]]]
    sets: list[tuple[str, float, str, list[Score], list[Score]]]


def read_baseline(path: Path) -> Baseline:
    """The baseline in a file. BaselineError names what is wrong with it."""
    if not path.exists():
        raise BaselineError(f"no baseline at {path}; `etabench baseline SPEC --out {path}` makes one")
    try:
        read_as(path, _Schema, "make it anew")
        found = read_as(path, _File, "mend it, or make it anew with `etabench baseline`")
    except RunError as error:
        raise BaselineError(f"not a baseline: {error}") from error
    _check(path, found)
    samples = tuple(dict.fromkeys(row[3] for row in found.scores))
    place = {name: number for number, name in enumerate(samples)}
    many = len(found.draws) + len(found.repeats)
    pairs: dict[Key, Floats] = {}
    for editor, value, metric, sample, draws, repeats in found.scores:
        cell = pairs.setdefault((editor, value, metric), np.full((many, len(samples)), np.nan))
        cell[:, place[sample]] = [_read(each) for each in (*draws, *repeats)]
    sets = {
        (editor, value, metric): np.array([_read(each) for each in (*draws, *repeats)])
        for editor, value, metric, draws, repeats in found.sets
    }
    return Baseline(
        found.spec,
        found.manifest_hash,
        found.model,
        found.device,
        found.packages,
        found.fingerprints,
        found.higher_is_better,
        tuple(map(tuple, found.draws)),
        tuple(found.repeats),
        samples,
        pairs,
        sets,
    )


def save_baseline(path: Path, baseline: Baseline) -> None:
    """Write a baseline, a row a line, so that a change of it can be read."""
    names = ("spec", "manifest_hash", "model", "device", "packages", "fingerprints", "higher_is_better", "draws", "repeats")
    head = {"schema": SCHEMA} | {name: getattr(baseline, name) for name in names}
    rest = json.dumps(head, indent=1, sort_keys=True, allow_nan=False).removesuffix("\n}")
    sets = [[*key, *_split(baseline, cell)] for key, cell in sorted(baseline.sets.items())]
    parts = [rest, *(_part(name, rows) for name, rows in (("scores", _rows(baseline)), ("sets", sets)))]
    write_atomically(path, (",\n".join(parts) + "\n}\n").encode())


def written(score: float) -> float | str | None:
    """A score as JSON has it: null is undefined."""
    return None if math.isnan(score) else float(f"{score:.{DIGITS}g}") if math.isfinite(score) else str(float(score))


def _read(found: Any) -> float:
    return math.nan if found is None else float(found)


def _rows(baseline: Baseline) -> Iterator[list[Any]]:
    for key, cell in sorted(baseline.pairs.items()):
        for sample, column in zip(baseline.samples, cell.T, strict=True):
            yield [*key, sample, *_split(baseline, column)]


def _part(name: str, rows: Iterable[list[Any]]) -> str:
    lines = ",\n  ".join(json.dumps(row, allow_nan=False) for row in rows)
    return f' "{name}": [\n  {lines}\n ]' if lines else f' "{name}": []'


def _split(baseline: Baseline, scores: Sequence[float] | Floats) -> tuple[list[Any], list[Any]]:
    found = [written(float(score)) for score in scores]
    return found[: len(baseline.draws)], found[len(baseline.draws) :]


def _check(path: Path, found: _File) -> None:
    """Every row is there once and has all scores, every cell has all samples, and the parts speak of the same metrics."""
    rows: list[tuple[Any, ...]] = [*found.scores, *found.sets]
    if not rows:
        raise BaselineError(f"{path}: scores and sets are empty: there is nothing to compare with")
    named = {"higher_is_better": set(found.higher_is_better), "scores and sets": {row[2] for row in rows}}
    for name, metrics in named.items():
        if other := sorted(metrics ^ set(found.fingerprints)):
            raise BaselineError(f"{path}: {name} and fingerprints do not name the same metrics: {', '.join(other)}")
    if both := sorted({row[2] for row in found.scores} & {row[2] for row in found.sets}):
        raise BaselineError(f"{path}: {both[0]} is in scores and in sets; a metric is of edits or of sets")
    row, times = Counter(row[:-2] for row in rows).most_common(1)[0]
    if times > 1:
        raise BaselineError(f"{path}: {list(row)} is there {times} times")
    for *key, draws, repeats in rows:
        for what, scores, runs in (("draws", draws, found.draws), ("repeats", repeats, found.repeats)):
            if len(scores) != len(runs):
                raise BaselineError(f"{path}: {key} has {len(scores)} scores of {len(runs)} {what}")
    sizes = Counter(row[:3] for row in found.scores)
    samples = {row[3] for row in found.scores}
    for cell, size in sizes.items():
        if size != len(samples):
            raise BaselineError(f"{path}: {list(cell)} has {size} of {len(samples)} samples")
    if len(set(map(tuple, found.draws))) < len(found.draws):
        raise BaselineError(f"{path}: draws: the same seeds are there twice")
