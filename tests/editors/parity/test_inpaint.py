"""Set alike, the inpainting editors are diffusers' pipelines, up to the order of the same sums."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLInpaintPipeline,
)
from PIL import Image as Pillow
from tiny_checkpoints import with_channels

from bench.manifest import open_manifest
from bench.spec import load_spec
from bench.toybox.embedded import TOYBOX
from editors import DiffusionModel, EditTask, Image
from editors.controlnet_inpaint import ControlNetInpaint
from editors.inpainting import Inpainter
from editors.sd_inpaint import SDInpaint
from editors.toolbox.diffusion import seeded

STEPS = 10
GUIDANCE = 3.0
STRENGTHS = (0.5, 0.8, 1.0)
"""Shares of ten steps that are whole numbers: the pipelines cut off where the editors round."""

Pipe = Any


def with_the_mean(pipeline: Pipe) -> Pipe:
    """The pipeline with a VAE that gives its mean where the pipeline asks for a sample: its first departure."""
    encode: Callable[[torch.Tensor], Any] = pipeline.vae.encode

    def mean(x: torch.Tensor) -> Any:
        latents = encode(x).latent_dist.mean
        return SimpleNamespace(latent_dist=SimpleNamespace(sample=lambda generator=None: latents))

    pipeline.vae.encode = mean
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def called(pipeline: Pipe, task: EditTask, strength: float, **given: Any) -> Image:
    assert task.mask is not None
    output = pipeline(
        task.target_text,
        image=Pillow.fromarray(task.image),
        mask_image=Pillow.fromarray(task.mask),
        strength=strength,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        generator=seeded(task.seed),
        output_type="np",
        height=task.image.shape[0],
        width=task.image.shape[1],
        **given,
    )
    return (output.images[0] * 255).round().astype(np.uint8)


def edited(editor_class: type[Inpainter], folder: Path, task: EditTask, **params: Any) -> list[Image]:
    editor = editor_class(DiffusionModel.load(folder), editor_class.resolve("", {"steps": STEPS, "guidance": GUIDANCE, **params}))
    return editor.render(editor.prepare(task), STRENGTHS)


def assert_same(ours: Image, theirs: Image) -> None:
    """Another batch size, and other orders of the same sums, may move a value across the border of two grey levels."""
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


@pytest.fixture(scope="module")
def toybox_task() -> EditTask:
    manifest = open_manifest(load_spec("ci").manifest, 64)
    sample = manifest.load(0)
    return EditTask(image=sample.image, target_text=sample.target_text, mask=sample.mask, seed=2**63 + 5)


@pytest.mark.slow
def test_blending_is_the_inpainting_pipeline_on_the_embedded_model(toybox_task: EditTask) -> None:
    folder = TOYBOX / "generator"
    pipeline = with_the_mean(StableDiffusionInpaintPipeline.from_pretrained(folder, dtype=torch.float32))
    for ours, strength in zip(edited(SDInpaint, folder, toybox_task), STRENGTHS, strict=True):
        assert_same(ours, called(pipeline, toybox_task, strength))


def test_nine_channels_are_the_inpainting_pipeline(inpainting_folder: Path, masked: EditTask) -> None:
    pipeline = with_the_mean(StableDiffusionInpaintPipeline.from_pretrained(inpainting_folder))
    for ours, strength in zip(edited(SDInpaint, inpainting_folder, masked), STRENGTHS, strict=True):
        assert_same(ours, called(pipeline, masked, strength))


@pytest.mark.parametrize("channels", [4, 9])
def test_of_stable_diffusion_xl_it_is_the_xl_inpainting_pipeline(
    channels: int, family_folders: dict[str, Path], masked: EditTask, tmp_path: Path
) -> None:
    folder = with_channels(family_folders["sdxl"], tmp_path / "xl", channels)
    pipeline = with_the_mean(StableDiffusionXLInpaintPipeline.from_pretrained(folder))
    for ours, strength in zip(edited(SDInpaint, folder, masked), STRENGTHS, strict=True):
        assert_same(ours, called(pipeline, masked, strength))


@pytest.mark.parametrize("base", ["tiny_folder", "inpainting_folder"])
def test_a_controlnet_is_the_controlnet_pipeline(
    base: str, controlnet_folder: Path, masked: EditTask, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(base)
    network = ControlNetModel.from_pretrained(controlnet_folder)
    pipeline = with_the_mean(StableDiffusionControlNetInpaintPipeline.from_pretrained(folder, controlnet=network))
    assert masked.mask is not None
    control = torch.from_numpy(masked.image / np.float32(255)).permute(2, 0, 1)[None].clone()
    control[:, :, torch.from_numpy(masked.mask)] = -1
    ours = edited(ControlNetInpaint, folder, masked, controlnet=str(controlnet_folder))
    for picture, strength in zip(ours, STRENGTHS, strict=True):
        theirs = called(pipeline, masked, strength, control_image=control, controlnet_conditioning_scale=0.5)
        assert_same(picture, theirs)


def test_what_the_pipeline_does_otherwise_shows(inpainting_folder: Path, masked: EditTask) -> None:
    """It samples the VAE's posterior for the masked picture, and executes 5 of 5.8 steps where the editor executes 6."""
    pipeline = StableDiffusionInpaintPipeline.from_pretrained(inpainting_folder)
    pipeline.set_progress_bar_config(disable=True)
    ours = edited(SDInpaint, inpainting_folder, masked)
    assert np.abs(ours[2].astype(int) - called(pipeline, masked, 1.0)).max() > 1
    theirs = called(with_the_mean(pipeline), masked, 0.58)
    assert_same(ours[0], theirs)
    editor = SDInpaint(DiffusionModel.load(inpainting_folder), SDInpaint.resolve("", {"steps": STEPS, "guidance": GUIDANCE}))
    (rounded,) = editor.render(editor.prepare(masked), (0.58,))
    assert np.abs(rounded.astype(int) - theirs).max() > 1
