"""Run files that are cut, mended by hand or a stranger's: refused in one line whose advice works, or made anew, and never a traceback."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_specs import ALL_METRICS, editor
from fixtures_manifest import row, write_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_files import as_json, changed_plan

from bench import api
from bench.commands.export import export_run
from bench.commands.report import report_data
from bench.errors import EtabenchError, RunError
from bench.spec import Spec
from bench.store import Run
from bench.store.shapes import read_as
from bench.workers.crew import Options

HEADS = ("plan.parquet", "manifest.json", "spec.yaml", "environment.json")
TABLES = ("scores/pairs.parquet", "scores/sets.parquet", "scores/set_pairs.parquet", "scores/cards.json")
WRONG: tuple[Any, ...] = (None, True, -1, 1.5, 10**30, "", "../x", "\x00", [], [1], {}, {"a": 1})


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Spec:
    manifest = write_folder(tmp_path_factory.mktemp("shapes") / "manifest", [row(0), row(1)])
    content = {
        "name": "test",
        "manifest": {"path": str(manifest)},
        "device": "cpu",
        "editors": [editor("Fade"), editor("Unchanged")],
        "metrics": ALL_METRICS,
    }
    return Spec.model_validate(content)


@pytest.fixture(scope="module")
def whole(spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run that tests copy."""
    run = api.run(spec, tmp_path_factory.mktemp("shapes") / "run", options=Options(executor="inline"))
    api.score(run)
    return run


@pytest.fixture
def run(whole: Run, tmp_path: Path) -> Run:
    return Run.open(shutil.copytree(whole.path, tmp_path / "run"))


