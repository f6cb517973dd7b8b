"""What the harness itself takes by the number of units: plan, run, status, resume, pack, score and report of an editor that costs nothing.

Every step is a process of its own on one run folder, with one worker; pictures are 32 pixels a side, a unit has one edit, and a sample ten
seeds. CPU seconds are the step's own, imports included; a machine with other work to do makes them larger, not their growth.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.benchmarks.measure import Cost, Outcome, answer, in_turn, measured
from editors.base import Editor, EditTask, Image, Knob, Params

__all__ = ["PAGE", "STEPS", "Shift", "add_arguments", "measure", "prepared", "run"]

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"
SEEDS = 10
SIDE = 32
STEPS = ("plan", "run", "status", "resume", "pack", "score", "report")
TEXT = """# Runs by their size

CPU seconds and peak memory (MiB) of each step of a run of an editor that costs nothing, so of the harness itself: one worker, one edit of 32
pixels a unit, ten seeds a sample, scored by PSNR and MSE. `resume` is `etabench run` on the finished folder. Written by
`python -m bench.benchmarks scale`; imports are counted, and each step is a process of its own. `pack` moves the units into shards, as far as
the run has not done so itself (`pack_above: 10000`), and what comes after reads them there.

{table}

The last column is what a further unit takes, from the two largest runs.
"""


class Shift(Editor[Image]):
    """Adds a number that the seed gives; costs nothing."""

    name = "shift"
    version = "1"
    knob = Knob("amount", 0.0, 1.0, (1.0,), "share of the number")
    needs_model = False
    Params = Params

    def prepare(self, task: EditTask) -> Image:
        return task.image ^ np.uint8(task.seed % 64)

    def render(self, state: Image, values: Sequence[float]) -> list[Image]:
        return [(value * state).astype(np.uint8) for value in values]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("--units", type=int, nargs="+", default=[1_000, 10_000], help="numbers of units, ascending")
    parser.add_argument("--folder", type=Path, default=None, help="where runs are kept; by default they go")
    parser.add_argument("--table", type=Path, default=PAGE, help="the page that is written")


def run(given: argparse.Namespace) -> None:
    """Measure, print and write the page."""
    found = {}
    for units in given.units:
        with tempfile.TemporaryDirectory(prefix="etabench-scale-") as scratch:
            found[units] = measure(units, given.folder / str(units) if given.folder else Path(scratch))
        print(units, {step: f"{cost.cpu:.1f} s, {cost.peak:.0f} MiB" for step, cost in found[units].items()}, flush=True)
    table = _table(found)
    print(table)
    given.table.write_text(TEXT.format(table=table), encoding="utf-8")


def measure(units: int, folder: Path) -> dict[str, Cost]:
    """The cost of each step of a run of so many units (a multiple of ten) in an empty folder."""
    spec = prepared(folder, units // SEEDS)
    answers = in_turn("bench.benchmarks.scale", STEPS, {"spec": str(spec), "folder": str(folder / "run")})
    return {step: outcome.costs[step] for step, outcome in answers.items()}


def prepared(folder: Path, samples: int) -> Path:
    """A manifest of different pictures and the spec of a run over it."""
    import yaml
    from PIL import Image as Pictures

    pictures = folder / "manifest"
    pictures.mkdir(parents=True)
    rows = []
    for number in range(samples):
        pixels = np.full((SIDE, SIDE, 3), number % 256, np.uint8)
        pixels[0, 0] = (number // 65536 % 256, number // 256 % 256, number % 256)
        Pictures.fromarray(pixels).save(pictures / f"{number}.png")
        rows.append(json.dumps({"file_name": f"{number}.png", "id": f"sample-{number}", "target_text": f"picture {number}"}))
    (pictures / "metadata.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    spec = {
        "name": "scale",
        "manifest": {"path": str(pictures), "size": SIDE},
        "device": "cpu",
        "seeds": list(range(SEEDS)),
        "editors": [{"name": "bench.benchmarks.scale:Shift"}],
        "metrics": ["psnr", "mse"],
        "axes": {"editability": "mse", "fidelity": "psnr"},
    }
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    return path


def _step(side: str, spec: str, folder: str) -> None:
    from bench import api
    from bench.commands.status import Watched
    from bench.store import Run
    from bench.store.packing import pack_units
    from bench.workers.crew import Options

    match side:
        case "plan":
            api.plan(api.open_spec(spec))
        case "run" | "resume":
            api.run(spec, folder, options=Options(executor="inline"))
        case "status":
            Watched(Run.open(folder)).look()
        case "pack":
            pack_units(Run.open(folder))
        case "score":
            api.score(folder)
        case "report":
            api.report(folder)


def _table(found: Mapping[int, Mapping[str, Cost]]) -> str:
    sizes = list(found)
    lines = [["", *(f"{units:,} units" for units in sizes), "a further unit"], ["---", *("--:" for _ in (*sizes, ""))]]
    for step in STEPS:
        cells = [f"{found[units][step].cpu:.1f} s, {found[units][step].peak:.0f}" for units in sizes]
        more = ""
        if len(sizes) > 1:
            (fewer, before), (units, now) = ((size, found[size][step]) for size in sizes[-2:])
            more = f"{1e3 * (now.cpu - before.cpu) / (units - fewer):.2f} ms, {2**10 * (now.peak - before.peak) / (units - fewer):.1f} KiB"
        lines.append([step, *cells, more])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(settings: dict[str, Any]) -> None:
    """One step, in a process of its own."""
    side = settings["side"]
    answer(Outcome({side: measured(lambda: _step(**settings))}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
