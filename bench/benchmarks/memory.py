"""Memory that edits take on a card, by editor and size of the model.

An emulated card runs every editor dry (``bench.benchmarks.emulated``): torch's own allocator is asked for all that a GPU would be asked for,
and tells its peak. Each edit is one picture with the editor's own parameters and grid of knob values, except that fits and schedules are
cut short, which moves no peak (a step takes what the step before it gave back), and that four candidates stand for more.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.benchmarks.emulated import on_card, unavailable
from bench.benchmarks.sizes import SIZES, model_of, task_of
from bench.commands.room import WEIGHTS, write_measured

__all__ = ["EDITORS", "PAGE", "add_arguments", "peaks", "peaks_of", "run"]

PAGE = Path(__file__).parents[2] / "docs" / "memory.md"
DTYPE = "float16"
SHORT: Mapping[str, int] = {
    "steps": 2,
    "embedding_steps": 1,
    "unet_steps": 1,
    "background_reconstruction_steps": 1,
    "inner_steps": 1,
    "candidates": 4,
}
EDITORS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "sdedit": ("sdedit", {}),
    "diffedit": ("diffedit", {}),
    "blended_latent": ("blended_latent", {}),
    "null_text": ("null_text", {}),
    "direct_inversion": ("direct_inversion", {}),
    "ledits_pp": ("ledits_pp", {}),
    "blended_diffusion": ("blended_diffusion", {}),
    "imagic": ("imagic", {}),
    "imagic with 8-bit Adam": ("imagic", {"tune": "full_8bit"}),
    "imagic with LoRA": ("imagic", {"tune": "lora"}),
}
"""The rows: an editor, and parameters of it."""
GIB = 2**30
TEXT = """# Memory on a GPU

GiB that torch has allocated at the peak of an edit of one picture at the model's own side, weights included, in float16, with the editor's
own parameters and grid of knob values, and four candidates where it picks among some. Written by `python -m bench.benchmarks memory`, which
asks torch's allocator on an emulated card; the workspaces of cuDNN and cuBLAS and the CUDA context come on top, half a GiB to one. Where a
card has less, batches are halved until they fit, down to one item. So a card of 16 GiB takes the paper's schedule of Imagic at Stable Diffusion
1.5's size barely, and with Adam's moments in 8 bits (`tune: full_8bit`) with 5 GiB to spare.

{table}

A dash is an editor that does not work on the model's family. `blended_diffusion` has the small embedded CLIP in its loop; a larger one comes
on top.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("--table", type=Path, default=PAGE, help="the page that is written")


def run(given: argparse.Namespace) -> None:
    """Measure, print and write the page."""
    if unavailable():
        raise SystemExit(f"memory: no card can be emulated here: {unavailable()}")
    found = {
        f"{name}, {size.side} px": on_card(peaks, gib=500, dry=True, size=name, rows=list(EDITORS))
        for name, size in SIZES.items()
    }
    table = _table(found)
    print(table)
    if given.table == PAGE:
        write_measured(found)
    given.table.write_text(TEXT.format(table=table), encoding="utf-8")


def _table(found: Mapping[str, Mapping[str, float]]) -> str:
    rows = [WEIGHTS, *EDITORS]
    lines = [["", *found], ["---", *("--:" for _ in found)]]
    lines += [[row, *(f"{column[row]:.1f}" if row in column else "–" for column in found.values())] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def peaks(card: Any, size: str, rows: Sequence[str]) -> dict[str, float]:
    """A job on a card: GiB at the peak of each row, and of the weights."""
    return peaks_of(card, model_of(SIZES[size], DTYPE), task_of(SIZES[size].side), rows)


def peaks_of(card: Any, model: Any, task: Any, rows: Sequence[str]) -> dict[str, float]:
    """The same of a model that is on the card and all that is; ``card`` has ``clear()`` and ``peak``, in GiB, as an emulated one does."""
    import torch

    from bench import registry
    from bench.devices import deterministic
    from bench.toybox.embedded import with_ranker

    found = {WEIGHTS: torch.cuda.memory_allocated() / GIB}
    for row in rows:
        name, own = EDITORS[row]
        cls = registry.load_editor(name)
        if cls.misfit(model.family):
            continue
        short = {key: value for key, value in SHORT.items() if key in cls.Params.model_fields}
        gc.collect()
        card.clear()
        editor = cls(model, with_ranker(cls, cls.resolve("", {**short, **own})))
        with deterministic(1):
            editor.render(editor.prepare(task), cls.knob.grid if cls.knob else (0.0,))
        found[row] = card.peak
        if model.limits.facts():
            raise SystemExit(f"{row}: the emulated card is too small: {model.limits.facts()}")
    return found
