"""Printed numbers are whole, doubted where they contradict themselves, and laid beside runs that are comparable only."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from fixtures_manifest import row, write_folder

from bench import registry
from bench.analysis.published import Beside, Column, Printed, beside, published
from bench.errors import EtabenchError
from bench.manifest.benchmarks import benchmarks

EVERY = published()


def test_methods_and_metrics_have_names_that_exist() -> None:
    assert {each.editor for each in EVERY} - {""} <= registry.editors().keys()
    assert {each.column.metric for each in EVERY} - {""} <= registry.metrics().keys()
    assert {each.benchmark for each in EVERY} <= benchmarks().keys() | {"tedbench"}
    assert all(each.column.metric or each.column.why for each in EVERY if each.editor)
    assert all(each.source for each in EVERY)


def test_values_against_the_true_edit_name_the_metrics_that_compare_with_it() -> None:
    single, chain = (
        {each.column.name: each.column for each in published("magicbrush") if words in each.table}
        for words in ("every turn", "last turn")
    )
    assert {name: column.metric for name, column in single.items()} == {
        "L1": "l1_truth",
        "L2": "l2_truth",
        "CLIP-I": "clip_image",
        "DINO": "dino_image",
        "CLIP-T": "",
    }
    assert {name: column.metric for name, column in chain.items()} == {name: column.metric for name, column in single.items()}
    assert {each.protocol for each in published("magicbrush") if "last turn" in each.table} == {"magicbrush-final-turn"}
    emu = {each.column.name: each.column.metric for each in published("emu-edit")}
    assert emu == {"CLIPdir": "", "CLIPim": "", "CLIPout": "", "L1": "l1", "DINO": ""}, "their backbones are not stated"


def test_printed_words_of_a_card_are_words_of_some_card() -> None:
    """A word that no card has would make a column silently incomparable."""
    from bench.scoring import open_metrics
    from bench.spec import MetricSpec, load_spec
    from bench.toybox.embedded import TOYBOX

    networks = {"clip_image": {"model": f"local-dir:{TOYBOX / 'judge'}"}}
    base = load_spec("ci")
    asked = {each.column for each in EVERY if each.column.masking}
    known = {"pie_bench_structure", "dino_image"}  # want a ViT, see their own tests
    for column in asked:
        if column.metric in known:
            continue
        region = "edited" if "edited" in column.masking else "background" if "background" in column.masking else None
        whole = {"region": "whole"} if column.name == "CLIP whole" else {}
        params = networks.get(column.metric, {}) | ({"region": region} if region else whole)
        spec = base.model_copy(update={"metrics": [MetricSpec(name=column.metric, params=params)]})
        (metric,) = open_metrics(spec, "cpu").values()
        assert column.masking in metric.card.masking, column


def test_numbers_of_a_set_of_several_splits_name_theirs() -> None:
    for each in EVERY:
        splits = benchmarks()[each.benchmark].card.splits if each.benchmark in benchmarks() else {}
        both = each.benchmark == "kris-bench"  # an overall of all its items, which a language model scored
        assert (each.split in splits) == (len(splits) > 1 and not both), each


def test_a_total_that_is_not_the_mean_of_its_row_is_marked() -> None:
    doubted = {each.method for each in published("imgedit-bench") if "the mean of its row" in each.doubt}
    assert doubted == {"FLUX.1 Kontext dev", "Ovis-U1", "GPT-4o"}
    plain = {each.method for each in published("gedit-bench") if each.column.name == "overall" and not each.doubt}
    assert {"AnyEdit", "MagicBrush"} <= plain


def test_an_unknown_benchmark_is_refused() -> None:
    with pytest.raises(EtabenchError, match="no published numbers of 'pie-bnch'; did you mean 'pie-bench'"):
        published("pie-bnch")


@pytest.fixture
def laid(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Beside]]:
    """Printed numbers of the test's own beside a run of the editor `copy` on two samples of a benchmark of that size."""
    return lambda run, *printed: _beside(run, printed, monkeypatch)


def _beside(run: Any, printed: tuple[Printed, ...], monkeypatch: pytest.MonkeyPatch) -> list[Beside]:
    monkeypatch.setattr("bench.analysis.published.published", lambda benchmark: printed)
    return beside(run, "mine")


def a(number: float, column: Column, **changes: Any) -> Printed:
    return Printed("mine", "table", "COPY", column, number, "a paper", True, editor="copy", **changes)


PSNR = Column("background dB", "higher", metric="mse", masking="", scale=100.0, tolerance=0.5)


