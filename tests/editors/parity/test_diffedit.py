"""``diffedit`` and diffusers' DiffEdit pipeline differ in a list of departures, and in nothing else.

``imitation`` is DiffEdit with any set of the pipeline's departures from the paper switched on, made of the same tool box as the
editor. With none it is the editor; with all it is the pipeline; with all but one it is not the pipeline. What is compared is every
call of the U-Net (latents, timesteps, texts) and the pictures, so that a departure which changes the cost alone counts as well.

Two things the pipeline does have no bearing on any of that: it stacks all inverted latents in one tensor, and it hands masks out as
arrays. Its noise is the editor's here (``set_alike``), and so is its VAE noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import diffusers.models.autoencoders.vae as vae_module
import numpy as np
import pytest
import torch
from diffusers import DDIMInverseScheduler, StableDiffusionDiffEditPipeline
from embedded_model import picture, pipeline, tasks, toybox
from torch import Tensor

from editors import DiffusionModel, EditTask, Image
from editors.diffedit import DiffEdit
from editors.toolbox.diffusion import derive_seed
from editors.toolbox.mask import MaskParams, binarise
from editors.toolbox.schedule import share_of_steps

pipeline_module = __import__(StableDiffusionDiffEditPipeline.__module__, fromlist=["randn_tensor"])

STEPS, GUIDANCE, MAPS, RATIO = 4, 3.0, 2, 0.7
NEGATIVES = ("blue", "")
"""Negative texts of target and source in the mask: only where they differ does the wrong order of texts show in the mask."""

DEPARTURES = {
    "late background": "after a step it blends the inverted latent of the level before the step",
    "swapped texts": "in the mask it takes the text for the negative text and the other way round",
    "guided mask": "it guides the predictions of the mask: 4 samples a noise for 2",
    "mean threshold": "it clamps at 3 x mean and halves, where the paper rescales",
    "mean of the batch": "the mean is that of all pictures together",
    "sampled latents": "it samples the VAE's posterior, once a noise and once more for the inversion",
    "one call": "all pictures and noises of the masks go through the U-Net in one call",
    "guided inversion": "it inverts with guidance 7.5 under a source text",
    "cut-off": "it cuts a share of steps off where the editor rounds",
    "no sharing": "it inverts to the one ratio that is asked for, not through the schedule",
}
ALL = frozenset(DEPARTURES)


@dataclass
class Run:
    """What was seen of one edit of several pictures."""

    calls: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)
    """Of the U-Net: latents (m, c, h, w), timesteps (m,), texts (m, l, d)."""
    pictures: list[Image] = field(default_factory=list)

    def equals(self, other: Run) -> bool:
        """Latents and texts within 1e-3: float32 sums in another order, through a few steps with guidance 7.5."""
        same = len(self.calls) == len(other.calls) and all(
            a.shape == b.shape and bool((a - b).abs().max() < 1e-3)
            for mine, theirs in zip(self.calls, other.calls, strict=True)
            for a, b in zip(mine, theirs, strict=True)
        )
        return same and all(np.abs(a.astype(int) - b).max() <= 1 for a, b in zip(self.pictures, other.pictures, strict=True))


@contextmanager
def watched(model: DiffusionModel) -> Iterator[Run]:
    seen = Run()

    def look(_module: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        x, t = given
        t = torch.as_tensor(t, dtype=torch.float32).expand(len(x))
        seen.calls.append((x.clone(), t.clone(), named["encoder_hidden_states"].clone()))

    hook = model.unet.register_forward_pre_hook(look, with_kwargs=True)
    yield seen
    hook.remove()


def mask_noises(given: Sequence[EditTask], latent: Tensor) -> Tensor:
    return torch.cat([toybox().noise(derive_seed(task.seed, "mask"), (MAPS, *latent.shape[1:])) for task in given])


def vae_noise(number: int, latent: Tensor) -> Tensor:
    """(number, c, h, w): as many for the masks as they ask, another one for the inversions."""
    return torch.randn((number, *latent.shape[1:]), generator=torch.Generator().manual_seed(number))


# the editor, the pipeline


def edited(model: DiffusionModel, given: Sequence[EditTask]) -> Run:
    editor = DiffEdit(model, DiffEdit.resolve("", {"steps": STEPS, "guidance": GUIDANCE, "mask_maps": MAPS}))
    with watched(model) as seen:
        rendered = editor.render_many(editor.prepare_many(given), (RATIO,))
    seen.pictures = [edits[0] for edits in rendered]
    return seen


def piped(model: DiffusionModel, given: Sequence[EditTask], monkeypatch: pytest.MonkeyPatch) -> Run:
    """The pipeline as its documentation has it: a mask against the empty text, an inversion under the source text, an edit."""
    latent = model.encode(given[0].image)
    set_alike(monkeypatch, pipeline_module, lambda shape: mask_noises(given, latent))
    set_alike(monkeypatch, vae_module, lambda shape: vae_noise(shape[0], latent))
    inverse = DDIMInverseScheduler.from_config(model.scheduler.config)
    pipe = pipeline(StableDiffusionDiffEditPipeline, model, inverse_scheduler=inverse)
    texts, pictures = [task.target_text for task in given], [picture(task) for task in given]
    shared = {"num_inference_steps": STEPS}
    with watched(model) as seen:
        mask = pipe.generate_mask(
            pictures,
            target_prompt=texts,
            target_negative_prompt=[NEGATIVES[0]] * len(given),
            source_prompt=[""] * len(given),
            source_negative_prompt=[NEGATIVES[1]] * len(given),
            num_maps_per_mask=MAPS,
            **shared,
        )
        sources = [task.source_text for task in given]
        latents = pipe.invert(sources, pictures, inpaint_strength=RATIO, **shared).latents
        images = pipe(texts, mask, latents, inpaint_strength=RATIO, guidance_scale=GUIDANCE, output_type="np", **shared).images
    seen.pictures = [np.round(image * 255).astype(np.uint8) for image in images]
    return seen


def set_alike(monkeypatch: pytest.MonkeyPatch, module: ModuleType, noise: Any) -> None:
    monkeypatch.setattr(module, "randn_tensor", lambda shape, **_: noise(tuple(shape)))


# the editor with departures


@torch.no_grad()
def imitation(model: DiffusionModel, given: Sequence[EditTask], on: frozenset[str]) -> Run:
    schedule = model.schedule(STEPS)
    start = int(STEPS * RATIO) if "cut-off" in on else share_of_steps(RATIO, STEPS)
    with watched(model) as seen:
        texts = torch.cat([model.embed([task.target_text]) for task in given])
        (empty,) = model.embed([""]).split(1)
        cells = masks(model, given, on)

        x = latents(model, given, 1, on)
        if "guided inversion" in on:
            context, guidance = model.embed([task.source_text or "" for task in given]), 7.5
        else:
            context, guidance = empty, 1.0
        trajectory = [x]
        for level in range(1, (start if "no sharing" in on else STEPS) + 1):
            output = model.predict(x, schedule.timestep(level), context, guidance, empty)
            x = schedule.ddim_inverse_step(x, output, level)
            trajectory.append(x)

        x = trajectory[start]
        for level in range(start, 0, -1):
            output = model.predict(x, schedule.timestep(level), texts, GUIDANCE, empty)
            x = schedule.ddim_step(x, output, level)
            x = torch.where(cells, x, trajectory[level if "late background" in on else level - 1])
    seen.pictures = model.decode(x)
    return seen


def latents(model: DiffusionModel, given: Sequence[EditTask], copies: int, on: frozenset[str]) -> Tensor:
    """The source latents, ``copies`` of each in a row."""
    if "sampled latents" not in on:
        return torch.cat([model.encode(task.image) for task in given]).repeat_interleave(copies, 0)
    x = torch.cat([torch.from_numpy(task.image.copy()).permute(2, 0, 1)[None] / 127.5 - 1 for task in given])
    posterior = model.vae.encode(x.repeat_interleave(copies, 0)).latent_dist
    return (posterior.mean + posterior.std * vae_noise(len(posterior.mean), posterior.mean)) * model.vae.config.scaling_factor


def masks(model: DiffusionModel, given: Sequence[EditTask], on: frozenset[str]) -> Tensor:
    """(b, 1, h, w) bool."""
    schedule = model.schedule(STEPS)
    x = latents(model, given, MAPS, on)
    x = schedule.q_sample(x, mask_noises(given, x), STEPS // 2)
    groups = [range(len(given))] if "one call" in on else [range(i, i + 1) for i in range(len(given))]
    maps = []
    for group in groups:
        rows = torch.cat([x[i * MAPS : (i + 1) * MAPS] for i in group])
        wanted = embedded_texts(model, [given[i].target_text for i in group])
        present = embedded_texts(model, [""] * len(group))
        if "guided mask" not in on:
            target, source = unet(model, rows, [wanted, present])
        else:
            pairs = [
                (present, embedded_texts(model, [NEGATIVES[1]] * len(group))),
                (wanted, embedded_texts(model, [NEGATIVES[0]] * len(group))),
            ]
            ordered = [pair if "swapped texts" in on else pair[::-1] for pair in pairs]
            outputs = unet(model, rows, [text for pair in ordered for text in pair])
            source, target = (first + 7.5 * (second - first) for first, second in (outputs[:2], outputs[2:]))
        maps += (target - source).abs().reshape(len(group), MAPS, *rows.shape[1:]).mean((1, 2)).split(1)
    params = MaskParams(mask_rule="diffusers" if "mean threshold" in on else "paper")
    differences = torch.cat(maps)
    if "mean of the batch" in on:
        return binarise(differences, params)[:, None]
    return torch.stack([binarise(difference, params) for difference in differences])[:, None]


def embedded_texts(model: DiffusionModel, texts: Sequence[str]) -> Tensor:
    return torch.cat([model.embed([text]) for text in texts]).repeat_interleave(MAPS, 0)


def unet(model: DiffusionModel, x: Tensor, contexts: list[Tensor]) -> tuple[Tensor, ...]:
    times = torch.full((len(x) * len(contexts),), model.schedule(STEPS).timestep(STEPS // 2))
    return model.unet_output(torch.cat([x] * len(contexts)), times, torch.cat(contexts)).chunk(len(contexts))


# what holds


@pytest.fixture
def model() -> DiffusionModel:
    return toybox()


@pytest.fixture
def given() -> tuple[EditTask, ...]:
    return tasks(2)


def test_without_departures_the_imitation_is_the_editor(model: DiffusionModel, given: tuple[EditTask, ...]) -> None:
    assert imitation(model, given, frozenset()).equals(edited(model, given))


@pytest.mark.slow
def test_with_all_departures_it_is_the_pipeline_and_with_all_but_one_it_is_not(
    model: DiffusionModel, given: tuple[EditTask, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline_run = piped(model, given, monkeypatch)
    assert imitation(model, given, ALL).equals(pipeline_run)
    kept = [name for name in DEPARTURES if imitation(model, given, ALL - {name}).equals(pipeline_run)]
    assert not kept
