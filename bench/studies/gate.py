"""How often a check fails a clean run, and finds a loss: ``python -m bench.studies.gate`` writes ``docs/gate.md`` again.

A world is drawn from what a baseline measured: every sample has the mean of its draws, and its noise is a random mixture of the
deviations of its draws, one mixture for all knob values and metrics of an editor, as they share noise; samples are drawn apart. What a repeat
moves is mixed likewise. In this world a baseline is made anew and a run is checked against it, many times. A test does some of that
again and compares with the page.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.analysis.baseline import Measured
from bench.analysis.baseline_file import Baseline, Key, read_baseline
from bench.analysis.check import Judge, Outcome, spreads

__all__ = ["BASELINE", "PAGE", "World", "detection", "false_alarms", "left_out", "lossy", "main", "page"]

Floats = NDArray[np.float64]

ROOT = Path(__file__).parents[2]
PAGE, BASELINE = ROOT / "docs" / "gate.md", ROOT / "tests" / "baselines" / "ci.json"
LOSS = 0.05
TRIALS = {"alarms": 1000, "detection": 200}
MODES = ("same seeds", "other seeds")
AXES = ("clip", "lpips")
NAMES = {"clip": "CLIP score", "lpips": "1-LPIPS"}


@dataclass(frozen=True)
class World:
    """What runs of a spec look like, as far as a baseline tells."""

    known: Baseline

    def draw(self, rng: np.random.Generator) -> tuple[Baseline, dict[str, Measured]]:
        """A baseline made anew, and a clean run of each of the MODES."""
        draws, repeats = len(self.known.draws), max(len(self.known.repeats), 1)
        pairs: dict[Key, Floats] = {}
        sets: dict[Key, Floats] = {}
        editors = {key[0] for key in (*self.known.pairs, *self.known.sets)}
        # draws of seeds, and two runs: the first shares the noise of the first draw, the second has its own
        noise = {name: rng.standard_normal((draws + 1, draws, len(self.known.samples) + 1)) for name in sorted(editors)}
        moves = {name: rng.standard_normal((repeats + 1, repeats, len(self.known.samples) + 1)) for name in sorted(editors)}
        for key, cell in (*self.known.pairs.items(), *self.known.sets.items()):
            place = slice(0, -1) if key in self.known.pairs else slice(-1, None)
            scores = cell if cell.ndim == 2 else cell[:, None]
            mean = scores[:draws].mean(axis=0)
            deviations = (scores[:draws] - mean) / np.sqrt(max(draws - 1, 1))
            moved = (scores[draws:] - scores[0]) / np.sqrt(repeats) if len(self.known.repeats) else np.zeros((1, scores.shape[1]))
            drawn = mean + np.einsum("akn,kn->an", noise[key[0]][:, :, place], deviations)
            again = drawn[0] + np.einsum("akn,kn->an", moves[key[0]][:, :, place], moved)
            rows = np.concatenate([drawn[:draws], again[: len(self.known.repeats)], again[-1:], drawn[-1:]])
            (pairs if key in self.known.pairs else sets)[key] = rows if cell.ndim == 2 else rows[:, 0]
        made = replace(
            self.known,
            pairs={key: rows[:-2] for key, rows in pairs.items()},
            sets={key: rows[:-2] for key, rows in sets.items()},
        )
        runs = {}
        for mode, row in zip(MODES, (-2, -1), strict=True):
            seeds = self.known.draws[0] if mode == MODES[0] else tuple(-1 - seed for seed in self.known.draws[0])
            scores_of = {key: rows[row] for key, rows in pairs.items()}, {key: float(rows[row]) for key, rows in sets.items()}
            runs[mode] = Measured(seeds, self.known.device, {}, self.known.samples, scores_of[0], {}, scores_of[1])
        return made, runs


def lossy(run: Measured, cells: Iterable[Key], share: float = LOSS) -> Measured:
    """The run with that share of its CLIP score or of its 1-LPIPS lost in the `cells`."""
    changed = {
        key: run.pairs[key] * (1 - share) if key[2] != "lpips" else 1 - (1 - run.pairs[key]) * (1 - share) for key in cells
    }
    return replace(run, pairs={**run.pairs, **changed})


def false_alarms(known: Baseline, trials: int, seed: int = 0) -> dict[str, float]:
    """By mode the share of checks of clean runs that fail."""
    rng, world = np.random.default_rng(seed), World(known)
    failed = dict.fromkeys(MODES, 0)
    for _ in range(trials):
        made, runs = world.draw(rng)
        for mode, run in runs.items():
            failed[mode] += bool(_regressed(Judge(made).judge(run)))
    return {mode: count / trials for mode, count in failed.items()}


def detection(known: Baseline, trials: int, seed: int = 0) -> dict[str, dict[tuple[str, str], float]]:
    """By editor with a knob, and by mode and metric of AXES, the share of runs with a loss over its whole knob in which it is found."""
    rng, world = np.random.default_rng(seed), World(known)
    cells = _cells(known)
    counts = {editor: {(mode, metric): 0 for metric in AXES for mode in MODES} for editor in cells}
    for _ in range(trials):
        made, runs = world.draw(rng)
        judge = Judge(made)
        for editor, values in cells.items():
            for mode, metric in counts[editor]:
                keys = [(editor, value, metric) for value in values]
                outcomes = judge.judge(lossy(runs[mode], keys))
                counts[editor][mode, metric] += any(
                    (each.editor, each.metric) == (editor, metric) for each in _regressed(outcomes)
                )
    return {editor: {key: count / trials for key, count in row.items()} for editor, row in counts.items()}


def left_out(known: Baseline) -> int:
    """How many of the draws fail against a baseline of the others."""
    failed = 0
    for place, seeds in enumerate(known.draws):
        rest = [row for row in range(len(known.draws) + len(known.repeats)) if row != place]
        others = replace(
            known,
            draws=tuple(each for each in known.draws if each != seeds),
            repeats=() if place == 0 else known.repeats,
            pairs={key: cell[rest[: len(known.draws) - 1] if place == 0 else rest] for key, cell in known.pairs.items()},
            sets={key: cell[rest[: len(known.draws) - 1] if place == 0 else rest] for key, cell in known.sets.items()},
        )
        own = (
            {key: cell[place] for key, cell in known.pairs.items()},
            {key: float(cell[place]) for key, cell in known.sets.items()},
        )
        run = Measured(seeds, known.device, {}, known.samples, own[0], {}, own[1])
        failed += bool(_regressed(Judge(others).judge(run)))
    return failed


def _tolerances(known: Baseline) -> dict[tuple[str, str], tuple[float, float]]:
    """By editor with a knob and metric the median tolerance over its knob values in both modes, as a share of the score (1-LPIPS of LPIPS)."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in spreads(known):
        if row["editor"] in _cells(known):
            size = 1 - row["mean"] if row["metric"] == "lpips" else row["mean"]
            found.setdefault((row["editor"], row["metric"]), []).append((row["same_seeds"] / size, row["other_seeds"] / size))
    return {key: tuple(np.median(rows, axis=0).tolist()) for key, rows in found.items()}


