"""What every registered metric owes, whatever it measures: it survives a pickle, reads what it says it reads, and refuses in words."""

from __future__ import annotations

import inspect
import json
import pickle
import re
import shutil
from collections.abc import Callable
from dataclasses import fields
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from metrics.base import FeatureSet, MetricError, PairBatch, PairMetric, SetMetric
from metrics.toolbox.given import members_of

POINTS = [point for point in entry_points(group="etabench.metrics") if point.name not in ("dreamsim", "pyiqa")]
"""All but two whose packages are not here."""
PAIRS, SETS = ([point for point in POINTS if issubclass(point.load(), kind)] for kind in (PairMetric, SetMetric))
REGIONAL = [point for point in PAIRS if "region" in inspect.signature(point.load()).parameters]
PACKAGED = [point for point in PAIRS if point.load().__name__.endswith("LPIPS")]
MEMBERS = [field.name for field in fields(PairBatch) if field.name != "edits"]

Build = Callable[..., Any]


def by_name(point: EntryPoint) -> str:
    return point.name


@pytest.fixture(scope="module")
def headed_folder(tmp_path_factory: pytest.TempPathFactory, resnet_folder: Path) -> Path:
    """The tiny ResNet with ToyBox's heads."""
    from transformers import ResNetConfig, ResNetForImageClassification

    labels = ["object:dog", "object:cat", *(f"{head}:{value}" for head in ("state", "background", "accessory") for value in "xy")]
    folder = tmp_path_factory.mktemp("headed")
    names = dict(enumerate(labels))
    shape = ResNetConfig.from_pretrained(resnet_folder).to_dict()
    config = ResNetConfig(**shape | {"id2label": names, "label2id": {label: place for place, label in names.items()}})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        ResNetForImageClassification(config).save_pretrained(folder)
    shutil.copy(resnet_folder / "lpips.safetensors", folder)
    return folder


@pytest.fixture(scope="module")
def build(
    *,
    vit_folder: Path,
    headed_folder: Path,
    judge_folder: Path,
    scenes_folder: Path,
    sigmoid_folder: Path,
    transformers_clip: Path,
    aesthetic_head: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Build:
    """Make a metric on tiny networks; the same one for the same wish."""
    made: dict[str, Any] = {}
    prompts = tmp_path_factory.mktemp("prompts") / "prompts.json"
    prompts.write_text(json.dumps({"SC": "Two scores for <instruction>.", "PQ": "Two scores."}))

    def make(point: EntryPoint, **parameters: Any) -> Any:
        wish = f"{point.name} {sorted(parameters.items())}"
        if wish not in made:
            made[wish] = new(point, **parameters)
        return made[wish]

    def new(point: EntryPoint, **parameters: Any) -> Any:
        kind = point.load()
        net = f"folder:{vit_folder if 'structure' in point.name or point.name == 'dino_image' else headed_folder}"
        networks = {"net": net, "features": net, "classifier": net, "model": f"local-dir:{judge_folder}"}
        networks |= {"judge": f"local-dir:{scenes_folder}"}
        networks |= {"aesthetic": {"head": str(aesthetic_head)}}.get(point.name, {})
        networks |= {"siglip": {"model": f"local-dir:{sigmoid_folder}"}}.get(point.name, {})
        networks |= {"pickscore": {"model": f"folder:{transformers_clip}", "processor": ""}}.get(point.name, {})
        networks |= {"judge_prompts": {"form": "viescore", "prompts": str(prompts)}}.get(point.name, {})
        usual = networks | {"batch_size": 2}
        taken = {name: value for name, value in usual.items() if name in inspect.signature(kind).parameters}
        return kind(**taken | parameters)

    return make


def batch(rng: np.random.Generator, side: int, n: int = 2) -> PairBatch:
    def pictures() -> list[NDArray[np.uint8]]:
        return [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(n)]

    mask = np.zeros((side, side), dtype=np.bool_)
    mask[side // 4 : side // 2 + 1, side // 4 : side // 2 + 1] = True
    return PairBatch(pictures(), pictures(), ["a dog"] * n, ["a cat"] * n, [mask] * n, [*pictures()], ["cat"] * n, ["dog"] * n)


@pytest.mark.parametrize("point", PAIRS, ids=by_name)
def test_a_pair_metric_out_of_a_pickle_scores_alike(point: EntryPoint, build: Build, rng: np.random.Generator) -> None:
    metric, rows = build(point), batch(rng, 64)
    again = pickle.loads(pickle.dumps(metric))
    np.testing.assert_array_equal(again.score(rows), metric.score(rows))
    assert again.card == metric.card


@pytest.mark.parametrize("point", PACKAGED, ids=by_name)
@pytest.mark.slow
def test_so_does_the_lpips_packages_network(
    point: EntryPoint, squeeze_file: Path, build: Build, rng: np.random.Generator
) -> None:
    metric, rows = build(point, net="squeeze", weights=str(squeeze_file)), batch(rng, 64)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(metric)).score(rows), metric.score(rows))


