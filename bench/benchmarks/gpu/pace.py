"""How fast sweeps are on a card: ours, diffusers' pipelines, and the card's own products of matrices."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.benchmarks.editors import OURS, counted, our_job
from bench.benchmarks.measure import Cost
from bench.benchmarks.peers import PEERS, Sweep

__all__ = ["Pace", "operations", "paces", "product_speed", "work_of"]

REPEATS = 20


@dataclass(frozen=True)
class Pace:
    """What one side of a sweep took, or what ended it."""

    sweep: str
    side: str
    cost: Cost | None
    edits: int
    share: float | None
    """Of the product speed, by the U-Net's operations alone; None where gradients are computed too, which are not counted."""
    ended: str = ""
    """Class of the error where there is no cost."""


def product_speed(side: int, dtype: str) -> float:
    """Operations a second of a product of two matrices of ``side`` x ``side``, the best of several."""
    import torch

    a, b = (torch.randn(side, side).to("cuda", getattr(torch, dtype)) for _ in range(2))
    best = float("inf")
    for _ in range(REPEATS):
        torch.cuda.synchronize()
        start = time.perf_counter()
        a @ b
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best


def operations(model: Any) -> int:
    """Of one sample through the U-Net at the model's own side."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    unet, cells = model.unet, model.resolution // model.factor
    x = torch.zeros(1, unet.config.in_channels, cells, cells, device=model.device, dtype=unet.dtype)
    text = model.embed(["a cat"]).to(unet.dtype)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        unet(x, torch.ones(1, device=model.device), text)
    return int(counter.get_total_flops())


def work_of(side: int, values: Sequence[float], steps: int, fit_steps: tuple[int, int]) -> Sweep:
    """A sweep over one picture of ``side`` pixels, for all sides alike."""
    from PIL import Image

    from bench.benchmarks.sizes import task_of

    task = task_of(side)
    return Sweep(
        (Image.fromarray(task.image),), (task.source_text or "",), (task.target_text,), tuple(values), steps, 7.5, fit_steps
    )


def paces(model: Any, sweep: str, work: Sweep, speed: float | None) -> list[Pace]:
    """Each side of a sweep, on one model's networks; ``speed`` as `product_speed` gives it, None where no share is asked for."""
    import torch

    from bench.benchmarks.sizes import task_of
    from editors.task import EditorError

    sides: dict[str, Any] = {OURS: our_job(model, sweep, [[task_of(model.resolution)]], work)}
    for name, peer in PEERS[sweep].items():
        sides[name] = lambda peer=peer: peer.run(peer.over(model), work)
    untuned = {name: weight.cpu() for name, weight in model.unet.state_dict().items()} if sweep == "imagic" else {}
    counted_each = None if speed is None else operations(model)
    found = []
    for name, job in sides.items():
        _warm(model)
        cost: Cost | None = None
        ended = ""
        try:
            cost = counted(job, model.unet, "cuda")
        except (torch.OutOfMemoryError, EditorError) as error:
            ended = type(error).__name__
        if untuned:  # a peer tunes the pipeline's own
            model.unet.load_state_dict(untuned)
            model.unet.eval().requires_grad_(False)
        share = None
        if cost is not None and counted_each is not None and speed is not None:
            share = cost.counts["U-Net samples"] * counted_each / cost.wall / speed
        found.append(Pace(sweep, name, cost, len(work.values), share, ended))
    return found


def _warm(model: Any) -> None:
    """Choose kernels, and begin the peak anew."""
    import torch

    model.predict(model.noise(0, (1, 4, 8 * 2, 8 * 2)), 1, *_texts(model))
    torch.cuda.empty_cache()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()


def _texts(model: Any) -> tuple[Any, float, Any]:
    text, empty = model.embed_pair("a cat")
    return text, 7.5, empty
