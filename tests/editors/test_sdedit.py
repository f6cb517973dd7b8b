from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline

from editors import DiffusionModel, EditTask
from editors.sdedit import SDEdit


@pytest.mark.parametrize("strength", [0.3, 0.7, 1.0])
def test_set_alike_it_is_the_image_to_image_pipeline(
    model: DiffusionModel, task: EditTask, tiny_folder: Path, strength: float
) -> None:
    editor = SDEdit(model, SDEdit.resolve("", {"steps": 10, "guidance": 6.0}))
    (ours,) = editor.render(editor.prepare(task), (strength,))
    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(tiny_folder)
    pipeline.set_progress_bar_config(disable=True)
    seed = (task.seed ^ (task.seed >> 32)) & 0xFFFFFFFF
    theirs = pipeline(
        task.target_text,
        image=model.encode(task.image),  # a latent is taken as it is; given a picture, the pipeline samples the posterior
        strength=strength,
        num_inference_steps=10,
        guidance_scale=6.0,
        generator=torch.Generator().manual_seed(seed),
        output_type="np",
    ).images[0]
    difference = np.abs(ours.astype(int) - np.round(theirs * 255).astype(int))
    # the same float32 arithmetic up to the order of a few roundings: at most a value on the border of two grey levels moves
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


def test_executed_steps_are_rounded(model: DiffusionModel, task: EditTask) -> None:
    editor = SDEdit(model, SDEdit.resolve("", {"steps": 50}))
    state = editor.prepare(task)
    before = model.unet_evaluations
    editor.render(state, (0.58,))
    assert model.unet_evaluations - before == 2 * 29
