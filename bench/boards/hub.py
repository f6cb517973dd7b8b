"""A board in the forms of the Hugging Face hub, as files; nothing is pushed.

    dataset/   a data set's card, the board as its data, and eval.yaml, which names the board's columns as tasks of a benchmark
    models/    by editor .eval_results/<board>.yaml, for the repository of the model that it edits with
    space/     a static Space: the page

The forms are those of https://huggingface.co/docs/hub/eval-results and of the cards of data sets and Spaces. A benchmark counts as one
on the hub when its data set is let in there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.boards.write import Board
from bench.errors import BoardError
from bench.store import write_atomically
from reports.boards import board_page
from reports.boards.escape import SENTENCES, cut
from reports.boards.texts import as_markdown

__all__ = ["write_hub"]

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
LONGEST = 60
WHOLE_CURVES = "hypervolume"


def write_hub(board: Board, folder: Path, dataset: str) -> list[Path]:
    """Write the files for the hub below `folder`, a new or empty one or that of an earlier export, whose results it replaces; their paths.

    `dataset` is what the data set is or will be called there, owner/name. Raises BoardError where that is no such name, and where the
    folder has other content.
    """
    if not REPOSITORY.fullmatch(dataset):
        raise BoardError(f"{dataset[:LONGEST]!r} is no name of a data set on the hub; write owner/name")
    if folder.exists() and not (folder / "dataset" / "eval.yaml").is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise BoardError(f"{folder} has content that is not from here; choose another with --hub")
    files = dict(_dataset(board, dataset)) | dict(_space(board, dataset)) | dict(_models(board, dataset))
    for name, content in files.items():
        write_atomically(folder / name, content)
    for old in folder.glob("models/*/.eval_results/*.yaml"):
        if old.relative_to(folder).as_posix() not in files:
            old.unlink()
    return [folder / name for name in files]


def _dataset(board: Board, dataset: str) -> Iterator[tuple[str, bytes]]:
    from huggingface_hub import DatasetCardData

    title = cut(board.data.title)
    parts = {"config_name": "default", "data_files": [{"split": "test", "path": "data/board.parquet"}]}
    about = DatasetCardData(
        pretty_name=title,
        tags=["etabench", "image-editing", "leaderboard", "benchmark"],
        task_categories=["image-to-image"],
        size_categories=["n<1K"],
        configs=[parts],
    )
    yield "dataset/README.md", f"---\n{about.to_yaml()}\n---\n\n{as_markdown(board.data)}".encode()
    tasks = [{"id": task, "config": "default", "split": "test"} for task in _tasks(board).values()]
    said = f"Text-guided image editors on {cut(board.latest.manifest['name'])}, {board.latest.manifest['count']} samples."
    yield "dataset/eval.yaml", _yaml({"name": title, "description": said, "evaluation_framework": "etabench", "tasks": tasks})
    yield "dataset/data/board.parquet", (board.folder / "board.parquet").read_bytes()
    yield "dataset/board.json", (board.folder / "board.json").read_bytes()


def _space(board: Board, dataset: str) -> Iterator[tuple[str, bytes]]:
    head: dict[str, Any] = {"title": cut(board.data.title), "emoji": "📐", "colorFrom": "blue", "colorTo": "gray"}
    head |= {"sdk": "static", "app_file": "index.html", "pinned": False, "datasets": [dataset]}
    yield "space/README.md", b"---\n" + _yaml(head) + b"---\n"
    yield "space/index.html", board_page(board.data, linked=False).encode("utf-8", "replace")


def _models(board: Board, dataset: str) -> Iterator[tuple[str, bytes]]:
    """For each ranked editor what its model's repository can show."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    taken: set[str] = set()
    models = {str(run["name"]): str(run["model"]) for run in board.latest.runs}
    for row in board.latest.rows:
        if row["anchor"] or row["rank"] is None:
            continue
        entries = [
            EvalResultEntry(
                dataset_id=dataset,
                task_id=task,
                value=row[column],
                date=board.latest.date,
                source_url=f"https://huggingface.co/datasets/{dataset}",
                source_name=cut(board.data.title),
                notes=_notes(row, column, models[row["run"]]),
            )
            for column, task in _tasks(board).items()
            if row.get(column) is not None
        ]
        folder = _slug(str(row["editor"]), taken)
        yield f"models/{folder}/.eval_results/{_slug(board.data.title, set())}.yaml", _yaml(eval_result_entries_to_yaml(entries))


def _notes(row: Mapping[str, Any], column: str, model: str) -> str:
    """What a number stands on, in one line."""
    at = f" at {row['knob']} {row['value']:g}" if row["knob"] else ""
    ends = [row.get(f"{column}_{end}") for end in ("low", "high")]
    interval = f"95 % interval {ends[0]:.4g} to {ends[1]:.4g}" if None not in ends else "no interval"
    ranks = "–".join(dict.fromkeys(f"{row[f'rank_{end}']:.0f}" for end in ("low", "high")))
    parts = [
        f"{row['editor']}{at}",
        f"model {model}" if model else "no model",
        interval,
        f"rank {ranks} of editors with {row['division']}",
    ]
    return cut("; ".join([*parts, f"{row['edits_percent']:.0f} % of the edits made"]), SENTENCES)


def _tasks(board: Board) -> dict[str, str]:
    """Column of the board to the task that it is: the metrics as the leaderboard has them, and hypervolume."""
    table = board.data.divisions[0].data.leaderboard
    columns = [str(name) for name in table.columns if f"{name}_n" in table.columns]
    taken: set[str] = set()
    return {column: _slug(column, taken) for column in [*columns, WHOLE_CURVES]}


def _slug(text: str, taken: set[str]) -> str:
    """A name of plain letters for a file or a task, unlike those that are `taken`, to which it is added."""
    stem = re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-")[:LONGEST].strip("-") or "editor"
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name)
    return name


def _yaml(content: Any) -> bytes:
    import yaml

    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000).encode("utf-8", "replace")
