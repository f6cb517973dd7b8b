"""Plug-and-Play diffusion features (Tumanyan et al., CVPR 2023, arXiv 2211.12572): an edit with the source's features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from editors.base import Editor, EditorError, EditTask, Image, Knob, SamplingParams
from editors.toolbox.diffusion import DiffusionModel
from editors.toolbox.injection import Injection, inject, twin
from editors.toolbox.schedule import share_of_steps
from editors.toolbox.sweep import Sweep, ddim_invert

__all__ = ["PlugAndPlay", "PlugAndPlayParams", "PlugAndPlayState"]

_QUERIES_AND_KEYS = (".attn1.to_q", ".attn1.to_k")
"""How the names of the self-attention's projections end."""


class PlugAndPlayParams(SamplingParams):
    """Parameters of Plug-and-Play; the defaults are the authors'."""

    inversion_steps: int = Field(
        999,
        ge=0,
        le=1000,
        description="DDIM steps of the inversion, which pass the timesteps of the decode; 0 = as many as the decode",
    )
    features: float = Field(
        1.6, ge=0, description="tau_f / tau_A, steps with the source's features for each with its self-attention"
    )
    first_layer: float = Field(
        0.34, ge=0, le=1, description="share of the U-Net's decoder before the layer whose features are injected; layer 4 of 12"
    )
    negative: str = Field("", description="text that the edit is guided away from")


@dataclass(frozen=True, eq=False)
class PlugAndPlayState:
    """A source, inverted, and the texts."""

    target: Tensor
    """Embedding of the target text, (1, l, d)."""
    empty: Tensor
    """Embedding of the empty text, (1, l, d)."""
    negative: Tensor
    """Embedding of the text that the edit is guided away from, (1, l, d)."""
    trajectory: list[Tensor]
    """Inverted latents x_0..x_n, each (1, c, h, w), by level of the decode."""


class PlugAndPlay(Editor[PlugAndPlayState]):
    """Plug-and-Play, Algorithm 1: the edit is generated from the source's inverted latent, with features of the source in its place.

    The source, inverted by DDIM without text, goes through the U-Net beside the edit at every step. The residual that layer 4 of the
    decoder adds, f_t^4, is the source's for the first tau_f steps, and queries and keys of self-attention from that layer on are for the
    first tau_A: the edit has the source's layout and self-similarity, and the target text's appearance.

    The knob is the share of the steps, at the clean end, whose self-attention is the edit's own, 1 - tau_A / n. The steps with features
    follow it as ``features`` times as many, n at the most. The published values, 25 and 40 of 50, are 0.5. At 1 nothing is injected, which
    is the target text decoded from the inverted latent. Nothing is random, so the seed has no effect.

    The negative text of the preset is that of the authors' script; the paper's own weighting of a negative text is not part of this.
    Layers are those of the decoder in the order they are passed, of which Stable Diffusion has 12; other U-Nets inject at the same share.
    """

    name = "plug_and_play"
    version = "1"
    knob = Knob(
        "free_share",
        0.0,
        1.0,
        (0.0, 0.25, 0.5, 0.75, 1.0),
        "share of the steps, at the clean end, whose self-attention is not the source's",
    )
    deterministic = True
    Params = PlugAndPlayParams
    params: PlugAndPlayParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            **{"steps": 50, "guidance": 7.5, "inversion_steps": 999, "features": 1.6},
            "negative": "ugly, blurry, black, low res, unrealistic",
        },
        "fast": {"steps": 20, "inversion_steps": 0},
        "toybox": {"steps": 25, "guidance": 3.0, "inversion_steps": 0},
    }

    @torch.no_grad()
    def prepare(self, task: EditTask) -> PlugAndPlayState:
        self.check(task)
        model, schedule = self.model, self.model.diffusion_schedule(self.params.steps)
        finer = model.diffusion_schedule(self.params.inversion_steps or self.params.steps)
        passed = {timestep: level for level, timestep in enumerate(finer.timesteps, start=1)}
        if missing := set(schedule.timesteps) - set(passed):
            raise EditorError(
                f"inversion_steps: {finer.steps} steps do not pass timestep {min(missing)}, which {schedule.steps} steps are decoded from; "
                "expected 0, or 999 with the timesteps of Stable Diffusion"
            )
        target, empty, negative = torch.split(model.embed([task.target_text, "", self.params.negative]), 1)
        path = ddim_invert(model, finer, model.encode(task.image), empty, upto=passed[schedule.timesteps[-1]])
        return PlugAndPlayState(target, empty, negative, [path[0], *(path[passed[each]] for each in schedule.timesteps)])

    @torch.no_grad()
    def render(self, state: PlugAndPlayState, values: Sequence[float]) -> list[Image]:
        model, schedule, n = self.model, self.model.schedule(self.params.steps), self.params.steps
        injected, attention, features = with_features(model, self.params.first_layer)
        edits = Sweep(model, [(n - schedule.level(value), n, state.trajectory[n]) for value in values])

        def predicted(t: int, x: Tensor, tau_a: list[int], some: Sequence[int]) -> Tensor:
            m, chosen = len(some), x[some[0] : some[-1] + 1]
            attention.active = torch.tensor([n - t < tau_a[i] for i in some])
            features.active = torch.tensor([n - t < share_of_steps(self.params.features, tau_a[i]) for i in some])
            output = injected.unet_output(
                torch.cat([state.trajectory[t], chosen, chosen]),
                torch.full((1 + 2 * m,), schedule.timestep(t), device=model.device),
                torch.cat([state.empty, state.negative.expand(m, -1, -1), state.target.expand(m, -1, -1)]),
            )
            negative, conditional = output[1:].chunk(2)
            return negative + self.params.guidance * (conditional - negative)

        for t, x, tau_a in edits:
            step = partial(predicted, t, x, tau_a)
            parts = model.limits.each("edits beside the source", (model.max_batch - 1) // 2, range(len(x)), step)
            edits.x = model.guard(schedule.ddim_step(x, torch.cat(parts), t), f"decoding to level {t - 1}")
        return model.decode(edits.latents)


def with_features(model: DiffusionModel, first_layer: float) -> tuple[DiffusionModel, Injection, Injection]:
    """The model with a U-Net in which self-attention of the decoder, and the residual of its layer that a share ``first_layer`` of its layers
    comes before, are governed by the second and third results. Raises ``EditorError`` where no self-attention comes from there on.
    """
    layers = [(i, j) for i, block in enumerate(model.unet.up_blocks) for j in range(len(block.resnets))]
    first = min(share_of_steps(first_layer, len(layers)), len(layers) - 1)
    within = tuple(f"up_blocks.{i}.attentions.{j}." for i, j in layers[first:])
    projections = [name for name, _ in model.unet.named_modules() if name.startswith(within) and name.endswith(_QUERIES_AND_KEYS)]
    if not projections:
        raise EditorError(f"first_layer: the U-Net has no self-attention in layers {first} to {len(layers) - 1} of its decoder")
    i, j = layers[first]
    network = twin(model)
    attention, features = inject(network, projections), inject(network, [f"up_blocks.{i}.resnets.{j}.conv2"])
    return model.variant(unet=network), attention, features
