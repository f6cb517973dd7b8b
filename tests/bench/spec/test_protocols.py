"""Protocols fill a spec where it leaves room, and are whole themselves."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from bench import registry
from bench.analysis.published import published
from bench.errors import SpecError
from bench.manifest.benchmarks import benchmarks
from bench.spec import Spec, load_spec, shipped_specs
from bench.spec.protocols import Asked, Protocol, protocol_of, protocols

EVERY = sorted(protocols())


@pytest.mark.parametrize("name", EVERY)
def test_a_protocol_names_what_exists(name: str) -> None:
    protocol = protocol_of(name)
    card = benchmarks()[protocol.manifest["benchmark"]].card
    assert protocol.manifest.get("split", next(iter(card.splits))) in card.splits
    asked = [each for column in protocol.columns for each in (column.metric, column.corrected) if each] + list(protocol.beside)
    for each in asked:
        inspect.signature(registry.load_metric(each.name)).bind(**each.params)
    assert {need for each in asked for need in each.needs} == protocol.needs.keys()
    assert all((column.metric is None) == bool(column.why) for column in protocol.columns)
    assert len({column.name for column in protocol.columns}) == len(protocol.columns)
    assert protocol.parts
    assert "\n" not in protocol.parts, "one line says where published and corrected part"


@pytest.mark.parametrize("name", EVERY)
def test_printed_columns_are_columns_of_the_protocol(name: str) -> None:
    """The same names, directions and units as in the tables of printed numbers."""
    protocol = protocol_of(name)
    own = {column.name: column for column in protocol.columns}
    split = protocol.manifest.get("split")
    printed = {
        each.column.name: each.column
        for each in published()
        if each.benchmark == protocol.manifest["benchmark"] and each.split in ("", split) and each.protocol in ("", name)
    }
    for column, theirs in printed.items():
        assert column in own, column
        assert own[column].better == theirs.better
        if theirs.metric:
            assert own[column].scale == theirs.scale
            assert own[column].metric is not None
            assert own[column].metric.name == theirs.metric


@pytest.mark.parametrize("name", EVERY)
def test_the_shipped_spec_of_a_protocol_has_its_keys(name: str) -> None:
    spec, protocol = load_spec(name), protocol_of(name)
    assert name in shipped_specs()
    assert (spec.protocol, spec.chain, spec.seeds) == (name, protocol.chain, list(protocol.seeds))
    settled = [item for item in protocol.metrics if not Asked(item["name"], item["params"]).needs]
    assert [item.model_dump() for item in spec.metrics] == settled
    assert {key: spec.manifest.model_dump()[key] for key in protocol.manifest} == protocol.manifest
    assert Spec.model_validate(spec.resolved()) == spec


def test_published_splits_of_a_mean_over_categories_name_every_category() -> None:
    for name, number in (("gedit-bench", 11), ("imgedit-bench", 9)):
        protocol = protocol_of(name)
        assert protocol.mean == "categories"
        assert sum(bool(column.category) for column in protocol.columns) == number


def test_an_override_hands_a_spec_over_to_a_protocol_but_for_its_editors(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "name: mine\nmanifest: {name: toybox, size: 64}\nmodel: toybox\nseeds: [5, 6]\neditors: [sdedit]\nmetrics: [clip]\nanchors: [copy]\n"
    )
    spec = load_spec(file, ["protocol=pie-bench", f"manifest.root={tmp_path}", "editors.sdedit.grid=[0.5]"])
    assert (spec.manifest.benchmark, spec.manifest.root, spec.manifest.size) == ("pie-bench", str(tmp_path), 512)
    assert spec.seeds == [0]
    assert [editor.name for editor in spec.editors] == ["sdedit"]
    assert "pie_bench_psnr" in [metric.name for metric in spec.metrics]
    assert load_spec(file, ["protocol=pie-bench", "metrics=[psnr]", "seeds=[3]"]).seeds == [3], "later overrides win"


def test_a_specs_own_keys_stay() -> None:
    spec = load_spec("pie-bench", ["manifest.root=/copy", "metrics=[psnr]", "manifest.size=256"])
    assert [metric.name for metric in spec.metrics] == ["psnr"]
    assert (spec.manifest.size, spec.manifest.fit) == (256, "squash")


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(SpecError, match="no protocol 'pie-bnch'; did you mean 'pie-bench'"):
        load_spec("ci", ["protocol=pie-bnch"])
    with pytest.raises(ValueError, match="no protocol 'pie-bnch'"):
        Spec.model_validate({"name": "x", "protocol": "pie-bnch", "editors": ["copy"]})


def test_metrics_that_are_not_registered_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    gedit = protocol_of("gedit-bench")
    monkeypatch.setattr(registry, "metrics", lambda: {"psnr": None})
    assert gedit.metrics == [{"name": "psnr", "params": {}}]
    assert isinstance(gedit, Protocol)
    assert "(not registered)" in gedit.as_dict()["columns"]["overall"]


def test_what_is_given_makes_columns_of_metrics_that_only_its_user_can_have(tmp_path: Path) -> None:
    (tmp_path / "prompts.json").write_text("{}")
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nprotocol: gedit-bench\ngiven: {prompts: prompts.json}\neditors: [copy]\n")
    judge = {"server": "http://127.0.0.1:1/v1", "model": "gpt-4.1"}

    def judged(spec: Spec) -> dict[str, dict[str, object]]:
        return {item.name: item.params for item in spec.metrics if item.name.startswith("judge")}

    assert judged(load_spec(file)) == {}, "half of what a metric needs is nothing"
    whole = load_spec(file, [f"given.judge.{key}={value}" for key, value in judge.items()])
    assert judged(whole) == {
        "judge_prompts": {"form": "viescore", "judge": judge, "prompts": str(tmp_path / "prompts.json")},
        "judge_vie": {"judge": judge},
    }
    assert Spec.model_validate(whole.resolved()) == whole
    own = load_spec("gedit-bench", [f"given.judge.{key}={value}" for key, value in judge.items()])
    assert judged(own) == {"judge_vie": {"judge": judge}}, "without the authors' words there is our own wording"


def test_what_no_protocol_asks_for_is_refused() -> None:
    with pytest.raises(SpecError, match=r"given\.juge: did you mean 'judge'"):
        load_spec("gedit-bench", ["given.juge=x"])
    with pytest.raises(SpecError, match=r"given\.judge: no protocol of this spec asks for anything"):
        load_spec("ci", ["given.judge=x"])


def test_a_protocol_says_what_it_needs() -> None:
    told = protocol_of("imgedit-bench").as_dict()
    assert "prompts.json of github.com/PKU-YuanGroup/ImgEdit" in told["give it, as given.NAME"]["prompts"]
    assert "judge_prompts (form: imgedit, judge: <judge>, prompts: <prompts>)" in told["columns"]["overall"]
    assert "give it" not in str(protocol_of("pie-bench").as_dict())
