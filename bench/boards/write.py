"""Runs -> the folder of a leaderboard: board.json with its history, board.parquet, board.md, board.tex, board.csv and index.html."""

from __future__ import annotations

import datetime
import hashlib
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from bench.boards.divisions import divisions
from bench.boards.entrants import Entrant, read_entrants
from bench.boards.history import FILE, History, Version, earlier_columns, plain, read_history, with_version, write_history
from bench.boards.merge import Merged, merged
from bench.boards.votes import with_votes
from bench.errors import BoardError
from bench.store import write_atomically
from reports.boards import BoardData, DivisionData, RunRow, VersionNote, board_files, flat_table
from reports.names import metric_names

__all__ = ["Board", "write_board"]


@dataclass(frozen=True)
class Board:
    """A board that was written: what it shows, and its latest version."""

    folder: Path
    data: BoardData
    latest: Version


def write_board(paths: Sequence[Path], folder: Path, *, title: str = "", votes: Path | None = None) -> Board:
    """Write the board of the runs at `paths`, run folders and bundles, into `folder`: a new or empty one, or that of a board.

    `votes` are the results of a study, whose strengths are a column. A board that is there keeps its history; the same runs and scores
    give the same bytes. Raises BoardError where the runs cannot share a
    board (`differences` says in what they differ), where `folder` is none of a board, or where its history cannot be read; RunError,
    ScoreError and BundleError for runs that cannot be read.
    """
    if folder.exists() and not (folder / FILE).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise BoardError(f"{folder} has content and is no board (no {FILE}); choose another with --out")
    entrants = read_entrants(paths)
    whole = merged(entrants)
    before = read_history(folder) or History(f"Editors on {entrants[0].manifest}")
    before = replace(before, title=title or before.title)
    tables = divisions(whole, before.title)
    if votes is not None:
        tables, said = with_votes(tables, votes)
        whole = replace(whole, notes=[*whole.notes, *said])
    history = with_version(before, _version(whole, entrants, tables))
    data = _shown(whole, entrants, tables, history, folder)
    buffer = io.BytesIO()
    flat_table(data).to_parquet(buffer, index=False)
    write_history(folder, history)
    for name, content in {"board.parquet": buffer.getvalue(), **board_files(data)}.items():
        write_atomically(folder / name, content)
    return Board(folder, data, history.versions[-1])


def _version(whole: Merged, entrants: Sequence[Entrant], tables: Sequence[DivisionData]) -> Version:
    """What the board says now."""
    plan, scores = whole.plan, whole.scores
    samples = hashlib.sha256("".join(sorted(sample.digest for sample in plan.samples)).encode()).hexdigest()[:16]
    both = pd.concat([scores.pairs[["metric", "fingerprint"]], scores.sets[["metric", "fingerprint"]]]).drop_duplicates()
    metrics = {str(metric): str(print_) for metric, print_ in both.itertuples(index=False)}
    edits = {entry.label: _digest_of_edits(whole, index) for index, entry in enumerate(plan.entries)}
    rows = [
        {"division": each.name, "run": whole.runs[row["editor"]].name, "edits_digest": edits[row["editor"]]} | row
        for each in tables
        for row in each.data.leaderboard.to_dict("records")
    ]
    return Version(
        version=0,
        date=datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d"),
        made_by=f"etabench {version('etabench')}",
        why=(),
        manifest={"name": entrants[0].manifest, "hash": plan.manifest_hash, "samples": samples, "count": str(len(plan.samples))},
        seeds=entrants[0].seeds,
        axes={"editability": whole.axes.editability.metric, "fidelity": whole.axes.fidelity.metric},
        metrics=metrics,
        cards={print_: scores.cards[print_] for print_ in sorted(metrics.values())},
        runs=tuple({"name": each.name, "model": each.model, "device": each.device, "digest": each.digest} for each in entrants),
        rows=plain(rows),
        tests=plain([{"division": each.name} | row for each in tables for row in each.tests.to_dict("records")]),
        categories=plain([{"division": each.name} | row for each in tables for row in each.categories.to_dict("records")]),
        notes=tuple(whole.notes),
    )


def _digest_of_edits(whole: Merged, index: int) -> str:
    """16 hex over the pictures of an editor."""
    keys = sorted(unit.key for unit in whole.plan.units if unit.entry == index)
    made = [[edit.sha256 for edit in whole.records[key].edits] for key in keys if key in whole.records]
    return hashlib.sha256(repr(made).encode()).hexdigest()[:16]


def _shown(
    whole: Merged, entrants: Sequence[Entrant], tables: Sequence[DivisionData], history: History, folder: Path
) -> BoardData:
    plan, latest = whole.plan, history.versions[-1]
    devices = {entrant.device for entrant in entrants}
    notes = list(whole.notes)
    if len(devices) > 1:
        notes.append(
            f"seconds and memory are of {len(devices)} devices and compare on one device only: {', '.join(sorted(devices))}"
        )
    if len(tables) > 1:
        notes.append("editors of different divisions are not ranked against each other: they do not get to see the same")
    sources, names = len({sample.source_id for sample in plan.samples}), metric_names(tables[0].data)
    about = {
        "manifest": f"{latest.manifest['name']} ({plan.manifest_hash[:12]})",
        "samples": f"{len(plan.samples)} of {sources} source pictures",
        "axes": f"{names[whole.axes.editability.column].noun} against {names[whole.axes.fidelity.column].noun}",
        "seeds": ", ".join(map(str, latest.seeds)),
        "resolution": f"{plan.resolution} px" if plan.resolution else "as given",
        "version": f"{latest.version}, {latest.date}",
    }
    versions = [VersionNote(each.version, each.date, each.made_by, each.why) for each in reversed(history.versions)]
    return BoardData(
        title=history.title,
        about=about,
        divisions=[_with_earlier(each, history) for each in tables],
        runs=[RunRow(each.name, each.model, each.device, each.digest, _link(each, folder)) for each in entrants],
        owners={entry.label: whole.runs[entry.label].name for entry in plan.entries},
        notes=notes,
        versions=versions,
    )


def _with_earlier(division: DivisionData, history: History) -> DivisionData:
    """The division with the columns that metrics had before they were made anew."""
    table = division.data.leaderboard
    columns: dict[str, Any] = {}
    for each in earlier_columns(history):
        name = f"{each.metric} (version {each.version})"
        values: list[Mapping[int, float]] = [
            dict(enumerate(each.values.get(label, (math.nan,) * 3))) for label in table["editor"]
        ]
        columns |= {f"{name}{end}": [row[n] for row in values] for n, end in enumerate(("", "_low", "_high"))}
    return replace(division, data=replace(division.data, leaderboard=table.assign(**columns))) if columns else division


def _link(entrant: Entrant, folder: Path) -> str:
    """The report of a run that lies beside the board or below where it lies, as the page calls it; "" for any other."""
    home = folder.resolve().parent
    if entrant.page is None or not entrant.page.resolve().is_relative_to(home):
        return ""
    return quote(Path(os.path.relpath(entrant.page.resolve(), folder.resolve())).as_posix())
