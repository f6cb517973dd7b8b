"""How often an interval that says 95 % holds the truth: ``python -m bench.studies.coverage`` writes ``docs/coverage.md`` again.

Scores are drawn from distributions whose mean is known, edits of one picture alike, and the intervals are those of reports
(`bench.analysis.intervals`, `metrics.toolbox.two_sample`). A test draws some of them again and compares with the page.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.analysis.frontier import Box, matched_gain
from bench.analysis.intervals import Range, joint_intervals, weighted_interval
from bench.toybox import embedded

__all__ = ["NUMBERS", "PAGE", "SHAPES", "SIZES", "main", "of_curves", "of_means", "of_sets", "read_page"]

Floats = NDArray[np.float64]

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"
NUMBERS = (8, 16, 50, 100)
"""Of source pictures."""
LIKENESS = 0.7
"""Correlation of two edits of one picture, before the shape is put on."""
TRIALS = {"means": 10_000, "curves": 3_000, "sets": 1_000}
SOUND = (0.93, 0.97)
ANYWHERE, SHARE = Range(), Range(0.0, 1.0, binary=True)


@dataclass(frozen=True)
class Shape:
    """A distribution of scores: their quantiles at shares (...) of (0, 1), and their mean."""

    quantile: Callable[[Floats], Floats]
    mean: float
    within: Range = ANYWHERE


def _normal(shares: Floats) -> Floats:
    from scipy.special import ndtri

    return np.asarray(ndtri(shares))


def _beta(shares: Floats) -> Floats:
    from scipy.special import betaincinv

    return np.asarray(betaincinv(6.0, 0.5, shares))


def _chance(p: float) -> Shape:
    return Shape(lambda shares: (shares < p).astype(np.float64), p, SHARE)


SHAPES: Mapping[str, Shape] = {
    "normal": Shape(_normal, 0.0),
    "skewed (exponential, skewness 2)": Shape(lambda shares: -np.log1p(-shares), 1.0, Range(0.0)),
    "near its end (beta 6, 1/2)": Shape(_beta, 12 / 13, Range(0.0, 1.0)),
    "very skewed (lognormal, skewness 6.2)": Shape(lambda shares: np.exp(_normal(shares)), float(np.exp(0.5)), Range(0.0)),
    "0 or 1, half": _chance(0.5),
    "0 or 1, 90 %": _chance(0.9),
    "0 or 1, 97 %": _chance(0.97),
}
SIZES: Mapping[str, tuple[int, ...]] = {
    "One edit per picture": (1,),
    "One to five edits per picture": (1, 2, 3, 4, 5),
    "One edit of most pictures, eight of every eighth": (1, 1, 1, 1, 1, 1, 1, 8),
}
"""How many edits the pictures have, in turn."""


def of_means(shape: Shape, sizes: tuple[int, ...], pictures: int, trials: int, seed: int = 0) -> float:
    """Share of `trials` in which the interval of the mean holds the mean."""
    from scipy.special import ndtr

    groups = np.repeat(np.arange(pictures), np.resize(sizes, pictures))
    rng = np.random.default_rng([seed, pictures, len(groups)])
    common, own = rng.standard_normal((trials, pictures)), rng.standard_normal((trials, len(groups)))
    shares = ndtr(np.sqrt(LIKENESS) * common[:, groups] + np.sqrt(1 - LIKENESS) * own)
    found = joint_intervals(list(shape.quantile(shares)), groups.astype(str).tolist(), within=[shape.within] * trials)
    return float(np.mean([each.low <= shape.mean <= each.high for each in found]))


KNOB = np.linspace(0.0, 1.0, 6)


@dataclass(frozen=True)
class _World:
    """Fidelity x and alignment y (n, k) of two editors on n pictures, and box sums (4, n) of the anchors."""

    x: Floats
    y: Floats
    other_x: Floats
    other_y: Floats
    box: Floats

    @classmethod
    def draw(cls, pictures: int, rng: np.random.Generator) -> _World:
        """Pictures differ in how they align, in how easily they change and in how far: all scores of one go together."""
        base, ease, far = rng.standard_normal((3, pictures, 1))
        ease, far = np.exp(0.5 * ease - 0.125), np.exp(0.6 * far - 0.18)

        def noise(spread: float, count: int) -> Floats:
            return spread * rng.standard_normal((pictures, count))

        y = 22 + 1.5 * base + 6 * KNOB * (0.5 + 0.5 * ease) + noise(0.8, 6)
        x = 1 - far * (0.05 + 0.5 * KNOB) + noise(0.02, 6)
        other_x = 1 - far * (0.05 + 0.45 * KNOB) + noise(0.02, 6)
        anchors = np.hstack([
            1 - 0.65 * np.exp(noise(0.4, 1) - 0.08),
            np.ones((pictures, 1)),
            22 + 1.5 * base + noise(0.3, 1),
            30 + base + noise(1.5, 1),
        ])  # fmt: skip
        return cls(x, y, other_x, y + noise(0.8, 6), anchors.T)

    @classmethod
    def truth(cls) -> _World:
        """The means of what is drawn, as of one picture."""
        y, x, other_x = 22 + 6 * KNOB, 0.95 - 0.5 * KNOB, 0.95 - 0.45 * KNOB
        return cls(x[None], y[None], other_x[None], y[None], np.array([[0.35], [1.0], [22.0], [30.0]]))

    def volume(self, weights: Floats) -> Floats:
        total = weights.sum(axis=1, keepdims=True)
        return Box(self.box, np.ones_like(self.box)).hypervolume(weights @ self.x / total, weights @ self.y / total, weights)

    def gain(self, weights: Floats) -> Floats:
        total = weights.sum(axis=1, keepdims=True)
        curves = [weights @ each / total for each in (self.x, self.y, self.other_x, self.other_y)]
        return np.array([matched_gain(*row)[0] for row in zip(*curves, strict=True)])


def of_curves(pictures: int, trials: int, seed: int = 0) -> dict[str, float]:
    """Share of `trials` in which the intervals of numbers read off curves hold the numbers of the mean curves."""
    rng, hits, whole = np.random.default_rng([seed, pictures]), {"hypervolume": 0, "matched-fidelity gain": 0}, _World.truth()
    truths = [float(of(np.ones((1, 1)))[0]) for of in (whole.volume, whole.gain)]
    for _ in range(trials):
        drawn = _World.draw(pictures, rng)
        found = [weighted_interval(drawn.volume, pictures, ends=(0.0, 1.0)), weighted_interval(drawn.gain, pictures)]
        for name, truth, (_, low, high) in zip(hits, truths, found, strict=True):
            hits[name] += low <= truth <= high
    return {name: count / trials for name, count in hits.items()}


def of_sets(name: str, edits: int, trials: int, seed: int = 0) -> tuple[float, float]:
    """Share of `trials` in which the interval of a class-wise metric holds its expectation, and mean half-width over 1.96 deviations.

    Six classes that lie apart, with `edits` edits each, against 20 references each; the classes and the references are given.
    """
    from metrics.base import FeatureSet
    from metrics.csfid import CSFID, CSFIDDebiased, CSFIDDiag
    from metrics.toolbox.two_sample import jackknife

    metric = {each.name: each for each in (CSFID, CSFIDDebiased, CSFIDDiag)}[name](embedded.network("features"))
    rng, classes = np.random.default_rng([seed, edits]), [f"class {number}" for number in range(6)]
    centres = rng.standard_normal((6, 12)) * np.linspace(0.5, 3.0, 6)[:, None]
    reference = FeatureSet(rng.standard_normal((120, 12)), [*classes * 20])
    labels: list[str | None] = [name for name in classes for _ in range(edits)]
    found = []
    for _ in range(trials):
        features = FeatureSet(np.repeat(centres, edits, axis=0) + 0.5 * rng.standard_normal((6 * edits, 12)), labels)
        found.append(jackknife(partial(metric.values, features, reference), 6 * edits, strata=labels))
    values = np.array([each.value for each in found])
    held = np.mean([each.low <= values.mean() <= each.high for each in found])
    width = np.mean([(each.high - each.low) / 2 for each in found]) / (1.96 * values.std(ddof=1))
    return float(held), float(width)


HEAD = f"""# How often an interval holds the truth

