"""ReNoise (Garibi et al., ECCV 2024, arXiv 2403.14602): inversion whose every step is iterated towards the point it leads to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from editors.base import DIFFUSION, Editor, EditTask, FairPlay, Image, Knob, SamplingParams
from editors.toolbox.diffusion import derive_seed, seeded
from editors.toolbox.noise_statistics import descended, pair_correlation, patch_divergence
from editors.toolbox.schedule import DiffusionSchedule, posterior, posterior_inverse
from editors.toolbox.sweep import Sweep

__all__ = ["ReNoise", "ReNoiseParams", "ReNoiseState"]

_EARLY = 250
"""Timestep below which a step of the inversion is one of the first, whose estimates are all averaged."""
_ROLLS = 5
"""Draws of distances between neighbours in a step of the enhancement."""
_STEEPEST = 100.0
"""Bound of the gradient of the divergence by patches."""


class ReNoiseParams(SamplingParams):
    """Parameters of ReNoise; the defaults are those of the authors' script with Stable Diffusion 1.5."""

    sampler: Literal["ddim", "ancestral"] = Field(
        "ddim", description="ancestral: each step adds noise, as Euler's ancestral sampler does, for few-step models"
    )
    renoise_steps: int = Field(
        1, ge=0, le=100, description="K, how often the estimate of a step is renoised; 0 = plain inversion"
    )
    first_renoise_steps: int = Field(5, ge=0, le=100, description="the most of them in the first steps, below timestep 250")
    averaged_from: int = Field(8, ge=0, description="predictions of a step from this number on are averaged, counted from 0")
    first_averaged: int = Field(
        5, ge=0, description="predictions that are averaged in the first steps, counted from the beginning"
    )
    regularisation_steps: int = Field(4, ge=0, description="steps of editability enhancement on a prediction; 0 = none")
    pair_rate: float = Field(20.0, ge=0, description="lambda_pair, rate of the loss on correlated neighbours")
    patch_rate: float = Field(0.065, ge=0, description="lambda_patch-KL, rate of the loss on the statistics of patches")
    noise_correction: bool = Field(True, description="correct the added noise so that each step is undone; with ancestral only")


@dataclass(frozen=True, eq=False)
class ReNoiseState:
    """A picture, inverted, and the texts."""

    target: Tensor
    """Embedding of the target text, (1, l, d)."""
    source: Tensor
    """Embedding of the source text, (1, l, d)."""
    trajectory: list[Tensor]
    """Inverted latents z_0..z_n, each (1, c, h, w), by level."""
    noises: list[Tensor]
    """What the sampler adds after the step from level t, (1, c, h, w), at index t - 1; empty where it adds nothing."""


