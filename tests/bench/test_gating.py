"""The commands that compare runs, as a CI job calls them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import typer.main
import yaml
from fake_specs import editor
from fixtures_manifest import row, write_folder

from bench.cli import app

Outcome = tuple[int, str, str]
ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / "docs" / "workflows" / "etabench.yml"


@pytest.fixture
def specs(spec_file: Callable[..., Path], tmp_path: Path) -> dict[str, Path]:
    """The same spec with quiet and with loud noise, over eight pictures."""
    place = {"manifest": {"path": str(write_folder(tmp_path / "eight", [row(i) for i in range(8)], pictures=8))}}
    files = {}
    for name, more in (("quiet", {}), ("loud", {"preset": "loud"})):
        files[name] = spec_file(editor("Fade", label="Fade", **more), editor("Several"), **place).rename(
            tmp_path / f"{name}.yaml"
        )
    return files


@pytest.mark.slow
def test_a_baseline_is_made_and_a_worse_run_fails_the_check_in_every_form(
    etabench: Callable[..., Outcome], specs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = etabench("baseline", specs["quiet"], "--seeds", "2", "--repeats", "1", "--workers", "1")
    assert (code, out.splitlines()[-1]) == (0, "baseline: test.json")
    assert sorted(path.name for path in Path("runs/test-baseline").iterdir()) == ["draw-1", "draw-2", "repeat-1"]
    assert etabench("check", "runs/test-baseline/draw-2", "--baseline", "test.json")[0] == 0
    etabench("run", specs["loud"], "--out", "loud", "--workers", "1")
    Path("summary.md").write_text("before\n")
    forms = ("--junit", "check.xml", "--summary", "summary.md", "--json")
    code, out, _ = etabench("check", "loud", "--baseline", "test.json", *forms)
    found = json.loads(out)
    assert (code, found["exit_code"]) == (1, 1)
    assert {each["editor"] for each in found["outcomes"] if each["word"] == "regressed"} == {"Fade"}
    assert Path("summary.md").read_text().startswith("before\n### ❌ ")
    assert int(ElementTree.parse("check.xml").getroot().get("failures", "0")) > 0
    code, _, err = etabench("check", "loud", "--published", "pie-bench", "--junit", "x.xml")
    assert (code, "are of a check against --baseline" in err) == (2, True)


@pytest.mark.slow
def test_two_runs_are_compared_in_every_form(etabench: Callable[..., Outcome], specs: dict[str, Path], tmp_path: Path) -> None:
    for name, spec in specs.items():
        etabench("run", spec, "--out", tmp_path / name, "--workers", "1")
    runs = (tmp_path / "quiet", tmp_path / "loud")
    code, out, err = etabench("compare", *runs, "--markdown", tmp_path / "c.md", "--html", tmp_path / "page")
    assert code == 0
    assert "the second run is worse in" in out
    assert f"page: {tmp_path / 'page' / 'index.html'}" in err.replace("\n", "")
    assert (tmp_path / "c.md").read_text().startswith("### The second run is worse in")
    found = json.loads(etabench("compare", *runs, "--json")[1])
    assert {each["word"] for each in found["cells"] if each["editor"] == "Several"} == {"equal"}
    code, out, _ = etabench("power", runs[0], "--first", "Fade", "--second", "Several", "--json")
    assert (code, json.loads(out)[0]["of"]) == (0, 8)
    code, out, err = etabench("power", runs[0], "--metric", "lpips")
    assert "told are in units of lpips: mean absolute difference" in err.replace("\n", " ")
    assert (code, "pictures 80" in out, "the run has one seed" in err) == (0, True, True)
    code, _, err = etabench("power", runs[0], "--metric", "lpip")
    assert (code, err.count("\n")) == (2, 1)


def test_the_workflow_calls_commands_that_exist() -> None:
    jobs: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    text = "\n".join(step.get("run", "") for job in jobs.values() for step in job["steps"])
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    calls = re.findall(r"^etabench (\S+)(.*)$", text, flags=re.MULTILINE)
    assert {name for name, _ in calls} == {"run", "check", "compare"}
    for name, rest in calls:
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z]+", rest)) <= known


def test_the_repository_checks_itself_by_the_commands_that_users_copy() -> None:
    """Commands, specs and options are those of the workflow's check; only where files lie is another matter."""
    check: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]["check"]
    theirs = "\n".join(step.get("run", "") for step in check["steps"])
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert recipe is not None
    ours = recipe[1].replace("\t$(BIN)/", "")

    def calls(text: str) -> list[list[str]]:
        lines = re.findall(r"^etabench .*$", text, flags=re.MULTILINE)
        return [[word for word in line.split() if word.startswith("--") or word.isalpha()] for line in lines]

    assert calls(ours) == calls(theirs) != []
    form = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert form.index("export ETABENCH_CI_RUN") < form.index("make check") < form.index("make test")
    assert "ETABENCH_CI_RUN" in (ROOT / "tests" / "test_ci_spec.py").read_text(encoding="utf-8")
