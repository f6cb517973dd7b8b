"""Every training stage takes steps, resumes where it stopped, and saves a folder that its library loads."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from transformers import ResNetForImageClassification

from bench.toybox.stages.loop import Budget
from bench.toybox.stages.tokens import CONTEXT, build_tokenizer
from bench.toybox.train import train_stage
from bench.toybox.vocabulary import all_captions

pytestmark = pytest.mark.slow


def _train(name: str, folder: Path, steps: int, work: str = "work") -> None:
    train_stage(name, folder / "models", folder / work, Budget(minutes=10, steps=steps, seed=3), small=True)


def test_vae_then_generator(tmp_path: Path) -> None:
    _train("vae", tmp_path, 2)
    assert AutoencoderKL.from_pretrained(tmp_path / "models/generator/vae").config.scaling_factor > 0
    _train("generator", tmp_path, 2)
    pipeline = StableDiffusionPipeline.from_pretrained(
        tmp_path / "models/generator", safety_checker=None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline("a zebra in the snow", num_inference_steps=2).images[0]
    assert image.size == (64, 64)


def test_judge_loads_in_open_clip(tmp_path: Path) -> None:
    _train("judge", tmp_path, 2)
    name = f"local-dir:{tmp_path / 'models/judge'}"
    model = open_clip.create_model(name, require_pretrained=True).eval()
    tokens = open_clip.get_tokenizer(name)(["a zebra in the snow"])
    with torch.no_grad():
        assert model.encode_text(tokens).shape == model.encode_image(torch.zeros(1, 3, 64, 64)).shape


def test_features_load_in_transformers_and_resume_is_exact(tmp_path: Path) -> None:
    _train("features", tmp_path, 4, "whole")
    network = ResNetForImageClassification.from_pretrained(tmp_path / "models/features")
    assert network.dtype == torch.float32
    whole = network.state_dict()
    _train("features", tmp_path, 2, "halves")
    first = torch.load(tmp_path / "halves/features.pt", weights_only=True)["step"]
    _train("features", tmp_path, 4, "halves")
    resumed = torch.load(tmp_path / "halves/features.pt", weights_only=True)
    assert (first, resumed["step"]) == (2, 4)
    # The learning rate follows the share of the budget spent, so that two halves planned as such differ from one whole in the
    # schedule alone; the batches are the same, which the step count and equal shapes of state show.
    assert {k: v.shape for k, v in whole.items()} == {k.removeprefix("features."): v.shape for k, v in resumed["average"].items()}


def test_interrupted_run_equals_uninterrupted_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies after a checkpoint and starts again ends with the weights of one that never died."""
    from bench.toybox.stages import loop
    from bench.toybox.stages.features import FeatureStage

    budget = Budget(minutes=1e9, steps=4, seed=3, checkpoint_every=0.0)
    torch.set_num_threads(1)
    loop.train(FeatureStage(3, pool_size=64, batch=4), tmp_path / "a", tmp_path / "fa", budget)

    class KilledError(Exception):
        pass

    class Dying(FeatureStage):
        def loss(self, step: int, *rest: object) -> torch.Tensor:
            if step == 2:
                raise KilledError
            return super().loss(step, *rest)  # type: ignore[arg-type]

    with pytest.raises(KilledError):
        loop.train(Dying(3, pool_size=64, batch=4), tmp_path / "b", tmp_path / "fb", budget)
    loop.train(FeatureStage(3, pool_size=64, batch=4), tmp_path / "b", tmp_path / "fb", budget)
    a, b = (torch.load(tmp_path / f / "features.pt", weights_only=True)["model"] for f in "ab")
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_every_word_of_the_grammar_is_one_token() -> None:
    tokenizer = build_tokenizer()
    for text in all_captions():
        ids = tokenizer(text).input_ids
        assert len(ids) == len(text.split()) + 2 <= CONTEXT
    strange = tokenizer("a Zürich ☃ dragonfly").input_ids
    assert strange.count(tokenizer.eos_token_id) == 1, "unknown words fall into bytes, not into the end token"
