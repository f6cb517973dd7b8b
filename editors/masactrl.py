"""MasaCtrl (Cao et al., ICCV 2023, arXiv 2304.08465): an edit that looks at the source's keys and values, for changes of pose and shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from editors.base import SAMPLING_PRESETS, Editor, EditTask, Image, Knob, SamplingParams
from editors.toolbox.attention import with_mutual_self_attention
from editors.toolbox.schedule import share_of_steps
from editors.toolbox.source import Texts
from editors.toolbox.sweep import ddim_invert

__all__ = ["MasaCtrl", "MasaCtrlParams", "MasaCtrlState"]


class MasaCtrlParams(SamplingParams):
    """Parameters of MasaCtrl; the defaults are the paper's with Stable Diffusion 1.4."""

    free_steps: float = Field(0.08, ge=0, le=1, description="S, share of an edit's steps that come before the control; 4 of 50")
    free_layers: float = Field(
        0.625, ge=0, le=1, description="L, share of the self-attention layers that come before it; 10 of 16"
    )


@dataclass(frozen=True, eq=False)
class MasaCtrlState(Texts):
    """A source, inverted, and the texts."""

    trajectory: list[Tensor]
    """Inverted latents x_0..x_n, each (1, c, h, w), by level."""


class MasaCtrl(Editor[MasaCtrlState]):
    """MasaCtrl: mutual self-attention, Algorithm 1, on a picture inverted by DDIM without text.

    Source and edit are decoded side by side from the inverted latent, the source without text, the edit with the target text and
    guidance. After the first S steps, and in layers from L on, which are those of the U-Net's decoder, the edit's queries attend to
    the source's keys and values instead of their own (Eq. 4): what is seen is the source's, where it is seen is the edit's. So the
    layout is free to follow the text while colours and textures are kept.

    S and L are shares here, of the steps that an edit executes and of the layers that the U-Net has. The mask-guided form of
    Section 3.3, which needs words for fore- and background, is not part of this, nor the form with T2I-Adapter.

    The knob is the share of the schedule that is inverted and decoded anew: the published method is 1, and 0 is the VAE round trip.
    Nothing is random, so the seed has no effect.
    """

    name = "masactrl"
    version = "1"
    knob = Knob.share("strength", "share of the schedule that is inverted and decoded anew")
    deterministic = True
    Params = MasaCtrlParams
    params: MasaCtrlParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"steps": 50, "guidance": 7.5, "free_steps": 0.08, "free_layers": 0.625},
        **SAMPLING_PRESETS,
    }

    def prepare(self, task: EditTask) -> MasaCtrlState:
        self.check(task)
        model = self.model
        target, empty = model.embed_pair(task.target_text)
        trajectory = ddim_invert(model, model.schedule(self.params.steps), model.encode(task.image), empty)
        return MasaCtrlState(target, empty, trajectory)

    @torch.no_grad()
    def render(self, state: MasaCtrlState, values: Sequence[float]) -> list[Image]:
        model, schedule = self.model, self.model.schedule(self.params.steps)
        controlled, control = with_mutual_self_attention(model, self.params.free_layers)
        starts = [schedule.level(value) for value in values]
        sources = [state.trajectory[start] for start in starts]
        edits = list(sources)

        def step(t: int, some: Sequence[int]) -> None:
            m, source, x = len(some), torch.cat([sources[i] for i in some]), torch.cat([edits[i] for i in some])
            control.active = torch.tensor([starts[i] - t >= share_of_steps(self.params.free_steps, starts[i]) for i in some])
            output = controlled.unet_output(
                torch.cat([source, x, x]),
                torch.full((3 * m,), schedule.timestep(t), device=model.device),
                torch.cat([state.empty.expand(2 * m, -1, -1), state.target.expand(m, -1, -1)]),
            )
            own, empty, conditional = output.chunk(3)
            guided = empty + self.params.guidance * (conditional - empty)
            both = torch.cat([schedule.ddim_step(source, own, t), schedule.ddim_step(x, guided, t)])
            for i, there, here in zip(some, *torch.split(model.guard(both, f"decoding to level {t - 1}"), m), strict=True):
                sources[i], edits[i] = there[None], here[None]

        for t in range(max(starts, default=0), 0, -1):
            items = [i for i, start in enumerate(starts) if start >= t]
            model.limits.each("edits beside the source", model.max_batch // 3, items, partial(step, t))
        return model.decode(torch.cat(edits))
