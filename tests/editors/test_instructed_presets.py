"""Presets of `pipeline` for editors that are told what to do, each on a tiny checkpoint of its architecture, against the pipeline by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import tiny_instructed
import torch
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit, pipeline_qwenimage_edit_plus
from PIL import Image as Pillow
from transformers import CLIPTokenizer

from editors import EditTask
from editors.pipeline import Pipeline
from editors.toolbox.diffusion import seeded

KONTEXT = {"max_area": 64 * 64, "_auto_resize": False}
"""Its own sizes are a megapixel."""


@pytest.fixture(scope="module")
def folders(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("instructed")
    plus = tiny_instructed.qwen_edit(place / "plus", plus=True)
    return {
        "flux_kontext": tiny_instructed.kontext(CLIPTokenizer.from_pretrained(tiny_folder / "tokenizer"), place),
        "qwen_image_edit": tiny_instructed.qwen_edit(place / "qwen", plus=False),
        "qwen_image_edit_2509": plus,
        "qwen_image_edit_2511": plus,
    }


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of 64 px where Qwen's pipelines make some of a megapixel."""
    monkeypatch.setattr(pipeline_qwenimage_edit, "calculate_dimensions", lambda area, ratio: (64, 64, None))
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "calculate_dimensions", lambda area, ratio: (64, 64))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "given", "steps"),
    [
        ("flux_kontext", {"guidance_scale": 5.0}, 28),
        ("qwen_image_edit", {"true_cfg_scale": 5.0, "negative_prompt": " "}, 50),
        ("qwen_image_edit_2509", {"true_cfg_scale": 5.0, "negative_prompt": " "}, 40),
        ("qwen_image_edit_2511", {"true_cfg_scale": 5.0, "negative_prompt": " "}, 40),
    ],
)
def test_a_preset_is_its_pipeline_called_by_hand(
    preset: str, given: Mapping[str, Any], steps: int, folders: dict[str, Path], task: EditTask
) -> None:
    settings = Pipeline.presets[preset]
    assert settings["call"]["num_inference_steps"] == steps
    call = {**settings["call"], "num_inference_steps": 2, **(KONTEXT if preset == "flux_kontext" else {})}
    params = {"checkpoint": str(folders[preset]), "dtype": "float32", "device": "cpu", "call": call}
    editor, told = Pipeline(None, Pipeline.resolve(preset, params)), replace(task, instruction="a red cat on the grass")
    state = editor.prepare(told)
    (picture,) = editor.render(state, (5.0,))
    pipeline = getattr(diffusers, settings["pipeline"]).from_pretrained(folders[preset])
    pipeline.set_progress_bar_config(disable=True)
    source = Pillow.fromarray(told.image)
    with torch.random.fork_rng(devices=[]):
        expected = pipeline(
            image=[source] if "plus" in settings["pipeline"].lower() else source,
            prompt=told.instruction,
            num_inference_steps=2,
            generator=seeded(told.seed),
            output_type="np",
            **given,
            **(KONTEXT if preset == "flux_kontext" else {}),
        ).images[0]
    assert np.array_equal(picture, (expected * 255).round().astype(np.uint8))
    facts = editor.facts(state)
    assert facts["pipeline"] == settings["pipeline"]
    assert facts["text"] == "instruction"
    assert facts["network_evaluations"] == (2 if preset == "flux_kontext" else 2 * 2), "guided ones ask the network twice a step"


def test_models_that_diffusers_lacks_have_no_preset_and_are_named() -> None:
    """When one of them comes, this fails: give it a preset then."""
    for stem in ("Step1XEdit", "OmniGen2", "Bagel"):
        assert not [name for name in dir(diffusers) if name.lower().startswith(stem.lower())]
    assert all(name in (Pipeline.__doc__ or "") for name in ("Step1X-Edit", "OmniGen2", "BAGEL"))
