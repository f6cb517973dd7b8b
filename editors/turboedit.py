"""TurboEdit (Deutch et al., SIGGRAPH Asia 2024, arXiv 2408.00735): edit-friendly inversion for models of few steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from editors.base import DIFFUSION, Editor, EditorError, EditTask, FairPlay, Image, Knob, Params
from editors.toolbox.diffusion import derive_seed
from editors.toolbox.limits import sent
from editors.toolbox.schedule import DiffusionSchedule, posterior
from editors.toolbox.sweep import Sweep, predict_levels

__all__ = ["TurboEdit", "TurboEditParams", "TurboEditState"]


class TurboEditParams(Params):
    """Parameters of TurboEdit; the defaults are those of the authors' script with SDXL Turbo in four steps."""

    steps: int = Field(
        4, ge=1, le=1000, description="steps of inversion and decode, at timesteps evenly from noisiest to cleanest"
    )
    noisiest: int = Field(799, ge=1, le=999, description="timestep of the first step")
    cleanest: int = Field(199, ge=0, le=999, description="timestep of the last step")
    shift: int = Field(200, ge=0, le=999, description="timesteps by which the latents have less noise than the network is told")
    last_rms: float = Field(
        15.5 / 128,
        ge=0,
        description="bound of the root mean square of the last noise map; 15.5 is its norm at 64 x 64 x 4; 0 = none",
    )

    @model_validator(mode="after")
    def _downwards(self) -> TurboEditParams:
        if self.noisiest - self.cleanest < self.steps - 1:
            raise ValueError(f"{self.steps} steps need as many timesteps from noisiest to cleanest")
        return self


@dataclass(frozen=True, eq=False)
class TurboEditState:
    """The picture in the noise space of the model, and the texts."""

    target: Tensor
    """Embedding of the target text, (1, l, d)."""
    source: Tensor
    """Embedding of the source text, (1, l, d)."""
    latents: list[Tensor]
    """x_0..x_n, each (1, c, h, w), noised independently of each other, to less than their level."""
    means: list[Tensor]
    """mu_t(x_t) under the source text, each (1, c, h, w), of level t at index t - 1."""
    last_scale: float
    """By which the last noise map is scaled down to its bound, 0..1."""


class TurboEdit(Editor[TurboEditState]):
    """TurboEdit: edit-friendly DDPM inversion with a shifted schedule, and pseudo-guidance in place of guidance.

    1. *Shift*: x_t is noised as at a timestep ``shift`` lower than the one the network is told, since noise maps of
       independent latents are those of an earlier step; with noise of its own for every t. Below timestep 0 it is x_0.
    2. z_t = (x_{t-1} - mu_t(x_t)) / sigma_t, mu_t under the source text, as in edit-friendly inversion (``editors.edit_friendly_ddpm``). The
       norm of the last is bounded.
    3. *Pseudo-guidance*: x^_{t-1} = x_{t-1} + [mu_t(x^_t, source) - mu_t(x_t, source)]
       + w [mu_t(x^_t, target) - mu_t(x^_t, source)], the edit-friendly step with its change of text, not its change of trajectory, times w.
       There is no other guidance, which models of few steps are not made for: two predictions a step.

    The knob is w. At 1 it is edit-friendly inversion, the authors' default is 1.5, and at 0 the latents of the source come back, up to the bound
    of the last noise map, which takes some of x_0 with it.

    It is made for distilled models (SDXL Turbo, SD Turbo), and runs on any. The timesteps are given as such, since those of the authors'
    three steps are no even part of the schedule.
    """

    name = "turboedit"
    version = "1"
    families = DIFFUSION
    knob = Knob("pseudo_guidance", 0.0, 10.0, (0.0, 0.5, 1.0, 1.5, 2.0, 3.0), "w, weight of the change of text")
    needs = frozenset({"source_text"})
    Params = TurboEditParams
    params: TurboEditParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"steps": 4, "noisiest": 799, "cleanest": 199, "shift": 200},
        "paper_3_steps": {"steps": 3, "noisiest": 799, "cleanest": 199, "shift": 200},
        "fast": {"steps": 3},
        "toybox": {"steps": 20, "noisiest": 799, "cleanest": 39, "shift": 40},
    }

    def fair_play(self) -> FairPlay:
        return FairPlay(uses_source_text=True)

    @property
    def schedule(self) -> DiffusionSchedule:
        """Levels 0..n. Raises ``EditorError`` where the model has no such timestep."""
        params, model = self.params, self.model
        if params.noisiest >= model.train_levels:
            raise EditorError(f"noisiest: expected a timestep below {model.train_levels}, got {params.noisiest}")
        evenly = torch.linspace(params.cleanest, params.noisiest, params.steps).round().long()
        return DiffusionSchedule.at(model.scheduler, evenly.tolist())

    @torch.no_grad()
    def prepare(self, task: EditTask) -> TurboEditState:
        self.check(task)
        model, schedule = self.model, self.schedule
        source, target = torch.split(model.embed([task.source_text or "", task.target_text]), 1)
        x0 = model.encode(task.image)
        latents = [x0]
        for t in range(1, schedule.steps + 1):
            noise = model.noise(derive_seed(task.seed, f"level {t}"), x0.shape)
            shifted = int(schedule.timestep(t)) - self.params.shift
            latents.append(model.backbone.noised(x0, sent(torch.tensor([shifted]), x0.device), noise)[0] if shifted > 0 else x0)
        outputs = predict_levels(model, schedule, latents, source)
        means = [posterior(schedule, latents[t], outputs[t - 1], t)[0] for t in range(1, schedule.steps + 1)]
        rms = model.number((latents[0] - means[0]).square().mean().sqrt(), "the last noise map")
        bounded = self.params.last_rms and rms > self.params.last_rms
        return TurboEditState(target, source, latents, means, self.params.last_rms / rms if bounded else 1.0)

    @torch.no_grad()
    def render(self, state: TurboEditState, values: Sequence[float]) -> list[Image]:
        model, schedule = self.model, self.schedule
        edits = Sweep(model, [(w, schedule.steps, state.latents[-1]) for w in values])
        for t, x, weights in edits:
            m, w = len(x), sent(torch.tensor(weights), model.device).view(-1, 1, 1, 1)
            texts = torch.cat([state.source.expand(m, -1, -1), state.target.expand(m, -1, -1)])
            output = model.predict(torch.cat([x, x]), schedule.timestep(t), texts)
            source, target = posterior(schedule, torch.cat([x, x]), output, t)[0].chunk(2)
            scale = state.last_scale if t == 1 else 1.0
            edits.x = scale * state.latents[t - 1] + (source - scale * state.means[t - 1]) + w * (target - source)
        return model.decode(edits.latents)

    def facts(self, state: TurboEditState) -> dict[str, str | float | bool]:
        return {"last_noise_scaled_by": state.last_scale}
