"""The shipped models: small, safe, loadable by the libraries alone, and as good as their card says.

The card's numbers come from ``python -m bench.toybox.evaluate`` on more scenes than a test should take; the bounds here leave room for the
smaller number (three standard errors of a share near the card's value).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bench.toybox.embedded import TOYBOX
from bench.toybox.evaluate import (
    BEGIN,
    CARD,
    END,
    Row,
    accuracy,
    autoencoder_psnr,
    classify,
    generate,
    judge_rows,
    load_pipeline,
    main,
    table,
)
from bench.toybox.reference import class_of, images_of
from bench.toybox.stages.data import Pool, draw, to_unit
from bench.toybox.stages.features import layer_distances
from bench.toybox.stages.judge import scenes_json
from bench.toybox.world import SIZE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scenes() -> Pool:
    return draw(150, 910_000, include_held_out=True)


@pytest.fixture(scope="module")
def features() -> torch.nn.Module:
    from transformers import ResNetForImageClassification

    network: torch.nn.Module = ResNetForImageClassification.from_pretrained(TOYBOX / "features").eval()
    return network


def test_small_and_safe() -> None:
    files = [p for p in TOYBOX.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 40_000_000
    assert {p.suffix for p in files} <= {".json", ".safetensors", ".txt"}


def test_the_judge_has_the_scenes_of_the_vocabulary() -> None:
    """And only the judge: the ranker answers no questions."""
    assert (TOYBOX / "judge" / "scenes.json").read_text() == scenes_json()
    assert not (TOYBOX / "ranker" / "scenes.json").exists()


def test_stock_pipelines_run_as_they_load() -> None:
    """Without a word about precision: text encoder and U-Net are read in one, though they are stored in half."""
    from diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting, StableDiffusionPipeline

    plain = StableDiffusionPipeline.from_pretrained(TOYBOX / "generator")
    picture, mask = torch.rand(1, 3, SIZE, SIZE), torch.ones(1, 1, SIZE, SIZE)
    for kind, given in (
        (None, {"height": SIZE, "width": SIZE}),
        (AutoPipelineForImage2Image, {"image": picture, "strength": 0.5}),
        (AutoPipelineForInpainting, {"image": picture, "mask_image": mask, "height": SIZE, "width": SIZE}),
    ):
        pipeline = kind.from_pretrained(TOYBOX / "generator") if kind else plain
        pipeline.set_progress_bar_config(disable=True)
        made = pipeline("a zebra in the snow", num_inference_steps=4, output_type="np", **given).images
        assert made.shape == (1, SIZE, SIZE, 3)
        assert np.isfinite(made).all()


def test_stock_classifier_takes_float32(features: torch.nn.Module) -> None:
    with torch.no_grad():
        assert features(pixel_values=torch.zeros(1, 3, SIZE, SIZE)).logits.dtype == torch.float32


def test_card_is_measured_and_met() -> None:
    """The card holds a filled table; a row that is short must be explained below it."""
    text = CARD.read_text()
    measured = text.split(BEGIN)[1].split(END)[0]
    assert len(re.findall(r"^\| (autoencoder|generator|features|judge):", measured, flags=re.MULTILINE)) == 10
    assert "short" not in measured or "## Shortfalls" in text


def test_autoencoder(scenes: Pool) -> None:
    assert autoencoder_psnr(load_pipeline(TOYBOX / "generator").vae, Pool(scenes.scenes[:64], scenes.images[:64])) > 30


def test_feature_network(features: torch.nn.Module, scenes: Pool) -> None:
    read = accuracy(classify(features, to_unit(scenes.images)), scenes.scenes)  # type: ignore[arg-type]
    assert min(read[head] for head in ("object", "state", "background")) > 0.97


def test_feature_distance_is_calibrated(features: torch.nn.Module, scenes: Pool) -> None:
    weights = load_file(TOYBOX / "features" / "lpips.safetensors")["weights"]
    assert (weights >= 0).all()
    x = to_unit(scenes.images)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    near, far = (float((layer_distances(features, x, (x + s * noise).clamp(-1, 1)) @ weights).mean()) for s in (0.1, 0.3))  # type: ignore[arg-type]
    unrelated = float((layer_distances(features, x, x.roll(1, 0)) @ weights).mean())  # type: ignore[arg-type]
    assert 0 < near < far < unrelated
    assert unrelated == pytest.approx(0.7, abs=0.1)  # the scale is set on training scenes; others differ by sampling


def test_judge(scenes: Pool) -> None:
    retrieval, preference = judge_rows(TOYBOX / "judge", scenes)
    assert retrieval.measured > 92
    assert preference.measured >= 99


def test_generator_draws_what_it_is_told(features: torch.nn.Module) -> None:
    pool = draw(24, 920_000)
    images = generate(load_pipeline(TOYBOX / "generator"), [s.caption for s in pool.scenes], seed=1)
    read = accuracy(classify(features, images), pool.scenes)  # type: ignore[arg-type]
    assert read["object"] > 0.7
    assert read["background"] > 0.8


def test_reference_pictures_depend_on_class_and_seed_alone() -> None:
    dog, cat = class_of("dog", "snow"), class_of("cat", "grass", "hat")
    both, labels = images_of([dog, cat, dog], 3, seed=5)
    alone, _ = images_of([cat], 3, seed=5)
    assert labels == [dog] * 3 + [cat] * 3
    assert all((a == b).all() for a, b in zip(both[3:], alone, strict=True))
    assert both[0].shape == (SIZE, SIZE, 3)
    assert both[0].dtype == np.uint8
    assert (images_of([cat], 1, seed=6)[0][0] != alone[0]).any()
    with pytest.raises(KeyError):
        images_of(["unicorn on the moon"], 1, seed=0)


def test_evaluate_fails_when_a_row_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = tmp_path / "card.md"
    card.write_text(f"head\n{BEGIN}\nold\n{END}\ntail\n")
    rows = [Row("a", 99.0, 98.0, "%", 10), Row("b", 10.0, 30.0, "dB", 10)]
    monkeypatch.setattr("bench.toybox.evaluate.measure", lambda models, captions: rows)
    assert main(["--card", str(card)]) == 1
    assert "**short**" in card.read_text()
    assert card.read_text().startswith("head")
    assert card.read_text().endswith("tail\n")
    assert "old" not in card.read_text()
    rows.pop()
    assert main(["--card", str(card)]) == 0
    assert table(rows) in card.read_text()


def test_no_model_names_a_path_of_the_machine_that_made_it() -> None:
    for file in TOYBOX.rglob("*.json"):
        assert not re.search(r'"_name_or_path": "/', file.read_text(encoding="utf-8")), file
