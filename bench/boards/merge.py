"""Several runs -> one: a plan with the editors of all, and their scores, as if one spec had named them.

    an editor of another run by a label that is taken    is called by its run too, and so is who had the label first
    the same editor in two runs, unit by unit            stands once, as the first run has it
    anchors                                              are those of the first run that has them: they are the scale of both axes

Everything that is left out so is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from bench.boards.entrants import Entrant
from bench.boards.mixed import check_alike
from bench.errors import BoardError
from bench.plan import Entry, Plan, Unit
from bench.scoring import Scores
from bench.scoring.axes import Axes
from bench.scoring.tables import PAIR_COLUMNS, SET_COLUMNS, SET_PAIR_COLUMNS, check_unmixed, frame
from bench.store import Record

__all__ = ["Merged", "merged"]


@dataclass(frozen=True)
class Merged:
    """All runs as one. `runs` says of each editor and anchor whose it is; `notes` what a reader must know of the merging."""

    plan: Plan
    scores: Scores
    records: Mapping[str, Record]
    axes: Axes
    runs: Mapping[str, Entrant]
    notes: Sequence[str]


@dataclass(frozen=True)
class _Place:
    """An entry of a run, and what it is called on the board."""

    entrant: Entrant
    index: int
    label: str

    @property
    def entry(self) -> Entry:
        return self.entrant.plan.entries[self.index]

    @cached_property
    def keys(self) -> frozenset[str]:
        return frozenset(unit.key for unit in self.entrant.plan.units if unit.entry == self.index)


def merged(entrants: Sequence[Entrant]) -> Merged:
    """The runs as one. BoardError where they cannot be compared."""
    check_alike(entrants)
    places, notes = _places(entrants)
    first = entrants[0].plan
    numbers = {sample.id: number for number, sample in enumerate(first.samples)}
    entries = [replace(place.entry, label=place.label) for place in places]
    units: list[Unit] = []
    for number, place in enumerate(places):
        own = place.entrant.plan
        for unit in own.units:
            if unit.entry == place.index:
                units.append(replace(unit, entry=number, sample=numbers[own.samples[unit.sample].id]))
    units.sort(key=lambda unit: (unit.sample, unit.entry, unit.seed))
    plan = replace(first, entries=tuple(entries), units=tuple(units))
    kept = {key: place.entrant.records for place in places for key in place.keys}
    records = {key: of[key] for key, of in kept.items() if key in of}
    scores = _scores(places)
    notes += [f"{each.name}: {metric} failed and has no score" for each in entrants for metric in each.scores.failed]
    notes += [
        f"{each.name}: {each.scores.stale} scores are of other pictures and left out" for each in entrants if each.scores.stale
    ]
    return Merged(plan, scores, records, Axes.of(entrants[0].named, scores), {each.label: each.entrant for each in places}, notes)


def _places(entrants: Sequence[Entrant]) -> tuple[list[_Place], list[str]]:
    """The entries that stand on the board, editors before anchors, and what was left out or renamed."""
    editors: list[_Place] = []
    anchors: dict[str, _Place] = {}
    notes = []
    for entrant in entrants:
        for index, entry in enumerate(entrant.plan.entries):
            place = _Place(entrant, index, entry.label)
            if entry.anchor:
                scale = anchors.setdefault(entry.name, place)
                if scale.keys != place.keys:
                    notes.append(f"{entry.label} is that of {scale.entrant.name}; {entrant.name} made another, by other settings")
            elif twin := next((other for other in editors if other.entrant is not entrant and other.keys == place.keys), None):
                same = f"{entry.label} of {entrant.name} is {twin.label} of {twin.entrant.name}"
                notes.append(f"{same}, unit by unit, and stands once")
            else:
                editors.append(place)
    taken = Counter(place.label for place in (*editors, *anchors.values()))
    named = [
        replace(place, label=f"{place.label} ({place.entrant.name})") if taken[place.label] > 1 else place for place in editors
    ]
    if not named:
        raise BoardError("the runs have anchors only; a board ranks editors")
    found = [*named, *anchors.values()]
    if same_name := next((name for name, count in Counter(each.label for each in found).items() if count > 1), ""):
        raise BoardError(f"two editors are called {same_name}; give one another label in its spec")
    return found, notes


def _scores(places: Sequence[_Place]) -> Scores:
    """The scores of the places by the labels that they have on the board."""
    labels: dict[str, dict[str, str]] = {}
    for place in places:
        labels.setdefault(place.entrant.name, {})[place.entry.label] = place.label
    entrants = {place.entrant.name: place.entrant for place in places}
    pairs, sets, set_pairs = [], [], []
    for name, own in labels.items():
        scores = entrants[name].scores
        pairs.append(_renamed(scores.pairs, own, "editor"))
        sets.append(_renamed(scores.sets, own, "editor"))
        set_pairs.append(_renamed(scores.set_pairs, own, "first", "second"))
    cards = {print_: card for entrant in entrants.values() for print_, card in entrant.scores.cards.items()}
    return Scores(
        check_unmixed(_joined(pairs, PAIR_COLUMNS)),
        check_unmixed(_joined(sets, SET_COLUMNS)),
        cards,
        _joined(set_pairs, SET_PAIR_COLUMNS),
    )


def _renamed(table: pd.DataFrame, labels: Mapping[str, str], *columns: str) -> pd.DataFrame:
    """The rows whose editors are all among `labels`, by what these call them."""
    chosen = table[table[list(columns)].isin(list(labels)).all(axis=1)]
    return chosen.assign(**{column: chosen[column].map(labels) for column in columns})


def _joined(tables: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    some = [table for table in tables if len(table)]
    return pd.concat(some, ignore_index=True)[list(columns)] if some else frame([], columns)