def damages(data: bytes) -> Iterator[bytes]:
    yield from (b"", data[: len(data) // 2], data[:-3], b"{}", b"[]", b"null", b'""', b"\xff\xfe", b"[" * 100_000, b'{"a": NaN}')


def one_line(error: pytest.ExceptionInfo[EtabenchError], *words: str) -> None:
    text = str(error.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


def read_all(run: Run) -> None:
    fresh = Run.open(run.path)
    assert fresh.plan.units
    assert fresh.spec.editors
    assert fresh.head.ids
    assert fresh.read("environment.json", dict[str, Any])


@pytest.mark.parametrize("name", HEADS)
def test_a_damaged_head_is_named_and_run_writes_it_anew(run: Run, spec: Spec, name: str) -> None:
    file = run.path / name
    for damage in damages(file.read_bytes()):
        if (name, damage) == ("environment.json", b"{}") or (name == "spec.yaml" and b"fidelity: " in damage):
            continue  # nothing is known of where it ran; and YAML does not tell that the end of its last word is lost
        file.write_bytes(damage)
        with pytest.raises(RunError) as caught:
            read_all(run)
        one_line(caught, name, f"`etabench run SPEC --out {run.path}` writes it anew")
    before = {path.name: path.stat().st_mtime_ns for path in run.units.iterdir()}
    api.run(spec, run.path, options=Options(executor="inline"))
    read_all(run)
    assert {path.name: path.stat().st_mtime_ns for path in run.units.iterdir()} == before, "what is finished is kept"


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_a_damaged_table_is_named_and_score_makes_it_anew(run: Run, name: str) -> None:
    file = run.path / name
    content = file.read_bytes()
    for damage in damages(content):
        file.write_bytes(damage)
        with pytest.raises(EtabenchError) as caught:
            report_data(Run.open(run.path))
        one_line(caught, Path(name).name, f"`etabench score {run.path}` makes it anew")
    api.score(run.path)
    assert file.read_bytes() == content


def test_a_damaged_record_is_made_anew(run: Run, spec: Spec) -> None:
    file = min(run.units.glob("*/record.json"))
    key, content = file.parent.name, file.read_bytes()
    for damage in damages(content):
        file.write_bytes(damage)
        assert run.record(key) is None
    file.unlink()
    file.mkdir()
    assert run.record(key) is None
    shutil.rmtree(file.parent)
    file.parent.write_text("a file in place of the folder")
    api.run(spec, run.path, options=Options(executor="inline"))
    again, before = run.record(key), json.loads(content)
    assert again is not None
    assert [edit.sha256 for edit in again.edits] == [edit["sha256"] for edit in before["edits"]]


RECORDS: dict[str, dict[str, Any]] = {
    "no edits": {"edits": []},
    "an edit twice": {"absent": [0.0]},
    "a status that is none": {"status": "weird"},
    "a key of another unit": {"key": "0" * 24},
    "a later schema": {"schema": 2},
    "texts for numbers": {"unet_evaluations": "3"},
    "a negative time": {"seconds": {"prepare": -1.0}},
    "a time that is none": {"seconds": {"prepare": True}},
    "memory in words": {"peak_memory": {"mb": "much"}},
    "a failure without a reason": {"status": "failed", "edits": [], "reason": {}},
    "a picture elsewhere": {"pictures": {"mask": "../../spec.png"}},
    "a picture of another place": {"pictures": {"mask": "/etc/passwd.png"}},
    "a picture in a Windows place": {"pictures": {"mask": "C:x.png"}},
    "a picture that is none": {"pictures": {"mask": "record.json"}},
    "a hidden picture": {"pictures": {"mask": ".png"}},
    "a picture over an edit": {"pictures": {"mask": "000.png"}},
}


def test_a_record_of_the_wrong_kind_counts_as_none(run: Run) -> None:
    file = next(path for path in run.units.glob("*/record.json") if len(json.loads(path.read_text())["edits"]) == 3)
    content = json.loads(file.read_text())
    for case, changes in RECORDS.items():
        file.write_text(json.dumps(content))
        assert run.record(file.parent.name) is not None
        file.write_text(json.dumps(content | changes))
        assert run.record(file.parent.name) is None, case
    statuses = report_data(run).units["status"].value_counts()
    assert statuses.to_dict() == {"done": len(run.plan.units) - 1, "missing": 1}


def test_an_edit_is_a_png_of_its_own_folder(run: Run) -> None:
    file = min(run.units.glob("*/record.json"))
    content = json.loads(file.read_text())
    for place in ("/tmp/private.png", "../000.png", "a/b.png", "a\\b.png", "x.eps", "x.png\n", "\x1b.png", ""):
        content["edits"][0]["file"] = place
        file.write_text(json.dumps(content))
        assert run.record(file.parent.name) is None, place


def change(content: Any, place: tuple[Any, ...], value: Any) -> Any:
    """A copy of JSON content with another value at a place."""
    copy = json.loads(json.dumps(content))
    node = copy
    for key in place[:-1]:
        node = node[key]
    if place:
        node[place[-1]] = value
    return copy if place else value


def places(content: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield before
    items = content.items() if isinstance(content, dict) else enumerate(content[:2]) if isinstance(content, list) else ()
    for key, inner in items:
        yield from places(inner, (*before, key))


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("samples", 0, "units", 1, "key"), "../../x", "units[1].key: '../../x' (a string) is not the hash of its identity"),
        (("settings", 0, "params"), {"gain": 7.0}, "units[0].key"),
        (("settings",), [], "settings: not one for each entry"),
        (("samples", 0, "units", 0, "entry"), -1, "no entry -1"),
        (("samples", 0, "units", 0, "seed"), 5, "units[0].key"),
        (("samples", 0, "units", 0, "extra"), "[]", "extra: expected a mapping"),
        (("samples", 0, "units", 0, "extra"), "{", "cannot be read"),
        (("samples", 0, "id"), "other", "units[0].key"),
        (("samples", 0, "digest"), "../../x", "samples[0].digest: expected a digest"),
        (("samples",), [], "samples: empty"),
        (("entries", 0, "values"), [], "entries[0].values: expected ascending knob values"),
        (("entries", 0, "anchor"), "yes", "entries[0].anchor: expected true or false"),
    ],
)
def test_a_plan_that_does_not_hold_together_is_named(run: Run, place: tuple[Any, ...], value: Any, words: str) -> None:
    file = run.path / "plan.parquet"
    file.write_bytes(changed_plan(file.read_bytes(), lambda content: change(content, place, value)))
    with pytest.raises(RunError) as caught:
        _ = Run.open(run.path).plan
    one_line(caught, "plan.parquet", words, "writes it anew")


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("units", 1, "key"), "../../x", "units[1].key: '../../x' (a string) is not the hash of its identity"),
        (("units", 0, "sample"), 99, "units[0]: no entry 0 or no sample 99"),
        (("units", 0, "identity", "seed"), 5, "units[0].key"),
        (("units", 0, "identity", "sample_id"), "other", "units[0].identity: not that of sample 'sample-0' and seed 0"),
        (("units", 0, "seed"), "0", "units[0].seed: expected a whole number, got '0'"),
        (("units",), [], "units: empty"),
    ],
)
def test_a_plan_of_before_is_looked_at_as_closely(run: Run, place: tuple[Any, ...], value: Any, words: str) -> None:
    content = json.loads(as_json(run.plan))
    (run.path / "plan.parquet").unlink()
    file = run.path / "plan.json"
    file.write_text(json.dumps(content))
    assert Run.open(run.path).plan == run.plan
    file.write_text(json.dumps(change(content, place, value)))
    with pytest.raises(RunError) as caught:
        _ = Run.open(run.path).plan
    one_line(caught, "plan.json", words, "writes it anew")


def test_a_file_of_another_table_is_no_plan(run: Run) -> None:
    shutil.copy(run.scores / "pairs.parquet", run.path / "plan.parquet")
    with pytest.raises(RunError, match=r"plan\.parquet cannot be read \(it is no plan of this version\)"):
        _ = Run.open(run.path).plan


