"""Baselines and runs of them made up so that the spreads are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bench.analysis.baseline import Measured
from bench.analysis.baseline_file import Baseline, Key

SAMPLES = 16
VALUES = (0.25, 0.75)
SPREAD = {"clip": (80.0, 8.0, 3.0), "lpips": (0.2, 0.05, 0.02), "fid": (100.0, 0.0, 5.0)}
"""Mean, deviation of the samples and deviation of a sample over seeds."""
ROUNDING = 1e-5
"""Deviation of a sample over repeats, as a share of the mean."""


def made_baseline(
    rng: np.random.Generator, draws: int = 5, repeats: int = 2, editors: tuple[str, ...] = ("a", "b"), samples: int = SAMPLES
) -> Baseline:
    """Editors at two knob values by CLIP score, LPIPS and FID."""
    pairs: dict[Key, NDArray[np.float64]] = {}
    sets: dict[Key, NDArray[np.float64]] = {}
    for editor in editors:
        for value in VALUES:
            for metric, (mean, apart, seeds) in SPREAD.items():
                count = 1 if metric == "fid" else samples
                base = mean + apart * rng.standard_normal(count)
                drawn = base + seeds * rng.standard_normal((draws, count))
                again = drawn[0] + ROUNDING * mean * rng.standard_normal((repeats, count))
                rows = np.concatenate([drawn, again])
                if metric == "fid":
                    sets[editor, value, metric] = rows[:, 0]
                else:
                    pairs[editor, value, metric] = rows
    return Baseline(
        spec="made",
        manifest_hash="m",
        model="",
        device="cpu float32",
        packages={},
        fingerprints={"clip": "c", "lpips": "l", "fid": "f"},
        higher_is_better={"clip": True, "lpips": False, "fid": False},
        draws=tuple((seed,) for seed in range(draws)),
        repeats=tuple(f"repeat {number}" for number in range(repeats)),
        samples=tuple(f"s{number}" for number in range(samples)),
        pairs=pairs,
        sets=sets,
    )


def run_of(known: Baseline, draw: int = 0) -> Measured:
    """A run that gives what a draw gave."""
    pairs = {key: cell[draw].copy() for key, cell in known.pairs.items()}
    sets = {key: float(cell[draw]) for key, cell in known.sets.items()}
    return Measured(known.draws[draw], known.device, {}, known.samples, pairs, {}, sets)


def changed(run: Measured, key: Key, scores: NDArray[np.float64]) -> Measured:
    """The run with other scores of a cell of edits."""
    return replace(run, pairs={**run.pairs, key: scores})
