from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

import data_manifests
from bench.errors import SpecError
from bench.spec import EditorSpec, ManifestRef, Spec, load_spec, shipped_specs
from bench.spec.protocols import protocols
from bench.suggest import did_you_mean, kind_of

MINIMAL: dict[str, Any] = {
    "name": "mine",
    "manifest": "./pictures",
    "model": "toybox",
    "editors": [{"name": "imagic"}, {"name": "sdedit", "grid": [0.2, 0.8]}],
    "metrics": ["clip"],
}


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    return write(tmp_path, {})


def write(folder: Path, changes: dict[str, Any]) -> Path:
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump(MINIMAL | changes, sort_keys=False))
    return file


def refusal(path: Path | str, *overrides: str) -> str:
    with pytest.raises(SpecError) as caught:
        load_spec(path, overrides)
    message = str(caught.value)
    assert "\n" not in message, "an error is one line"
    return message


@pytest.mark.parametrize("name", ["demo", "ci", "imagic-fig9", "diffedit-tradeoff", "tedbench"])
def test_shipped_specs_load_and_survive_storing(name: str) -> None:
    spec = load_spec(name)
    assert spec.name == name
    stored = yaml.safe_load(yaml.safe_dump(spec.resolved()))
    assert Spec.model_validate(stored) == spec
    assert Spec.model_validate(json.loads(json.dumps(spec.resolved()))) == spec


def test_the_shipped_specs_are_what_they_promise() -> None:
    assert set(shipped_specs()) == {
        "demo",
        "ci",
        "imagic-fig9",
        "diffedit-tradeoff",
        "tedbench",
        "tedbench-fid",
        "validate",
        "calibration",
        "judged",
        *protocols(),
    }
    fig9 = load_spec("imagic-fig9")
    assert fig9.manifest.name == "toybox"
    assert [editor.name for editor in fig9.editors] == ["imagic"]
    tradeoff = load_spec("diffedit-tradeoff")
    assert {editor.name for editor in tradeoff.editors} == {"diffedit", "sdedit", "encode_decode", "diffedit_no_encode"}
    assert len({tuple(editor.grid or ()) for editor in tradeoff.editors}) == 1, "methods are compared at equal ratios"
    tedbench = load_spec("tedbench")
    assert tedbench.manifest.benchmark == "tedbench"
    assert "oracle" not in tedbench.anchors, "TEdBench has no ground truth"
    distances = load_spec("tedbench-fid")
    assert distances.metrics[: len(tedbench.metrics)] == tedbench.metrics
    same = ("manifest", "model", "device", "dtype", "seeds", "editors")
    assert all(getattr(distances, key) == getattr(tedbench, key) for key in same)


def test_shorthands_and_defaults(spec_file: Path) -> None:
    spec = load_spec(spec_file)
    assert spec.metrics[0].name == "clip"
    assert spec.metrics[0].params == {}
    assert spec.model.name == "toybox"
    assert spec.seeds == [0]
    assert [editor.label for editor in spec.editors] == ["imagic", "sdedit"]
    assert spec.editors[0].grid is None


def test_the_label_of_a_file_is_its_class() -> None:
    assert EditorSpec(name="some/where/mine.py:Mine").label == "Mine"


def test_paths_are_seen_from_the_spec_and_overrides_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, here = tmp_path / "specs", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    editors = [{"name": "mine.py:Mine"}]
    file = write(home, {"editors": editors, "model": {"path": "model"}, "reference": {"kind": "manifest", "manifest": "./real"}})
    spec = load_spec(file)
    assert spec.manifest.path == str(home / "pictures")
    assert spec.model.path == str(home / "model")
    assert spec.editors[0].name == str(home / "mine.py") + ":Mine"
    assert spec.reference
    assert spec.reference.manifest == str(home / "real")
    assert load_spec(file, ["manifest=./other"]).manifest.path == str(here / "other")
    own = load_spec(file, ["reference={kind: folder, folder: mine}"]).reference
    assert own
    assert own.folder == str(here / "mine")
    theirs = write(home, {"editors": editors, "reference": {"kind": "folder", "folder": "real"}})
    own = load_spec(theirs).reference
    assert own
    assert own.folder == str(home / "real")


