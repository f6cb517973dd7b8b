from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from fake_specs import ALL_METRICS, PAIR_METRICS, editor

from bench import cli
from bench.analysis.baseline import write_baseline
from bench.errors import BaselineError, RunError
from bench.scoring import read_scores
from bench.scoring.tables import write_table
from bench.store import Run

ROOT = Path(__file__).parents[2]
SpecFile = Callable[..., Path]
Outcome = tuple[int, str, str]


@pytest.mark.slow
def test_run_score_and_report_in_one_go(etabench: Callable[..., Outcome], spec_file: SpecFile, tmp_path: Path) -> None:
    path = spec_file(editor("Fade"), editor("Unchanged"), metrics=ALL_METRICS)
    code, out, err = etabench("run", path, "--out", tmp_path / "run", "--workers", "1")
    assert code == 0
    assert (tmp_path / "run" / "report" / "index.html").is_file()
    assert f"report: {tmp_path / 'run' / 'report' / 'index.html'}" in out
    assert "Fade" in out
    assert "edit: 6/6 in" in err, "plain lines where there is no terminal"
    assert (tmp_path / "run" / "spec.given.yaml").read_bytes() == path.read_bytes()


def test_the_resolved_spec_runs_as_it_is(etabench: Callable[..., Outcome], spec_file: SpecFile, tmp_path: Path) -> None:
    etabench("run", spec_file(), "--out", tmp_path / "a", "--no-score", "--workers", "1")
    code, _, err = etabench("run", tmp_path / "a" / "spec.yaml", "--out", tmp_path / "b", "--no-score", "--workers", "1")
    assert code == 0, err
    units = [sorted(path.name for path in (tmp_path / name / "units").iterdir()) for name in "ab"]
    assert units[0] == units[1] != []


@pytest.mark.slow
def test_no_score_makes_edits_only_and_score_and_report_follow(
    etabench: Callable[..., Outcome], spec_file: SpecFile, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert etabench("run", spec_file(), "--out", run, "--no-score", "--workers", "1")[0] == 0
    assert not (run / "scores").exists()
    code, _, err = etabench("report", run)
    assert (code, err.count("\n")) == (2, 1)
    assert "has no scores: run `etabench score" in err
    assert etabench("score", run)[0] == 0
    assert etabench("report", run)[0] == 0


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    etabench: Callable[..., Outcome], spec_file: SpecFile, tmp_path: Path
) -> None:
    path = spec_file(editor("Fade"), editor("NeedsMask"))
    code, out, _ = etabench("run", path, "--out", tmp_path / "run", "--dry-run", "--limit", "3")
    assert code == 0
    assert "3 samples, 6 units, 18 edits" in out
    assert "1 samples lack mask: NeedsMask will fail on them" in out
    assert "estimate: 0 s of one worker's time, for the edits" in out
    assert "  Fade, NeedsMask: a whole unit on cpu" in out.splitlines(), "short enough to be made"
    assert not (tmp_path / "run").exists()
    etabench("run", path, "--out", tmp_path / "run", "--no-score", "--limit", "1", "--workers", "1")
    out = etabench("run", path, "--out", tmp_path / "run", "--dry-run")[1]
    row = next(line.split() for line in out.splitlines() if line.startswith("Fade"))
    assert row[5:10] == ["3", "9", "1", "0", "2"], "units, edits, done, failed, to do"
    assert "  Fade, NeedsMask: 1 made already" in out.splitlines()


def test_a_batch_given_on_the_command_line_is_part_of_the_run_s_spec(
    etabench: Callable[..., Outcome], spec_file: SpecFile, tmp_path: Path
) -> None:
    path = spec_file(editor("Several"))
    code, _, err = etabench("run", path, "--out", tmp_path / "run", "--no-score", "--batch", "2", "--workers", "1")
    assert code == 0, err
    assert "batch: 2" in (tmp_path / "run" / "spec.yaml").read_text()
    records = [json.loads(file.read_text()) for file in (tmp_path / "run").glob("units/*/record.json")]
    assert sorted(record["worker"]["batch"] for record in records) == [1, 2, 2]