An interval that says 95 % should hold the truth in 93 to 97 of 100 runs; what lies outside is in **bold**. Percent of {TRIALS["means"]}
draws for means, {TRIALS["curves"]} for curves and {TRIALS["sets"]} for sets; a share near 95 % of so many is good to 0.2, 0.4 and 0.7. How the
intervals are made is in [what the numbers are](metrics.md#intervals-and-tests).

Written by `python -m bench.studies.coverage`; a test draws a part of it again and compares.

## Means

Columns are numbers of source pictures. Edits of one picture correlate at {LIKENESS} before the shape is put on them.
"""
CURVES = """## Numbers read off curves

Six knob values; pictures differ in alignment, in how readily and how far they change, and the anchors are drawn with them.
"""
SETS = """## Class-wise metrics of sets

Six classes of four or ten edits each, which lie apart; classes and references are given. The width is the mean half of the interval
over 1.96 standard deviations of the metric from draw to draw, of which Student's quantile makes up 1.07 and 1.02.
"""
READING = """## Where it does not hold

- **Very skewed scores of few pictures**: the few that decide the mean are mostly not among those drawn, and nothing that is drawn
  tells. Below 50 pictures report a median or the scores themselves beside such a mean.
- **Shares**: n edits allow n + 1 shares, so that coverage jumps with p and n, as for every such interval; at 97 % one edit decides
  between too little and too much.
- **One picture with half of the edits** leaves little more than one degree of freedom: intervals of a mean are far too wide.
"""


def page(means: Mapping[str, Mapping[str, Floats]], curves: Mapping[str, Floats], sets: Mapping[str, Floats]) -> str:
    """The tables in Markdown: shares held by design and shape and number, by number, and (held, width) of both sizes."""
    lines = [HEAD]
    for sizes, rows in means.items():
        lines += [f"### {sizes}", "", *_table("scores", [str(number) for number in NUMBERS], rows), ""]
    lines += [CURVES, *_table("number", [str(number) for number in NUMBERS], curves), ""]
    lines += [SETS, *_table("metric", ["4: held", "4: width", "10: held", "10: width"], sets), ""]
    return "\n".join([*lines, READING])


def _table(first: str, columns: list[str], rows: Mapping[str, Floats]) -> list[str]:
    lines = [f"| {first} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    return lines + [f"| {name} | {' | '.join(map(_cell, row, columns))} |" for name, row in rows.items()]


def _cell(value: float, column: str) -> str:
    if column.endswith("width"):
        return f"{value:.2f}"
    return f"{100 * value:.1f}" if SOUND[0] <= round(value, 3) <= SOUND[1] else f"**{100 * value:.1f}**"


def read_page(text: str) -> dict[str, dict[str, list[float]]]:
    """The tables that `page` wrote, by the heading above them: names of rows to their numbers."""
    found: dict[str, dict[str, list[float]]] = {}
    title = ""
    for line in text.splitlines():
        if line.startswith("#"):
            title = line.lstrip("# ")
        cells = [cell.strip(" *") for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[-1].replace(".", "").isdigit() and "." in cells[-1]:
            found.setdefault(title, {})[cells[0]] = [float(cell) for cell in cells[1:]]
    return found


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.coverage", description="Write docs/coverage.md again.")
    parser.add_argument("--out", type=Path, default=PAGE)
    given = parser.parse_args(arguments)
    means = {
        title: {
            name: np.array([of_means(shape, sizes, number, TRIALS["means"]) for number in NUMBERS])
            for name, shape in SHAPES.items()
        }
        for title, sizes in SIZES.items()
    }
    columns = [of_curves(number, TRIALS["curves"]) for number in NUMBERS]
    curves = {name: np.array([column[name] for column in columns]) for name in columns[0]}
    names = ("csfid", "csfid_debiased", "csfid_diag")
    sets = {name: np.array([of_sets(name, edits, TRIALS["sets"]) for edits in (4, 10)]).ravel() for name in names}
    given.out.write_text(page(means, curves, sets), encoding="utf-8")


if __name__ == "__main__":
    main()