def test_a_folder_beside_the_spec_needs_no_dot(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    assert load_spec(write(tmp_path, {"manifest": "pictures"})).manifest.path == str(tmp_path / "pictures")


def test_shipped_manifest_names_stay_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_manifests, "names", lambda: ["toybox"])
    (tmp_path / "toybox").mkdir()
    assert load_spec(write(tmp_path, {"manifest": "toybox"})).manifest.name == "toybox"
    assert load_spec(write(tmp_path, {"manifest": "./toybox"})).manifest.path == str(tmp_path / "toybox")


@pytest.mark.parametrize(
    ("override", "read", "expected"),
    [
        ("editors.1.preset=paper", lambda s: s.editors[1].preset, "paper"),
        ("editors.sdedit.grid=[0.1, 0.9]", lambda s: s.editors[1].grid, [0.1, 0.9]),
        ("editors.0.params.lr=1e-3", lambda s: s.editors[0].params["lr"], 0.001),
        ("limit=3", lambda s: s.limit, 3),
        ("manifest.size=128", lambda s: s.manifest.size, 128),
        ("metrics.0.params.model=ViT-L-14", lambda s: s.metrics[0].params, {"model": "ViT-L-14"}),
        ("reference.kind=sources", lambda s: s.reference.kind, "sources"),
        ("anchors=[copy]", lambda s: s.anchors, ["copy"]),
    ],
)
def test_overrides(spec_file: Path, override: str, read: Any, expected: Any) -> None:
    assert read(load_spec(spec_file, [override])) == expected


@pytest.mark.parametrize(
    ("override", "place"),
    [("model.path=/models/one", {"path": "/models/one"}), ("model.hub=a/b", {"hub": "a/b"}), ("model.revision=main", None)],
)
def test_a_place_of_the_model_stands_for_the_one_of_the_file(tmp_path: Path, override: str, place: dict[str, str] | None) -> None:
    for before in ("toybox", {"hub": "x/y", "revision": "v1", "allow_pickle": True}):
        file = write(tmp_path, {"model": before})
        if place is None and before == "toybox":
            with pytest.raises(SpecError, match="revision applies to hub models only"):
                load_spec(file, [override])
            continue
        model = load_spec(file, [override]).model
        assert model is not None
        found = model.model_dump(include={"name", "path", "hub", "revision"}, exclude_none=True)
        assert found == (place or {"hub": "x/y", "revision": "main"})
        assert model.allow_pickle == (before != "toybox")
    later = load_spec(file, [override, "model.hub=b/c", "model.revision=v2"]).model if place else None
    assert later is None or (later.name, later.path, later.hub, later.revision) == (None, None, "b/c", "v2")


def test_later_overrides_win(spec_file: Path) -> None:
    assert load_spec(spec_file, ["limit=3", "limit=4"]).limit == 4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("editors.1.presset=x", "editors[1].presset: unknown key; did you mean 'preset'?"),
        ("limti=3", "limti: unknown key; did you mean 'limit'?"),
        ("manifest.siz=64", "manifest.siz: unknown key; did you mean 'size'?"),
        ("editors.7.preset=x", "editors has 2 items, numbered from 0; there is no 7"),
        ("editors.imagc.preset=x", "in editors, 'imagc' is not there; did you mean 'imagic'?"),
        ("limit.x=3", "limit: expected a whole number, got {'x': 3} (a mapping)"),
        ("name.x=3", "name is 'mine' (a string), nothing can be set inside it"),
        ("limit=abc", "limit: expected a whole number, got 'abc' (a string)"),
        ("limit=2.5", "limit: expected a whole number, got 2.5 (a number)"),
        ("name=5", "name: expected a string, got 5 (a whole number); put it in quotes to make it text"),
        ("limit=[", "expected"),
        ("limit", "expected key=value"),
        ("=3", "expected key=value"),
    ],
)
def test_a_bad_override_is_named(spec_file: Path, override: str, message: str) -> None:
    refused = refusal(spec_file, override)
    assert refused.startswith(f"--set {override}")
    assert message in refused


