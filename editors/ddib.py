"""DDIB (Su et al., ICLR 2023, arXiv 2203.08382) between two texts: encode under one, decode under the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from editors.base import ANY_FAMILY, Editor, EditTask, FairPlay, Image, Knob, Params
from editors.toolbox.limits import sent
from editors.toolbox.source import Texts
from editors.toolbox.sweep import Sweep, ddim_invert

__all__ = ["DDIB", "DDIBParams", "DDIBState"]


class DDIBParams(Params):
    """Parameters of DDIB."""

    steps: int = Field(50, ge=1, le=1000, description="DDIM steps of the whole schedule, encoded and decoded in full")
    encode_guidance: float = Field(1.0, ge=0, description="classifier-free guidance scale of the encoding; 1 = none")


@dataclass(frozen=True, eq=False)
class DDIBState(Texts):
    """The texts to decode with, and the code of the picture."""

    x_T: Tensor  # noqa: N815 (the paper's symbol)
    """The latent at the noisiest level under the source text, (1, c, h, w)."""


class DDIB(Editor[DDIBState]):
    """Dual diffusion implicit bridges, with texts for the two domains.

    The picture's latent is carried to the noisiest level by DDIM under the source text (the bridge's first half, Alg. 1)
    and back by DDIM under the target text. Both halves run the whole schedule. The paper has a model of pixels for each
    domain, or one model with a class condition (classifier scale 1); this is the text form to which Imagic compares
    itself: encode with guidance 1, decode with guidance 1 to 5. That guidance is the knob; the other candidate, a partial
    encoding, would make another method of it (``encode_decode`` told the source text). All values share one encoding and
    one decode. Even the lowest value follows the target text, so none returns the source. Neither paper gives the number
    of steps for texts; 50 is the usual one. Nothing is random, so the seed has no effect.
    """

    name = "ddib"
    version = "1"
    families = ANY_FAMILY
    knob = Knob("guidance", 1.0, 10.0, (1.0, 2.0, 3.0, 4.0, 5.0), "guidance scale of the decode with the target text")
    needs = frozenset({"source_text"})
    deterministic = True
    Params = DDIBParams
    params: DDIBParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"encode_guidance": 1.0},
        "fast": {"steps": 20},
        "toybox": {"steps": 25},
    }

    def fair_play(self) -> FairPlay:
        return FairPlay(uses_source_text=True)

    def prepare(self, task: EditTask) -> DDIBState:
        """The bridge's first half, x_0 to x_T: DDIM run backwards under the source text."""
        self.check(task)
        model, schedule = self.model, self.model.schedule(self.params.steps)
        source, target, empty = torch.split(model.embed([task.source_text or "", task.target_text, ""]), 1)
        x0 = model.encode(task.image)
        trajectory = ddim_invert(model, schedule, x0, source, guidance=self.params.encode_guidance, uncond=empty)
        return DDIBState(target, empty, trajectory[-1])

    def render(self, state: DDIBState, values: Sequence[float]) -> list[Image]:
        """The bridge's second half, from x_T down: x_{t-1} = DDIM(x_t, eps_w(x_t, t, target)), each value w in the batch."""
        model, schedule = self.model, self.model.schedule(self.params.steps)
        edits = Sweep(model, [(w, schedule.steps, state.x_T) for w in values])
        for t, x, w in edits:
            eps = model.predict(x, schedule.timestep(t), state.target, sent(torch.tensor(w), model.device), state.empty)
            edits.x = schedule.ddim_step(x, eps, t)
        return model.decode(edits.latents)
