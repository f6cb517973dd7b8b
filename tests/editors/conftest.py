"""A Stable-Diffusion-family folder with random weights, small enough that every editor runs on it in moments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_checkpoints
import tiny_families
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from drawn import draw, weights_of
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from editors import DiffusionModel, EditTask

WORDS = ("a", "red", "blue", "ball", "cat", "on", "the", "grass")
LENGTH = 12


def tiny_tokenizer() -> CLIPTokenizer:
    """Letters with and without the end-of-word mark, and merges that make each word of ``WORDS`` one token."""
    vocabulary: dict[str, int] = {}
    merges: list[tuple[str, str]] = []
    for letter in "abcdefghijklmnopqrstuvwxyz":
        vocabulary[letter] = len(vocabulary)
        vocabulary[f"{letter}</w>"] = len(vocabulary)
    for word in WORDS:
        pieces = [*word[:-1], f"{word[-1]}</w>"]
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces[:2] = [pieces[0] + pieces[1]]
            vocabulary.setdefault(pieces[0], len(vocabulary))
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[special] = len(vocabulary)
    return CLIPTokenizer(vocab=vocabulary, merges=list(dict.fromkeys(merges)), model_max_length=LENGTH)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline folder: 64 px pictures, 16x16x4 latents, Stable Diffusion's noise schedule."""
    folder = tmp_path_factory.mktemp("tiny-sd")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tokenizer = tiny_tokenizer()
        pipeline = StableDiffusionPipeline(
            vae=AutoencoderKL(
                down_block_types=("DownEncoderBlock2D",) * 3,
                up_block_types=("UpDecoderBlock2D",) * 3,
                block_out_channels=(8, 8, 16),
                latent_channels=4,
                norm_num_groups=4,
                sample_size=64,
                mid_block_add_attention=False,
                scaling_factor=0.7,
            ),
            text_encoder=CLIPTextModel(
                CLIPTextConfig(
                    vocab_size=len(tokenizer),
                    hidden_size=16,
                    intermediate_size=32,
                    num_hidden_layers=2,
                    num_attention_heads=2,
                    max_position_embeddings=LENGTH,
                    bos_token_id=len(tokenizer) - 2,
                    eos_token_id=len(tokenizer) - 1,
                    pad_token_id=len(tokenizer) - 1,
                )
            ),
            tokenizer=tokenizer,
            unet=UNet2DConditionModel(
                sample_size=16,
                block_out_channels=(8, 16),
                layers_per_block=1,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
                cross_attention_dim=16,
                attention_head_dim=4,
                norm_num_groups=4,
            ),
            scheduler=DDIMScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                clip_sample=False,
                set_alpha_to_one=False,
                steps_offset=1,
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture(scope="session")
def _loaded(tiny_folder: Path) -> DiffusionModel:
    return DiffusionModel.load(tiny_folder)


@pytest.fixture
def model(_loaded: DiffusionModel) -> Iterator[DiffusionModel]:
    """The loaded model. Whatever a test does with it, its weights and the global generator must be as they were."""
    before, state = weights_of(_loaded), torch.get_rng_state()
    yield _loaded.variant()
    _loaded.cancelled = lambda: False
    _loaded.limits.forget()
    after = weights_of(_loaded)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(state, torch.get_rng_state())


@pytest.fixture
def task() -> EditTask:
    """A picture that should show a blue cat, without mask or source text; the seed needs all 64 bits."""
    return EditTask(image=draw(), target_text="a blue cat on the grass", seed=2**63 + 5)


@pytest.fixture
def masked(task: EditTask) -> EditTask:
    """The same task with a mask and a source text."""
    mask = np.zeros((64, 64), dtype=bool)
    mask[16:48, 20:40] = True
    return replace(task, mask=mask, source_text="a red ball on the grass")


@pytest.fixture
def other() -> EditTask:
    """A task that shares nothing with the first."""
    return EditTask(image=draw(7), target_text="a red ball", seed=11)


@pytest.fixture(scope="session")
def inpainting_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a U-Net of 9 input channels."""
    return tiny_checkpoints.with_channels(tiny_folder, tmp_path_factory.mktemp("inpainting") / "sd", 9)


@pytest.fixture(scope="session")
def instruct_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a U-Net of 8 input channels."""
    return tiny_checkpoints.with_channels(tiny_folder, tmp_path_factory.mktemp("instruct") / "sd", 8)


@pytest.fixture(scope="session")
def powerpaint_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model of 9 input channels with PowerPaint's words, two tokens each."""
    return tiny_checkpoints.with_task_words(tiny_folder, tmp_path_factory.mktemp("powerpaint") / "sd")


@pytest.fixture(scope="session")
def controlnet_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ControlNet of the tiny model."""
    return tiny_checkpoints.controlnet(tiny_folder, tmp_path_factory.mktemp("controlnet") / "network")


@pytest.fixture(scope="session")
def brushnet_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BrushNet of the tiny model."""
    return tiny_checkpoints.brushnet(tiny_folder, tmp_path_factory.mktemp("brushnet") / "network")


@pytest.fixture(scope="session")
def family_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Family to a pipeline folder of random weights: 64 px pictures, 16 x 16 x 4 latents."""
    folder = tmp_path_factory.mktemp("families")
    return {family: tiny_families.tiny(family, tiny_tokenizer(), folder / family) for family in tiny_families.TINY}
