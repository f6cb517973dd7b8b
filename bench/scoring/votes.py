"""The frame of votes: what people, or judges in their place, said of edits. One row per answer, in Parquet or CSV.

Whoever asks writes it (a study, a vision-language judge) and whoever analyses reads it; nothing else passes between them. An answer that
did not come is a row with a `failure` and without an answer: never a tie, never a number.

Others need less of it: who voted, on which edits, and what. `plain` gives that of the votes that count, and whoever reads votes takes it too:

    preferences     rater, sample_id, first, first_value, second, second_value, vote
    ratings         rater, sample_id, editor, value, score

of one question in one table. A vote is first, second, tie, both_bad, nothing (no answer), or flip: a judge that named the same place in both
orders, which is no preference and no tie. `source_id`, `category`, `failure` and `question` are read where they are.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import ScoreError, message_of
from bench.store import write_atomically
from bench.suggest import kind_of, shortened

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ANSWERS",
    "COLUMNS",
    "PREFERENCE",
    "RATINGS",
    "VOTES",
    "is_frame",
    "plain",
    "read_table",
    "read_votes",
    "votes_frame",
    "write_votes",
]

PREFERENCE = "preference"
"""The question that compares two edits of a sample."""
RATINGS = ("SC", "PQ")
"""The questions that rate one edit as ImagenHub does (arXiv 2310.01596): semantic consistency, perceptual quality; 0, 0.5 or 1."""
ANSWERS = ("first", "second", "tie", "both_bad")
"""What `answer` of a preference may be. `tie`: they are equally good; `both_bad`: neither does what is asked."""
COLUMNS = {
    "study": "name of the study",
    "rater": "who answered: a pseudonym of a person, or name and snapshot of a judge",
    "position": "number of the trial in the rater's session, from 0",
    "kind": "trial; duplicate, a trial shown to the rater before; gold, a trial whose right answer is known",
    "item": "what is judged: the same for all raters of the same edits",
    "sample_id": "manifest id of the sample",
    "source_id": "hash of the decoded source picture: the cluster of intervals, with the rater",
    "category": "category of the edit, or empty",
    "question": "preference, SC or PQ",
    "first": "label of the editor that is judged; of a preference the one of two, whatever the side it was shown on",
    "first_value": "its knob value",
    "second": "label of the other editor of a preference, or empty",
    "second_value": "its knob value; missing where there is no second",
    "first_side": "where the first was shown: left or right (for a judge: before or after the other); empty where there is no second, or where "
    "a judge saw both orders",
    "answer": "of a preference: first, second, tie or both_bad; empty for a rating and for a failure",
    "score": "of a rating: 0, 0.5 or 1, higher is better; missing otherwise",
    "expected": "of a gold trial: the right answer, or the right score as text; empty otherwise",
    "seconds": "from the pictures being visible to the answer; missing where not measured",
    "time": "when the answer was stored, ISO 8601 in UTC",
    "failure": "why there is no answer (refused, unparsable, timed out, ...); empty where there is one",
}
"""Columns of the frame and their meaning."""
VOTES = (*ANSWERS, "flip")
"""What `vote` of a plain preference may be, if it is there."""
_SCORES: Mapping[str, str] = {
    "rater": "who voted",
    "sample_id": "manifest id of the sample",
    "editor": "label of the editor whose edit was rated",
    "value": "knob value of the edit; 0 for anchors",
    "score": "a number, more is better; empty where none was given",
}
_PREFERENCES: Mapping[str, str] = {
    "rater": "who voted",
    "sample_id": "manifest id of the sample",
    "first": "label of the editor of one edit",
    "first_value": "its knob value",
    "second": "label of the editor of the other edit",
    "second_value": "its knob value",
    "vote": "first, second, tie, both_bad or flip; empty where none was given",
}
_NUMBERS = ("first_value", "second_value", "score", "seconds")
_KINDS = {
    "kind": ("trial", "duplicate", "gold"),
    "question": (PREFERENCE, *RATINGS),
    "first_side": ("left", "right", ""),
    "answer": (*ANSWERS, ""),
}


def votes_frame(rows: Sequence[dict[str, Any]] | pd.DataFrame) -> pd.DataFrame:
    """A frame of `rows` with exactly the columns of votes and their dtypes. Raises ScoreError that names row and column."""
    import pandas as pd

    given = pd.DataFrame(rows) if len(rows) else pd.DataFrame(columns=list(COLUMNS))
    if lacking := [name for name in COLUMNS if name not in given.columns]:
        raise ScoreError(f"votes lack the column {', '.join(lacking)}; expected {', '.join(COLUMNS)}")
    table = given[list(COLUMNS)].copy()
    for name in COLUMNS:
        try:
            if name in _NUMBERS:
                table[name] = table[name].astype("float64")
            elif name == "position":
                table[name] = table[name].astype("int64")
            else:
                table[name] = table[name].astype("object").where(table[name].notna(), "").map(str)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ScoreError(f"votes, column {name}: {shortened(message_of(error))}") from error
    _check(table)
    return table.reset_index(drop=True)


def is_frame(table: pd.DataFrame) -> bool:
    """Whether a table of votes is the frame of a study; a plain form otherwise."""
    return "study" in table.columns


def plain(votes: pd.DataFrame, question: str) -> pd.DataFrame:
    """Answers to one question in the columns that others read; see the module. Give it the votes that count."""
    own = votes[votes["question"] == question]
    rest = own[["source_id", "category", "question"]]
    if question == PREFERENCE:
        named = own[["rater", "sample_id", "first", "first_value", "second", "second_value"]]
        return named.assign(vote=own["answer"]).join(rest).reset_index(drop=True)
    named = own[["rater", "sample_id", "first", "first_value", "score"]]
    return named.rename(columns={"first": "editor", "first_value": "value"}).join(rest).reset_index(drop=True)


def read_table(path: Path) -> pd.DataFrame:
    """The votes of a .parquet, .csv or .jsonl file in the form they have there, a frame or plain.

    Raises ScoreError that names file, row and column where it cannot be read, lacks a column, or holds what is no vote.
    """
    import pandas as pd
    from pyarrow import ArrowException

    from reports.text import computable

    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        elif path.suffix == ".csv":
            texts = pd.read_csv(path, dtype=str, keep_default_na=False)
            table = computable(texts).where(texts != "", None)
        elif path.suffix == ".jsonl":
            table = pd.read_json(path, lines=True, dtype=False)
        else:
            raise ScoreError(f"{path}: expected a .parquet, .csv or .jsonl file of votes")
    except (OSError, ValueError, ArrowException) as error:
        raise ScoreError(
            f"{path} cannot be read as votes: {shortened(message_of(error))}; it must be a .parquet, .csv or .jsonl file of them"
        ) from error
    try:
        return votes_frame(table) if is_frame(table) else _checked(table)
    except ScoreError as error:
        raise ScoreError(f"{path}: {error}") from error


def read_votes(path: Path) -> pd.DataFrame:
    """The same as a frame, plain votes too. Raises ScoreError as `read_table` does, and where a rating is not from 0 to 1."""
    table = read_table(path)
    if is_frame(table):
        return table
    try:
        return votes_frame(_from_plain(table, path.stem))
    except ScoreError as error:
        raise ScoreError(f"{path}: {error}") from error


def write_votes(folder: Path, votes: pd.DataFrame, name: str = "votes") -> None:
    """Write `<name>.parquet` and `<name>.csv` into `folder`, each in full or not at all."""
    from reports.text import inert

    buffer = io.BytesIO()
    votes.to_parquet(buffer, index=False)
    write_atomically(folder / f"{name}.parquet", buffer.getvalue())
    write_atomically(folder / f"{name}.csv", inert(votes).to_csv(index=False, lineterminator="\n").encode("utf-8", "replace"))


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    """Plain votes with numbers where numbers are meant, and None where there is no vote."""
    import numpy as np
    import pandas as pd

    columns = _PREFERENCES if "vote" in table.columns else _SCORES
    if lacking := [name for name in columns if name not in table.columns]:
        raise ScoreError(
            f"votes lack the column {', '.join(lacking)}; with no column {lacking[0]} ({columns[lacking[0]]}) a row is no vote; expected "
            f"those of a study, or {', '.join(_PREFERENCES)}, or {', '.join(_SCORES)}"
        )
    found = table.reset_index(drop=True)
    for name in columns:
        given = found[name].replace("", None)
        there = given.notna()
        if name == "vote":
            found[name], right, meant = given.where(there, None), ~there | given.isin(VOTES), f"{', '.join(VOTES)} or nothing"
        elif name in ("value", "first_value", "second_value", "score"):
            found[name] = pd.to_numeric(given, errors="coerce").astype(np.float64)
            right, meant = found[name].abs() < np.inf, "a number"
            right |= ~there & (name == "score")
        else:
            found[name], right, meant = given.astype(str), there, "a name"
        if not right.all():
            row = int(np.flatnonzero(~right)[0])
            raise ScoreError(f"row {row + 1}: {name}: expected {meant}, got {kind_of(given[row] if there[row] else '')}")
    return found


def _from_plain(table: pd.DataFrame, study: str) -> pd.DataFrame:
    """The frame of plain votes. A picture is its sample where the table does not tell, and a vote for neither order fails as a flip."""
    own = table.rename(columns={"editor": "first", "value": "first_value"})
    own = own.assign(study=study, position=0, kind="trial", first_side="", expected="", seconds=None, time="", answer="")
    for name, default in (("source_id", own["sample_id"]), ("category", ""), ("failure", "")):
        own[name] = own[name].fillna(default) if name in own else default
    if "vote" in own:
        said = own["vote"].fillna("")
        reason = said.map({"flip": "flip", "": "no answer"}).fillna("")
        own["failure"] = own["failure"].where((own["failure"] != "") | (reason == ""), reason)
        own = own.assign(answer=said.replace("flip", ""), question=PREFERENCE, score=None)
    else:
        own["question"] = own["question"] if "question" in own else RATINGS[0]
        own["failure"] = own["failure"].where((own["failure"] != "") | own["score"].notna(), "no answer")
        own = own.assign(second="", second_value=None)
    judged = own[["sample_id", "first", "first_value", "second", "second_value"]]
    return own.assign(item=[" ".join(map(str, cells)) for cells in judged.itertuples(index=False)])


def _check(table: pd.DataFrame) -> None:
    for name, allowed in _KINDS.items():
        wrong = table.index[~table[name].isin(allowed)]
        if len(wrong):
            words = ", ".join(word or "nothing" for word in allowed)
            raise ScoreError(f"votes, row {wrong[0]}: {name} is {kind_of(table[name][wrong[0]])}; it may be {words}")
    preference, failed = table["question"] == PREFERENCE, table["failure"] != ""
    rules = {
        "a preference needs first and second, two editors": preference
        & ((table["first"] == table["second"]) | (table["first"] == "") | (table["second"] == "")),
        "a rating has no second": ~preference & (table["second"] != ""),
        "a failure has neither answer nor score": failed & ((table["answer"] != "") | table["score"].notna()),
        "a preference needs an answer or a failure": preference & ~failed & (table["answer"] == ""),
        "a rating needs a score from 0 to 1 or a failure": ~preference & ~failed & ~table["score"].between(0, 1),
    }
    for rule, broken in rules.items():
        if broken.any():
            raise ScoreError(f"votes, row {broken.idxmax()}: {rule}")
