"""Fréchet distance on given features: ours against torch-fidelity's route and scipy's matrix square root.

Same features on all sides, each side in a process of its own; numbers are medians over the repeats. ``first`` is the distance of one set
of edits to a reference seen for the first time; ``next`` that of another set to the same reference, with its statistics kept on all
sides, which is what a table of many editors and knob values costs per cell. ``job MiB`` is what the peak rose by over the features.
``value`` shows that all sides mean the same number: torch-fidelity takes complex roots of the eigenvalues of a product that is not
symmetric, scipy the root of that product, ours singular values.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

__all__ = ["add_arguments", "run"]

OURS = "etabench"
SIDES = ("torch-fidelity", "scipy sqrtm", OURS)
COLUMNS = ("first s", "next s", "first CPU s", "next CPU s", "job MiB", "value")


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
    found: dict[str, list[list[float]]] = {side: [] for side in given.sides}
    for _ in range(given.repeats):
        for side, rows in found.items():
            rows.append(_in_own_process({"side": side, **sizes}))
    middle = {side: [statistics.median(column) for column in zip(*rows, strict=True)] for side, rows in found.items()}
    print(f"{'':<26}" + "".join(f"{name:>13}" for name in COLUMNS))
    for side, row in middle.items():
        print(f"{side:<26}" + "".join(f"{cell:>13.3f}" for cell in row[:-1]) + f"{row[-1]:>13.6f}")
    for side, row in middle.items():
        if side != OURS and OURS in middle:
            ratios = [theirs / mine if mine else float("nan") for theirs, mine in zip(row[:-1], middle[OURS], strict=False)]
            print(f"  {side + ' / ' + OURS:<24}" + "".join(f"{ratio:>13.2f}" for ratio in ratios))


def _in_own_process(arguments: dict[str, Any]) -> list[float]:
    command = [sys.executable, "-m", "bench.benchmarks.frechet", json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{arguments} failed:\n{done.stderr}")
    return [float(number) for number in json.loads(done.stdout.splitlines()[-1])]


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


def _one(side: str, edits: int, reference: int, dimensions: int) -> list[float]:
    """What one side takes: seconds and CPU seconds of first and next, MiB, and the first value."""
    import numpy as np

    study, distance = {OURS: _ours, "torch-fidelity": _torch_fidelity, "scipy sqrtm": _sqrtm}[side]()
    random = np.random.default_rng(0)
    scales = np.linspace(1, 0.05, dimensions, dtype=np.float32)
    theirs = _features(random, reference, scales)
    mine = [_features(random, edits, scales) + np.float32(0.02) for _ in range(2)]
    small = random.standard_normal((8, 4)).astype(np.float32)
    distance(small, study(small))
    before = _peak()
    wall, cpu = [time.perf_counter()], [time.process_time()]
    known = study(theirs)
    value = distance(mine[0], known)
    wall.append(time.perf_counter())
    cpu.append(time.process_time())
    distance(mine[1], known)
    wall.append(time.perf_counter())
    cpu.append(time.process_time())
    return [wall[1] - wall[0], wall[2] - wall[1], cpu[1] - cpu[0], cpu[2] - cpu[1], _peak() - before, value]


def _features(random: Any, n: int, scales: Any) -> Any:
    """Float32 (n, d), made in place, so that nothing larger raises the peak beforehand."""
    rows = random.standard_normal((n, len(scales)), dtype=scales.dtype)
    rows *= scales
    return rows


def _peak() -> float:
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (2**20 if sys.platform == "darwin" else 2**10)


def _main() -> None:
    """One side, as ``python -m bench.benchmarks.frechet '<JSON>'``."""
    import warnings

    given = json.loads(sys.argv[1])
    import torch

    torch.set_num_threads(given["threads"])
    warnings.simplefilter("ignore")
    print(json.dumps(_one(given["side"], given["edits"], given["reference"], given["dimensions"])))


if __name__ == "__main__":
    _main()