def test_paths_among_parameters_are_seen_from_the_spec_too(tmp_path: Path) -> None:
    params = {"path": "theirs", "clip": "local-dir:./ranker", "selector": "a/b", "near": "../x", "count": 3, "dots": "..."}
    spec = load_spec(write(tmp_path, {"editors": [{"name": "folder", "params": params}]}))
    expected = {"path": f"{tmp_path}/theirs", "clip": f"local-dir:{tmp_path}/ranker", "near": f"{tmp_path}/../x"}
    assert spec.editors[0].params == params | expected
    absolute = {"path": "/data/theirs", "clip": "ViT-B-32:/data/weights.safetensors"}
    assert load_spec(write(tmp_path, {"editors": [{"name": "folder", "params": absolute}]})).editors[0].params == absolute


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"presset": 1}, "presset: unknown key"),
        ({"batch": 0}, "batch: input should be greater than or equal to 1, got 0"),
        ({"editors": ["imagic", {"name": "sdedit", "presset": "x"}]}, "editors[1].presset: unknown key; did you mean 'preset'?"),
        ({"editors": []}, "editors: empty; give at least one"),
        ({"editors": "imagic"}, "editors: expected a list, got {'name': 'imagic'}"),
        ({"editors": ["imagic", "imagic"]}, "two editors or anchors have the label 'imagic'"),
        ({"anchors": ["sdedit"]}, "two editors or anchors have the label 'sdedit'"),
        ({"editors": [{"name": "imagic", "grid": []}]}, "editors[0].grid: empty"),
        ({"editors": [{"name": "imagic", "grid": [0.8, 0.2]}]}, "knob values must ascend without repeats; write [0.2, 0.8]"),
        ({"editors": [{"name": "imagic", "grid": [0.2, 0.2]}]}, "write [0.2]"),
        ({"editors": [{"name": "imagic", "grid": [0.2, float("inf")]}]}, "editors[0].grid: knob values must be finite, got inf"),
        ({"editors": [{"name": "imagic", "grid": [0.2, "x"]}]}, "editors[0].grid[1]: expected a number, got 'x' (a string)"),
        ({"editors": [{"preset": "toybox"}]}, "editors[0].name: missing"),
        ({"seeds": []}, "seeds: empty"),
        ({"seeds": [1, 1]}, "seeds: 1 is there twice"),
        ({"seeds": [-1]}, "seeds[0]: input should be greater than or equal to 0, got -1"),
        ({"seeds": [True]}, "seeds[0]: expected a whole number, got True (true or false)"),
        ({"seeds": ["0"]}, "seeds[0]: expected a whole number, got '0' (a string)"),
        ({"limit": 0}, "limit: input should be greater than or equal to 1"),
        ({"samples": ["a", "a"]}, "samples: 'a' is there twice"),
        ({"samples": [7]}, "samples[0]: expected a string, got 7 (a whole number); put it in quotes"),
        ({"dtype": "flaot32"}, "dtype: expected one of float32, float16, bfloat16, auto, got 'flaot32' (a string); did you mean"),
        ({"device": "gpu"}, "device: expected auto, cpu, mps, cuda or cuda:N, got 'gpu'"),
        ({"metrics": ["clip", "clip"]}, "the same metric is there twice"),
        ({"model": {"path": "a", "hub": "b/c"}}, "model: give exactly one of name, path, hub; got path and hub"),
        ({"model": {}}, "model: give exactly one of name, path, hub; got none"),
        ({"model": "org/model"}, "{hub: org/model}"),
        ({"model": {"path": "a", "revision": "main"}}, "revision applies to hub models only"),
        ({"manifest": {"path": "a", "revision": "main"}}, "manifest: revision applies to hub datasets only"),
        ({"manifest": {"path": "a", "fit": "crop"}}, "manifest.fit: expected one of center-crop, squash, pad"),
        ({"manifest": {"path": "a", "columns": {"imge": "x"}}}, "'imge' is not a field of a sample; did you mean 'image'"),
        ({"manifest": {"path": "a", "columns": {"image": "x"}}}, "must name at least image and target_text"),
        ({"manifest": 3}, "manifest: expected a mapping, got 3"),
        ({"reference": {"kind": "truth"}}, "reference.kind: expected one of truths, sources, toybox, manifest"),
        ({"reference": {"kind": "manifest"}}, "kind manifest and the key manifest go together"),
        ({"axes": {"editabilty": "clip"}}, "axes.editabilty: unknown key; did you mean 'editability'?"),
        ({"axes": {"fidelity": "clip"}}, "axes: both axes are 'clip'; name two metrics"),
        ({"axes": {"fidelity": "ssim"}}, "axes.fidelity: no metric of the spec is called 'ssim'; add it to metrics"),
        ({"metrics": ["clip", "ssim"], "axes": {"fidelity": "sism"}}, "axes.fidelity: no metric of the spec is called 'sism'; did you mean"),
        ({"metrics": ["lpips", {"name": "lpips", "params": {"region": "background"}}], "axes": {"fidelity": "lpips[region=edited]"}},
         "no metric of the spec is called 'lpips[region=edited]'; did you mean 'lpips[region=background]'?"),
    ],
)  # fmt: skip
def test_a_bad_spec_is_one_clear_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    file = write(tmp_path, changes)
    refused = refusal(file)
    assert refused.startswith(f"{file}: ")
    assert message in refused