class ReNoise(Editor[ReNoiseState]):
    """ReNoise, Algorithm 1, then a decode with the target text from the inverted latent.

    The step from z_{t-1} to z_t inverts the sampler's own, which needs the prediction at z_t. Inversion takes the one at z_{t-1} for it;
    ReNoise takes that only to begin with: at the z_t that results it predicts anew, steps again from z_{t-1}, and so on, K times.

    - *Averaging*: the last predictions of a step are averaged, in the first steps of the inversion all of them, and the mean is stepped with.
    - *Editability enhancement*: predictions are moved by gradient descent towards the statistics of noise, those of the prediction at a noised
      z_0 patch by patch, and uncorrelated neighbours (``editors.toolbox.noise_statistics``).
    - *Noise correction*: a sampler that adds noise eps_t is inverted with eps_t that are drawn. Each is then set to what leads
      from z_t to z_{t-1} under the source text.

    The edit is guided away from the source text, as in the authors' script, whose guidance is 1 unless asked. The knob is the share of the
    schedule that is inverted and decoded anew; 0 is the VAE round trip.

    Departures: the noise is corrected exactly, as in the paper, where the script takes ten steps of gradient descent towards that. Its loss on
    neighbours also draws a distance of 0. The levels are those of the checkpoint's schedule, and what guides the inversion is the source
    text alone, without guidance.
    """

    name = "renoise"
    version = "1"
    families = DIFFUSION
    knob = Knob.share("strength", "share of the schedule that is inverted and decoded anew")
    needs = frozenset({"source_text"})
    paced_by = ("steps", "renoise_steps")
    Params = ReNoiseParams
    params: ReNoiseParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"steps": 50, "renoise_steps": 1, "sampler": "ddim"},
        "paper_turbo": {"steps": 4, "guidance": 1.0, "renoise_steps": 9, "sampler": "ancestral"},
        "fast": {"steps": 20},
        "toybox": {"steps": 25, "guidance": 3.0},
    }

    def fair_play(self) -> FairPlay:
        return FairPlay(uses_source_text=True)

    @property
    def schedule(self) -> DiffusionSchedule:
        """Levels 0..n; steps take the noise, epsilon, whatever the network predicts (``_noise``)."""
        return replace(self.model.diffusion_schedule(self.params.steps), v_prediction=False)

    @torch.no_grad()
    def prepare(self, task: EditTask) -> ReNoiseState:
        self.check(task)
        model, schedule = self.model, self.schedule
        source, target = torch.split(model.embed([task.source_text or "", task.target_text]), 1)
        z, added = model.encode(task.image), self.params.sampler == "ancestral"
        noise, shifts = model.noise(task.seed, z.shape), seeded(derive_seed(task.seed, "shifts"))
        trajectory: list[Tensor] = [z]
        noises: list[Tensor] = []
        for t in range(1, schedule.steps + 1):
            with model.guarded_together():
                wanted = None
                if self.params.regularisation_steps:
                    wanted = self._noise(schedule.q_sample(trajectory[0], noise, t), t, source)
                if added:
                    drawn = model.noise(derive_seed(task.seed, f"level {t}"), z.shape)
                    noises.append(posterior(schedule, z, z, t)[1] ** 0.5 * drawn)
                mean = z - noises[-1] if added else z
                before, z = z, self._renoised(z, mean, t, source, partial(self._like_noise, wanted=wanted, shifts=shifts))
                if added and self.params.noise_correction and t > 1:
                    noises[-1] = before - posterior(schedule, z, self._noise(z, t, source), t)[0]
            trajectory.append(z)
        model.guard(trajectory[-1], "the end of the inversion")
        return ReNoiseState(target, source, trajectory, noises)

    def _renoised(self, z: Tensor, mean: Tensor, t: int, text: Tensor, enhance: Callable[[Tensor], Tensor]) -> Tensor:
        """z_t, from z_{t-1} and that less the noise that the sampler adds, (1, c, h, w) each."""
        params, early = self.params, self.schedule.timestep(t) < _EARLY
        times = min(params.renoise_steps, params.first_renoise_steps) if early else params.renoise_steps
        first, last = (0, params.first_averaged) if early else (params.averaged_from, times + 1)
        estimate, kept = z, []
        for k in range(times + 1):
            eps = self._noise(estimate, t, text)
            if first <= k < last:
                kept.append(eps)
            estimate = self._inverse_step(mean, enhance(eps) if k >= first else eps, t)
        if not kept:
            return estimate
        return self._inverse_step(mean, enhance(torch.cat(kept).mean(0, keepdim=True)), t)

    def _like_noise(self, eps: Tensor, wanted: Tensor | None, shifts: torch.Generator) -> Tensor:
        """Editability enhancement; the prediction as it is where none is ``wanted``."""
        if wanted is None:
            return eps
        for _ in range(self.params.regularisation_steps):
            eps = descended(eps, lambda x: patch_divergence(x, wanted), self.params.patch_rate, most=_STEEPEST)
            for _ in range(_ROLLS):
                eps = descended(eps, lambda x: pair_correlation(x, shifts), self.params.pair_rate / _ROLLS)
        return eps

    def _inverse_step(self, mean: Tensor, eps: Tensor, t: int) -> Tensor:
        if self.params.sampler == "ancestral":
            return posterior_inverse(self.schedule, mean, eps, t)
        return self.schedule.ddim_inverse_step(mean, eps, t)

    def _noise(self, z: Tensor, t: int, text: Tensor) -> Tensor:
        """epsilon(z, t, text) without guidance."""
        schedule = self.model.diffusion_schedule(self.params.steps)
        return schedule.split(z, self.model.predict(z, schedule.timestep(t), text), t)[1]

    def render(self, state: ReNoiseState, values: Sequence[float]) -> list[Image]:
        model, schedule = self.model, self.model.diffusion_schedule(self.params.steps)
        edits = Sweep(model, [(t, t, state.trajectory[t]) for t in map(schedule.level, values)])
        for t, z, _ in edits:
            output = model.predict(z, schedule.timestep(t), state.target, self.params.guidance, state.source)
            if state.noises:
                edits.x = posterior(schedule, z, output, t)[0] + state.noises[t - 1]
            else:
                edits.x = schedule.ddim_step(z, output, t)
        return model.decode(edits.latents)
