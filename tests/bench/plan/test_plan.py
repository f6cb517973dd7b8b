from __future__ import annotations

import gc
import json
import math
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from fake_specs import HERE, SpecMaker, editor, metric
from plan_files import as_json

from bench.commands.outlook import outlooks
from bench.errors import RegistryError, SpecError
from bench.manifest import Manifest, Sample, open_manifest
from bench.plan import Plan, make_plan
from bench.plan.plan import unit_seed
from bench.spec import Spec
from bench.store import Record, Run
from bench.store.plans import read_plan, write_plan
from bench.store.shapes import flaw_of_plan
from bench.toybox import embedded


def planned(spec: Spec, model: str = "", resolution: int | None = None) -> Plan:
    return make_plan(spec, open_manifest(spec.manifest, resolution), model=model, resolution=resolution)


def keys(plan: Plan) -> list[str]:
    return [unit.key for unit in plan.units]


def test_a_unit_is_a_sample_an_editor_and_a_seed_with_all_its_knob_values(make_spec: SpecMaker) -> None:
    loud = editor("Fade", label="loud", preset="loud", grid=[0.2])
    plan = planned(make_spec(editor("Fade"), loud, seeds=[3, 1], anchors=["copy"]))
    assert len(plan.units) == 3 * (2 + 2 + 1), "the anchor is deterministic and runs with one seed"
    assert plan.edits == 3 * (2 * 3 + 2 * 1 + 1)
    assert [entry.values for entry in plan.entries] == [(0.0, 0.5, 1.0), (0.2,), (0.0,)]
    assert plan.entries[1].params["gain"] == 2.0
    assert {unit.seed for unit in plan.units if unit.entry == 2} == {1}
    assert plan.first_seed == 1
    assert len(set(keys(plan))) == len(plan.units)


def test_a_preset_may_have_a_grid_of_its_own_that_the_spec_s_own_replaces(make_spec: SpecMaker) -> None:
    kinds = ({}, {"preset": "loud"}, {"preset": "loud", "grid": [0.75]})
    plan = planned(make_spec(*(editor("Early", label=str(number), **kind) for number, kind in enumerate(kinds))))
    assert [entry.values for entry in plan.entries] == [(0.0, 0.5, 1.0), (0.0, 0.25), (0.75,)]


def test_a_plan_survives_its_file(make_spec: SpecMaker, tmp_path: Path) -> None:
    plan = planned(make_spec(editor("Fade"), editor("NeedsMask"), anchors=["oracle"]))
    write_plan(tmp_path / "plan.parquet", plan)
    (tmp_path / "plan.json").write_bytes(as_json(plan))
    for name in ("plan.parquet", "plan.json"):
        found = read_plan(tmp_path / name, "")
        assert found == plan, name
        assert [unit.identity for unit in found.units] == [unit.identity for unit in plan.units]
        assert all(unit.settings is found.units[0].settings for unit in found.units if unit.entry == 0), "kept once"
    assert flaw_of_plan(plan) == ""


