"""The files of a board."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports.boards.data import BoardData
from reports.boards.escape import cut
from reports.boards.tables import categories, looks_of, ranking, told_apart
from reports.boards.texts import RULE, as_latex, as_markdown
from reports.text import inert, printable

__all__ = ["board_files", "board_page", "flat_table"]

_HERE = Path(__file__).parent


def board_files(data: BoardData) -> dict[str, bytes]:
    """Name to content: `index.html`, `board.md`, `board.tex` and `board.csv`, in which a spreadsheet computes nothing."""
    csv = str(inert(printable(flat_table(data))).to_csv(index=False, lineterminator="\n"))
    texts = {"index.html": board_page(data), "board.md": as_markdown(data), "board.tex": as_latex(data), "board.csv": csv}
    return {name: text.encode("utf-8", "replace") for name, text in texts.items()}


def flat_table(data: BoardData) -> pd.DataFrame:
    """The leaderboards of all divisions one below the other, with the columns `division` and `run`."""
    tables = [
        division.data.leaderboard.assign(division=division.name, run=division.data.leaderboard["editor"].map(dict(data.owners)))
        for division in data.divisions
    ]
    found = pd.concat(tables, ignore_index=True)
    return found[["division", "run", *(name for name in found.columns if name not in ("division", "run"))]]


def board_page(data: BoardData, *, linked: bool = True) -> str:
    """The page: one file with its style and script inside. Unless `linked`, it says nothing of the files beside it."""
    environment = Environment(
        loader=FileSystemLoader([_HERE, _HERE.parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cut"] = cut
    data, look = printable(data), looks_of(data)
    runs = {run.name: replace(run, href=run.href if linked else "") for run in data.runs}
    return environment.get_template("board.html").render(
        data=data,
        rule=RULE,
        runs=runs,
        parts=[
            (division, ranking(division, look), categories(division, look), told_apart(division, look))
            for division in data.divisions
        ],
        files=("board.json", "board.parquet", "board.csv", "board.md", "board.tex") if linked else (),
        style=Markup("\n".join((path / "style.css").read_text(encoding="utf-8") for path in (_HERE.parent, _HERE))),
        script=Markup((_HERE / "board.js").read_text(encoding="utf-8")),
    )
