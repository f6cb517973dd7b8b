"""What the reader of a report must see before its figures: what is missing, failed, cut, undefined or doubted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from bench.analysis.untold import untold
from bench.plan import Plan
from bench.scoring import Scores
from bench.store import Run, claims
from bench.toybox.embedded import on_toybox

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["notices", "so_far"]

FEW_IN_A_SET = 1000
MOST_NOTES = 6


def notices(run: Run, scores: Scores, *, counts: pd.DataFrame, units: pd.DataFrame, differences: pd.DataFrame) -> list[str]:
    """Sentences about a run. The tables are those of `bench.analysis.summary`, and of `bench.analysis.differences`."""
    blind = untold(run.plan, scores) if on_toybox(run.spec) else []
    return [*_at_work(run), *_written_beside(run.plan), *_warnings(counts, units, scores, differences), *blind]


def so_far(run: Run) -> str:
    """How far a run is that is being made now, in words; "" where nobody works on it."""
    at_work = len(claims.held(run.claims))
    made = sum(1 for _ in run.records(unit.key for unit in run.plan.units)) if at_work else 0
    return f" (it is being made: {made} of {len(run.plan.units)} units are there, {at_work} in work)" if at_work else ""


def _written_beside(plan: Plan) -> list[str]:
    """What of the samples a sidecar gave, a sentence a field and writer."""
    written = Counter((name, words) for sample in plan.samples for name, words in sample.provenance.items())
    every = len(plan.samples)
    return [f"{name} of {number} of {every} samples is from a sidecar: {words}." for (name, words), number in written.items()]


def _at_work(run: Run) -> list[str]:
    """That a run is not whole because it is being made."""
    found = so_far(run)
    return [f"this is how far the run is now{found}: draw it again when it is done."] if found else []


def _warnings(count_table: pd.DataFrame, unit_table: pd.DataFrame, scores: Scores, compared: pd.DataFrame) -> list[str]:
    totals = count_table[["expected", "done", "failed"]].sum()
    said = [f"{metric} failed and has no column: {reason}" for metric, reason in scores.failed.items()]
    if scores.stale:
        said.append(f"{scores.stale} scores are of other pictures than the run has now and left out: score the run again.")
    if totals["done"] < totals["expected"]:
        missing = int(totals["expected"] - totals["done"] - totals["failed"])
        short = [f"{number} {word}" for number, word in ((int(totals["failed"]), "failed"), (missing, "were not run")) if number]
        said.append(f"of {int(totals['expected'])} units {' and '.join(short)}: means cover the rest.")
    absent = unit_table.groupby("editor", sort=False)["absent"].sum()
    for editor, number in absent[absent > 0].items():
        planned = int(number + unit_table.loc[unit_table["editor"] == editor, "edits"].sum())
        said.append(f"{editor} lacks {int(number)} of {planned} edits, which were not delivered: its means cover the rest.")
    cut = unit_table[unit_table["prompt_tokens_cut"] > 0]
    if len(cut):
        editors = ", ".join(dict.fromkeys(cut["editor"]))
        said.append(f"the prompts of {len(cut)} units are longer than the text encoder reads and were cut there: {editors}.")
    for card in scores.cards.values():
        if card.get("texts_cut"):
            said.append(
                f"{card['name']} reads {card['texts_cut']} of {card['texts']} texts without their end: they exceed its context."
            )
    said += _judged(scores)
    undefined = int(scores.pairs["score"].isna().sum())
    if undefined:
        said.append(
            f"{undefined} of {len(scores.pairs)} scores are undefined and left out of every mean; n says how many remain."
        )
    if set(scores.sets["metric"]) - set(compared["metric"]) and len(compared):
        said.append(
            "set metrics were compared at other operating points than this report's: score the run again to compare them here."
        )
    sizes = scores.sets["n"]
    if len(sizes) and sizes.max() < FEW_IN_A_SET:
        names = ", ".join(dict.fromkeys(scores.sets["metric"]))
        said.append(f"Set metrics ({names}) stand on {sizes.max()} edits per point at most: comparable at equal n only.")
    notes = [str(note) for note in dict.fromkeys(scores.sets["note"]) if note]
    more = [f"{len(notes) - MOST_NOTES} more notes on set metrics are in scores/sets.parquet."] if len(notes) > MOST_NOTES else []
    return said + notes[:MOST_NOTES] + more


def _judged(scores: Scores) -> list[str]:
    """What speaks against the judges behind the scores, and how many edits they gave none."""
    names = scores.pairs.drop_duplicates("fingerprint").set_index("fingerprint")["metric"]
    said = [
        f"{names[print_]} †: {card['doubt']}." for print_, card in scores.cards.items() if card.get("doubt") and print_ in names
    ]
    for metric, rows in scores.unanswered.groupby("metric", sort=False):
        kinds = ", ".join(f"{number} {str(kind).replace('_', ' ')}" for kind, number in rows["kind"].value_counts().items())
        scored = int((scores.pairs["metric"] == metric).sum())
        said.append(
            f"{metric}: no verdict on {len(rows)} of {scored + len(rows)} edits ({kinds}), which are missing, not scored."
        )
    return said
