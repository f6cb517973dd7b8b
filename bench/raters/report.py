"""What the votes of a study say: the page, the tables, and `study.json` for who goes on from there.

`study.json` has, NaN as null:

    study, rule        the name of the study; by which rule raters were left out
    votes, raters      how many count; failures: how many questions got no answer
    left_out           raters whom the rule leaves out
    editors            editor, strength, low, high, rank, share, votes, and `without`, why there is no strength ("" where there is)
    tie, lean          nu and delta of the model of strengths (`bench.analysis.strengths`)
    preferences        the rows of `bench.analysis.preferences.preferences`
    ratings            the rows of `bench.analysis.preferences.ratings`
    agreement          the rows of `bench.analysis.preferences.agreement`

A leaderboard takes `editors` by label: strength, low and high are columns of it. `votes.parquet` has every answer,
`counted-<question>.parquet` plainly those that count, both as CSV too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.analysis.preferences import RULES, agreement, believed, counted, preferences, raters, ratings, sides
from bench.analysis.strengths import Strengths, strengths_of
from bench.errors import ScoreError
from bench.scoring.votes import PREFERENCE, plain, read_votes, write_votes
from bench.store import write_atomically
from bench.store.files import json_bytes

if TYPE_CHECKING:
    import pandas as pd

    from reports.votes import VotesData

__all__ = ["report_votes", "results_of"]


def report_votes(source: Path, folder: Path | None = None, rule: str = "none") -> tuple[Path, list[dict[str, Any]]]:
    """Report the votes of a study's folder, or of a file of votes, and return the page and its most important rows.

    rule: a key of `bench.analysis.preferences.RULES`.  Raises ScoreError where there is no vote that counts.
    """
    from reports.votes import votes_report

    votes, target = _votes(source, folder)
    data, results = results_of(votes, rule)
    target.mkdir(parents=True, exist_ok=True)
    write_votes(target, votes)
    own = counted(believed(votes, rule))
    for question in sorted(set(own["question"])):
        write_votes(target, plain(own, question), f"counted-{question}")
    write_atomically(target / "study.json", json_bytes(results))
    for name, content in votes_report(data).items():
        write_atomically(target / name, content)
    return target / "index.html", _brief(data)


def results_of(votes: pd.DataFrame, rule: str) -> tuple[VotesData, dict[str, Any]]:
    """What the page shows of a frame of votes, and the content of `study.json`. Raises ScoreError where no vote counts."""
    from reports.votes import VotesData

    kept = believed(votes, rule)
    own = counted(kept)
    if own.empty:
        raise ScoreError(f"no vote counts: {len(votes)} answers in all, {len(kept)} of raters whom the rule {rule!r} leaves in")
    paired = own[own["question"] == PREFERENCE]
    strengths = strengths_of(paired)
    everyone = raters(votes)
    everyone["counts"] = everyone["rater"].isin(kept["rater"])
    left_out = everyone.loc[~everyone["counts"], "rater"].tolist()
    asked = kept[kept["kind"] == "trial"]
    rated = own[own["question"] != PREFERENCE]
    lean = sides(paired).assign(**dict(zip(("lean", "lean_low", "lean_high"), strengths.position, strict=True)))
    name = ", ".join(dict.fromkeys(votes["study"])) or "votes"
    of_pairs, of_ratings, alpha = preferences(paired), ratings(rated), agreement(own)
    several = paired["category"].nunique() > 1
    meta = {
        "votes": f"{len(own)} that count",
        "raters": f"{own['rater'].nunique()} of {votes['rater'].nunique()}",
        "source pictures": str(own["source_id"].nunique()),
        "rule": f"{rule}: {RULES[rule]}",
        "editors": ", ".join(sorted({*own["first"], *own["second"]} - {""})),
    }
    data = VotesData(
        name,
        meta,
        _warnings(asked, own, strengths, left_out),
        strengths=strengths.table,
        differences=strengths.differences,
        preferences=of_pairs,
        categories=preferences(paired, "category") if several else paired.head(0),
        ratings=of_ratings,
        agreement=alpha,
        sides=lean if len(paired) else paired.head(0),
        raters=everyone,
    )
    table = strengths.table.assign(without=[strengths.without.get(editor, "") for editor in strengths.table["editor"]])
    results = {
        "study": name,
        "rule": rule,
        "votes": len(own),
        "raters": int(own["rater"].nunique()),
        "failures": int((asked["failure"] != "").sum()),
        "left_out": left_out,
        "editors": _rows(table),
        "tie": _number(strengths.tie),
        "lean": {key: _number(value) for key, value in zip(("value", "low", "high"), strengths.position, strict=True)},
        "preferences": _rows(of_pairs),
        "ratings": _rows(of_ratings),
        "agreement": _rows(alpha),
    }
    return data, results


def _votes(source: Path, folder: Path | None) -> tuple[pd.DataFrame, Path]:
    """The votes of a study or of a file, and where their report goes."""
    if source.is_file():
        return read_votes(source), folder or source.with_name(f"{source.stem}-report")
    from bench.raters.export import participants, votes_of
    from bench.raters.ledger import Ledger
    from bench.raters.study import StudyFolder

    study_folder = StudyFolder(source)
    study = study_folder.read()
    ledger = Ledger(study_folder.ledger, study)
    try:
        votes, people = votes_of(study, ledger), participants(ledger)
    finally:
        ledger.close()
    listed = study_folder.path / "participants.csv"
    write_atomically(listed, people.to_csv(index=False, lineterminator="\n").encode())
    listed.chmod(0o600)  # it has what a platform calls people
    return votes, folder or study_folder.report


def _warnings(asked: pd.DataFrame, own: pd.DataFrame, strengths: Strengths, left_out: list[str]) -> list[str]:
    said = [f"{editor} {reason} and has no strength." for editor, reason in strengths.without.items()]
    failures = int((asked["failure"] != "").sum())
    if failures:
        said.append(f"{failures} of {len(asked)} questions got no answer and are in no rate: the rest may not stand for them.")
    if left_out:
        said.append(f"{len(left_out)} raters are left out by the rule: {', '.join(left_out)}.")
    for kind, name in (("rater", "rater"), ("source picture", "source_id")):
        if own[name].nunique() == 1:
            said.append(f"There is one {kind}: intervals do not say how another would have it.")
    return said


def _brief(data: VotesData) -> list[dict[str, Any]]:
    """What a terminal has room for: strengths, or the ratings where there are none."""
    if len(data.strengths):
        rows = data.strengths.to_dict("records")
        return [
            {"editor": row["editor"], "strength": _interval(row, "strength"), "rank": row["rank"], "votes": row["votes"]}
            for row in rows
        ]
    rows = data.ratings.to_dict("records")
    return [{"editor": row["editor"], "score": row["score"], "mean": _interval(row, "mean"), "n": row["n"]} for row in rows]


def _interval(row: dict[Any, Any], name: str) -> str:
    if _number(row[name]) is None:
        return ""
    ends = f" ({row['low']:.2f}..{row['high']:.2f})" if _number(row["low"]) is not None else ""
    return f"{row[name]:.2f}{ends}"


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): _number(value) for key, value in row.items()} for row in table.to_dict("records")]


def _number(value: Any) -> Any:
    """The value itself; None for NaN and infinity."""
    from math import isfinite

    return None if isinstance(value, float) and not isfinite(value) else value
