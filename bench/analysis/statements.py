"""What a run shows, in sentences that a reader may quote: read off the tables of tests, and nothing is said that no test carries.

A difference is claimed where Holm's p value is below 0.05 and the interval does not hold zero; all other pairs that were tested are "not
told apart". What comes first is the comparison that chooses nothing, editability at equal fidelity; then whole curves (hypervolume), then
the two axes at the editors' operating points. Where no test could prove anything, so few are the samples, a sentence says so, and
another which editors lack edits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.analysis.comparisons import VOLUME
from bench.analysis.differences import SIGNIFICANT
from reports.cells import finite, minus
from reports.data import Plane, Statement
from reports.names import MetricName
from reports.style import number, short

__all__ = ["statements"]

MOST = 5
"""Sentences."""
MOST_LISTED = 3
"""Editors or pairs that a sentence names before it counts the rest."""
LABEL = 48
"""Characters of an editor's label that a sentence holds."""


@dataclass(frozen=True)
class _Test:
    """One comparison, seen from its better side: `ahead` less `behind`, in which `value` is how far the first is ahead."""

    ahead: str
    behind: str
    value: float
    low: float | None
    high: float | None
    p: float
    least: float
    n: int
    points: tuple[float | None, float | None] = (None, None)

    @property
    def proven(self) -> bool:
        zero = self.low is not None and self.high is not None and self.low <= 0 <= self.high
        return self.p < SIGNIFICANT and not zero and self.value != 0


def statements(
    names: Mapping[str, MetricName],
    plane: Plane,
    *,
    gains: pd.DataFrame,
    differences: pd.DataFrame,
    tradeoff: pd.DataFrame,
    counts: pd.DataFrame,
    editors: Sequence[str],
) -> list[Statement]:
    """Up to five statements, most important first.

    Args:
        names: how metrics are called, by metric and by axis.
        plane: the axes of the run.
        gains: editability at equal fidelity, per pair of editors; columns as in `reports.frames.COLUMNS`, as of all tables here.
        differences: metrics and hypervolumes, per pair of editors.
        tradeoff: the curves, from which a lonely editor is described.
        counts: units expected, done and failed.
        editors: labels of the editors that are no anchors, in order.
    """
    y, x = names[plane.editability].noun, names[plane.fidelity].noun
    tested, apart = _of_gains(gains)
    first = _at_equal_fidelity(tested, apart, y, x) if len(editors) > 1 else _lonely(editors, tradeoff, names, plane)
    metrics = [VOLUME, *(plane.made_of.get(axis, axis) for axis in plane.columns)]
    must = [*_few([tested, *(_of_metric(differences, metric) for metric in metrics)]), *_failed(counts, editors)]
    rest = [*_whole_curves(differences), *_at_points(differences, names, plane)]
    return [*first, *rest[: max(MOST - len(first) - len(must), 0)], *must][:MOST]


def _of_gains(gains: pd.DataFrame) -> tuple[list[_Test], list[tuple[str, str]]]:
    """The tests of gains, and the pairs whose curves reach no common fidelity."""
    tested, apart = [], []
    for row in gains.to_dict("records"):
        if finite(row["gain"]) is None:
            apart.append((str(row["first"]), str(row["second"])))
        elif finite(row["p_holm"]) is not None:
            tested.append(_test(row, "gain", row["gain"] >= 0))
    return tested, apart


def _of_metric(differences: pd.DataFrame, metric: str) -> list[_Test]:
    """The tests of a metric whose better end is known, `value` in the metric's own direction."""
    rows = differences[(differences["metric"] == metric) & (differences["better"] != "")].to_dict("records")
    return [_test(row, "difference", row["better"] == row["first"]) for row in rows if finite(row["p_holm"]) is not None]


def _test(row: Mapping[Any, Any], column: str, first: bool) -> _Test:
    value, low, high = (finite(row[name]) for name in (column, "low", "high"))
    ends = (low, high) if first else (None if high is None else -high, None if low is None else -low)
    labels = [str(row["first"]), str(row["second"])]
    points = [finite(row.get("first_value")), finite(row.get("second_value"))]
    turned = slice(None, None, 1 if first else -1)
    ahead, behind = labels[turned]
    return _Test(
        ahead=ahead,
        behind=behind,
        value=float(value or 0.0) * (1 if first else -1),
        low=ends[0],
        high=ends[1],
        p=float(row["p_holm"]),
        least=float(row["p_least"]),
        n=int(row["n"]),
        points=tuple(points[turned]),  # type: ignore[arg-type]
    )


