"""One measurement in a process of its own, so that peak memory belongs to one side and neither side warms the other up."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

__all__ = ["Cost", "in_own_process", "measured", "middle", "table"]


@dataclass(frozen=True)
class Cost:
    """What one side took for one job, without imports, loading and a warm-up call."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds, of all threads."""
    peak: float
    """MiB: highest resident size of the process; on a GPU, the most that torch had allocated."""
    extra: float
    """MiB: what the peak rose by over the state after loading and warming up."""
    samples: int
    """Samples through the U-Net."""
    calls: int
    """Calls of the U-Net."""


def measured(job: Callable[[], None], unet: Any, device: str) -> Cost:
    """Run ``job`` once; ``unet`` is the network whose samples and calls are counted."""
    counts = [0, 0]

    def count(_module: Any, given: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        counts[0] += len(given[0] if given else named["sample"])
        counts[1] += 1

    hook = unet.register_forward_pre_hook(count, with_kwargs=True)
    before, wall, cpu = _peak(device), time.perf_counter(), time.process_time()
    job()
    _wait(device)
    wall, cpu, peak = time.perf_counter() - wall, time.process_time() - cpu, _peak(device)
    hook.remove()
    return Cost(wall, cpu, peak, peak - before, *counts)


def _peak(device: str) -> float:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**20
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (2**20 if sys.platform == "darwin" else 2**10)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)


def in_own_process(module: str, arguments: Mapping[str, Any]) -> Cost:
    """``python -m module '<arguments as JSON>'``, which prints a Cost as JSON on its last line."""
    command = [sys.executable, "-m", module, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{module} {dict(arguments)} failed:\n{done.stderr}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def middle(costs: Sequence[Cost]) -> Cost:
    """The median of every number."""
    return Cost(**{field.name: statistics.median(getattr(cost, field.name) for cost in costs) for field in fields(Cost)})


def table(costs: Mapping[str, Cost], own: str) -> str:
    """One line per side, then the ratio of every other side to ``own``."""
    lines = [f"{'':<34}{'wall s':>9}{'CPU s':>9}{'peak MiB':>10}{'job MiB':>10}{'U-Net samples':>15}{'calls':>8}"]
    for side, c in costs.items():
        lines.append(f"{side:<34}{c.wall:>9.2f}{c.cpu:>9.2f}{c.peak:>10.0f}{c.extra:>10.0f}{c.samples:>15.0f}{c.calls:>8.0f}")
    mine = asdict(costs[own])
    for side, cost in costs.items():
        if side != own:
            wall, cpu, peak, extra, samples, calls = (_ratio(theirs, mine[name]) for name, theirs in asdict(cost).items())
            lines.append(f"  {side + ' / ' + own:<32}{wall:>9}{cpu:>9}{peak:>10}{extra:>10}{samples:>15}{calls:>8}")
    return "\n".join(lines)


def _ratio(theirs: float, own: float) -> str:
    return f"{theirs / own:.2f}" if own else "-"
