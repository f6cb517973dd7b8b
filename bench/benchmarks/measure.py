"""One measurement in a process of its own, so that peak memory belongs to one side and neither side warms the other up."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

__all__ = ["Cost", "Outcome", "answer", "in_turn", "measured", "passes", "table"]


@dataclass(frozen=True)
class Cost:
    """What one side took for one job, without imports and a warm-up."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds, of all threads."""
    peak: float
    """MiB: highest resident size of the process so far; on a GPU, the most that torch had allocated."""
    extra: float
    """MiB: what the peak rose by over the state before the job."""
    counts: dict[str, float] = field(default_factory=dict)
    """What else was counted, by the head of its column."""


@dataclass(frozen=True)
class Outcome:
    """What one side answers: the cost of each of its jobs by name, and the numbers that show that all sides did the same."""

    costs: dict[str, Cost]
    values: Any = None


def measured(job: Callable[[], object], device: str = "cpu") -> Cost:
    """Run ``job`` once."""
    before, wall, cpu = _peak(device), time.perf_counter(), time.process_time()
    job()
    _wait(device)
    wall, cpu, peak = time.perf_counter() - wall, time.process_time() - cpu, _peak(device)
    return Cost(wall, cpu, peak, peak - before)


@contextmanager
def passes(unet: Any) -> Iterator[dict[str, float]]:
    """Counts the samples through a U-Net and its calls."""
    counts = {"U-Net samples": 0.0, "calls": 0.0}

    def count(_module: Any, given: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        counts["U-Net samples"] += len(given[0] if given else named["sample"])
        counts["calls"] += 1

    hook = unet.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield counts
    finally:
        hook.remove()


def _peak(device: str) -> float:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.is_file():  # there ru_maxrss starts at the size of the process that started this one
        lines = (line.split() for line in status.read_text().splitlines())
        return next(int(line[1]) for line in lines if line[0] == "VmHWM:") / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)


def answer(outcome: Outcome) -> None:
    """Print the outcome of one side as the process that asked for it reads it: JSON on the last line."""
    print(json.dumps(asdict(outcome)))


def in_turn(module: str, sides: Sequence[str], settings: Mapping[str, Any], repeats: int = 1) -> dict[str, Outcome]:
    """Each side by ``python -m module '<settings and side as JSON>'``, all in turn, ``repeats`` times; medians, and the last values.

    A noisy machine is thus noisy for all sides.
    """
    heard: dict[str, list[Outcome]] = {side: [] for side in sides}
    for _ in range(repeats):
        for side, outcomes in heard.items():
            outcomes.append(_in_own_process(module, {**settings, "side": side}))
    return {
        side: Outcome({job: _middle([each.costs[job] for each in outcomes]) for job in outcomes[0].costs}, outcomes[-1].values)
        for side, outcomes in heard.items()
    }


def _in_own_process(module: str, arguments: Mapping[str, Any]) -> Outcome:
    command = [sys.executable, "-m", module, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{module} {dict(arguments)} failed:\n{done.stderr}")
    content = json.loads(done.stdout.splitlines()[-1])
    return Outcome({job: Cost(**cost) for job, cost in content["costs"].items()}, content["values"])


def _middle(costs: Sequence[Cost]) -> Cost:
    """The median of every number."""
    counts = {name: statistics.median(cost.counts[name] for cost in costs) for name in costs[0].counts}
    numbers = {name: statistics.median(getattr(cost, name) for cost in costs) for name in ("wall", "cpu", "peak", "extra")}
    return replace(costs[0], **numbers, counts=counts)


def table(costs: Mapping[str, Cost], own: str) -> str:
    """One line per side, then the ratio of every other side to ``own``."""
    counted = list(next(iter(costs.values())).counts)
    lines = [f"{'':<34}{'wall s':>9}{'CPU s':>9}{'peak MiB':>10}{'job MiB':>10}" + "".join(f"{name:>15}" for name in counted)]
    for side, c in costs.items():
        counts = "".join(f"{c.counts[name]:>15.0f}" for name in counted)
        lines.append(f"{side:<34}{c.wall:>9.2f}{c.cpu:>9.2f}{c.peak:>10.0f}{c.extra:>10.0f}{counts}")
    for side, c in costs.items():
        if side != own and own in costs:
            mine = costs[own]
            wall, cpu, peak = _ratio(c.wall, mine.wall), _ratio(c.cpu, mine.cpu), _ratio(c.peak, mine.peak)
            counts = "".join(f"{_ratio(c.counts[name], mine.counts[name]):>15}" for name in counted)
            lines.append(f"  {side + ' / ' + own:<32}{wall:>9}{cpu:>9}{peak:>10}{_ratio(c.extra, mine.extra):>10}{counts}")
    return "\n".join(lines)


def _ratio(theirs: float, own: float) -> str:
    return f"{theirs / own:.2f}" if own else "-"