def _at_equal_fidelity(tested: Sequence[_Test], apart: Sequence[tuple[str, str]], y: str, x: str) -> list[Statement]:
    found = [
        Statement(
            f"At equal {x}, {_label(winner)} follows the text better than {_beaten(won, y)}.",
            f"sign flips of what each source picture adds to the gain, {_p(won)} after Holm's correction for {_pairs(tested)}",
            "gains",
        )
        for winner, won in _winners(tested)[:2]
    ]
    open_ = sorted((test for test in tested if not test.proven), key=lambda test: -abs(test.value))
    if open_:
        if len(open_) == 1:
            said = f"{_pair(open_[0].ahead, open_[0].behind)} are not told apart: {_amount(open_[0], y)}, n = {open_[0].n}"
        elif len(open_) == len(tested):
            largest = open_[0]
            said = (
                f"none of the {_pairs(tested)} of editors is told apart; furthest apart are {_label(largest.ahead)} and "
                f"{_label(largest.behind)}, {_amount(largest, y)}, n = {largest.n}"
            )
        else:
            said = f"not told apart are {_some([_pair(test.ahead, test.behind) for test in open_], 'pair')}"
        test = f"sign flips, smallest p {min(t.p for t in open_):.2g} after Holm's correction for {_pairs(tested)}"
        found.append(Statement(f"At equal {x}, {said}.", test, "gains"))
    if apart:
        pairs = _some([_pair(*pair) for pair in apart], "pair")
        said = f"Not compared at equal {x}, as their curves have no value of it in common: {pairs}."
        found.append(Statement(said, "no test: their curves do not overlap, or they share no samples", "gains"))
    if not found:
        return [
            Statement(
                f"No two editors are compared at equal {x}: none has scores on both axes at every knob value.",
                "no test",
                "coverage",
            )
        ]
    return found


def _whole_curves(differences: pd.DataFrame) -> list[Statement]:
    tested = _of_metric(differences, VOLUME)
    test = "swaps of the two editors' edits of each source picture"
    if tested and not any(each.proven for each in tested):
        largest = max(tested, key=lambda each: each.value)
        said = (
            f"By hypervolume, which takes a curve as a whole, no editor is told from another; furthest apart are {_label(largest.ahead)} "
            f"and {_label(largest.behind)}, {_amount(largest, '')}, n = {largest.n}."
        )
        smallest = min(each.p for each in tested)
        return [
            Statement(said, f"{test}, smallest p {smallest:.2g} after Holm's correction for {_pairs(tested)}", "hypervolumes")
        ]
    return [
        Statement(
            f"As a whole curve, {_label(winner)} covers more of the square between copy and regenerate than {_beaten(won, 'hypervolume')}.",
            f"{test}, {_p(won)} after Holm's correction for {_pairs(tested)}",
            "hypervolumes",
        )
        for winner, won in _winners(tested)[:1]
    ]


def _at_points(differences: pd.DataFrame, names: Mapping[str, MetricName], plane: Plane) -> list[Statement]:
    found = []
    for axis, verb in ((plane.editability, "follows the text better"), (plane.fidelity, "keeps more of the source")):
        metric = plane.made_of.get(axis, axis)
        tested, lower = _of_metric(differences, metric), names[metric].better == "lower"
        for winner, won in _winners(tested)[:1]:
            down = ", lower is better" if lower else ""
            found.append(
                Statement(
                    f"At the operating points, {_label(winner)} {verb} than {_beaten(won, names[metric].noun + down, points=True)}.",
                    f"swaps with the operating points chosen anew, {_p(won)} after Holm's correction for {_pairs(tested)}",
                    "differences",
                )
            )
    return found


def _lonely(editors: Sequence[str], tradeoff: pd.DataFrame, names: Mapping[str, MetricName], plane: Plane) -> list[Statement]:
    if not editors:
        return [Statement("The run has anchors and no editor: nothing is compared.", "no test", "leaderboard")]
    rows = tradeoff[(tradeoff["editor"] == editors[0])].dropna(subset=["x_mean", "y_mean"]).sort_values("value", kind="stable")
    alone = f"{_label(editors[0])} is the only editor, so nothing is compared"
    if len(rows) < 2:
        return [Statement(f"{alone}.", "no test: one editor", "leaderboard")]
    ends = [rows.iloc[0], rows.iloc[-1]]
    spans = []
    for axis, column in (("y", plane.editability), ("x", plane.fidelity)):
        values = [float(end[f"{axis}_mean"]) for end in ends]
        spans.append(f"{names[column].noun} from {' to '.join(minus(f'{value:.{_digits(values)}f}') for value in values)}")
    knob = f"{number(float(ends[0]['value']))} to {number(float(ends[1]['value']))}"
    said = f"{alone}; from {knob} of its knob it takes {' and '.join(spans)}, n = {int(ends[1]['n'])}."
    return [Statement(said, "no test: means of one editor", "tradeoff")]


