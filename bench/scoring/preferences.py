"""Which of two editors' edits a judge prefers, sample by sample: `scores/preferences.parquet`.

Editors meet at their operating points, on every sample of which both have an edit of the smallest seed, in both orders. A row is what one
judge says of one pair in one repeat, in the columns of `bench.scoring.votes` and a few more: `outcome` of the two orders, what was `shown` in
either, and the kind of the `failure` where there is no outcome. Rows are kept by judge, prompt and pair; replies stand in
`scores/answers.jsonl`, so that nothing is asked twice.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.errors import ScoreError
from bench.scoring.answers import AnswerBook
from bench.scoring.edits import Edit, Finished
from bench.scoring.tables import locked
from bench.store import Run, write_atomically

if TYPE_CHECKING:
    from bench.progress import Progress
    from metrics.judges.answers import Judge

__all__ = ["COLUMNS", "judge_pairs", "read_preferences"]

COLUMNS = {
    "rater": "name of the judge",
    "judge": "12 hex over who judges, and how",
    "prompt": "12 hex over every word that is sent",
    "repeat": "0 for the first time that it was asked",
    "sample_id": "manifest id of the sample",
    "source_id": "hash of its source picture",
    "first": "label of an editor",
    "first_value": "knob value of its edit",
    "second": "label of another editor",
    "second_value": "knob value of its edit",
    "vote": "first, second, tie, both_bad or flip; missing where there is no answer",
    "shown": "what was answered in the given order, and swapped",
    "failure": "kind of the failure, missing where there is an answer",
    "inputs": "hashes of both edits",
}
KEY = ["judge", "prompt", "repeat", "sample_id", "first", "first_value", "second", "second_value"]
PAIRS_AT_A_TIME = 32


def judge_pairs(
    run: Run, judges: Sequence[Judge], points: Mapping[str, float], *, repeats: int, progress: Progress
) -> pd.DataFrame:
    """Ask about all pairs of the editors of `points` (label to knob value); what the table holds of these pairs then.

    Raises ScoreError where there is no pair.
    """
    from metrics.base import fingerprint
    from metrics.judges.forms import PREFERENCE
    from metrics.judges.pairwise import Trial, preferences
    from metrics.judges.panel import Panel

    pairs = _pairs(Finished.of(run), points)
    if not pairs:
        raise ScoreError(f"{run.path}: no sample has finished edits of two editors at {_listed(points)}; run it first")
    run.refresh("scores")
    panel = Panel(judges, repeats=repeats)
    panel.journal = AnswerBook(run.own(run.scores / "answers.jsonl"))
    prompt = fingerprint({"prompt": PREFERENCE.prompt("{text}")})
    prints = {judge.name: fingerprint(judge.identity) for judge in judges}
    rows: list[dict[str, Any]] = []
    with progress("judge pairs", len(pairs)) as advance:
        for start in range(0, len(pairs), PAIRS_AT_A_TIME):
            chunk = [(one.alone, two.alone) for one, two in pairs[start : start + PAIRS_AT_A_TIME]]
            shown = [Trial(one.sample.target_text, one.sample.image, one.picture, two.picture) for one, two in chunk]
            for (one, two), said in zip(chunk, preferences(panel, shown), strict=True):
                about = _about(one, two) | {"prompt": prompt}
                for each in said:
                    answer = {"vote": each.outcome, "shown": "/".join(each.shown) if each.shown else None}
                    answer |= {"failure": each.failure.kind if each.failure else None}
                    rows.append(about | answer | {"rater": each.judge, "judge": prints[each.judge], "repeat": each.repeat})
                advance()
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    with locked(run):
        kept = pd.concat([read_preferences(run, anew=True), table]).drop_duplicates(KEY, keep="last", ignore_index=True)
        buffer = io.BytesIO()
        kept.to_parquet(buffer, index=False)
        write_atomically(run.scores / "preferences.parquet", buffer.getvalue())
    return table


def read_preferences(run: Run, *, anew: bool = False) -> pd.DataFrame:
    """All rows of the table that are of the pictures that the run has, none where there is no table.

    Raises ScoreError where it is damaged; `anew` counts that as not there, for who makes it anew.
    """
    path = run.own(run.scores / "preferences.parquet")
    try:
        if path.is_file():
            table = pd.read_parquet(path)[list(COLUMNS)]
            now = {(edit.info.id, edit.entry.label, edit.name[1]): edit.inputs for edit in Finished.of(run).edits if edit.first}
            sides = (zip(table["sample_id"], table[side], table[f"{side}_value"], strict=True) for side in ("first", "second"))
            inputs = [f"{now.get(one)} {now.get(two)}" for one, two in zip(*sides, strict=True)]
            return table[table["inputs"] == inputs].reset_index(drop=True)
    except Exception as error:
        if not anew:
            raise ScoreError(f"{path} is damaged ({type(error).__name__}); `etabench judge-pairs` makes it anew") from error
    return pd.DataFrame({name: [] for name in COLUMNS})


def _pairs(finished: Finished, points: Mapping[str, float]) -> list[tuple[Edit, Edit]]:
    """Edits of one sample by two editors, each at its point, in the plan's order."""
    by_sample: dict[str, list[Edit]] = {}
    for edit in finished.edits:
        if edit.first and points.get(edit.entry.label) == edit.name[1]:
            by_sample.setdefault(edit.info.id, []).append(edit)
    return [pair for edits in by_sample.values() for pair in combinations(edits, 2)]


def _about(one: Edit, two: Edit) -> dict[str, Any]:
    return {
        "sample_id": one.info.id,
        "source_id": one.info.source_id,
        "first": one.entry.label,
        "first_value": one.name[1],
        "second": two.entry.label,
        "second_value": two.name[1],
        "inputs": f"{one.inputs} {two.inputs}",
    }


def _listed(points: Mapping[str, float]) -> str:
    return ", ".join(f"{editor} {value:g}" for editor, value in points.items()) or "none"
