"""FlowEdit (Kulikov et al., ICCV 2025, arXiv 2412.08629): from the source to the edit along the difference of two velocities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from editors.base import FLOW, Editor, EditTask, FairPlay, Image, Knob, SamplingParams
from editors.toolbox.diffusion import derive_seed
from editors.toolbox.limits import sent
from editors.toolbox.source import Source
from editors.toolbox.sweep import Sweep

__all__ = ["FlowEdit", "FlowEditParams", "FlowEditState"]

_PAPER_SD3: Mapping[str, Any] = {"steps": 50, "guidance": 13.5, "source_guidance": 3.5, "averages": 1, "last_steps": 0}


class FlowEditParams(SamplingParams):
    """Parameters of FlowEdit; the defaults are the paper's with Stable Diffusion 3."""

    steps: int = Field(50, ge=1, le=1000, description="T, Euler steps of the whole schedule; a partial edit executes its share")
    guidance: float = Field(13.5, ge=0, description="guidance scale of the target text")
    source_guidance: float = Field(3.5, ge=0, description="guidance scale of the source text")
    averages: int = Field(1, ge=1, description="n_avg, noises over which the difference of velocities is averaged in each step")
    last_steps: int = Field(0, ge=0, description="n_min, steps at the clean end that sample with the target text alone")


@dataclass(frozen=True, eq=False)
class FlowEditState(Source):
    """A picture and its two texts."""

    source: Tensor
    """Embedding of the source text, (1, l, d)."""
    seed: int
    """Seed of the task."""


class FlowEdit(Editor[FlowEditState]):
    """FlowEdit, Algorithm 1: an ordinary differential equation from the source latent to the edit, without inversion.

    At each level sigma the source is noised, z_src = (1 - sigma) x_src + sigma N with fresh N, and so is the edit by the same noise,
    z_tar = z_FE + z_src - x_src. The edit moves by the difference of the two velocities, each under its own text and guidance,
    averaged over ``averages`` noises: z_FE += (sigma' - sigma) (V(z_tar, target) - V(z_src, source)). It begins as the source itself.

    The knob is n_max / T, how much of the schedule is executed; 0 is the VAE round trip. The paper's are 33 of 50 with Stable
    Diffusion 3 and 24 of 28 with FLUX.1 dev. With ``last_steps`` the end is sampled with the target text alone, from z_tar at that level.
    The noise of a level is shared by all knob values.

    Departures: an edit that begins within the last steps, which the authors' code has no start for, begins as the noised source. The
    latent is the mean of the VAE posterior, which is also what the authors encode.
    """

    name = "flowedit"
    version = "1"
    families = FLOW
    knob = Knob.share("strength", "share of the schedule that is executed, n_max / T", (0.2, 0.4, 0.5, 0.66, 0.8, 0.86, 1.0))
    needs = frozenset({"source_text"})
    tested_on = "tiny checkpoint"
    Params = FlowEditParams
    params: FlowEditParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": _PAPER_SD3,
        "paper_sd3": _PAPER_SD3,
        "paper_flux": {**_PAPER_SD3, "steps": 28, "guidance": 5.5, "source_guidance": 1.5},
        "fast": {**_PAPER_SD3, "steps": 20},
    }

    def fair_play(self) -> FairPlay:
        return FairPlay(uses_source_text=True)

    def prepare(self, task: EditTask) -> FlowEditState:
        self.check(task)
        base = Source.of(self.model, task)
        return FlowEditState(**vars(base), source=self.model.embed([task.source_text or ""]), seed=task.seed)

    def render(self, state: FlowEditState, values: Sequence[float]) -> list[Image]:
        model, schedule, n_min = self.model, self.model.schedule(self.params.steps), self.params.last_steps
        x_src = state.x0
        starts = [
            (n_max, schedule.q_sample(x_src, self._noise(state, n_max, 0), n_max) if n_max < n_min else x_src)
            for n_max in map(schedule.level, values)
        ]
        edits = Sweep(model, [(None, n_max, start) for n_max, start in starts])
        for t, z, _ in edits:
            if t > n_min:
                draws = range(self.params.averages)
                v = torch.stack([self._difference(state, z, t, self._noise(state, t, j)) for j in draws]).mean(0)
                edits.x = schedule.ddim_step(z, v, t)
            else:
                z_tar = z + schedule.q_sample(x_src, self._noise(state, t, 0), t) - x_src if t == n_min else z
                v = model.predict(z_tar, schedule.timestep(t), state.target, self.params.guidance, state.empty)
                edits.x = schedule.ddim_step(z_tar, v, t)
        return model.decode(edits.latents)

    def _difference(self, state: FlowEditState, z_fe: Tensor, t: int, noise: Tensor) -> Tensor:
        """V(z_tar, target) - V(z_src, source) at level t for edits (m, c, h, w) under one noise (1, c, h, w), in one call."""
        model, schedule, m = self.model, self.model.schedule(self.params.steps), len(z_fe)
        z_src = schedule.q_sample(state.x0, noise, t)
        z_tar = z_fe + z_src - state.x0
        texts = torch.cat([state.source, state.target.expand(m, -1, -1)])
        scales = sent(torch.tensor([self.params.source_guidance] + [self.params.guidance] * m), model.device)
        v = model.predict(torch.cat([z_src, z_tar]), schedule.timestep(t), texts, scales, state.empty)
        return v[1:] - v[:1]

    def _noise(self, state: FlowEditState, t: int, j: int) -> Tensor:
        """N of draw j at level t, (1, c, h, w)."""
        return self.model.noise(derive_seed(state.seed, f"level {t}, draw {j}"), state.x0.shape)
