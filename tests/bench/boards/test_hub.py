"""The forms of the hub, as files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from fake_specs import editor

from bench.boards.hub import write_hub
from bench.boards.write import write_board
from bench.errors import BoardError
from bench.store import Run

RunMaker = Callable[..., Run]
Etabench = Callable[..., tuple[int, str, str]]
HOSTILE = "---\ntitle: 'x"


def front_matter(file: Path) -> dict[str, Any]:
    _, head, _ = file.read_text(encoding="utf-8").split("---\n", 2)
    return dict(yaml.safe_load(head))


def test_tasks_values_and_data_agree(make_run: RunMaker, tmp_path: Path) -> None:
    run = make_run(
        "one", editor("Fade", label="../=Fade"), editor("FailsOnce", label="other"), editor("WrongSize"), anchors=["copy"]
    )
    board = write_board([run.path], tmp_path / "board", title=HOSTILE)
    write_hub(board, tmp_path / "hub", "me/editors")
    files = {path.relative_to(tmp_path / "hub").as_posix() for path in (tmp_path / "hub").rglob("*") if path.is_file()}
    results = {name for name in files if name.startswith("models/")}
    assert files - results == {
        "dataset/README.md", "dataset/eval.yaml", "dataset/data/board.parquet", "dataset/board.json", "space/README.md", "space/index.html",
    }  # fmt: skip
    assert {Path(name).parts[1] for name in results} == {"fade", "other"}, "editors that are ranked, under plain names"
    assert {Path(name).parts[2] for name in results} == {".eval_results"}
    card, space = front_matter(tmp_path / "hub" / "dataset" / "README.md"), front_matter(tmp_path / "hub" / "space" / "README.md")
    assert card["pretty_name"] == space["title"] == "--- title: 'x"
    assert (space["sdk"], space["app_file"], space["datasets"]) == ("static", "index.html", ["me/editors"])
    evaluation = yaml.safe_load((tmp_path / "hub" / "dataset" / "eval.yaml").read_text())
    tasks = [task["id"] for task in evaluation["tasks"]]
    assert tasks == ["clip", "one_minus_lpips", "fid", "csfid", "hypervolume"]
    (config,) = card["configs"]
    (data,) = config["data_files"]
    assert {(task["config"], task["split"]) for task in evaluation["tasks"]} == {(config["config_name"], data["split"])}
    table = pd.read_parquet(tmp_path / "hub" / "dataset" / data["path"]).set_index("editor")
    (mine,) = (tmp_path / "hub" / "models" / "fade" / ".eval_results").iterdir()
    entries = yaml.safe_load(mine.read_text(encoding="utf-8"))
    for entry in entries:
        assert entry["dataset"]["id"] == "me/editors"
        assert entry["dataset"]["task_id"] in tasks
        assert entry["value"] == table.loc["../=Fade", entry["dataset"]["task_id"]]
    assert "hypervolume" not in {entry["dataset"]["task_id"] for entry in entries}, "there is none without both anchors"


def test_the_space_links_nothing_that_is_not_in_it(make_run: RunMaker, tmp_path: Path) -> None:
    board = write_board([make_run("one", editor("Fade")).path], tmp_path / "board")
    write_hub(board, tmp_path / "hub", "me/editors")
    page = (tmp_path / "hub" / "space" / "index.html").read_text()
    assert [part.split('"')[0] for part in page.split('href="')[1:] if not part.startswith(("#", "data:"))] == []


def test_what_is_there_of_an_earlier_export_is_replaced_and_all_else_left_alone(make_run: RunMaker, tmp_path: Path) -> None:
    board = write_board([make_run("one", editor("Fade")).path], tmp_path / "board")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(BoardError, match="not from here"):
        write_hub(board, tmp_path / "mine", "me/editors")
    write_hub(board, tmp_path / "hub", "me/editors")
    other = write_board([make_run("two", editor("Fade", label="loud", preset="loud")).path], tmp_path / "board")
    write_hub(other, tmp_path / "hub", "you/editors")
    results = [path.parts[-3] for path in (tmp_path / "hub").glob("models/*/.eval_results/*.yaml")]
    assert results == ["loud"]
    assert front_matter(tmp_path / "hub" / "space" / "README.md")["datasets"] == ["you/editors"]
    shutil.rmtree(tmp_path / "hub")
    for name in ("editors", "me/a/b", "../x", "me/..", ""):
        with pytest.raises(BoardError, match="owner/name"):
            write_hub(board, tmp_path / "hub", name)
    assert not (tmp_path / "hub").exists()


def test_the_command_wants_both_or_neither(make_run: RunMaker, tmp_path: Path, etabench: Etabench) -> None:
    run = make_run("one", editor("Fade"))
    assert etabench("leaderboard", run.path, "--out", tmp_path / "board", "--hub", tmp_path / "hub")[0] == 2
    code, out, _ = etabench(
        "leaderboard", run.path, "--out", tmp_path / "board", "--hub", tmp_path / "hub", "--dataset", "me/editors"
    )
    assert code == 0
    assert "for the hub: 7 files" in out
