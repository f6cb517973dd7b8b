"""Code that the spec of a run folder names: run where a spec given here named it before, refused in a folder from elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_specs import HERE, SpecMaker, editor
from typer.testing import CliRunner

from bench import api, trust
from bench.cli.app import app
from bench.errors import RunError
from bench.store import Run
from bench.workers.crew import Options

INLINE = Options(executor="inline")


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(trust, "_here", set())


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From then on this is another account, in another process."""

    def move() -> None:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state of another"))
        monkeypatch.setattr(trust, "_here", set())

    return move


@pytest.fixture
def strange(make_spec: SpecMaker, tmp_path: Path, elsewhere: Callable[[], None]) -> tuple[Run, Path]:
    """A run folder of somebody else, whose code leaves a mark where it is imported; the mark's place."""
    mark, plugin = tmp_path / "was-here", Path(shutil.copy(HERE / "fake_metrics.py", tmp_path / "plugin.py"))
    metrics = [{"name": f"{plugin}:Alignment"}, {"name": f"{plugin}:Distance"}]
    run = api.run(make_spec(metrics=metrics), tmp_path / "run", options=INLINE)
    plugin.write_text(f"{plugin.read_text()}\n__import__('pathlib').Path({str(mark)!r}).touch()\n")
    elsewhere()
    return Run.open(run.path), mark


def test_a_run_made_here_is_scored_and_continued(make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = api.run(make_spec(), tmp_path / "run", options=INLINE)
    monkeypatch.setattr(trust, "_here", set())  # as in another process
    moved = Path(shutil.move(run.path, tmp_path / "moved"))
    api.score(moved)
    api.run(moved / "spec.yaml", moved, options=INLINE)


def test_code_of_a_strange_run_is_not_run_unless_trusted(strange: tuple[Run, Path]) -> None:
    run, mark = strange
    with pytest.raises(
        RunError, match=r"run would run code that no spec given here named before: .*plugin\.py:Alignment and 1 more; "
    ) as caught:
        api.score(run.path)
    assert "\n" not in str(caught.value)
    assert not mark.exists()
    assert len(api.score(run.path, trust=True).pairs) == 18
    assert mark.exists()
    assert len(api.score(run.path).pairs) == 18, "what was trusted once stays so"


def test_neither_a_dry_run_nor_a_resumption_runs_it(strange: tuple[Run, Path]) -> None:
    run, mark = strange
    for use in (api.open_spec, api.run):
        with pytest.raises(
            RunError, match=r"spec\.yaml would run code .*fake_editors\.py:Fade and 2 more; read it, then add --trust"
        ):
            use(run.path / "spec.yaml")
    assert not mark.exists()
    assert api.open_spec(run.path / "spec.yaml", trust=True).name == "test"


def test_fetching_for_it_runs_no_code(strange: tuple[Run, Path]) -> None:
    run, mark = strange
    said = CliRunner().invoke(app, ["fetch", str(run.path / "spec.yaml")])
    assert isinstance(said.exception, RunError)
    assert "spec.yaml would run code" in str(said.exception)
    assert not mark.exists()
    assert CliRunner().invoke(app, ["fetch", str(run.path / "spec.yaml"), "--trust"]).exit_code == 0
    assert mark.exists()


def test_a_spec_given_by_path_is_trusted(strange: tuple[Run, Path], tmp_path: Path) -> None:
    run, mark = strange
    mine = Path(shutil.copy(run.path / "spec.yaml", tmp_path / "mine.yaml"))
    api.run(mine, tmp_path / "mine", options=INLINE)
    assert mark.exists()
    api.score(run.path)


def test_a_report_of_a_strange_run_runs_no_code(strange: tuple[Run, Path]) -> None:
    run, mark = strange
    with pytest.raises(RunError, match="has no scores"):
        api.report(run.path)
    assert not mark.exists()


def test_what_is_code(make_spec: SpecMaker) -> None:
    spec = make_spec(
        {"name": "copy"},
        {"name": "package.module:Class"},
        editor("Fade"),
        {"name": "pipeline", "params": {"checkpoint": "y", "allow_pickle": True}},
        model={"path": "x", "allow_pickle": True},
        metrics=[{"name": "clip"}, {"name": "lpips"}, {"name": "file.py:M"}],
        anchors=["oracle", "other.py:Anchor"],
    )
    assert trust.code_of_metrics(spec) == ["file.py:M"]
    code = ["package.module:Class", editor("Fade")["name"], "other.py:Anchor", "file.py:M"]
    assert trust.code_of_spec(spec) == [*code, "pickled weights of x", "pickled weights of y"]
    assert trust.code_of_spec(make_spec({"name": "copy"}, metrics=[{"name": "clip"}, {"name": "lpips"}])) == []


def test_where_nothing_can_be_written_it_is_known_for_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    trust.let_in(["a.py:A"])
    trust.demand(tmp_path, ["a.py:A"])
    monkeypatch.setattr(trust, "_here", set())
    with pytest.raises(RunError, match=r"a\.py:A; read it"):
        trust.demand(tmp_path, ["a.py:A"])


def test_a_damaged_ledger_trusts_what_it_still_tells(tmp_path: Path) -> None:
    trust.let_in(["a.py:A", "b.py:B\nline"])
    ledger = tmp_path / "state" / "etabench" / "trusted"
    ledger.write_bytes(ledger.read_bytes() + b'"cut\n[]\n')
    trust._here.clear()
    trust.demand(tmp_path, ["a.py:A", "b.py:B\nline"])
    with pytest.raises(RunError):
        trust.demand(tmp_path, ["[]x", "cut"])