@pytest.mark.filterwarnings("ignore::metrics.base.MetricWarning")
@pytest.mark.parametrize("point", SETS, ids=by_name)
def test_a_set_metric_out_of_a_pickle_has_the_same_value(point: EntryPoint, build: Build, rng: np.random.Generator) -> None:
    metric = build(point)
    edits, reference = (FeatureSet(metric.features(batch(rng, 64, 12).edits), ["cat", "dog"] * 6) for _ in range(2))
    value = metric.value(edits, reference)
    again = pickle.loads(pickle.dumps(metric))
    np.testing.assert_equal(again.value(edits, reference), value)
    np.testing.assert_array_equal(again.features(batch(np.random.default_rng(1), 64).edits),
                                  metric.features(batch(np.random.default_rng(1), 64).edits))  # fmt: skip


@pytest.mark.parametrize(
    ("point", "region"),
    [(point, "") for point in PAIRS] + [(point, region) for point in REGIONAL for region in ("whole", "background", "edited")],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_a_metric_reads_what_it_declares_and_nothing_else(
    point: EntryPoint, region: str, build: Build, rng: np.random.Generator
) -> None:
    metric, rows = build(point, **({"region": region} if region else {})), batch(rng, 64)

    def score(known: frozenset[str]) -> NDArray[np.float64]:
        given = {name: getattr(rows, name) if name in known else None for name in MEMBERS}
        scores: NDArray[np.float64] = metric.score(PairBatch(edits=rows.edits, **members_of(metric, given, len(rows))))
        return scores

    np.testing.assert_array_equal(score(metric.reads), metric.score(rows))
    for name in metric.reads:
        with pytest.raises(MetricError, match=rf"^{metric.name}: it reads {name}, and update\(\) was given none; give {name}="):
            score(metric.reads - {name})


@pytest.mark.parametrize("point", PAIRS, ids=by_name)
@pytest.mark.slow
def test_small_pictures_have_a_score_or_are_refused_in_words(
    point: EntryPoint, squeeze_file: Path, build: Build, rng: np.random.Generator
) -> None:
    choices: list[dict[str, Any]] = [{}, *({"region": "whole"} for _ in range(point in REGIONAL))]
    if point in PACKAGED:
        packaged = {"net": "squeeze", "weights": str(squeeze_file)} | ({"resolution": "native"} if point.name == "lpips" else {})
        choices += [choice | packaged for choice in choices]
    refusals = []
    for side in (1, 4, 10, 16):
        for parameters in choices:
            try:
                assert build(point, **parameters).score(batch(rng, side)).shape == (2,)
            except MetricError as error:
                refusals.append(str(error))
    expected = r"edits\[0\]: expected at least (11|17) pixels on each side, got \(\d+, \d+\); .*enlarge the pictures"
    assert [text for text in refusals if not re.match(expected, text)] == []
    at_own_size = point.name in ("lpips", "torchmetrics_lpips", "pie_bench_lpips", "pie_bench_ssim")
    assert bool(refusals) == at_own_size


@pytest.mark.parametrize("point", SETS, ids=by_name)
def test_small_pictures_have_features(point: EntryPoint, build: Build, rng: np.random.Generator) -> None:
    for side in (1, 4, 16):
        assert np.isfinite(build(point).features(batch(rng, side).edits)).all()


def _values(metric: Any, rows: PairBatch) -> NDArray[np.float64]:
    """What a pair metric scores, or a set metric says of its features."""
    return metric.score(rows) if isinstance(metric, PairMetric) else metric.features(rows.edits)


@pytest.mark.parametrize("point", [*PAIRS, *SETS], ids=by_name)
def test_what_the_caller_switched_on_for_its_own_networks_changes_no_score(
    point: EntryPoint, build: Build, rng: np.random.Generator
) -> None:
    metric, rows = build(point), batch(rng, 64)
    expected = _values(metric, rows)
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")  # bfloat16 inside float32 products, on CPUs that have them
    try:
        with torch.autocast("cpu", torch.bfloat16):
            found = _values(metric, rows)
            texts = torch.ones(2, 2) @ torch.ones(2, 2)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(precision)
    np.testing.assert_array_equal(found, expected)
    assert texts.dtype == torch.bfloat16  # it was on, and is the caller's still