def _few(families: Sequence[Sequence[_Test]]) -> list[Statement]:
    """That no test of any family could have proven anything, if so."""
    tested = [tests for tests in families if tests]
    least = [min(test.least for test in tests) for tests in tested]
    if not tested or any(p * len(tests) <= SIGNIFICANT for p, tests in zip(least, tested, strict=True)):
        return []
    n, most = max(test.n for tests in tested for test in tests), max(tested, key=len)
    corrected = f", {min(min(least) * len(most), 1):.2g} after correction for {_pairs(most)}" if len(most) > 1 else ""
    return [
        Statement(
            f"{n} sample{'s are' if n != 1 else ' is'} too few to prove any difference between editors: what the figures show is a hint.",
            f"the smallest p value that so few source pictures can give is {min(least):.2g}{corrected}",
            "differences",
        )
    ]


def _failed(counts: pd.DataFrame, editors: Sequence[str]) -> list[Statement]:
    rows = counts[counts["editor"].isin(list(editors)) & (counts["done"] < counts["expected"])].to_dict("records")
    if not rows:
        return (
            [Statement("Every editor finished every unit: no edit is missing.", "counted, not tested", "coverage")]
            if editors
            else []
        )
    rows.sort(key=lambda row: row["done"] / max(row["expected"], 1))
    finished = [f"{_label(row['editor'])} finished {int(row['done'])} of {int(row['expected'])} units" for row in rows]
    rest = "" if len(rows) == len(editors) else "; the others finished all"
    return [Statement(f"Not every edit was made: {_some(finished, 'editor')}{rest}.", "counted, not tested", "coverage")]


def _winners(tested: Iterable[_Test]) -> list[tuple[str, list[_Test]]]:
    """Editors with the differences that are proven for them, who is ahead of most first."""
    won: dict[str, list[_Test]] = {}
    for test in tested:
        if test.proven:
            won.setdefault(test.ahead, []).append(test)
    for tests in won.values():
        tests.sort(key=lambda test: -abs(test.value))
    return sorted(won.items(), key=lambda item: (-len(item[1]), -sum(abs(test.value) for test in item[1])))


def _beaten(won: Sequence[_Test], unit: str, *, points: bool = False) -> str:
    """Who is behind, by how much, and on how many samples."""
    named = []
    for place, test in enumerate(won[:MOST_LISTED]):
        at = f" at {number(test.points[1])}" if points and test.points[1] is not None else ""
        named.append(f"{_label(test.behind)}{at} ({_amount(test, unit if place == 0 else '')})")
    if len(won) > MOST_LISTED:
        named.append(f"{len(won) - MOST_LISTED} more")
    counts = sorted({test.n for test in won})
    return f"{_and(named)}, n = {counts[0]}" + (f" to {counts[-1]}" if len(counts) > 1 else "")


def _amount(test: _Test, unit: str) -> str:
    known = [value for value in (test.value, test.low, test.high) if value is not None]
    digits = _digits(known)
    value, *ends = (minus(f"{number_:.{digits}f}") for number_ in known)
    interval = f" [{', '.join(ends)}]" if len(ends) == 2 else ""
    return f"{'+' if test.value > 0 else ''}{value}{f' {unit}' if unit else ''}{interval}"


def _digits(values: Iterable[float]) -> int:
    largest = max((abs(value) for value in values), default=0.0)
    return 0 if largest >= 100 else 1 if largest >= 2 else 3


def _some(items: Sequence[str], noun: str) -> str:
    more = len(items) - MOST_LISTED
    return "; ".join(items[:MOST_LISTED]) + (f"; and {more} more {noun}{'s' * (more > 1)}" if more > 0 else "")


def _and(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _pair(one: str, two: str) -> str:
    return f"{_label(one)} and {_label(two)}"


def _pairs(tested: Sequence[_Test]) -> str:
    return f"{len(tested)} pair{'s' * (len(tested) != 1)}"


def _p(tests: Sequence[_Test]) -> str:
    """The largest p value of several claims."""
    largest = max(test.p for test in tests)
    return (
        "p < 0.001"
        if largest < 0.001
        else f"{'p' if len(tests) == 1 else 'every p'} {'=' if len(tests) == 1 else '≤'} {largest:.3f}"
    )


def _label(label: object) -> str:
    return short(str(label), LABEL)