def test_a_mistyped_key_comes_before_the_missing_one(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({("manifset" if key == "manifest" else key): value for key, value in MINIMAL.items()}))
    assert refusal(file) == f"{file}: manifset: unknown key; did you mean 'manifest'? (and 1 more)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("# nothing\n", "empty"),
        ("- a\n- b\n", "expected a mapping of keys to values, got ['a', 'b'] (a list)"),
        ("name: a\nmodel: toybox\nname: b\n", ":3: duplicate key 'name', first on line 1"),
        ("editors:\n  - name: a\n    name: b\n", ":3: duplicate key 'name', first on line 2"),
        ("name: a\neditors: [\n", ":3: "),
        ("name: a\n\tmodel: b\n", ":2: "),
        ("name: !!python/object/apply:os.getcwd []\n", ":1: could not determine a constructor"),
        ("name: 'a\x07'\n", "not YAML"),
        ("[" * 5000, ":1: nested deeper than 40 levels"),
    ],
)
def test_bad_yaml_names_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    refused = refusal(file)
    assert refused.startswith(str(file))
    assert message in refused


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    assert "cannot be read as UTF-8 text" in refusal(file)


def test_a_missing_file_and_an_unknown_name(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no.yaml") == f"{tmp_path / 'no.yaml'}: no such spec file"
    assert "neither a spec file nor a shipped spec" in refusal("x" * 5000)
    assert refusal("dmo") == "dmo: neither a spec file nor a shipped spec; did you mean 'demo'?"


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "1.0e-3", ".1e-2", "+1e-3"])
def test_scientific_notation_is_a_number(spec_file: Path, text: str) -> None:
    assert load_spec(spec_file, [f"editors.0.params.lr={text}"]).editors[0].params["lr"] == 0.001


def test_python_callers_get_the_shorthands_too() -> None:
    spec = Spec.model_validate(MINIMAL)
    assert spec.manifest == ManifestRef(path="./pictures")