@pytest.mark.slow
@given(st.data())
@settings(max_examples=30, deadline=None)
def test_whatever_stands_in_a_run_file_it_is_read_or_refused_in_one_line(whole: Run, data: st.DataObject) -> None:
    """One value of a file is replaced by one of another kind: a reader takes it or raises an error that says where."""
    record = min(whole.units.glob("*/record.json")).relative_to(whole.path)
    name = data.draw(st.sampled_from(["manifest.json", "environment.json", "scores/cards.json", str(record)]))
    content = json.loads((whole.path / name).read_text())
    place = data.draw(st.sampled_from(sorted(places(content), key=str)))
    odd = json.dumps(change(content, place, data.draw(st.sampled_from(WRONG)))).encode()
    kept = (whole.path / name).read_bytes()
    try:
        (whole.path / name).write_bytes(odd)
        report_data(Run.open(whole.path))
        said = ""
    except EtabenchError as error:
        said = str(error)
    finally:
        (whole.path / name).write_bytes(kept)
    assert "\n" not in said
    assert not said or Path(name).name in said


def test_only_regular_files_of_a_size_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "hole").write_bytes(b"")
    os.truncate(tmp_path / "hole", 2**40)
    refused = {"pipe": "not a regular file", "hole": "1099511627776 bytes", "": "not a regular file", "no": "No such file"}
    for name, words in refused.items():
        with pytest.raises(RunError, match=words):
            read_as(tmp_path / name, dict[str, Any], "advice")


def test_a_link_out_of_the_run_is_refused(run: Run, tmp_path: Path) -> None:
    unit = next(path for path in run.units.iterdir() if (path / "001.png").is_file())
    elsewhere = Path(shutil.move(unit / "000.png", tmp_path / "private.png"))
    (unit / "000.png").symlink_to(elsewhere)
    with pytest.raises(RunError, match=r"000\.png is gone or differs from its record .* makes them anew"):
        report_data(run)
    shutil.move(run.report if run.report.exists() else run.scores, tmp_path / "outside")
    run.report.symlink_to(tmp_path / "outside")
    with pytest.raises(RunError, match=r"report leads out of .*run by a link; put what it leads to in its place, or delete it"):
        Run.open(run.path)


def _replace(run: Run, file: Path, data: bytes) -> None:
    """Put another file in the place of an edit, and its digest in the record."""
    file.write_bytes(data)
    record = json.loads((file.parent / "record.json").read_text())
    next(edit for edit in record["edits"] if edit["file"] == file.name)["sha256"] = hashlib.sha256(data).hexdigest()
    (file.parent / "record.json").write_text(json.dumps(record))


def test_a_link_out_of_the_run_is_neither_scored_nor_exported_and_made_anew(run: Run, spec: Spec, tmp_path: Path) -> None:
    unit = next(path for path in run.units.iterdir() if (path / "001.png").is_file())
    private = tmp_path / "private.png"
    shutil.copy(unit / "001.png", private)
    (unit / "000.png").unlink()
    (unit / "000.png").symlink_to(private)
    _replace(run, unit / "000.png", private.read_bytes())
    with pytest.raises(RunError, match=r"000\.png leads out of .*run by a link"):
        export_run(run, tmp_path / "export")
    record = run.record(unit.name)
    assert record is not None
    with pytest.raises(RunError, match=r"000\.png is gone or differs from its record"):
        run.read_edit(record, 0)
    api.run(spec, run.path, options=Options(executor="inline"))
    assert not (unit / "000.png").is_symlink()
    assert export_run(Run.open(run.path), tmp_path / "export").missing == 0


def test_a_sample_that_leads_out_of_the_run_is_refused(run: Run, tmp_path: Path) -> None:
    source = next(run.path.glob("samples/*/source.png"))
    shutil.move(source, tmp_path / "private.png")
    source.symlink_to(tmp_path / "private.png")
    with pytest.raises(RunError, match=r"source\.png leads out of .*run by a link"):
        export_run(run, tmp_path / "export")
    with pytest.raises(RunError, match=r"source\.png leads out of .*run by a link"):
        for info in run.plan.samples:
            run.sample(info)


@pytest.mark.parametrize("content", [b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\x89PNG\r\n\x1a\n and no more"])
def test_an_edit_that_is_no_picture_is_named(run: Run, content: bytes) -> None:
    file = next(run.units.glob("*/001.png"))
    _replace(run, file, content)
    record = run.record(file.parent.name)
    assert record is not None
    with pytest.raises(RunError, match=r"001\.png (is gone or differs from its record|cannot be decoded)") as caught:
        run.read_edit(record, 1)
    assert "\n" not in str(caught.value)


def test_an_export_holds_pngs_only(run: Run, tmp_path: Path) -> None:
    _replace(run, next(run.units.glob("*/001.png")), b"%!PS-Adobe-3.0 EPSF-3.0\n")
    with pytest.raises(RunError, match=r"001\.png is no PNG"):
        export_run(run, tmp_path / "export")
