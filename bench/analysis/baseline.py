"""Runs -> a baseline: what a spec gives with several seeds, and what the machine adds to that.

The spec is run once with each of several lists of seeds, the *draws*, and some more times with the seeds of the first, the *repeats*, with
something else that must not matter: another number of threads, other batches. Draws tell how far another seed moves a mean, repeats how
far rounding does. `bench.analysis.check` holds a run against both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.analysis.baseline_file import Baseline, Key, save_baseline
from bench.errors import BaselineError
from bench.scoring import read_scores
from bench.scoring.current import lacking
from bench.scoring.tables import check_unmixed
from bench.store import Run

if TYPE_CHECKING:
    import pandas as pd

    from bench.scoring import Scores

__all__ = ["Measured", "fingerprints", "measure", "measured", "write_baseline"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """The scores of one run by cell.

    seeds: those of its spec, ascending.  device: as `Baseline.device`.  pairs: scores (samples,) of each cell, the mean over seeds,
    NaN where undefined or missing.  missing: of cells that lack some, the places of their samples.  sets: scores of sets.
    """

    seeds: tuple[int, ...]
    device: str
    packages: Mapping[str, str]
    samples: tuple[str, ...]
    pairs: Mapping[Key, Floats]
    missing: Mapping[Key, tuple[int, ...]]
    sets: Mapping[Key, float]


def measured(run: Run, scores: Scores, samples: Sequence[str] = ()) -> Measured:
    """The scores of a run in the order of `samples`, by default those of its plan. Raises ScoreError for a table of mixed fingerprints."""
    check_unmixed(scores.pairs)
    check_unmixed(scores.sets)
    plan = run.plan
    names = tuple(samples) or tuple(sample.id for sample in plan.samples)
    place = {name: number for number, name in enumerate(names)}
    planned = Counter((plan.entries[unit.entry].label, plan.samples[unit.sample].id) for unit in plan.units)
    pairs, missing = {}, {}
    known = scores.pairs[scores.pairs["sample_id"].isin(list(place))]
    for (editor, value, metric), rows in known.groupby(["editor", "value", "metric"], sort=False):
        key: Key = (str(editor), float(str(value)), str(metric))
        at, sums = rows["sample_id"].map(place).to_numpy(dtype=np.intp), np.zeros(len(names))
        with np.errstate(invalid="ignore"):
            np.add.at(sums, at, rows["score"].to_numpy(dtype=np.float64))
        counts, wanted = np.bincount(at, minlength=len(names)), np.array([max(planned[key[0], name], 1) for name in names])
        pairs[key] = np.where(counts >= wanted, sums / np.maximum(counts, 1), np.nan)
        if (counts < wanted).any():
            missing[key] = tuple(np.flatnonzero(counts < wanted).tolist())
    sets = {(row["editor"], float(row["value"]), row["metric"]): float(row["score"]) for row in scores.sets.to_dict("records")}
    about = run.read("environment.json", dict[str, Any])
    return Measured(tuple(sorted(run.spec.seeds)), _device(about), about.get("packages", {}), names, pairs, missing, sets)


def fingerprints(scores: Scores) -> dict[str, str]:
    """Metric to fingerprint, those of edits and those of sets."""
    return _prints(scores.pairs) | _prints(scores.sets)


def write_baseline(draws: Sequence[Run], repeats: Mapping[str, Run], path: Path) -> Baseline:
    """Write the baseline of scored runs, and return it. Raises BaselineError as `measure` does."""
    found = measure(draws, repeats)
    save_baseline(path, found)
    return found


def measure(draws: Sequence[Run], repeats: Mapping[str, Run]) -> Baseline:
    """The baseline of scored runs: one a draw, and by what is other about them those with the seeds of the first draw.

    Raises BaselineError where a run is not complete, or where they are not runs of one spec on one class of devices.
    """
    runs = [*draws, *repeats.values()]
    scores = [_whole(run) for run in runs]
    tables = [measured(run, found) for run, found in zip(runs, scores, strict=True)]
    first, about = tables[0], _about(runs[0], tables[0], scores[0])
    for run, table, found in zip(runs, tables, scores, strict=True):
        for name, mine in _about(run, table, found).items():
            if mine != about[name]:
                raise BaselineError(
                    f"{run.path} and {runs[0].path} differ in {name}: a baseline is of one spec on one class of devices"
                )
    for run, table in zip(repeats.values(), tables[len(draws) :], strict=True):
        if table.seeds != first.seeds:
            raise BaselineError(
                f"{run.path} has the seeds {list(table.seeds)}, a repeat has those of the first: {list(first.seeds)}"
            )
    seeds = [table.seeds for table in tables[: len(draws)]]
    if len(set(seeds)) < len(seeds):
        raise BaselineError(f"two of the {len(seeds)} runs have the same seeds: they are repeats, no draws")
    prints = fingerprints(scores[0])
    directions = {metric: scores[0].cards[print_]["higher_is_better"] for metric, print_ in prints.items()}
    return Baseline(
        spec=runs[0].spec.name,
        manifest_hash=runs[0].plan.manifest_hash,
        model=runs[0].plan.model,
        device=first.device,
        packages=first.packages,
        fingerprints=prints,
        higher_is_better=directions,
        draws=tuple(seeds),
        repeats=tuple(repeats),
        samples=first.samples,
        pairs={key: np.stack([table.pairs[key] for table in tables]) for key in first.pairs},
        sets={key: np.array([table.sets[key] for table in tables]) for key in first.sets},
    )


def _whole(run: Run) -> Scores:
    """The scores of a run of which every edit is made and scored; BaselineError for any other."""
    scores, units = read_scores(run), run.plan.units
    missing = sum((record := run.record(unit.key)) is None or record.status != "done" for unit in units)
    if missing:
        raise BaselineError(f"{run.path}: {missing} of {len(units)} units are not done; a baseline needs a complete run")
    if not len(scores.pairs) + len(scores.sets) and not scores.failed:
        raise BaselineError(f"{run.path} has no scores: run `etabench score {run.path}` first")
    for metric, number in lacking(run, scores).items():
        silent = scores.unanswered.loc[scores.unanswered["metric"] == metric, "reason"]
        why = f"its judge gave no verdict ({silent.iloc[0]})" if len(silent) else f"run `etabench score {run.path}` first"
        why = f"it failed ({scores.failed[metric]})" if metric in scores.failed else why
        raise BaselineError(f"{run.path}: {number} scores of {metric} are missing, and a baseline needs them all: {why}")
    return scores


def _about(run: Run, table: Measured, scores: Scores) -> dict[str, object]:
    """What the runs of one baseline have in common."""
    return {
        "manifest": run.plan.manifest_hash,
        "model": run.plan.model,
        "samples": table.samples,
        "metrics": fingerprints(scores),
        "editors and knob values": (set(table.pairs), set(table.sets)),
        "device": table.device,
    }


def _device(about: Mapping[str, Any]) -> str:
    accelerator = about.get("accelerator") or {}
    return f"{accelerator.get('name') or about.get('device', 'unknown device')} {about.get('dtype', '')}".strip()


def _prints(table: pd.DataFrame) -> dict[str, str]:
    return {str(metric): str(prints.iloc[0]) for metric, prints in table.groupby("metric")["fingerprint"]}
