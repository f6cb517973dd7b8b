from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
from fake_specs import SpecMaker, editor
from fixtures_manifest import row, write_folder

from bench import api
from bench.commands.export import COLUMNS, Exported, export_run, order_of
from bench.errors import RunError
from bench.store import Run
from bench.workers.crew import Options
from editors.folder import Folder

INLINE = Options(executor="inline")


@pytest.fixture
def run(make_spec: SpecMaker, tmp_path: Path) -> Run:
    """Two editors, one without a knob and one that needs a mask, which one sample of three lacks."""
    spec = make_spec(editor("Fade", grid=[0.2, 0.8]), editor("NeedsMask"), editor("Unchanged"))
    return api.run(spec, tmp_path / "run", options=INLINE, scorable=False)


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def pairs(folder: Path) -> list[dict[str, str]]:
    with (folder / "pairs.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def edit_of(run: Run, label: str, sample: str, index: int) -> Path:
    plan = run.plan
    unit = next(u for u in plan.units if plan.entries[u.entry].label == label and plan.samples[u.sample].id == sample)
    record = run.record(unit.key)
    assert record is not None
    return run.edit_path(record, index)


def test_folders_and_their_table_are_what_the_run_holds(run: Run, tmp_path: Path) -> None:
    found = export_run(run, tmp_path / "out")
    rows = pairs(tmp_path / "out")
    assert list(rows[0]) == list(COLUMNS)
    assert len(rows) == found.edits
    assert found.edits + found.missing == run.plan.edits
    assert found.missing > 0, "one sample has no mask"
    assert {"Fade/0.2/sample-0.png", "Fade/0.8/sample-2.png", "Unchanged/none/sample-1.png", "sources/sample-2.png"} <= set(
        tree(tmp_path / "out")
    )
    assert len(tree(tmp_path / "out")) == found.edits + 3 + 1
    for each in rows:
        index = 1 if each["value"] == "0.8" else 0
        if each["editor"] != "NeedsMask":
            assert (tmp_path / "out" / each["file"]).read_bytes() == edit_of(
                run, each["editor"], each["sample"], index
            ).read_bytes()
    wanted = next(each for each in rows if each["file"] == "Fade/0.8/sample-1.png")
    assert wanted == {
        "file": "Fade/0.8/sample-1.png",
        "source": "sources/sample-1.png",
        "editor": "Fade",
        "value": "0.8",
        "sample": "sample-1",
        "seed": "0",
        "knob": run.plan.entries[0].knob,
        "source_text": "a horse on hill number 1",
        "target_text": "a zebra on hill number 1",
        "category": "change object",
    }


ORDERS = {
    "value/editor": "0.8/Fade/sample-1.png",
    "sample": "sample-1/Fade-0.8.png",
    "editor": "Fade/0.8-sample-1.png",
    "editor/sample/value": "Fade/sample-1/0.8/edit.png",
    "seed/editor": "0/Fade/0.8-sample-1.png",
    "editor/value/sample/seed": "Fade/0.8/sample-1/0/edit.png",
}


def test_any_order(run: Run, tmp_path: Path) -> None:
    for number, (by, file) in enumerate(ORDERS.items()):
        found = export_run(run, tmp_path / f"out-{number}", by)
        assert file in tree(tmp_path / f"out-{number}")
        assert len({each["file"] for each in pairs(tmp_path / f"out-{number}")}) == found.edits


def test_what_was_written_can_be_read_as_edits_made_elsewhere(run: Run, tmp_path: Path) -> None:
    export_run(run, tmp_path / "out", "editor/sample")
    delivered = Folder.knob_of(Folder.resolve("", {"path": str(tmp_path / "out" / "Fade")}))
    assert delivered is not None
    assert delivered.grid == (0.2, 0.8)


def test_several_seeds_are_told_apart(make_spec: SpecMaker, tmp_path: Path) -> None:
    run = api.run(make_spec(editor("Fade", grid=[0.2]), seeds=[0, 7]), tmp_path / "run", options=INLINE, scorable=False)
    export_run(run, tmp_path / "out")
    names = {each["file"] for each in pairs(tmp_path / "out")}
    seeds = {unit.seed for unit in run.plan.units}
    assert names == {f"Fade/0.2/sample-{i}{f'-{seed}' if len(seeds) > 1 else ''}.png" for i in range(3) for seed in seeds}


ODD = ["../../up", "a b", "a_b", "A_b", "con", "...", "=1+1", "кот", "x" * 150, "a/b", ".hidden", "sources"]


def test_names_are_only_names_and_never_meet(make_spec: SpecMaker, manifest_folder: Path, tmp_path: Path) -> None:
    write_folder(manifest_folder, [row(0, id=name) for name in ODD])
    labels = ["../../up", "sources", "Sources", "pairs.csv", "a b", "a_b"]
    spec = make_spec(*(editor("Fade", grid=[0.2], label=label) for label in labels))
    run = api.run(spec, tmp_path / "run", options=INLINE, scorable=False)
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(run.path)}
    found = export_run(run, tmp_path / "out")
    assert found == Exported(len(ODD) * len(labels), 0)
    rows = pairs(tmp_path / "out")
    files = {each["file"].casefold() for each in rows}
    assert len(files) == found.edits
    assert len({each["source"].casefold() for each in rows}) == len(ODD)
    assert not any(part.startswith(".") for file in files for part in file.split("/"))
    assert {each["editor"] for each in rows} == set(labels)
    assert next(each["sample"] for each in rows if each["sample"].endswith("=1+1")) == "'=1+1", "no formula of a spreadsheet"
    assert {path for path in tmp_path.rglob("*") if not path.is_relative_to(run.path)} - before == {
        tmp_path / "out",
        *(tmp_path / "out").rglob("*"),
    }


