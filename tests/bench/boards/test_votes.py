"""Strengths of a study on the board."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fake_specs import editor

from bench.boards.write import write_board
from bench.errors import BoardError
from bench.store import Run

RunMaker = Callable[..., Run]
FADE, LOUD = editor("Fade"), editor("Fade", label="loud", preset="loud")


def study(folder: Path, **strengths: float | None) -> Path:
    """The folder of a study's report as `etabench study report` writes it, as far as a board reads it."""
    folder.mkdir(exist_ok=True)
    rows = [{"editor": name, "strength": s, "low": s and s - 1, "high": s and s + 1, "votes": 9} for name, s in strengths.items()]
    results: dict[str, Any] = {"study": "pilot", "rule": "none", "votes": 18, "raters": 3, "editors": rows, "tie": None}
    (folder / "study.json").write_text(json.dumps(results), encoding="utf-8")
    return folder


def test_strengths_stand_beside_metrics(make_run: RunMaker, tmp_path: Path) -> None:
    run, votes = make_run("one", FADE, LOUD), study(tmp_path / "study", Fade=0.5, other=2.0)
    board = write_board([run.path], tmp_path / "board", votes=votes)
    table = pd.read_parquet(tmp_path / "board" / "board.parquet").set_index("editor")
    assert table.loc["Fade", ["preferred", "preferred_low", "preferred_high"]].tolist() == [0.5, -0.5, 1.5]
    assert math.isnan(table.loc["loud", "preferred"])
    page = (tmp_path / "board" / "index.html").read_text(encoding="utf-8")
    for said in (
        "preferred is of study pilot: 18 votes of 3 raters (rule: none)",
        "nobody voted on loud",
        "votes on other are left out",
    ):
        assert any(said in note for note in board.data.notes)
        assert said in page
    assert "preferred" in (tmp_path / "board" / "board.md").read_text(encoding="utf-8")


def test_votes_that_came_later_are_another_version(make_run: RunMaker, tmp_path: Path) -> None:
    run = make_run("one", FADE, LOUD)
    first = write_board([run.path], tmp_path / "board")
    second = write_board([run.path], tmp_path / "board", votes=study(tmp_path / "study", Fade=0.5, loud=-0.5) / "study.json")
    assert (first.latest.version, second.latest.version) == (1, 2)
    assert second.latest.why == ("people's votes are new",)
    assert write_board([run.path], tmp_path / "board").latest.why == ("people's votes are gone",)


@pytest.mark.parametrize(
    "content", ["", "[]", '{"study": "x", "rule": "none", "votes": 1, "raters": 1, "editors": [{"editor": 3}]}']
)
def test_what_are_no_results_is_said_in_a_line(content: str, make_run: RunMaker, tmp_path: Path) -> None:
    file = tmp_path / "study.json"
    file.write_text(content)
    run = make_run("one", FADE)
    with pytest.raises(BoardError, match=r"study\.json.*; give the study\.json that `etabench study report` wrote") as caught:
        write_board([run.path], tmp_path / "board", votes=file)
    assert "\n" not in str(caught.value)
    with pytest.raises(BoardError, match=r"nowhere.*[Nn]o such file"):
        write_board([run.path], tmp_path / "board", votes=tmp_path / "nowhere")


def test_votes_on_nobody_of_the_board_are_refused(make_run: RunMaker, tmp_path: Path) -> None:
    with pytest.raises(BoardError, match="has votes on other, and the board ranks Fade"):
        write_board([make_run("one", FADE).path], tmp_path / "board", votes=study(tmp_path / "study", other=1.0))
