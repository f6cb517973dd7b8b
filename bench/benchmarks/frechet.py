"""Fréchet distance on given features: ours against torch-fidelity's route and scipy's matrix square root.

Same features on all sides, each side in a process of its own; numbers are medians over the repeats. ``first`` is the distance of one set
of edits to a reference seen for the first time; ``next`` that of another set to the same reference, with its statistics kept on all
sides, which is what a table of many editors and knob values costs per cell. ``job MiB`` is what the peak rose by over the features.
The values show that all sides mean the same number: torch-fidelity takes complex roots of the eigenvalues of a product that is not
symmetric, scipy the root of that product, ours singular values.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from bench.benchmarks.measure import Outcome, answer, in_turn, measured, table

__all__ = ["add_arguments", "run"]

OURS = "etabench"
SIDES = ("torch-fidelity", "scipy sqrtm", OURS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("--edits", type=int, default=100)
    parser.add_argument("--reference", type=int, default=5000)
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)


def run(given: argparse.Namespace) -> None:
    """Measure and print."""
    sizes = {"edits": given.edits, "reference": given.reference, "dimensions": given.dimensions, "threads": given.threads}
    print(
        f"{given.edits} edits, {given.reference} references, {given.dimensions} dimensions, {given.threads} threads", flush=True
    )
    found = in_turn("bench.benchmarks.frechet", given.sides, sizes, given.repeats)
    for job in ("first", "next"):
        print(f"\n{job}\n{table({side: outcome.costs[job] for side, outcome in found.items()}, OURS)}", flush=True)
    values = {side: float(outcome.values) for side, outcome in found.items()}
    print("\nvalues: " + ", ".join(f"{side} {value:.6f}" for side, value in values.items()), flush=True)
    apart = (max(values.values()) - min(values.values())) / max(values.values())
    print(f"largest difference between the sides: {apart:.1e} of the value", flush=True)


def _ours() -> tuple[Callable[[Any], Any], Callable[[Any, Any], float]]:
    from metrics.frechet import Gaussian

    return Gaussian.of, lambda edits, reference: Gaussian.of(edits).distance(reference)


def _torch_fidelity() -> tuple[Callable[[Any], Any], Callable[[Any, Any], float]]:
    import torch
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    def study(rows: Any) -> Any:
        return fid_features_to_statistics(torch.from_numpy(rows))

    def distance(edits: Any, reference: Any) -> float:
        return float(fid_statistics_to_metric(study(edits), reference, verbose=False)["frechet_inception_distance"])

    return study, distance


def _sqrtm() -> tuple[Callable[[Any], Any], Callable[[Any, Any], float]]:
    import numpy as np
    from scipy.linalg import sqrtm

    def study(rows: Any) -> Any:
        return rows.mean(axis=0), np.cov(rows, rowvar=False)

    def distance(edits: Any, reference: Any) -> float:
        (mean1, cov1), (mean2, cov2) = study(edits), reference
        root = sqrtm(cov1 @ cov2)
        return float((mean1 - mean2) @ (mean1 - mean2) + np.trace(cov1) + np.trace(cov2) - 2 * np.trace(root).real)

    return study, distance


def _one(side: str, edits: int, reference: int, dimensions: int) -> Outcome:
    """What one side takes, first and next, and the first value."""
    import numpy as np

    study, distance = {OURS: _ours, "torch-fidelity": _torch_fidelity, "scipy sqrtm": _sqrtm}[side]()
    random = np.random.default_rng(0)
    scales = np.linspace(1, 0.05, dimensions, dtype=np.float32)
    theirs = _features(random, reference, scales)
    mine = [_features(random, edits, scales) + np.float32(0.02) for _ in range(2)]
    small = random.standard_normal((8, 4)).astype(np.float32)
    distance(small, study(small))
    known: list[Any] = []
    values: list[float] = []

    def first() -> None:
        known.append(study(theirs))
        values.append(distance(mine[0], known[0]))

    return Outcome({"first": measured(first), "next": measured(lambda: distance(mine[1], known[0]))}, values[0])


def _features(random: Any, n: int, scales: Any) -> Any:
    """Float32 (n, d), made in place, so that nothing larger raises the peak beforehand."""
    rows = random.standard_normal((n, len(scales)), dtype=scales.dtype)
    rows *= scales
    return rows


def _main() -> None:
    """One side, as ``python -m bench.benchmarks.frechet '<JSON>'``."""
    import warnings

    given = json.loads(sys.argv[1])
    import torch

    torch.set_num_threads(given["threads"])
    warnings.simplefilter("ignore")
    answer(_one(given["side"], given["edits"], given["reference"], given["dimensions"]))


if __name__ == "__main__":
    _main()