def test_a_run_beside_printed_numbers(tmp_path: Path, laid: Callable[..., list[Beside]]) -> None:
    from bench import api

    spec = {
        "name": "mine",
        "manifest": {"path": str(write_folder(tmp_path / "theirs", [row(0), row(1), row(2)]))},
        "device": "cpu",
        "editors": ["copy"],
        "metrics": ["mse"],
    }
    (tmp_path / "mine.yaml").write_text(json.dumps(spec))
    run = api.run(tmp_path / "mine.yaml", tmp_path / "run")
    api.score(run)
    (other,) = laid(run, a(0.0, PSNR))
    assert (other.verdict, other.reason) == ("not comparable", "the run edits theirs")
    head = asdict(run.head)
    run.write_json("manifest.json", head | {"name": "hub/mine"})
    (same, off, absent, elsewhere, eye, split) = laid(
        run,
        a(0.4, PSNR),
        a(0.6, PSNR),
        a(0.0, Column("x", "lower", metric="lpips")),
        a(0.0, Column("judge", "higher", why="judged by people")),
        a(0.0, Column("x", "lower", metric="mse", masking="whole", network="ViT-B-32")),
        a(0.0, PSNR, split="test"),
    )
    assert (same.verdict, same.mean, same.n) == ("agrees", 0.0, 3)
    assert off.verdict == "differs"
    assert (absent.verdict, absent.reason) == ("not comparable", "the run has no lpips")
    assert (elsewhere.verdict, elsewhere.reason) == ("not comparable", "judged by people")
    assert (eye.verdict, eye.reason) == ("not comparable", "the run has no mse of which the card says 'whole' and 'ViT-B-32'")
    assert (split.verdict, split.reason) == ("not comparable", "printed of the split test, the run edits one without a name")
    assert same.as_row()["metric"] == "mse"
    (other_average,) = laid(run, a(0.0, PSNR, protocol="magicbrush-final-turn"))
    assert other_average.verdict == "not comparable"
    assert other_average.reason.startswith("averaged by the protocol magicbrush-final-turn; `etabench run SPEC --protocol")
    run.spec = run.spec.model_copy(update={"chain": "own"})
    (chained,) = laid(run, a(0.4, PSNR))
    assert (chained.verdict, chained.reason) == ("not comparable", "later turns of the run edit its own pictures")
    told = tuple(replace(sample, provenance={"source_text": "a person"}) for sample in run.plan.samples)
    run.plan = replace(run.plan, samples=told)
    assert "source_text from a sidecar" in laid(run, a(0.4, PSNR))[0].as_row()["note"]
    run.spec = run.spec.model_copy(update={"limit": 3, "chain": "truth"})
    (part,) = laid(run, a(0.4, PSNR))
    assert (part.verdict, part.reason[:32]) == ("not comparable", "the run is limited to 3 samples,")
    with pytest.raises(EtabenchError, match="no editor of it has printed numbers on mine"):
        laid(run)


def test_a_final_turn_is_averaged_by_its_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions of two turns: the last ones alone are laid beside the printed value, in printed units."""
    from benchmark_copies import png, write_split

    from bench import api
    from bench.scoring import read_scores

    turn = {"img_id": "a", "turn_index": 1, "source_img": png(0), "mask_img": png(7), "instruction": "x", "target_img": png(1)}
    turns = [turn | {"img_id": name, "turn_index": number} for name in "abc" for number in (1, 2)]
    turns[1]["target_img"] = png(2)
    write_split(tmp_path / "copy", "dev", turns, ["source_img", "mask_img", "target_img"])
    spec = tmp_path / "mine.yaml"
    spec.write_text("name: mine\nprotocol: magicbrush-final-turn\neditors: [copy]\nmetrics: [l1_truth, psnr]\ndevice: cpu\n")
    overrides = [f"manifest.root={tmp_path / 'copy'}", "manifest.split=dev", "manifest.size=40"]
    run = api.run(spec, tmp_path / "run", overrides=[*overrides, "limit=6"])
    api.score(run)
    pairs = read_scores(run).pairs
    last = pairs[(pairs["metric"] == "l1_truth") & pairs["sample_id"].str.endswith("-2")]["score"].mean()
    run.spec = run.spec.model_copy(update={"limit": None})
    monkeypatch.setattr(
        "bench.manifest.benchmarks.benchmarks",
        lambda: {"magicbrush": type("B", (), {"card": type("C", (), {"splits": {"dev": None}})})},
    )
    column = Column("L1", "lower", metric="l1_truth", tolerance=1e-9)
    printed = Printed("magicbrush", "t", "COPY", column, last, "s", True, editor="copy", protocol="magicbrush-final-turn")
    monkeypatch.setattr("bench.analysis.published.published", lambda benchmark: (printed,))
    (found,) = beside(run, "magicbrush")
    assert (found.verdict, found.n, found.metric) == ("agrees", 3, "l1_truth")
    assert found.mean == pytest.approx(last, rel=1e-12)
    assert found.mean != pytest.approx(pairs[pairs["metric"] == "l1_truth"]["score"].mean(), rel=1e-6)