def test_axes_are_named_as_tables_name_metrics(tmp_path: Path) -> None:
    metrics = ["lpips", {"name": "lpips", "params": {"region": "background", "net": "alex"}}, "clip_directional"]
    axes = {"editability": "clip_directional", "fidelity": "lpips[net=alex,region=background]"}
    spec = load_spec(write(tmp_path, {"metrics": metrics, "axes": axes}))
    assert spec.axes.model_dump() == axes
    assert Spec.model_validate(spec.resolved()) == spec
    assert load_spec(write(tmp_path, {})).axes.model_dump() == {"editability": "clip", "fidelity": "lpips"}, (
        "whether scored or not"
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("editors.0.params.guidance=.inf", "editors[0].params: guidance is inf; parameters must be finite"),
        ("editors.0.params.call={a: [1, {b: -.inf}]}", "editors[0].params: call.a.1.b is -inf; parameters must be finite"),
        ("metrics.0.params.a=.nan", "metrics[0].params: a is nan; parameters must be finite"),
        (f"editors.0.params.a=0x{'f' * 6000}", "a is a number of 24000 bits (a whole number); parameters have 63 bits at most"),
        (f"limit=0x{'f' * 6000}", "limit: input should be less than 9223372036854775808, got a number of 24000 bits"),
        ("editors.0.params.x=!!map [a]", ":1: the value does not fit its tag tag:yaml.org,2002:map"),
        ("editors.0.params.x=!!int ''", ":1: the value does not fit its tag tag:yaml.org,2002:int"),
        ("editors.0.params.x=!!float ''", ":1: the value does not fit its tag"),
        ("editors.0.params.x=!!bool maybe", ":1: the value does not fit its tag"),
        ("editors.0.params.x=!!str [a]", ":1: expected a scalar node"),
        ("editors.0.params.x=!!timestamp x", ":1: could not determine a constructor"),
        ("editors.0.params.x=!!binary aGk=", ":1: could not determine a constructor"),
        ("editors.0.params.x=!!set {a}", ":1: could not determine a constructor"),
        ("editors.²=1", "in editors, '²' is not there; choose from imagic, sdedit"),
        ("editors.٣=1", "in editors, '٣' is not there"),
        (f"editors.{'9' * 6000}=1", "editors has 2 items, numbered from 0"),
        ('name="\\0"', "name: expected printable characters, got '\\x00' (a string)"),
        ('name="a\\e[31m"', "name: expected printable characters"),
        ("name=' '", "name: expected something to read, got only spaces"),
        ("name=..", "name: '..' would be a folder that is there already"),
        ("name=.", "name: '.' would be a folder that is there already"),
        ("name=' .. '", "name: ' .. ' would be a folder that is there already"),
        (f"name={'x' * 300}", "name: expected at most 100 characters, got 300"),
        ("editors.0.label=' '", "editors[0].label: expected something to read"),
        ('editors.0.label="a\\nb"', "editors[0].label: expected printable characters"),
        ('metrics.0.name="a\\0:B"', "metrics[0].name: expected printable characters"),
        ('model={path: "a\\0"}', "model.path: expected printable characters"),
        ("reference={kind: sources, folder: mine}", "reference: the key folder is for kind folder"),
        ("reference={kind: toybox, per_class: 1000000000}", "reference.per_class: input should be less than or equal to 10000"),
        ("device=cuda:99999999", "device: expected auto, cpu, mps, cuda or cuda:N"),
        ("editors.0.params=&a {b: *a}", ":1: an alias stands inside what it names"),
        ("editors.0.params=[&a [], *b]", ":1: found undefined alias 'b'"),
        (f"description={'[' * 41}{']' * 41}", ":1: nested deeper than 40 levels"),
        ("{}={}".format("x" * 5000, 3), "unknown key; choose from"),
    ],
)  # fmt: skip
def test_what_no_record_could_hold_is_refused_in_a_short_line(spec_file: Path, override: str, message: str) -> None:
    refused = refusal(spec_file, override)
    assert message in refused
    assert refused.isprintable()
    assert len(refused.replace(override, "")) < 800


