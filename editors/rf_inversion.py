"""RF-Inversion (Rout et al., ICLR 2025, arXiv 2410.10792): inversion and editing of a rectified flow by controlled equations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from editors.base import FLOW, Editor, EditTask, Image, Knob, SamplingParams
from editors.toolbox.diffusion import derive_seed
from editors.toolbox.limits import sent
from editors.toolbox.schedule import FlowSchedule
from editors.toolbox.source import Source
from editors.toolbox.sweep import Sweep

__all__ = ["RFInversion", "RFInversionParams", "RFInversionState"]


class RFInversionParams(SamplingParams):
    """Parameters of RF-Inversion; the defaults are the paper's with FLUX.1 dev."""

    steps: int = Field(28, ge=1, le=1000, description="Euler steps of the whole schedule, both ways")
    guidance: float = Field(3.5, ge=0, description="guidance scale of the target text")
    source_guidance: float = Field(0.0, ge=0, description="guidance scale of the inversion, which has no text")
    gamma: float = Field(0.5, ge=0, le=1, description="weight of the way to a drawn noise in the inversion; 0 = the plain flow")
    eta: float = Field(0.9, ge=0, le=1, description="weight of the way to the source while the edit is controlled")


@dataclass(frozen=True, eq=False)
class RFInversionState(Source):
    """A picture, its target text, and its structured noise."""

    noise: Tensor
    """Where the controlled inversion ends, (1, c, h, w)."""


class RFInversion(Editor[RFInversionState]):
    """RF-Inversion: the flow, both ways, with a second velocity mixed in that is known in closed form.

    1. Inversion (Algorithm 1): from the source latent x_0 to noise, dY = [u + gamma (u(. | y_1) - u)] d sigma. u is the network's
       velocity without text, and u(Y | y_1) = (y_1 - Y) / (1 - sigma) leads straight to a noise y_1 that was drawn.
    2. Editing (Algorithm 2): back with the target text, dX = [v + eta (v(. | x_0) - v)] d sigma, where v(X | x_0) = (X - x_0) / sigma
       leads straight to the source. The control is on from the noisy end to a stopping time, after which the flow is left to itself.

    The knob is the share of the schedule that is left free, at its clean end; the paper's usual stopping time of 6 of 28 steps is
    0.79. At 0 and ``eta`` 1 the source latent comes back. All values share one inversion.
    Sigma is the share of noise, where the paper's t is that of the picture in its second half.
    """

    name = "rf_inversion"
    version = "1"
    families = FLOW
    knob = Knob(
        "free_share",
        0.0,
        1.0,
        (0.0, 0.25, 0.5, 0.64, 0.79, 0.9, 1.0),
        "share of the schedule, at its clean end, left uncontrolled",
    )
    tested_on = "tiny checkpoint"
    Params = RFInversionParams
    params: RFInversionParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"steps": 28, "guidance": 3.5, "source_guidance": 0.0, "gamma": 0.5, "eta": 0.9},
        "fast": {"steps": 14},
    }

    @property
    def schedule(self) -> FlowSchedule:
        """Levels 0..n of the flow."""
        return self.model.flow_schedule(self.params.steps)

    def prepare(self, task: EditTask) -> RFInversionState:
        """Algorithm 1, from level 0 to n; the velocity of a step is that at its beginning."""
        self.check(task)
        model, schedule, source = self.model, self.schedule, Source.of(self.model, task)
        y, y_1 = source.x0, model.noise(derive_seed(task.seed, "inversion"), source.x0.shape)
        for k in range(schedule.steps):
            u = model.predict(y, schedule.timestep(k), source.empty, self.params.source_guidance, source.empty)
            straight = (y_1 - y) / (1 - schedule.sigmas[k])
            y = schedule.ddim_inverse_step(y, u + self.params.gamma * (straight - u), k + 1)
        return RFInversionState(**vars(source), noise=model.guard(y, "the end of the inversion"))

    def render(self, state: RFInversionState, values: Sequence[float]) -> list[Image]:
        """Algorithm 2, from level n to 0, for all values in one batch."""
        model, schedule = self.model, self.schedule
        edits = Sweep(model, [(schedule.level(value), schedule.steps, state.noise) for value in values])
        for t, x, free in edits:
            v = model.predict(x, schedule.timestep(t), state.target, self.params.guidance, state.empty)
            straight = (x - state.x0) / schedule.sigmas[t]
            eta = sent(torch.tensor([self.params.eta if t > level else 0.0 for level in free]), model.device).view(-1, 1, 1, 1)
            edits.x = schedule.ddim_step(x, v + eta * (straight - v), t)
        return model.decode(edits.latents)
