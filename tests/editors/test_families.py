"""Every editor on every family of models that it says it works on, and refused on the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import registry
from bench.toybox import embedded
from editors import DiffusionModel, EditTask, MissingInput
from editors.base import ANY_FAMILY, Editor
from editors.imagic import Imagic

FAST = {
    "steps": 6,
    "embedding_steps": 3,
    "unet_steps": 3,
    "candidates": 1,
    "mask_maps": 2,
    "reconstruction_steps": 2,
    "jump_length": 2,
}


def editor_classes() -> dict[str, type[Editor[Any]]]:
    classes = {name: registry.load_editor(name) for name in registry.editors()}
    return {name: cls for name, cls in classes.items() if cls.needs_model}


@pytest.fixture(scope="module")
def models(family_folders: dict[str, Path]) -> dict[str, DiffusionModel]:
    return {family: DiffusionModel.load(folder, side=64) for family, folder in family_folders.items()}


def made(cls: type[Editor[Any]], model: DiffusionModel, **params: Any) -> Editor[Any]:
    known = {key: value for key, value in FAST.items() if key in cls.Params.model_fields}
    return cls(model, embedded.with_ranker(cls, cls.resolve("", {**known, **params})))


@pytest.mark.parametrize("family", ["sdxl", "sd3", "flux"])
@pytest.mark.parametrize("name", [name for name, cls in editor_classes().items() if len(cls.families) > 1])
def test_it_edits_on_every_family_it_names(name: str, family: str, models: dict[str, DiffusionModel], masked: EditTask) -> None:
    cls, model = editor_classes()[name], models[family]
    if family not in cls.families:
        with pytest.raises(MissingInput, match=r"it works on Stable Diffusion.*, and the model is of "):
            made(cls, model)
        return
    before = [weight.clone() for weight in model.unet.parameters()]
    values = (cls.knob.low, cls.knob.high) if cls.knob else (0.0,)
    pictures = []
    for _ in range(2):
        editor = made(cls, model)
        pictures.append(np.stack([each for each in editor.render(editor.prepare(masked), values) if each is not None]))
    assert pictures[0].shape == (len(values), 64, 64, 3)
    assert np.array_equal(*pictures)
    assert all(map(torch.equal, before, model.unet.parameters()))
    other = made(cls, model)
    text = other.render(other.prepare(replace(masked, target_text="a red ball")), values)[-1]
    assert name == "vae_round_trip" or text is None or not np.array_equal(text, pictures[0][-1])


@pytest.mark.parametrize("family", ["sdxl", "sd3", "flux"])
@pytest.mark.parametrize("tune", ["full", "lora"])
def test_imagic_fits_the_picture_on_every_family(
    tune: str, family: str, models: dict[str, DiffusionModel], task: EditTask
) -> None:
    model = models[family]
    steps = {"embedding_steps": 4, "unet_steps": 12, "embedding_lr": 1e-2, "unet_lr": 3e-3, "draws": 4}
    fit = made(Imagic, model, tune=tune, **steps).prepare(task)
    x0, draws = model.encode(task.image), 32
    levels = torch.linspace(0, model.train_levels - 1, draws).long()
    noise = model.noise(3, (draws, *x0.shape[1:]))
    with torch.no_grad():
        before, after = (float(each.denoising_loss(x0, levels, noise, fit.e_opt)) for each in (model, fit.tuned))
    assert after < before
    assert (fit.e_opt - fit.e_tgt).abs().max() > 1e-3


def test_what_needs_a_family_says_so_and_the_shared_ones_work_on_all() -> None:
    classes = editor_classes()
    assert {name for name, cls in classes.items() if cls.families == ANY_FAMILY} >= {
        "sdedit", "diffedit", "diffedit_no_encode", "encode_decode", "imagic", "blended_latent", "regenerate", "vae_round_trip",
    }  # fmt: skip
    assert "Stable Diffusion 1 and 2, and the model is of FLUX.1 dev" in classes["null_text"].misfit("flux")
    assert classes["null_text"].misfit("sd") == classes["sdedit"].misfit("flux") == ""
