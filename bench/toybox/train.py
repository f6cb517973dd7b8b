"""Train the ToyBox models: ``python -m bench.toybox.train {atlas,vae,generator,judge,ranker,features,all}``.

Each stage keeps a checkpoint in ``--work`` and continues from it, draws all its randomness from ``--seed``, runs on a CPU or a
CUDA device, and ends after ``--minutes`` or ``--steps``, whichever comes first. The generator needs the autoencoder's folder.
Cores are used best by one process each: ``torchrun --nproc-per-node 2 -m bench.toybox.train generator``.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch
import torch.distributed as dist

from bench.toybox.atlas import build_atlas
from bench.toybox.embedded import TOYBOX
from bench.toybox.stages.features import FeatureStage
from bench.toybox.stages.generator import GeneratorStage
from bench.toybox.stages.judge import JudgeStage, RankerStage
from bench.toybox.stages.loop import Budget, Stage, train
from bench.toybox.stages.vae import VaeStage

__all__ = ["STAGES", "main", "train_stage"]

STAGES = ("vae", "generator", "judge", "ranker", "features")
MINUTES = {"vae": 20.0, "generator": 60.0, "judge": 25.0, "ranker": 25.0, "features": 8.0}
"""Default budgets, about what the shipped models took on two busy CPU cores."""


def train_stage(name: str, models: Path, work: Path, budget: Budget, small: bool = False) -> None:
    """Train one stage into its folder under ``models`` and note in ``training.json`` how it was made.

    ``small`` draws few pictures, for tests of the machinery.
    """
    size = {"pool_size": 64, "batch": 4} if small else {}
    build: dict[str, tuple[Callable[[], Stage], str]] = {
        "vae": (lambda: VaeStage(budget.seed, **size), "generator"),
        "generator": (lambda: GeneratorStage(budget.seed, models / "generator", device=budget.device, **size), "generator"),
        "judge": (lambda: JudgeStage(budget.seed, **size), "judge"),
        "ranker": (lambda: RankerStage(budget.seed, **size), "ranker"),
        "features": (lambda: FeatureStage(budget.seed, **size), "features"),
    }
    make, folder = build[name]
    loss = train(make(), work, models / folder, budget)
    if dist.is_initialized() and dist.get_rank():
        return
    record = models / "training.json"
    made = json.loads(record.read_text()) if record.exists() else {}
    state = torch.load(work / f"{name}.pt", map_location="cpu", weights_only=True)
    made[name] = {
        "seed": budget.seed,
        "steps": state["step"],
        "minutes": round(state["spent"] / 60, 1),
        "final_loss": round(loss, 4),
        "device": torch.cuda.get_device_name() if budget.device.startswith("cuda") else f"{torch.get_num_threads()} CPU threads",
        "machine": platform.machine(),
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }
    record.write_text(json.dumps(made, indent=2, sort_keys=True) + "\n")


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.toybox.train", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("stage", choices=["atlas", *STAGES, "all"])
    parser.add_argument("--minutes", type=float, help=f"wall-clock budget of each stage (default: {MINUTES})")
    parser.add_argument("--steps", type=int, default=10**9, help="bound on optimiser steps of each stage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--work", type=Path, default=Path("build/toybox"), help="folder of checkpoints (default: build/toybox)")
    parser.add_argument("--models", type=Path, default=TOYBOX, help="folder the models are saved in (default: the package's own)")
    parser.add_argument("--source", type=Path, help="atlas: the folder of <code point>.webp files of the emoji package")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if given.stage == "atlas":
        if given.source is None:
            parser.error("atlas needs --source, the assets folder of the npm package @lobehub/fluent-emoji-3d")
        build_atlas(given.source)
        return
    if dist.is_torchelastic_launched():
        dist.init_process_group("gloo")
    for name in STAGES if given.stage == "all" else (given.stage,):
        minutes = MINUTES[name] if given.minutes is None else given.minutes
        train_stage(name, given.models, given.work, Budget(minutes, given.steps, given.seed, given.device))


if __name__ == "__main__":
    main()
