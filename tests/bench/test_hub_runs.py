"""Runs whose model, editors and data set are the hub's: one commit of each from plan to record, whatever the hub does meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_hub
import pytest
from fake_hub import FakeHub
from fake_specs import PAIR_METRICS
from fixtures_manifest import encoded, picture, write_parquet

from bench import api
from bench.errors import ManifestError
from bench.manifest import open_manifest
from bench.spec import ManifestRef, Spec
from bench.store import Run
from bench.toybox.embedded import TOYBOX
from bench.workers.crew import Options
from editors.toolbox.checkpoint import CheckpointError

INLINE = Options(executor="inline")
COLUMNS = {"image": "original_image", "target_text": "caption"}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    """ToyBox's generator twice and a data set of two samples, all with a branch that moves at each look."""
    rows = [{"original_image": encoded(picture(i)), "caption": f"a red ball {i}"} for i in range(2)]
    write_parquet(tmp_path / "set" / "data" / "val-00000-of-00001.parquet", rows, ("original_image",))
    with fake_hub.on_loopback(tmp_path) as hub:
        hub.add("some/moving-model", TOYBOX / "generator")
        hub.add("some/moving-pipeline", TOYBOX / "generator")
        hub.add("some/moving-set", tmp_path / "set", "datasets")
        yield hub


def spec(**changes: Any) -> Spec:
    pipeline = {"checkpoint": "some/moving-pipeline", "pipeline": "StableDiffusionImg2ImgPipeline", "device": "cpu"}
    content: dict[str, Any] = {
        "name": "test",
        "manifest": {"hub": "some/moving-set", "columns": COLUMNS},
        "model": {"hub": "some/moving-model"},
        "device": "cpu",
        "editors": [
            {"name": "sdedit", "params": {"steps": 2}, "grid": [0.5, 1.0]},
            {"name": "pipeline", "params": pipeline | {"call": {"num_inference_steps": 2}}, "grid": [0.5, 0.6, 0.8, 1.0]},
        ],
        "metrics": PAIR_METRICS,
    }
    return Spec.model_validate(content | changes)


@pytest.mark.slow
def test_a_moving_branch_changes_nothing_in_a_run(hub: FakeHub, tmp_path: Path) -> None:
    run = api.run(spec(), tmp_path / "run", options=INLINE, scorable=False)
    pins = run.plan.pins
    assert pins.keys() == {"model some/moving-model@main", "model some/moving-pipeline@main", "dataset some/moving-set@main"}
    model, pipeline, data = (
        f"some/moving-{name}@{pins[f'{kind} some/moving-{name}@main']}"
        for kind, name in (("model", "model"), ("model", "pipeline"), ("dataset", "set"))
    )
    expected = {"sdedit": {"model": model, "manifest": data}, "pipeline": {"checkpoint": pipeline, "manifest": data}}
    records = list(run.records(unit.key for unit in run.plan.units))
    assert len(records) == 4
    for record in records:
        assert record.status == "done", record.reason
        assert record.hub == expected[record.identity["editor"]]
        assert record.identity["hub"] == {role: place for role, place in record.hub.items() if role != "manifest"}
    kept = Run.open(run.path).spec
    assert (kept.model.revision if kept.model else "") == model.partition("@")[2]
    assert kept.manifest.revision == data.partition("@")[2]
    assert kept.editors[1].params["checkpoint"] == pipeline
    cached = [folder.name for folder in (hub.cache / "hub").glob("*/snapshots/*")]
    assert (
        {model.partition("@")[2], pipeline.partition("@")[2]}
        <= set(cached)
        <= {place.partition("@")[2] for place in (model, pipeline, data)}
    )

    again = api.run(spec(), run.path, options=INLINE, scorable=False)
    assert again.plan.pins == pins
    assert [unit.key for unit in again.plan.units] == [unit.key for unit in run.plan.units]
    hub.down = True
    assert api.plan(kept)[0].units == run.plan.units, "the run's own spec names commits"
    hub.down = False
    fresh = api.plan(spec())[0]
    assert not {unit.key for unit in fresh.units} & {unit.key for unit in run.plan.units}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "some/missing-set",
            r"some/missing-set: .*there is no dataset repository of that name \(404\); mend it, or, if it is private",
        ),
        ("some/down-set", r"http://127\S+ answers 503; try again later"),
        (
            "some/refused-set",
            r"access is refused \(403\): accept its terms at http://127\S+/datasets/some/refused-set and log in",
        ),
        ("some/gated-set", r"it is gated: accept its terms at http://127\S+/datasets/some/gated-set and log in"),
        ("some/dropped-set", r"the connection to http://127\S+ fails"),
        (
            "some/moved-set@v2",
            r"it has no revision 'v2'; name a branch, a tag or a commit of http://127\S+/datasets/some/moved-set",
        ),
    ],
)
def test_a_data_set_that_cannot_be_had_is_one_line(hub: FakeHub, tmp_path: Path, name: str, message: str) -> None:
    hub_id, _, revision = name.partition("@")
    if "missing" not in name:
        hub.add(hub_id, tmp_path / "set", "datasets")
    broken = spec(
        manifest={"hub": hub_id, "revision": revision or None, "columns": COLUMNS}, model=None, editors=[{"name": "copy"}]
    )
    with pytest.raises(ManifestError, match=message) as caught:
        api.plan(broken)
    assert "\n" not in str(caught.value)


def test_offline_a_data_set_that_was_read_before_is_read_again(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    only = spec(model=None, editors=[{"name": "copy"}])
    before = api.plan(only)[0]
    asked = len(hub.requests)
    fake_hub.offline(monkeypatch)
    assert api.plan(only)[0].units == before.units
    assert len(hub.requests) == asked
    with pytest.raises(ManifestError, match=r"some/other: .* HF_HUB_OFFLINE is set; unset it, or give a folder"):
        api.plan(spec(manifest={"hub": "some/other"}, model=None, editors=[{"name": "copy"}]))


def test_a_data_set_at_a_commit_is_what_the_commit_holds(hub: FakeHub) -> None:
    samples = list(open_manifest(ManifestRef(hub="some/moving-set", revision="a" * 40, columns=COLUMNS)))
    assert [sample.target_text for sample in samples] == ["a red ball 0", "a red ball 1"]


def test_a_model_that_no_editor_needs_is_not_looked_up(hub: FakeHub) -> None:
    planned = api.plan(spec(model={"hub": "some/missing-model"}, editors=[{"name": "copy"}]))[0]
    assert planned.hub.keys() == {"manifest"}
    with pytest.raises(CheckpointError, match="there is no model repository of that name"):
        api.plan(spec(model={"hub": "some/missing-model"}))