def _cells(known: Baseline) -> dict[str, list[float]]:
    """The knob values of the editors that have several."""
    values: dict[str, dict[float, None]] = {}
    for editor, value, _ in known.pairs:
        values.setdefault(editor, {})[value] = None
    return {editor: list(each) for editor, each in values.items() if len(each) > 1}


def _regressed(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [each for each in outcomes if each.word == "regressed"]


HEAD = """# What a check is worth

`etabench check` fails a run where a cell (an editor at a knob value by a metric) lost more than chance explains. How much that is, is measured:
`etabench baseline` runs the spec with several *draws* of seeds, and with the seeds of the first once more on what stands in for other
machines (*repeats*: other batches, another CPU's kernels, other threads).

1. The loss of a cell is how much worse its mean over samples is than the baseline's.
2. A run with the seeds of a draw, on the baseline's class of devices, has the same noise. It is held against that draw, and may lose
   what repeats moved the means by, times Student's quantile for their number.
3. Any other run has other noise. It is held against the mean of all draws, and may lose what the seeds' spread explains: the variances of
   the samples over the draws add, and Student's quantile has Satterthwaite's degrees of freedom.
4. Nothing below half a percent of the baseline's mean counts.
5. The quantile is the one at which all cells together fail a clean run in 1 of 100 checks at most (Bonferroni).
6. Undefined, infinite and missing are no numbers. Undefined or missing on one side only is *not comparable* (exit code 2, where nothing has
   regressed); infinite on one side only is a loss or a gain. A metric that is not the same number, or another manifest, is refused.
"""


def page(
    known: Baseline,
    alarms: Mapping[str, float],
    found: Mapping[str, Mapping[tuple[str, str], float]],
    trials: Mapping[str, int] = TRIALS,
) -> str:
    """The page in Markdown."""
    seeds = ", ".join(str(each[0]) if len(each) == 1 else str(list(each)) for each in known.draws)
    lines = [HEAD, f"## Measured on the spec `{known.spec}`", ""]
    lines += [
        f"{len(known.samples)} samples, {len(known.pairs) + len(known.sets)} cells, {len(known.draws)} draws (seeds {seeds}), "
        f"{len(known.repeats)} repeat{'s' * (len(known.repeats) != 1)} ({', '.join(known.repeats) or 'none'}), on {known.device}. "
        "Runs are simulated from the spreads in the",
        "baseline, the baseline itself each time too; `python -m bench.studies.gate` writes this page, and a test does a part of it again.",
        "",
        f"Checks of clean runs that fail, percent of {trials['alarms']}; of the {len(known.draws)} real draws, each held against the others, "
        f"{left_out(known)} fail{'s' * (left_out(known) == 1)}.",
        "",
        "| run | fails |",
        "|---|---|",
        *(f"| {mode} | {100 * share:.2f} |" for mode, share in alarms.items()),
        "",
        f"A loss of {100 * LOSS:.0f} % over the whole knob of one editor is found, percent of {trials['detection']} runs; in brackets the",
        "tolerance in percent of the score, the median over its knob values.",
        "",
    ]
    titles = [f"{NAMES[metric]}, {mode}" for metric in AXES for mode in MODES]
    lines += [f"| editor | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]
    width = _tolerances(known)
    for editor, row in found.items():
        cells = [
            f"{100 * row[mode, metric]:.1f} ({100 * width[editor, metric][place]:.1f})"
            for metric in AXES
            for place, mode in enumerate(MODES)
        ]
        lines.append(f"| `{editor}` | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.gate", description="Write docs/gate.md again.")
    parser.add_argument("--baseline", type=Path, default=BASELINE)
    parser.add_argument("--out", type=Path, default=PAGE)
    given = parser.parse_args(arguments)
    known = read_baseline(given.baseline)
    text = page(known, false_alarms(known, TRIALS["alarms"]), detection(known, TRIALS["detection"]))
    given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
