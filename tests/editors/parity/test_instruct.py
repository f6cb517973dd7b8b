"""Set alike, `instruct_pix2pix` is diffusers' pipeline with a DDIM scheduler, up to the order of the same sums."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from diffusers import StableDiffusionInstructPix2PixPipeline
from PIL import Image as Pillow

from editors import DiffusionModel, EditTask
from editors.instruct_pix2pix import InstructPix2Pix
from editors.toolbox.diffusion import seeded


@pytest.mark.parametrize("image_guidance", [1.0, 1.5, 2.2])
def test_set_alike_it_is_the_pipeline(instruct_folder: Path, task: EditTask, image_guidance: float) -> None:
    pipeline = StableDiffusionInstructPix2PixPipeline.from_pretrained(instruct_folder)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        task.target_text,
        image=Pillow.fromarray(task.image),
        num_inference_steps=10,
        guidance_scale=7.5,
        image_guidance_scale=image_guidance,
        generator=seeded(task.seed),
        output_type="np",
    ).images[0]
    editor = InstructPix2Pix(DiffusionModel.load(instruct_folder), InstructPix2Pix.resolve("", {"steps": 10}))
    (ours,) = editor.render(editor.prepare(task), (1 / image_guidance,))
    difference = np.abs(ours.astype(int) - (theirs * 255).round().astype(int))
    # other orders of the same sums may move a value across the border of two grey levels
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01
