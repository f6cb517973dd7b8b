"""The check of a card, whole or small, and its page."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.benchmarks.gpu.pace import Pace, paces, product_speed, work_of
from bench.benchmarks.gpu.pictures import ALLOWED, FOUR, Gap, gaps
from bench.benchmarks.memory import DTYPE, EDITORS, peaks_of
from bench.benchmarks.sizes import SIZES, model_of, task_of
from bench.commands.room import measured

__all__ = ["PAGE", "SMALL", "WHOLE", "Checked", "Extent", "check", "written"]

PAGE = Path(__file__).parents[3] / "docs" / "gpu_check.md"
GIB = 2**30


@dataclass(frozen=True)
class Extent:
    """How much is measured: of which model (one of SIZES; ToyBox where it is empty), in how many steps."""

    editors: tuple[str, ...]
    dtypes: tuple[str, ...]
    size: str
    steps: int
    fit_steps: tuple[int, int]
    values: tuple[float, ...]
    product: int
    rows: tuple[str, ...]


WHOLE = Extent(FOUR, tuple(ALLOWED), "SD 1.5", 30, (20, 30), (0.2, 0.4, 0.6, 0.8, 1.0), 8192, tuple(EDITORS))
SMALL = Extent(("sdedit", "imagic"), ("float32", "bfloat16"), "", 4, (1, 1), (0.5, 1.0), 64, ("sdedit", "diffedit"))


@dataclass(frozen=True)
class Checked:
    """What was found."""

    extent: Extent
    card: str
    versions: str
    seconds: float
    pictures: Sequence[Gap]
    speed: Mapping[str, float]
    """Operations a second by dtype."""
    sweeps: Sequence[Pace]
    memory: Mapping[str, float]
    """GiB at the peak by editor."""
    expected: Mapping[str, float] = field(default_factory=dict)
    """The same by the table."""


class _Gauge:
    """The card's own allocator, asked as an emulated card is."""

    def clear(self) -> None:
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

    @property
    def peak(self) -> float:
        import torch

        return float(torch.cuda.max_memory_allocated() / GIB)


def check(extent: Extent) -> Checked:
    """Ask the current CUDA device all four questions."""
    import torch

    began = time.perf_counter()
    has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    pictures = gaps(extent.editors, [dtype for dtype in extent.dtypes if has_bfloat16 or dtype != "bfloat16"], extent.steps)
    speed = {dtype: product_speed(extent.product, dtype) for dtype in ("float32", DTYPE)}
    sweeps: list[Pace] = []
    for dtype, names in ((DTYPE, ("sdedit", "diffedit")), ("float32", ("imagic",))):
        model = _model(extent, dtype)
        for name in names:
            work = work_of(model.resolution, extent.values, extent.steps, extent.fit_steps)
            sweeps += paces(model, name, work, speed[dtype] if name != "imagic" else None)
        del model
        gc.collect()
        torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated() / GIB
    model = _model(extent, DTYPE)
    peaks = peaks_of(_Gauge(), model, task_of(model.resolution), extent.rows)
    memory = {row: gib - before for row, gib in peaks.items()}
    name = next((column for column in measured() if column.startswith(f"{extent.size},")), "")
    properties = torch.cuda.get_device_properties("cuda")
    card = f"{properties.name}, {properties.total_memory / GIB:.0f} GiB"
    versions = f"torch {torch.__version__}, CUDA {torch.version.cuda}"
    seconds = time.perf_counter() - began
    return Checked(extent, card, versions, seconds, pictures, speed, sweeps, memory, measured().get(name, {}))


def _model(extent: Extent, dtype: str) -> Any:
    import torch

    from bench.toybox.embedded import generator
    from editors import DiffusionModel

    if extent.size:
        torch.manual_seed(0)
        return model_of(SIZES[extent.size], dtype, drawn=True)
    return DiffusionModel.load(generator(), device="cuda", dtype=getattr(torch, dtype))


HEAD = """# A card, checked

Written by `make gpu-check` on a machine with a CUDA card: whether edits are those of the CPU, how fast sweeps are beside diffusers'
pipelines on the same networks and beside the card's own products of matrices, and whether [memory.md](memory.md) is true.
"""


def written(found: Checked) -> str:
    """The page, as Markdown."""
    wrong = [f"{gap.editor} in {gap.dtype}" for gap in found.pictures if not gap.right]
    verdict = f"Not the CPU's pictures: {', '.join(wrong)}." if wrong else "All pictures are the CPU's but for rounding."
    extent = found.extent
    of = f"{extent.size}'s sizes, weights drawn" if extent.size else "ToyBox, a model far too small to occupy a card"
    parts = [
        HEAD,
        f"{found.card}; {found.versions}; {found.seconds / 60:.0f} minutes. {verdict}\n",
        "## Pictures\n",
        "Grey levels from the CPU's edits in float32, on ToyBox; `again`: whether a second time gives the same bits.\n",
        _table(
            ["editor", "dtype", "mean", "allowed", "most", "again"],
            [
                [
                    gap.editor,
                    gap.dtype,
                    f"{gap.mean:.2f}",
                    f"{ALLOWED[gap.dtype]:.1f}",
                    str(gap.most),
                    "same" if gap.repeats else "other",
                ]
                for gap in found.pictures
            ],
        ),
        "## Sweeps\n",
        f"One picture over {len(extent.values)} knob values in {extent.steps} steps, {' + '.join(map(str, extent.fit_steps))} steps of "
        f"Imagic's fit; {of}; {DTYPE}, Imagic in float32. `share` is the U-Net's operations by the speed of a product of matrices: "
        + ", ".join(f"{dtype} {speed / 1e12:.1f}" for dtype, speed in found.speed.items())
        + " TFLOP/s.\n",
        _table(
            ["sweep", "side", "seconds", "edits a second", "seconds by ours", "peak GiB", "U-Net samples", "share"],
            [_pace(pace, found.sweeps) for pace in found.sweeps],
        ),
        "## Memory\n",
        f"GiB at the peak of an edit, {of}, {DTYPE}; the table's own beside them.\n",
        _table(
            ["editor", "on this card", "docs/memory.md"],
            [
                [row, f"{gib:.1f}", f"{found.expected[row]:.1f}" if row in found.expected else "–"]
                for row, gib in found.memory.items()
            ],
        ),
    ]
    return "\n".join(parts)


def _pace(pace: Pace, all_: Sequence[Pace]) -> list[str]:
    if pace.cost is None:
        return [pace.sweep, pace.side, pace.ended, *["–"] * 5]
    ours = next(each.cost for each in all_ if each.sweep == pace.sweep)
    ratio = "–" if ours is None else f"{pace.cost.wall / ours.wall:.2f}"
    share = "–" if pace.share is None else f"{pace.share:.0%}"
    peak, samples = f"{pace.cost.peak / 1024:.1f}", f"{pace.cost.counts['U-Net samples']:.0f}"
    return [pace.sweep, pace.side, f"{pace.cost.wall:.2f}", f"{pace.edits / pace.cost.wall:.2f}", ratio, peak, samples, share]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *("--:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
