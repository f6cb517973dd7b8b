"""What of the score tables is true of the pictures that the run has now.

A score belongs to what it was computed from (`Edit.inputs`, `EditSet.inputs`): it counts while the records of the run give the same, and the
files are those that the records name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from bench import registry, trust
from bench.errors import ScoreError
from bench.scoring.edits import Finished
from bench.scoring.tables import Scores, read_cards, read_failed, read_table

if TYPE_CHECKING:
    import pandas as pd

    from bench.store import Run

__all__ = ["hidden", "lacking", "of_pairs", "of_set_pairs", "of_sets", "on_disk", "read_scores"]


def read_scores(run: Run, *, pictures: bool = True) -> Scores:
    """The scores of the pictures that a run has, empty where there are none.

    Reads the files of all edits and decodes none; without `pictures` the records are taken at their word. Raises RunError where pictures
    are gone or differ from their records, ScoreError where a table is damaged.
    """
    finished = Finished.of(run)
    if pictures:
        finished.verify()
    scores = on_disk(finished)
    for table in (scores.pairs, scores.sets, scores.set_pairs):
        uncarded = table.loc[~table["fingerprint"].isin(list(scores.cards)), "metric"]
        if len(uncarded):
            raise ScoreError(
                f"{run.scores / 'cards.json'} lacks the card of {uncarded.iloc[0]}; `etabench score {run.path}` makes it anew"
            )
    return hidden(scores)


def on_disk(finished: Finished, *, anew: bool = False) -> Scores:
    """The scores in the folder that are of `finished` edits, those of metrics that failed included.

    Raises ScoreError where a file is damaged; `anew` counts that as not there, for who makes it anew.
    """
    run = finished.run
    run.refresh("scores")
    pairs, sets, set_pairs = (read_table(run, name, anew=anew) for name in ("pairs", "sets", "set_pairs"))
    whole = of_sets(sets, finished)
    found = of_pairs(pairs, finished), whole, of_set_pairs(set_pairs, whole, finished)
    stale = len(pairs) - len(found[0]) + len(sets) - len(whole)
    unanswered = of_pairs(read_table(run, "unanswered", anew=anew), finished)
    return Scores(found[0], whole, read_cards(run, anew=anew), found[2], read_failed(run, anew=anew), stale, unanswered)


def hidden(scores: Scores) -> Scores:
    """The scores without rows of metrics that failed: a column is whole, as far as the edits are, or is not there."""
    tables = {name: getattr(scores, name) for name in ("pairs", "sets", "set_pairs", "unanswered")}
    shown = {name: table[~table["metric"].isin(list(scores.failed))].reset_index(drop=True) for name, table in tables.items()}
    return replace(scores, **shown)


def of_pairs(pairs: pd.DataFrame, finished: Finished) -> pd.DataFrame:
    """The rows that are of finished edits."""
    now = {(*edit.name, edit.inputs) for edit in finished.edits}
    rows = zip(pairs["unit"], pairs["value"], pairs["inputs"], strict=True)
    return _those(pairs, (row in now for row in rows))


def of_sets(sets: pd.DataFrame, finished: Finished) -> pd.DataFrame:
    """The rows that are of the finished edits of an editor at a knob value, all of them and no others."""
    now = {(each.entry.label, each.value, each.inputs) for each in finished.sets}
    rows = zip(sets["editor"], sets["value"], sets["inputs"], strict=True)
    return _those(sets, (row in now for row in rows))


def of_set_pairs(set_pairs: pd.DataFrame, sets: pd.DataFrame, finished: Finished) -> pd.DataFrame:
    """The rows that compare two editors of all of whose finished edits the rows in `sets` are, by the same metric."""
    planned = Counter(each.entry.label for each in finished.sets)
    scored = Counter(zip(sets["editor"], sets["fingerprint"], strict=True))
    rows = zip(set_pairs["first"], set_pairs["second"], set_pairs["fingerprint"], strict=True)
    return _those(set_pairs, (all(scored[editor, p] == planned[editor] > 0 for editor in (one, two)) for one, two, p in rows))


def _those(table: pd.DataFrame, chosen: Iterable[bool]) -> pd.DataFrame:
    import numpy as np

    return table[np.fromiter(chosen, dtype=bool, count=len(table))].reset_index(drop=True)


def lacking(run: Run, scores: Scores) -> Mapping[str, int]:
    """Metric of the run's spec to how many of its finished edits, or of their sets, have no score; only what is not 0.

    Raises RunError where the spec names metrics that are code and were not let in (`bench.trust`).
    """
    from metrics.base import SetMetric

    trust.demand(run.path, trust.code_of_metrics(run.spec))
    finished = Finished.of(run)
    classes = {item.name: registry.load_metric(item.name) for item in run.spec.metrics}
    names = run.spec.table_names(lambda name: str(classes[name].name))
    found = {}
    for item, name in zip(run.spec.metrics, names, strict=True):
        of_a_set = issubclass(classes[item.name], SetMetric)
        table = scores.sets if of_a_set else scores.pairs
        found[name] = len(finished.sets if of_a_set else finished.edits) - int((table["metric"] == name).sum())
    return {name: number for name, number in found.items() if number > 0}