def test_nothing_is_overwritten_and_nothing_half_is_left(run: Run, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    cases: dict[Path, str] = {
        tmp_path / "full": "is not empty, and nothing is overwritten",
        tmp_path / "file": "is no folder",
        tmp_path / "link": "is no folder",
        run.path: "is not empty",
        run.units / "mine": "lies among the files of the run",
        run.path / "mine": "lies among the files of the run",
    }
    for target, message in cases.items():
        with pytest.raises(RunError, match=message):
            export_run(run, target)
    assert tree(tmp_path / "full") == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    export_run(run, tmp_path / "empty")
    picture = edit_of(run, "Fade", "sample-2", 1)
    picture.write_bytes(picture.read_bytes() + b"more")
    with pytest.raises(RunError, match="differs from its record"):
        export_run(run, tmp_path / "out")
    picture.unlink()
    os.mkfifo(picture)
    with pytest.raises(RunError, match="a pipe, a device or a socket"):
        export_run(run, tmp_path / "out")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".tmp") or path.name == "out"]


def test_links_share_the_content(run: Run, tmp_path: Path) -> None:
    export_run(run, run.path / "export", link=True)
    assert (run.path / "export" / "Fade" / "0.8" / "sample-1.png").samefile(edit_of(run, "Fade", "sample-1", 1))


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("", "'' is nothing that an edit is called by"),
        ("editor/vlaue", "did you mean 'value'?"),
        ("../editor", "'..' is nothing"),
        ("editor/editor", "names a part twice"),
        ("x" * 10_000, "is nothing that an edit is called by; choose from editor, sample, seed, value"),
    ],
)
def test_an_order_that_is_none_is_said(by: str, message: str) -> None:
    with pytest.raises(RunError) as caught:
        order_of(by)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_run_without_edits_is_said(make_spec: SpecMaker, tmp_path: Path) -> None:
    run = api.run(make_spec(editor("Fade")), tmp_path / "run", options=INLINE, scorable=False)
    for unit in run.plan.units:
        run.discard(unit.key)
    with pytest.raises(RunError, match="has no finished edit"):
        export_run(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
