"""Edit-friendly DDPM inversion (Huberman-Spiegelglas et al., CVPR 2024, arXiv 2304.06140)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from editors.base import DIFFUSION, Editor, EditTask, FairPlay, Image, Knob, SamplingParams
from editors.toolbox.schedule import posterior
from editors.toolbox.source import Texts
from editors.toolbox.sweep import Sweep, independent_levels, predict_levels

__all__ = ["EditFriendlyDDPM", "EditFriendlyParams", "EditFriendlyState"]


class EditFriendlyParams(SamplingParams):
    """Parameters of edit-friendly DDPM inversion; the defaults are those of the authors' script."""

    steps: int = Field(100, ge=1, le=1000, description="steps of the whole schedule; a partial edit executes its share")
    guidance: float = Field(15.0, ge=0, description="guidance scale of the decode with the target text; 1 = none")
    source_guidance: float = Field(
        3.5, ge=0, description="guidance scale of the inversion with the source text, where there is one"
    )


@dataclass(frozen=True, eq=False)
class EditFriendlyState(Texts):
    """The picture in the noise space of the model."""

    latents: list[Tensor]
    """The latents x_0..x_n, each (1, c, h, w), noised independently of each other."""
    noises: list[Tensor]
    """sigma_t z_t, each (1, c, h, w), of level t at index t - 1: what a step from x_t must add to arrive at x_{t-1}."""


class EditFriendlyDDPM(Editor[EditFriendlyState]):
    """Edit-friendly DDPM inversion.

    1. x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps_t with an eps_t of its own for every t (Eq. 6), unlike the states of
       one sampling run, which share their noise.
    2. z_t = (x_{t-1} - mu_t(x_t)) / sigma_t, mu_t under the source text and its guidance (Eq. 5, Alg. 1).
    3. From x_t at the start level, x_{t-1} = mu_t(x_t) + sigma_t z_t with mu_t under the target text and guidance.

    Under the source text and its guidance step 3 gives the picture back. The knob is the share of the schedule that is decoded,
    1 - T_skip / T in the paper's words (36 of 100 skipped is 0.64); 0 is the VAE round trip. Without a source text the inversion
    goes without text and without guidance, as in the authors' script.

    Since no x_t is computed from another, all predictions of the inversion share batches; the authors take them one by one.
    What is kept is sigma_t z_t, the one form in which z_t is used. That of the last step, whose sigma is 0, is kept too; the
    authors drop it, so that their last step does not quite arrive. The scales and the number of steps are those of their script and
    paper; facts that this project relies on elsewhere do not list them.
    """

    name = "edit_friendly_ddpm"
    version = "1"
    families = DIFFUSION
    knob = Knob.share("strength", "share of the schedule that is decoded anew", (0.2, 0.4, 0.5, 0.64, 0.8, 1.0))
    Params = EditFriendlyParams
    params: EditFriendlyParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"steps": 100, "guidance": 15.0, "source_guidance": 3.5},
        "fast": {"steps": 25},
        "toybox": {"steps": 25, "guidance": 3.0, "source_guidance": 1.0},
    }

    def fair_play(self) -> FairPlay:
        return FairPlay(uses_source_text=True)

    @torch.no_grad()
    def prepare(self, task: EditTask) -> EditFriendlyState:
        self.check(task)
        model, schedule = self.model, self.model.diffusion_schedule(self.params.steps)
        source, target, empty = torch.split(model.embed([task.source_text or "", task.target_text, ""]), 1)
        latents = independent_levels(model, schedule, model.encode(task.image), task.seed)
        scale = self.params.source_guidance if task.source_text else 1.0
        outputs = predict_levels(model, schedule, latents, source, guidance=scale, uncond=empty)
        noises = [
            latents[level - 1] - posterior(schedule, latents[level], outputs[level - 1], level)[0]
            for level in range(1, schedule.steps + 1)
        ]
        return EditFriendlyState(target, empty, latents, noises)

    def render(self, state: EditFriendlyState, values: Sequence[float]) -> list[Image]:
        """x_{t-1} = mu(x_t, eps(x_t, t, target)) + sigma_t z_t, with the noises z_t of the inversion."""
        model, schedule = self.model, self.model.diffusion_schedule(self.params.steps)
        edits = Sweep(model, [(t, t, state.latents[t]) for t in map(schedule.level, values)])
        for t, x, _ in edits:
            eps = model.predict(x, schedule.timestep(t), state.target, self.params.guidance, state.empty)
            edits.x = posterior(schedule, x, eps, t)[0] + state.noises[t - 1]
        return model.decode(edits.latents)
