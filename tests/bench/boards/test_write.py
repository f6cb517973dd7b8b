"""The folder of a board: its files, its history, and that no label does harm in any of them."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_specs import ALL_METRICS, editor, metric
from fixtures_manifest import row, write_folder

from bench.boards.history import FILE, History
from bench.boards.write import write_board
from bench.bundles.pack import pack
from bench.commands.report import report_run
from bench.errors import BoardError
from bench.store import Run
from bench.store.shapes import read_as

RunMaker = Callable[..., Run]
Etabench = Callable[..., tuple[int, str, str]]
FADE, LOUD = editor("Fade"), editor("Fade", label="loud", preset="loud")
NAMES = {"board.json", "board.parquet", "board.csv", "board.md", "board.tex", "index.html"}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def rescored(*versions: str) -> list[dict[str, object]]:
    return [metric("Alignment"), *(metric("Distance", version=version) for version in versions)]


def test_the_folder_holds_the_board_in_every_form(make_run: RunMaker, tmp_path: Path) -> None:
    run = make_run("one", FADE, LOUD)
    board = write_board([run.path], tmp_path / "board", title="My board")
    assert contents(tmp_path / "board").keys() == NAMES
    table = pd.read_parquet(tmp_path / "board" / "board.parquet")
    (version,) = read_as(tmp_path / "board" / FILE, History, "").versions
    assert (version.version, version.why, version.manifest["count"]) == (1, ("the first",), "3")
    assert [row["editor"] for row in version.rows] == table["editor"].tolist() == ["Fade", "loud"]
    for stored, row_ in zip(version.rows, table.to_dict("records"), strict=True):
        for name in ("rank", "clip", "one_minus_lpips", "one_minus_lpips_low", "hypervolume", "seconds_per_edit"):
            assert stored[name] == row_[name] or (stored[name] is None and math.isnan(row_[name])), name
    assert "# My board" in (tmp_path / "board" / "board.md").read_text()
    assert board.latest == version or board.latest.metrics == version.metrics


def test_the_same_runs_give_the_same_bytes_and_no_version(make_run: RunMaker, tmp_path: Path) -> None:
    runs = [make_run("one", FADE).path, make_run("two", LOUD).path]
    write_board(runs, tmp_path / "board")
    before = contents(tmp_path / "board")
    write_board(runs, tmp_path / "board")
    assert contents(tmp_path / "board") == before


def test_a_rescored_board_keeps_its_old_column_and_says_why_it_moved(make_run: RunMaker, tmp_path: Path) -> None:
    folder = tmp_path / "board"
    for version in ("1", "2"):
        board = write_board([make_run("one", FADE, LOUD, folder=version, metrics=rescored(version)).path], folder)
    old, now = read_as(folder / FILE, History, "").versions
    assert (old.version, now.version) == (1, 2)
    assert now.why[0].startswith(f"lpips is another metric ({old.metrics['lpips']} before, {now.metrics['lpips']} now): version")
    table = board.data.divisions[0].data.leaderboard.set_index("editor")
    for each in old.rows:
        assert table.loc[each["editor"], "one_minus_lpips (version 1)"] == each["one_minus_lpips"]
    for name in ("index.html", "board.md", "board.csv"):
        assert "(version 1)" in (folder / name).read_text(), name
    third = write_board([make_run("one", FADE, LOUD, folder="3", metrics=rescored("3")).path], folder)
    columns = set(third.data.divisions[0].data.leaderboard.columns)
    assert {"one_minus_lpips (version 1)", "one_minus_lpips (version 2)"} <= columns
    assert "clip (version 1)" not in columns, "that metric is the same"


def test_editors_that_come_go_or_are_made_anew_are_reasons(make_run: RunMaker, tmp_path: Path) -> None:
    one, two = make_run("one", FADE), make_run("two", LOUD)
    write_board([one.path], tmp_path / "board")
    assert "loud is new" in write_board([one.path, two.path], tmp_path / "board").latest.why
    assert "loud is gone" in write_board([one.path], tmp_path / "board").latest.why
    anew = make_run("anew", editor("Fade", params={"gain": 0.5}))
    assert "Fade has other edits" in write_board([anew.path], tmp_path / "board").latest.why


def test_numbers_of_another_manifest_are_never_put_beside(make_run: RunMaker, tmp_path: Path) -> None:
    write_folder(tmp_path / "other", [row(0), row(1)])
    write_board([make_run("one", FADE, metrics=rescored("1")).path], tmp_path / "board")
    moved = make_run("two", FADE, metrics=rescored("2"), manifest={"path": str(tmp_path / "other")})
    board = write_board([moved.path], tmp_path / "board")
    assert "other manifest: no number may be compared with those before" in board.latest.why
    assert not [name for name in board.data.divisions[0].data.leaderboard.columns if "version" in name]


def test_a_folder_that_is_no_board_and_a_damaged_history_are_left_alone(make_run: RunMaker, tmp_path: Path) -> None:
    run = make_run("one", FADE)
    with pytest.raises(BoardError, match="has content and is no board"):
        write_board([run.path], run.path)
    folder = tmp_path / "board"
    write_board([run.path], folder)
    (folder / FILE).write_text('{"title": "x", "versions": [{}]}')
    with pytest.raises(BoardError, match="move it away"):
        write_board([run.path], folder)
    assert (folder / FILE).read_text() == '{"title": "x", "versions": [{}]}'


def test_reports_beside_the_board_are_linked_and_others_are_not(make_run: RunMaker, tmp_path: Path) -> None:
    run = make_run("one", FADE, folder="a b#c%20<d>")
    report_run(run)
    board = write_board([run.path], tmp_path / "runs" / "board")
    (href,) = [each.href for each in board.data.runs]
    assert href == "../a%20b%23c%2520%3Cd%3E/report/index.html"
    assert f'href="{href}"' in (tmp_path / "runs" / "board" / "index.html").read_text()
    far = write_board([run.path], tmp_path / "elsewhere" / "deep" / "board")
    assert [each.href for each in far.data.runs] == [""]
    pack(run, tmp_path / "runs" / "a.zip")
    assert [each.href for each in write_board([tmp_path / "runs" / "a.zip"], tmp_path / "runs" / "other").data.runs] == [""]


HOSTILE = '=1+1"><img src=x onerror=alert(1)>| `a` \\input{x} % $x$ & _b_ [c](javascript:d) @all ../..'
CATEGORY = "\u202eإخفاء 😀 <script>alert(2)</script> | " + "x" * 10_000


def test_hostile_texts_are_only_read(make_run: RunMaker, tmp_path: Path) -> None:
    write_folder(
        tmp_path / "odd", [row(0, category=CATEGORY), row(1, category="add"), row(2, category="=cmd|calc", file_name="2.png")]
    )
    run = make_run(
        HOSTILE, editor("Fade", label=HOSTILE), manifest={"path": str(tmp_path / "odd")}, folder="x", metrics=ALL_METRICS
    )
    board = write_board([run.path], tmp_path / "board", title=HOSTILE + CATEGORY)
    folder = tmp_path / "board"
    page, markdown, latex = ((folder / name).read_text(encoding="utf-8") for name in ("index.html", "board.md", "board.tex"))
    assert "<img" not in page
    assert page.count("<script>") == 1
    assert "\u202e" not in page + markdown + latex
    assert "x" * 200 not in page + markdown + latex
    assert "<" not in markdown
    assert "](" not in markdown
    assert "@all" not in markdown
    for line in (line for line in markdown.splitlines() if line.startswith("|")):
        assert "`" not in line
        assert "$" not in line
    widths = {line.count("|") for line in markdown.split("## ")[1].splitlines() if line.startswith("|")}
    assert len(widths) == 1, "no label adds a column"
    assert r"\input" not in latex
    assert r"\textbackslash{}input\{x\}" in latex
    for line in latex.splitlines()[1:]:
        stripped = line.replace(r"\%", "")
        assert "%" not in stripped or stripped.endswith("{!}{%"), "no label begins a comment"
    cells = [cell for line in csv.reader(io.StringIO((folder / "board.csv").read_text())) for cell in line]
    assert not [cell for cell in cells if cell.startswith("=")]
    assert any(cell.startswith("'=1+1") for cell in cells)
    assert json.loads((folder / FILE).read_text())["versions"][0]["rows"][0]["editor"] == HOSTILE, "the data are what they are"
    assert board.data.divisions[0].data.leaderboard["editor"].tolist() == [HOSTILE]


def test_failures_undefined_scores_and_nothing_at_all_are_shown_as_such(make_run: RunMaker, tmp_path: Path) -> None:
    undefined = [metric("Alignment"), metric("Distance", undefined_on="number 1"), *ALL_METRICS[2:]]
    run = make_run("one", editor("FailsOnce"), LOUD, editor("WrongSize"), metrics=undefined)
    write_board([run.path], tmp_path / "board")
    table = pd.read_parquet(tmp_path / "board" / "board.parquet").set_index("editor")
    assert table["failed"].to_dict() == {"FailsOnce": 1, "loud": 0, "WrongSize": 3}
    assert np.isnan(table.loc["WrongSize", "clip"])
    assert np.isnan(table.loc["WrongSize", "rank"])
    assert "nan" not in (tmp_path / "board" / "board.md").read_text().lower()
    json.loads((tmp_path / "board" / FILE).read_text(), parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))


def test_the_command_prints_ranks_or_all_that_differs(make_run: RunMaker, tmp_path: Path, etabench: Etabench) -> None:
    one, two = make_run("one", FADE), make_run("two", LOUD)
    code, out, err = etabench("leaderboard", one.path, two.path, "--out", tmp_path / "board")
    assert code == 0
    assert out.splitlines()[0] == "best of 3 by none:"
    assert "board: " in out
    assert "version 1 (the first)" in err
    other = make_run("other", FADE, seeds=[1], metrics=rescored("2"))
    code, out, err = etabench("leaderboard", one.path, other.path, "--out", tmp_path / "mixed")
    assert code == 2
    assert out.split()[:3] == ["of", "one", "other"]
    assert "seeds" in out
    assert "fingerprint of lpips" in out
    assert err.startswith("etabench: the runs cannot share a board: they differ in seeds, fingerprint of lpips")
    assert not (tmp_path / "mixed").exists()


def test_a_board_keeps_its_title_until_it_is_given_another(make_run: RunMaker, tmp_path: Path) -> None:
    run = make_run("one", FADE)
    titles = [write_board([run.path], tmp_path / "board", title=title).data.title for title in ("", "mine", "")]
    assert titles == ["Editors on manifest", "mine", "mine"]
