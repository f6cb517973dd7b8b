"""EDICT (Wallace et al., CVPR 2023, arXiv 2211.12446): exact inversion by two coupled latents."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from editors.base import DIFFUSION, SAMPLING_PRESETS, Editor, EditTask, FairPlay, Image, Knob, SamplingParams
from editors.toolbox.diffusion import DiffusionModel
from editors.toolbox.schedule import DiffusionSchedule
from editors.toolbox.source import Texts

__all__ = ["EDICT", "Coupling", "EDICTParams", "EDICTState"]


class EDICTParams(SamplingParams):
    """Parameters of EDICT; the defaults are the paper's."""

    guidance: float = Field(3.0, ge=0, description="guidance scale of both the inversion and the decode; 1 = none")
    mix: float = Field(0.93, gt=0, le=1, description="p, the weight of a latent's own value where the two are mixed after a step")


@dataclass(frozen=True, eq=False)
class EDICTState(Texts):
    """The inversion and the texts."""

    trajectory: list[tuple[Tensor, Tensor]]
    """The pairs (x, y), float64 (1, c, h, w) each, by level."""


@dataclass(frozen=True, eq=False)
class Coupling:
    """One way of denoising a pair of latents: model, text and guidance. Latents are float64 (m, c, h, w)."""

    model: DiffusionModel
    schedule: DiffusionSchedule
    context: Tensor
    empty: Tensor
    guidance: float
    p: float

    def _eps(self, x: Tensor, level: int) -> Tensor:
        output = self.model.predict(x, self.schedule.timestep(level), self.context, self.guidance, self.empty)
        return self.schedule.split(x, output, level)[1]

    def _coefficients(self, level: int) -> tuple[float, float]:
        """a and b of DDIM written x_{k-1} = a x_k + b eps."""
        here, there = self.schedule.alpha_bars[level], self.schedule.alpha_bars[level - 1]
        a = math.sqrt(there / here)
        return a, math.sqrt(1 - there) - a * math.sqrt(1 - here)

    def denoise(self, x: Tensor, y: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """From level k to k - 1: both latents in turn, each by the other's prediction, then the mixing (Sec. 4)."""
        a, b = self._coefficients(level)
        if level % 2:
            x = a * x + b * self._eps(y, level)
            y = a * y + b * self._eps(x, level)
        else:
            y = a * y + b * self._eps(x, level)
            x = a * x + b * self._eps(y, level)
        x = self.p * x + (1 - self.p) * y
        y = self.p * y + (1 - self.p) * x
        return x, y

    def invert(self, x: Tensor, y: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """From level k - 1 to k: ``denoise`` backwards, operation by operation."""
        a, b = self._coefficients(level)
        y = (y - (1 - self.p) * x) / self.p
        x = (x - (1 - self.p) * y) / self.p
        if level % 2:
            y = (y - b * self._eps(x, level)) / a
            x = (x - b * self._eps(y, level)) / a
        else:
            x = (x - b * self._eps(y, level)) / a
            y = (y - b * self._eps(x, level)) / a
        return x, y


class EDICT(Editor[EDICTState]):
    """EDICT: the source is inverted under the source text, exactly, and decoded under the target text.

    Two copies of the latent are denoised in turn, each by the noise predicted for the other, and mixed with weight p after
    every step; run backwards, every operation can be undone. Inversion and decode have the same guidance. The knob is the
    paper's strength, the share of the schedule that is inverted (0.8 there); 0 is the VAE round trip. The picture is
    that of x; y is its near twin.

    Latents and mixing are float64, because dividing by p in every inversion step magnifies rounding: by 1400 in fifty
    steps. The network runs in its own precision; what it predicts is the same both ways, which is all that the inversion needs.
    The reference code runs the network in float64 too. The twin that goes first alternates by the parity of the level, so that the
    inversion to a small strength is the beginning of that to a larger one, and one walk serves all values; the reference code
    counts from the noisy end. It also samples the VAE posterior, cuts the number of steps off, and has a scheduler of its own whose
    ``steps_offset`` is 0, one timestep less at every level than the checkpoint's, which is 1 in Stable Diffusion and is what
    is used here. Nothing here is random, so the seed has no effect.
    """

    name = "edict"
    version = "1"
    families = DIFFUSION
    knob = Knob.share("strength", "share of the schedule that is inverted and decoded anew")
    needs = frozenset({"source_text"})
    deterministic = True
    Params = EDICTParams
    params: EDICTParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"steps": 50, "guidance": 3.0, "mix": 0.93},
        **SAMPLING_PRESETS,
    }

    def fair_play(self) -> FairPlay:
        return FairPlay(uses_source_text=True)

    def _coupling(self, context: Tensor, empty: Tensor) -> Coupling:
        p = self.params
        return Coupling(self.model, self.model.diffusion_schedule(p.steps), context, empty, p.guidance, p.mix)

    @torch.no_grad()
    def prepare(self, task: EditTask) -> EDICTState:
        self.check(task)
        source, target, empty = torch.split(self.model.embed([task.source_text or "", task.target_text, ""]), 1)
        coupling = self._coupling(source, empty)
        x0 = self.model.encode(task.image).double()
        trajectory = [(x0, x0)]
        for level in range(1, self.params.steps + 1):
            with self.model.guarded_together():
                x, y = coupling.invert(*trajectory[-1], level)
                trajectory.append((self.model.guard(x, f"inversion to level {level}"), y))
        return EDICTState(target, empty, trajectory)

    @torch.no_grad()
    def render(self, state: EDICTState, values: Sequence[float]) -> list[Image]:
        coupling = self._coupling(state.target, state.empty)
        starts = [coupling.schedule.level(value) for value in values]
        pairs = [torch.cat(state.trajectory[start]) for start in starts]
        for level in range(max(starts, default=0), 0, -1):
            items = [i for i, start in enumerate(starts) if start >= level]
            x, y = torch.stack([pairs[i] for i in items], dim=1)
            with self.model.guarded_together():
                x, y = coupling.denoise(x, y, level)
                self.model.guard(x, f"decoding to level {level - 1}")
            for k, i in enumerate(items):
                pairs[i] = torch.stack([x[k], y[k]])
        return self.model.decode(torch.stack([pair[0] for pair in pairs]).float())