def test_a_plan_is_written_and_read_in_parts(make_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(make_spec(editor("Fade"), seeds=[0, 1], anchors=["oracle"]))
    few = replace(plan, units=tuple(unit for unit in plan.units if unit.sample != 1))
    monkeypatch.setattr("bench.store.plans.SAMPLES_AT_A_TIME", 2)
    for each in (plan, few):
        write_plan(tmp_path / "plan.parquet", each)
        assert pq.ParquetFile(tmp_path / "plan.parquet").num_row_groups == 2
        assert read_plan(tmp_path / "plan.parquet", "") == each


def test_a_key_depends_on_what_determines_the_result(make_spec: SpecMaker) -> None:
    base = keys(planned(make_spec(editor("Fade"))))
    for changed in (
        planned(make_spec(editor("Fade", preset="loud"))),
        planned(make_spec(editor("Fade", grid=[0.0, 0.5]))),
        planned(make_spec(seeds=[1])),
    ):
        assert not set(base) & set(keys(changed))


def test_a_key_does_not_depend_on_order_label_neighbours_or_an_unused_model(make_spec: SpecMaker) -> None:
    base = keys(planned(make_spec(editor("Fade"))))
    assert keys(planned(make_spec(editor("Fade", label="other")), model="m", resolution=None)) == base
    backwards = planned(make_spec(editor("NeedsMask"), editor("Fade"), samples=["sample-2", "sample-1", "sample-0"]))
    assert {unit.key for unit in backwards.units if unit.entry == 1} == set(base)
    assert keys(planned(make_spec(limit=2))) == base[:2]


def test_the_model_counts_for_editors_that_use_it(make_spec: SpecMaker) -> None:
    spec = make_spec(editor("Fade"), anchors=["regenerate"])
    one, other = planned(spec, model="m1", resolution=32), planned(spec, model="m2", resolution=32)
    same = [a.key == b.key for a, b in zip(one.units, other.units, strict=True)]
    assert same == [True, False] * 3


def test_changed_content_of_an_editor_file_changes_the_key(make_spec: SpecMaker, tmp_path: Path) -> None:
    source = (HERE / "fake_editors.py").read_text()
    file = tmp_path / "mine.py"
    found = []
    for text in (source, source.replace("share of noise", "portion of noise")):
        file.write_text(text)
        found.append(keys(planned(make_spec({"name": f"{file}:Fade"})))[0])
    assert found[0] != found[1]


def test_unit_seeds_are_mixed_from_run_seed_sample_and_editor() -> None:
    seeds = {unit_seed(run, sample, name) for run in (0, 1) for sample in ("a", "b") for name in ("x", "y")}
    assert len(seeds) == 8
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert unit_seed(0, "a", "bx") != unit_seed(0, "ab", "x"), "the parts are told apart"


@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        (editor("Fade", grid=[0.5, 1.5]), SpecError, r"editor Fade: amount = 1\.5 is out of bounds \[0, 1\]; mend `grid`"),
        (editor("Fade", preset="laud"), SpecError, r"editor Fade: fade: unknown preset 'laud'; did you mean 'loud'\?"),
        (editor("Fade", params={"gian": 1.0}), SpecError, r"unknown parameter 'gian'; did you mean 'gain'\?"),
        (editor("Fade", params={"gain": -1.0}), SpecError, r"editor Fade: fade: gain: .*greater than 0, got -1\.0"),
        (editor("Unchanged", grid=[0.5]), SpecError, r"editor Unchanged: it has no knob, so `grid: \[0\.5\]` means nothing"),
        ({"name": "imagick"}, RegistryError, r"unknown editor 'imagick'; did you mean 'imagic'\?"),
    ],
)
def test_what_does_not_exist_is_named(make_spec: SpecMaker, item: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        planned(make_spec(item))


def test_an_unknown_sample_is_named_with_a_suggestion(make_spec: SpecMaker) -> None:
    with pytest.raises(SpecError, match=r"has no sample 'sample-3'; did you mean 'sample-\d'\?"):
        planned(make_spec(samples=["sample-0", "sample-3"]))


def test_samples_are_taken_in_the_order_given_then_limited(make_spec: SpecMaker) -> None:
    plan = planned(make_spec(samples=["sample-2", "sample-0"], limit=1))
    assert [sample.id for sample in plan.samples] == ["sample-2"]


def test_missing_inputs_are_planned_and_told(make_spec: SpecMaker, tmp_path: Path) -> None:
    plan = planned(make_spec(editor("NeedsMask")))
    assert [unit.missing for unit in plan.units] == [(), (), ("mask",)]
    (look,) = outlooks(plan, Run(tmp_path / "none"), {})
    assert (look.units, look.edits, look.lacking) == (3, 9, {"mask": 1})


def test_the_estimate_comes_from_what_was_measured_or_is_unknown(make_spec: SpecMaker, tmp_path: Path) -> None:
    plan = planned(make_spec(editor("Fade"), editor("NeedsMask")))
    run = Run.create(tmp_path / "run")
    assert all(math.isnan(look.seconds) for look in outlooks(plan, run, {}))
    first = plan.units[0]
    run.commit(Record(first.key, "done", first.identity, absent=plan.entries[0].values, seconds={"prepare": 1.0, "render": 2.0}))
    fade, masked = outlooks(plan, run, {})
    assert (fade.done, fade.seconds) == (1, 6.0), "two of three units remain at three seconds each"
    assert math.isnan(masked.seconds)


def test_every_selected_sample_is_read_once(make_spec: SpecMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[int] = []
    load = Manifest.load
    monkeypatch.setattr(Manifest, "load", lambda self, i: loaded.append(i) or load(self, i))  # type: ignore[func-returns-value]
    planned(make_spec(editor("Fade"), editor("NeedsMask"), samples=["sample-2", "sample-1"]))
    assert loaded == [2, 1]


@pytest.mark.slow
def test_planning_holds_one_picture_at_a_time(make_spec: SpecMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[int] = []
    pictures: list[weakref.ref[Any]] = []
    load = Manifest.load

    def seen(self: Manifest, i: int) -> Sample:
        gc.collect()
        alive.append(sum(picture() is not None for picture in pictures))
        sample = load(self, i)
        pictures.append(weakref.ref(sample.image))
        return sample

    monkeypatch.setattr(Manifest, "load", seen)
    planned(make_spec(editor("Fade")))
    assert len(alive) == 3
    assert max(alive) <= 1, "the picture before the one that is loaded, at the most"


def test_two_entries_of_one_name_need_labels(make_spec: SpecMaker) -> None:
    spec = make_spec(editor("Fade"), editor("NeedsMask"))
    doubled = spec.model_copy(update={"editors": [spec.editors[0], spec.editors[0]]})
    with pytest.raises(SpecError, match="2 entries are called 'Fade'; give each its own `label:`"):
        planned(doubled)


def test_plans_compare_by_content(make_spec: SpecMaker) -> None:
    plan = planned(make_spec())
    assert plan == planned(make_spec())
    assert plan != replace(plan, dtype="float16")


def test_a_file_that_an_editor_reads_counts_by_its_content_and_not_by_its_place(make_spec: SpecMaker, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.bin", "b.bin", "c.bin")]
    for file, content in zip(files, ("same", "same", "other"), strict=True):
        file.write_text(content)
    plans = [planned(make_spec(editor("Reads", params={"path": str(file)}))) for file in files]
    assert keys(plans[0]) == keys(plans[1])
    assert not set(keys(plans[0])) & set(keys(plans[2]))
    assert plans[1].entries[0].params["path"] == str(files[1]), "the worker finds it"
    assert not any(str(tmp_path) in json.dumps(unit.identity) for unit in plans[0].units)
    with pytest.raises(SpecError, match=r"editor Reads: path: no such file: .*gone"):
        planned(make_spec(editor("Reads", params={"path": str(tmp_path / "gone")})))


def test_on_toybox_an_editor_that_reads_a_clip_gets_the_embedded_ranker(make_spec: SpecMaker, tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.touch()
    ranker = f"local-dir:{embedded.TOYBOX / 'ranker'}"
    given = [editor("Reads"), editor("Reads", label="own", params={"clip": "mine"})]
    given += [editor("Reads", label="unused", params={"path": str(file)}), editor("Fade")]
    entries = planned(make_spec(*given, model="toybox")).entries
    assert [entry.params.get("clip") for entry in entries] == [ranker, "mine", "", None]
    assert entries[0].hashed_params["clip"] == f"sha256:digest of {ranker}"
    assert planned(make_spec(editor("Reads"))).entries[0].params["clip"] == "", "other models have no ranker"


def test_the_instruction_counts_and_is_missed_where_it_is_needed(make_spec: SpecMaker, manifest_folder: Path) -> None:
    base = keys(planned(make_spec(editor("Follows"))))
    rows = (manifest_folder / "metadata.jsonl").read_text()
    (manifest_folder / "metadata.jsonl").write_text(rows.replace("turn the horse on hill number 1", "make the horse"))
    assert [a == b for a, b in zip(keys(planned(make_spec(editor("Follows")))), base, strict=True)] == [True, False, True]
    content = [json.loads(line) for line in rows.splitlines()]
    del content[0]["instruction"]
    (manifest_folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, content)))
    assert [unit.missing for unit in planned(make_spec(editor("Follows"))).units] == [("instruction",), (), ()]


def test_the_size_of_a_batch_is_no_part_of_a_key(make_spec: SpecMaker) -> None:
    assert keys(planned(make_spec(batch=4, max_batch=2))) == keys(planned(make_spec()))


@pytest.mark.parametrize("kernels", [{"compile": "default"}, {"compile": "reduce-overhead"}, {"channels_last": True}])
def test_other_kernels_are_a_part_of_the_keys_of_what_uses_the_model(make_spec: SpecMaker, kernels: dict[str, Any]) -> None:
    spec = {"model": {"name": "toybox"}, "anchors": ["copy"]}
    usual, other = (planned(make_spec({"name": "sdedit"}, **spec, **given)) for given in ({}, kernels))
    assert all("compile" not in unit.identity and "channels_last" not in unit.identity for unit in usual.units)
    for before, unit in zip(usual.units, other.units, strict=True):
        uses = other.entries[unit.entry].needs_model
        assert (unit.key != before.key) == uses
        assert unit.identity == (before.identity | kernels if uses else before.identity)


@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        ({"name": "lpisp"}, RegistryError, "unknown metric 'lpisp'; did you mean 'lpips'"),
        (metric("Distance", undefined="x"), SpecError, r"Distance: got an unexpected keyword argument 'undefined'; see"),
    ],
)
def test_a_mistyped_metric_is_found_before_the_edits_are_made(
    make_spec: SpecMaker, item: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        planned(make_spec(metrics=[item]))