def test_a_dry_run_tells_of_prompts_that_will_be_cut(
    etabench: Callable[..., Outcome], spec_file: SpecFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.plan import prompts

    monkeypatch.setattr(prompts, "cut_prompts", lambda spec, plan: [f"{len(plan.samples)} prompts of {spec.name} [are] cut"])
    code, out, _ = etabench("run", spec_file(), "--out", tmp_path / "run", "--dry-run")
    assert (code, "3 prompts of test [are] cut" in out.splitlines()) == (0, True)


def test_the_list_of_editors_says_what_they_were_tested_on_and_which_weights_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    from bench import registry
    from bench.commands import catalogue

    targets = {"copy": "editors.anchors:Copy", "absent": "editors.no_such_module:Absent"}
    points = {name: EntryPoint(name, target, registry.EDITOR_GROUP) for name, target in targets.items()}
    monkeypatch.setattr(registry, "editors", lambda: points)
    copy, absent = catalogue.editors()
    assert (copy["tested_on"], copy["checkpoint"], copy["knob"]) == ("toybox", "", "anchor")
    assert "cannot be imported" in absent["summary"], "an editor that is broken is listed with its reason"
    assert copy.keys() == absent.keys()


def test_set_overrides_the_spec(etabench: Callable[..., Outcome], spec_file: SpecFile, tmp_path: Path) -> None:
    arguments = ("--dry-run", "--set", "editors.Fade.grid=[0.25]", "--set", "seeds=[1, 2]")
    out = etabench("run", spec_file(), "--out", tmp_path / "run", *arguments)[1]
    assert "6 units, 6 edits" in out


@pytest.mark.slow
def test_failures_are_shown_and_do_not_fail_the_command(
    etabench: Callable[..., Outcome], spec_file: SpecFile, tmp_path: Path
) -> None:
    code, _, err = etabench("run", spec_file(editor("FailsOnce")), "--out", tmp_path / "run", "--workers", "1")
    assert code == 0
    assert "failed (sample sample-0, editor FailsOnce, seed 0): EditorError: no zeros please" in err
    assert "note: of 3 units 1 failed" in err


def test_a_run_in_which_all_failed_is_an_error(etabench: Callable[..., Outcome], spec_file: SpecFile, tmp_path: Path) -> None:
    code, _, err = etabench("run", spec_file(editor("WrongSize")), "--out", tmp_path / "run", "--workers", "1")
    assert code == 2
    assert "etabench: all 3 units failed; the first: unit" in err.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_editor_that_exits_does_not_end_the_command_in_silence(
    etabench: Callable[..., Outcome], spec_file: SpecFile, tmp_path: Path, workers: str
) -> None:
    path = spec_file(editor("Misbehaves", params={"how": "exit"}))
    code, _, err = etabench("run", path, "--out", tmp_path / "run", "--no-score", "--workers", workers)
    assert code == 2
    assert "etabench: all 3 units failed; the first: unit" in err.splitlines()[-1]
    assert err.splitlines()[-1].endswith("SystemExit: the editor called for an exit (0)")
    assert len(list((tmp_path / "run").glob("units/*/record.json"))) == 3


def one_draw(run: Path, file: Path) -> None:
    """A baseline of a run as it is."""
    write_baseline([Run(run)], {}, file)


@pytest.mark.slow
def test_check_exits_with_0_1_and_2(etabench: Callable[..., Outcome], spec_file: SpecFile, tmp_path: Path) -> None:
    run, file = tmp_path / "run", tmp_path / "baseline.json"
    etabench("run", spec_file(), "--out", run, "--workers", "1")
    code, _, err = etabench("check", run, "--baseline", file)
    assert (code, err.count("\n")) == (2, 1)
    assert "`etabench baseline SPEC --out" in err
    one_draw(run, file)
    code, out, _ = etabench("check", run, "--baseline", file)
    assert (code, "no regression among 6 cells" in out) == (0, True)
    pairs = read_scores(Run(run)).pairs
    pairs["score"] += 10.0
    write_table(Run(run), "pairs", pairs)
    code, out, _ = etabench("check", run, "--baseline", file)
    assert code == 1
    assert "3 regressed, 3 improved among 6 cells" in out, "higher is better for one of the two metrics"
    pairs["score"] -= 10.0
    write_table(Run(run), "pairs", pairs)
    etabench("run", spec_file(), "--out", run, "--limit", "1", "--workers", "1")
    code, out, _ = etabench("check", run, "--baseline", file)
    assert code == 2
    assert "2 of 3 scores are missing (first: sample sample-1)" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "nothing.yaml"), "nothing.yaml"),
        (("run", "demmo"), "did you mean 'demo'"),
        (("run", "{spec}", "--set", "editers=[]"), "editers"),
        (("run", "{spec}", "--set", "limit=many"), "limit"),
        (("run", "{spec}", "--set", "editors.0.grid=[2.0]"), "amount = 2 is out of bounds [0, 1]"),
        (("run", "{spec}", "--set", "editors.0.name=imagick"), "imagic"),
        (("run", "{spec}", "--set", "manifest.path=gone"), "gone"),
        (("run", "{spec}", "--set", "anchors=[regenerate]"), "no-model"),
        (("score", "nowhere"), "nowhere is not a run folder"),
        (("report", "nowhere"), "nowhere is not a run folder"),
        (("check", "nowhere", "--baseline", "b.json"), "nowhere is not a run folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    etabench: Callable[..., Outcome],
    spec_file: SpecFile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    arguments: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = str(spec_file())
    code, _, err = etabench(*(path if part == "{spec}" else part for part in arguments))
    assert code == 2
    assert len(err.strip().splitlines()) == 1, err
    assert err.startswith("etabench: ")
    assert words in err
    assert not (tmp_path / "runs").exists(), "nothing is left behind"


def test_a_bug_keeps_its_traceback(etabench: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from bench import api

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(api, "score", broken)
    code, _, err = etabench("score", tmp_path)
    assert (code, err.splitlines()[-1]) == (70, "ZeroDivisionError"), "1 would be read as a regression"
    assert "Traceback" in err


def test_nothing_that_is_printed_gives_the_terminal_orders(
    etabench: Callable[..., Outcome], spec_file: SpecFile, tmp_path: Path
) -> None:
    odd = "a\x1b]0;title\x07\x1b[2J\x9b\u202e"
    path = spec_file(editor("Fade"))
    code, out, err = etabench("run", path, "--dry-run", "--out", tmp_path / odd)
    assert (code, err) == (0, "")
    assert "a\\x1b]0;title\\x07\\x1b[2J\\x9b\\u202e" in out
    told = out
    for arguments in (("score", tmp_path / odd), ("run", path, "--set", f"name='{odd}'"), ("list", "editors", odd)):
        code, out, err = etabench(*arguments)
        assert code == 2
        assert "x1b]0;title" in err
        told += out + err
    assert not set(told) & set("\x1b\x07\x9b\u202e")


def test_the_gate_never_takes_a_malformed_file_for_a_regression(
    etabench: Callable[..., Outcome], spec_file: SpecFile, tmp_path: Path
) -> None:
    run, file = tmp_path / "run", tmp_path / "baseline.json"
    assert etabench("run", spec_file(), "--out", run, "--workers", "1", "--no-score")[0] == 0
    assert etabench("score", run)[0] == 0
    one_draw(run, file)
    whole = json.loads(file.read_text())
    for changes in (
        {"scores": []},
        {"higher_is_better": {"clip": "no", "lpips": False}},
        {"scores": whole["scores"] * 2},
        {"sets": 3},
        {"schema": 1},
    ):
        file.write_text(json.dumps(whole | changes))
        code, _, err = etabench("check", run, "--baseline", file)
        assert (code, err.count("\n"), "Traceback" in err) == (2, 1, False), err
    file.write_text(json.dumps(whole))
    for name in ("plan.parquet", "scores/pairs.parquet", "scores/cards.json"):
        kept = (run / name).read_bytes()
        (run / name).write_bytes(b"[1, 2")
        code, _, err = etabench("check", run, "--baseline", file)
        assert (code, err.count("\n"), "Traceback" in err) == (2, 1, False), err
        (run / name).write_bytes(kept)
    assert etabench("check", run, "--baseline", file)[0] == 0


def test_trust_is_asked_for_on_the_command_line(
    etabench: Callable[..., Outcome], spec_file: SpecFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench import trust

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(trust, "_here", set())
    run = tmp_path / "run"
    assert etabench("run", spec_file(), "--out", run, "--no-score", "--workers", "1")[0] == 0
    shutil.rmtree(tmp_path / "state")
    for command in (("score", run), ("run", run / "spec.yaml", "--dry-run"), ("run", run / "spec.yaml", "--out", run)):
        monkeypatch.setattr(trust, "_here", set())
        code, _, err = etabench(*command)
        assert (code, "read it, then add --trust" in err) == (2, True), err
    assert etabench("score", run, "--trust")[0] == 0
    monkeypatch.setattr(trust, "_here", set())
    assert etabench("score", run)[0] == 0
    shutil.rmtree(tmp_path / "state")
    monkeypatch.setattr(trust, "_here", set())
    with pytest.raises(RunError, match="read it, then add --trust"):
        one_draw(run, tmp_path / "baseline.json")


def test_an_interrupt_says_how_to_go_on(
    etabench: Callable[..., Outcome], spec_file: SpecFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = etabench("run", spec_file(editor("Interrupts")), "--out", tmp_path / "run", "--workers", "1")
    assert code == 130
    assert "run the same command again to continue" in err


@pytest.mark.parametrize("kind", ["manifests", "models", "specs"])
def test_lists_are_tables_and_json(etabench: Callable[..., Outcome], kind: str) -> None:
    code, out, _ = etabench("list", kind, "--json")
    assert code == 0
    rows = json.loads(out)
    assert rows
    code, table, _ = etabench("list", kind)
    assert code == 0
    assert all(row["name"] in table for row in rows)


def test_one_editor_or_metric_is_shown_whole(etabench: Callable[..., Outcome]) -> None:
    code, out, _ = etabench("list", "editors", "sdedit")
    assert code == 0
    assert "  guidance: classifier-free guidance scale" in out
    assert "  toybox: " in out
    assert "grid of eta [0.0, 0.5" in etabench("list", "editors", "imagic")[1]
    facts = json.loads(etabench("list", "metrics", "lpips", "--json")[1])
    assert "net: 'str' = 'alex'" in facts["parameters"]
    code, _, err = etabench("list", "editors", "sdedi")
    assert code == 2
    assert "did you mean 'sdedit'?" in err


def test_lint_reports_and_fails_on_what_a_run_refuses(etabench: Callable[..., Outcome], manifest_folder: Path) -> None:
    assert etabench("lint", manifest_folder)[0] == 0
    (manifest_folder / "1.png").write_bytes(b"no picture")
    code, out, _ = etabench("lint", manifest_folder, "--json")
    assert code == 2
    assert any(finding["severity"] == "error" for finding in json.loads(out))


def test_markup_in_names_is_shown_as_it_is(etabench: Callable[..., Outcome], spec_file: SpecFile, tmp_path: Path) -> None:
    label = "[red]fade[/red] [/nonsense]"
    out = etabench("run", spec_file(editor("Fade", label=label)), "--out", tmp_path / "run", "--dry-run")[1]
    assert label in out


def test_the_command_line_imports_nothing_heavy() -> None:
    heavy = ["torch", "pandas", "datasets", "matplotlib", "transformers", "diffusers", "scipy", "pydantic", "numpy", "PIL"]
    code = f"import sys, bench.cli; print([name for name in {heavy} if name in sys.modules])"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"


def test_help_names_every_command(etabench: Callable[..., Outcome]) -> None:
    code, out, _ = etabench("--help")
    assert code == 0
    for command in ("run", "score", "report", "check", "list", "lint", "doctor"):
        assert f" {command} " in out


@pytest.mark.slow
def test_names_in_any_script_are_printed_where_the_terminal_has_no_letters_for_them(spec_file: SpecFile, tmp_path: Path) -> None:
    """A container without a home folder and with the C locale; the worker processes end without a word too."""
    path = spec_file(editor("Fade", label="затухание"))
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "none"), "LC_ALL": "C", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "bench.cli", "run", str(path), "--out", str(tmp_path / "run"), "--workers", "2"]
    done = subprocess.run(
        command, env=environment | {"PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert b"\\u0437\\u0430\\u0442" in done.stdout
    assert b"Fatal" not in done.stderr


@pytest.mark.slow
def test_failed_units_are_the_last_word_and_with_strict_the_exit_code(
    etabench: Callable[..., Outcome], spec_file: SpecFile, tmp_path: Path
) -> None:
    path = spec_file(editor("Fade"), editor("FailsOnce"))
    code, _, err = etabench("run", path, "--out", tmp_path / "a", "--workers", "1")
    assert code == 0
    assert err.splitlines()[-1].startswith("1 of 6 units failed; the first: unit ")
    assert etabench("run", path, "--out", tmp_path / "b", "--workers", "1", "--strict", "--no-score")[0] == 1
    assert etabench("run", spec_file(editor("Fade")), "--out", tmp_path / "c", "--workers", "1", "--strict", "--no-score")[0] == 0


@pytest.mark.parametrize("command", [["-m", "etabench"], ["-m", "bench.cli"]])
def test_the_version(command: list[str]) -> None:
    done = subprocess.run([sys.executable, *command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"etabench {version('etabench')}\n"


def test_a_pipe_that_nobody_reads_any_more_is_no_fault() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        command = [sys.executable, "-P", "-m", "bench.cli", "list", "metrics"]
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_table_that_is_piped_is_not_cut() -> None:
    command = [sys.executable, "-m", "bench.cli", "list", "specs"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"COLUMNS": ""}).stdout
    row = next(line for line in shown.splitlines() if line.split()[:1] == ["tedbench"])
    assert row.rstrip().endswith(str(Path("bench/specs/tedbench.yaml"))), "the whole path, on the row's own line"


def test_export_writes_plain_folders_once(etabench: Callable[..., Outcome], spec_file: SpecFile, tmp_path: Path) -> None:
    run = tmp_path / "run"
    etabench("run", spec_file(editor("Fade", grid=[0.2, 0.8])), "--out", run, "--no-score", "--workers", "1")
    code, out, err = etabench("export", run, "--by", "value/editor", "--out", tmp_path / "out")
    assert (code, out, err) == (0, f"6 edits in {tmp_path / 'out'}\n", "")
    assert len(list((tmp_path / "out" / "0.8" / "Fade").iterdir())) == 3
    assert etabench("export", run)[0] == 0
    assert (run / "export" / "Fade" / "0.2").is_dir()
    for arguments in (("--out", tmp_path / "out"), ("--by", "editor/size"), ("--out", run / "units")):
        code, _, err = etabench("export", run, *arguments)
        assert (code, err.count("\n")) == (2, 1)


@pytest.mark.slow
def test_a_metric_that_fails_is_the_last_word_of_run_score_and_check(
    etabench: Callable[..., Outcome], spec_file: SpecFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --strict the exit code too; the gate exits 2 where nothing else is worse, for it has not compared everything."""
    from bench import registry

    good, bad, baseline = tmp_path / "good", tmp_path / "bad", tmp_path / "baseline.json"
    assert etabench("run", spec_file(), "--out", good, "--workers", "1")[0] == 0
    one_draw(good, baseline)
    cls = registry.load_metric(PAIR_METRICS[1]["name"])

    def refuse(self: object, batch: object) -> None:
        raise ValueError("out of [order]")

    monkeypatch.setattr(cls, "score", refuse)
    words = "metrics that failed and have no column: lpips (edits of samples sample-0 to sample-2: ValueError: out of [order] (test_cli.py"
    code, out, err = etabench("run", spec_file(), "--out", bad, "--workers", "1")
    assert (code, err.splitlines()[-1].startswith(words)) == (0, True)
    assert "report: " in out
    assert etabench("run", spec_file(), "--out", bad, "--workers", "1", "--strict")[0] == 1
    code, out, err = etabench("score", bad)
    assert (code, out.startswith("9 pair scores and 0 set scores"), err.splitlines()[-1].startswith(words)) == (0, True, True)
    assert etabench("score", bad, "--strict")[0] == 1
    code, out, _ = etabench("check", bad, "--baseline", baseline)
    assert code == 2
    assert "no regression, 3 not comparable among 6 cells" in out
    assert out.splitlines()[-1].startswith("lpips failed in the run: edits of samples")
    with pytest.raises(BaselineError, match=r"9 scores of lpips are missing, and a baseline needs them all: it failed \("):
        one_draw(bad, tmp_path / "new.json")
    assert not (tmp_path / "new.json").exists()


@pytest.mark.slow
def test_a_picture_that_was_changed_is_named_by_score_report_and_check_and_made_anew_by_run(
    etabench: Callable[..., Outcome], spec_file: SpecFile, tmp_path: Path
) -> None:
    run, baseline = tmp_path / "run", tmp_path / "baseline.json"
    etabench("run", spec_file(), "--out", run, "--workers", "1")
    one_draw(run, baseline)
    edit = sorted(run.glob("units/*/001.png"))[0]
    edit.write_bytes(edit.read_bytes()[:-1])
    for command in (("score",), ("report",), ("check", "--baseline", baseline)):
        code, _, err = etabench(command[0], run, *command[1:])
        assert (code, err.count("\n")) == (2, 1)
        assert err.startswith(f"etabench: {edit} is gone or differs from its record (1 of 3 finished units")
    code, _, err = etabench("run", run / "spec.yaml", "--out", run, "--workers", "1")
    assert code == 0
    assert f"1 of 3 units are made anew: their pictures are gone or differ from their records (first: {edit})" in err
    assert etabench("check", run, "--baseline", baseline)[0] == 0


@pytest.mark.slow
def test_a_finished_run_leaves_its_page_and_report_draws_it_again(
    etabench: Callable[..., Outcome], spec_file: SpecFile, tmp_path: Path
) -> None:
    path, run = spec_file(editor("Fade")), tmp_path / "run"
    page = run / "report" / "index.html"

    def written(*arguments: str | Path) -> int:
        assert etabench(*arguments)[0] == 0
        return page.stat().st_mtime_ns

    first = written("run", path, "--out", run, "--workers", "1")
    assert written("run", path, "--out", run, "--workers", "1") == first
    assert written("report", run) > first
    pictures = run / "report" / "pictures"
    source = next((run / "units").glob("*/000.png"))
    assert any(picture.samefile(source) for picture in pictures.rglob("*.png")), "pictures cost no room"
    code, out, _ = etabench("report", run, "--single-file")
    assert (code, f"report: {run / 'report' / 'report.html'}" in out) == (0, True)
    assert written("report", run) > first
    assert not (run / "report" / "report.html").exists(), "a report of another time is no part of this one"
    fresh = page.stat().st_mtime_ns
    shutil.rmtree(next((run / "units").iterdir()))
    assert written("run", path, "--out", run, "--workers", "1") > fresh, "a unit was made anew"


def test_code_that_exits_inside_a_command_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bench.store.Run.open", lambda path: sys.exit(0))
    monkeypatch.setattr(sys, "argv", ["etabench", "report", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert "called for an exit: SystemExit: 0 (test_cli.py, line " in capsys.readouterr().err


def test_a_benchmarks_card_and_what_is_wrong_with_a_copy_are_said_once(etabench: Callable[..., Outcome], tmp_path: Path) -> None:
    assert "\n  val: 100 rows, 40 pictures\n" in etabench("list", "manifests", "tedbench")[1]
    assert "\n  action: 89 rows, hub BohanJia/CompBench_action, within train\n" in etabench("list", "manifests", "compbench")[1]
    code, out, _ = etabench("lint", tmp_path, "--benchmark", "pie-bench")
    assert (code, out.count(f"{tmp_path}: expected")) == (2, 1)
    assert f"{tmp_path}: {tmp_path}" not in out