def test_a_date_without_quotes_is_a_text(spec_file: Path) -> None:
    assert load_spec(spec_file, ["name=2024-01-01"]).name == "2024-01-01"


def test_no_home_of_that_name_is_no_such_path(spec_file: Path) -> None:
    here = Path.cwd().resolve()
    assert load_spec(spec_file, ["manifest=~nosuchuser/x"]).manifest.path == f"{here}/~nosuchuser/x"
    given = "[{name: '~nosuchuser/x.py:X', params: {path: '~nosuchuser/y'}}]"
    editor = load_spec(spec_file, [f"editors={given}"]).editors[0]
    assert (editor.name, editor.params["path"]) == (f"{here}/~nosuchuser/x.py:X", f"{here}/~nosuchuser/y")


BOMBS = {
    "list": "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]\n" for i in range(30)),
    "merge": "a0: &a0 {x: 1}\n" + "".join(f"a{i + 1}: &a{i + 1} {{<<: [{', '.join([f'*a{i}'] * 9)}]}}\n" for i in range(30)),
    "long": f"a: &a {'x' * 500_000}\nb: [{', '.join(['*a'] * 500)}]\n",
    "deep": "a0: &a0 [x]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}]\n" for i in range(2000)),
    "key": "a0: &a0 [x, x]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(40)) + "? *a40\n: 1\n",
}


@pytest.mark.parametrize("place", ["", "name: ", "editors: [{name: imagic, params: "])
@pytest.mark.parametrize("bomb", BOMBS)
def test_aliases_repeat_no_more_than_a_spec_can_hold(tmp_path: Path, bomb: str, place: str) -> None:
    file = tmp_path / "bomb.yaml"
    last = BOMBS[bomb].rstrip("\n").rpartition("\n")[2].partition(":")[0]
    tail = f"{place}*{last}{'}]' if place.startswith('editors') else ''}\n" if place and bomb != "key" else ""
    file.write_text(BOMBS[bomb] + tail)
    before = time.process_time()
    assert "aliases repeat more than a spec can hold; write out less" in refusal(file)
    assert time.process_time() - before < 5, "seconds of this process; the smallest of them took minutes"


def test_aliases_that_save_writing_are_welcome(tmp_path: Path) -> None:
    text = yaml.safe_dump(MINIMAL | {"editors": []}).replace("editors: []\n", "")
    many = "".join(
        f"  - {{name: sdedit, label: s{i}, grid: *grid, params: {{<<: *shared, steps: {i + 1}}}}}\n" for i in range(200)
    )
    first = "  - {name: sdedit, grid: &grid [0.2, 0.4], params: &shared {guidance: 3.0}}\n"
    (tmp_path / "mine.yaml").write_text(f"{text}editors:\n{first}{many}")
    spec = load_spec(tmp_path / "mine.yaml")
    assert (spec.editors[200].grid, spec.editors[200].params) == ([0.2, 0.4], {"guidance": 3.0, "steps": 200})


@pytest.mark.parametrize("kind", ["pipe", "device", "giant"])
def test_a_spec_is_a_regular_file_of_bounded_size(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "odd.yaml"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    else:
        file.touch()
        os.truncate(file, 5 << 30)
    assert ("larger than 4 MiB" if kind == "giant" else "a pipe, a device") in refusal(file)


def test_findings_never_show_a_whole_value() -> None:
    huge: dict[str, Any] = {"a": ["x" * 10**7] * 10**4, "b": 10**5000}
    for value in (huge, [huge] * 100, "x" * 10**7, 10**5000, -(10**5000)):
        assert len(kind_of(value)) < 100
    assert did_you_mean("x" * 10**7, ["imagic"]) == "choose from imagic"
