"""The training loop that the four ToyBox stages share: a budget, a schedule, an average of weights, checkpoints, progress."""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

__all__ = ["Budget", "Stage", "read_as_float32", "train"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Budget:
    """How long a stage may train; it ends when either bound is reached."""

    minutes: float
    """Wall-clock minutes in all, those before a resume included."""
    steps: int
    """Optimiser steps in all."""
    seed: int = 0
    device: str = "cpu"
    checkpoint_every: float = 120.0
    """Seconds between checkpoints."""


class Stage(ABC):
    """One model to be trained. A subclass builds its modules, takes one step, and saves a folder."""

    name: str
    learning_rate: float
    weight_decay: float = 0.01
    ema_decay: float = 0.999
    """Decay of the exponential moving average of the weights that :meth:`export` sees."""
    warm_up: int = 200

    modules: nn.ModuleDict

    @abstractmethod
    def loss(self, step: int, progress: float, rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        """The loss of one batch. All randomness comes from the two generators; ``progress`` is in [0, 1)."""

    @abstractmethod
    def export(self, folder: Path) -> None:
        """Save ``self.modules`` in the format of the library that loads them."""


def read_as_float32(folder: Path) -> None:
    """Say in a folder of transformers that its half-precision weights are read as float32, as diffusers reads its own.

    Left to itself transformers takes the precision on disk, and a pipeline whose parts differ in it cannot run.
    """
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8")) | {"dtype": "float32"}
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _schedule(step: int, progress: float, warm_up: int) -> float:
    """Learning-rate factor: linear warm-up, then half a cosine down to 2 %."""
    return min(1.0, (step + 1) / warm_up) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))


def _save(path: Path, state: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def _agree(progress: float) -> float:
    """The largest progress of all processes, so that all stop after the same step."""
    if dist.is_initialized():
        shared = torch.tensor(progress)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        progress = float(shared)
    return progress


def _average_gradients(parameters: list[nn.Parameter]) -> None:
    if dist.is_initialized():
        flat = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        for p, part in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
            p.grad = part.view_as(p)


@torch.no_grad()
def _follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the averaged weights and statistics a step towards those of the model."""
    theirs = [t for t in model.state_dict().values() if t.is_floating_point()]
    mine = [t for t in average.state_dict().values() if t.is_floating_point()]
    torch._foreach_lerp_(mine, theirs, 1 - decay)


def train(stage: Stage, work: Path, folder: Path, budget: Budget) -> float:  # noqa: PLR0915 (one loop, told in one piece)
    """Train ``stage`` within ``budget``, continuing from ``work`` if it holds a checkpoint, and export to ``folder``.

    Returns the running mean of the loss. Batches depend on (seed, step) alone, so a resumed run sees the batches that an
    uninterrupted one would have seen. Under ``torch.distributed.run`` every process takes its own batches, gradients are
    averaged, and the first process alone writes.
    """
    work.mkdir(parents=True, exist_ok=True)
    path = work / f"{stage.name}.pt"
    device = torch.device(budget.device)
    stage.modules.to(device)
    average = copy.deepcopy(stage.modules).requires_grad_(False)
    parameters = [p for p in stage.modules.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=stage.learning_rate, weight_decay=stage.weight_decay, betas=(0.9, 0.99))
    step, spent, smooth = 0, 0.0, float("nan")
    if path.exists():
        state = torch.load(path, map_location=device, weights_only=True)
        stage.modules.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step, spent, smooth = state["step"], state["spent"], state["loss"]
        log.info("%s: continuing from step %d, %.1f minutes", stage.name, step, spent / 60)

    def checkpoint() -> None:
        if _rank():
            return
        _save(path, {"model": stage.modules.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict(),
                     "step": step, "spent": spent, "loss": smooth})  # fmt: skip

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, disable=True if _rank() else None) as bar:
        task = bar.add_task(stage.name, total=1000, note="")
        saved = logged = last = time.monotonic()
        while (progress := _agree(max(spent / 60 / budget.minutes, step / budget.steps))) < 1:
            rng = np.random.default_rng([budget.seed, step, _rank()])
            generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
            for group in optimiser.param_groups:
                group["lr"] = stage.learning_rate * _schedule(step, progress, stage.warm_up)
            loss = stage.loss(step, progress, rng, generator)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            _average_gradients(parameters)
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            _follow(average, stage.modules, min(stage.ema_decay, (1 + step) / (10 + step)))
            value = float(loss.detach())
            smooth = value if math.isnan(smooth) else 0.98 * smooth + 0.02 * value
            step += 1
            now = time.monotonic()
            spent, last = spent + now - last, now
            bar.update(task, completed=int(1000 * progress), note=f"step {step} loss {smooth:.4f}")
            if not (_rank() or bar.console.is_terminal) and now - logged > 30:
                log.info("%s: step %d, %.1f minutes, loss %.4f", stage.name, step, spent / 60, smooth)
                logged = now
            if now - saved > budget.checkpoint_every:
                checkpoint()
                saved = now
    checkpoint()
    stage.modules.load_state_dict(average.state_dict())
    stage.modules.eval()
    if not _rank():
        stage.export(folder)
    return smooth
