"""InstructPix2Pix (Brooks et al., CVPR 2023, arXiv 2211.09800): a model trained to follow instructions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from editors.base import Editor, EditTask, Image, Knob, SamplingParams
from editors.toolbox.diffusion import DiffusionModel

__all__ = ["InstructPix2Pix", "InstructPix2PixParams", "InstructPix2PixState"]


class InstructPix2PixParams(SamplingParams):
    """Parameters of InstructPix2Pix; the image guidance is its knob."""

    steps: int = Field(100, ge=1, le=1000, description="DDIM steps; all of them are executed, whatever the knob")
    guidance: float = Field(7.5, ge=1, description="guidance scale s_T towards the instruction")


@dataclass(frozen=True, eq=False)
class InstructPix2PixState:
    """All that no knob value changes."""

    source: Tensor
    """c_I: the VAE's mean for the source, without the latent's scaling, (1, c, h, w)."""
    noise: Tensor
    """Where every value starts, (1, c, h, w)."""
    instruction: Tensor
    """c_T, (1, l, d)."""
    empty: Tensor
    instruction_from: str
    """``manifest`` or ``target_text``."""


class InstructPix2Pix(Editor[InstructPix2PixState]):
    """InstructPix2Pix with its two guidances, Equation 3 of the paper.

        e~ = e(z, 0, 0) + s_I (e(z, c_I, 0) - e(z, 0, 0)) + s_T (e(z, c_I, c_T) - e(z, c_I, 0))

    The U-Net takes the source latent c_I, unscaled, beside the noisy one; sampling starts from plain noise.

    Knob: the authors' curve sweeps s_I from 1.0 to 2.2 at fixed s_T, and there more is more faithful. ``image_freedom`` is its
    inverse, 1 / s_I, so that more is more edit and the default grid is the authors' range. Text guidance as the knob would have
    been another curve than theirs. At its upper end, s_I = 1, the picture is a plain condition without guidance. No value returns
    the source or its round trip.

    The instruction is the task's; where it has none the target text is taken for one, which is not what the model was trained on:
    ``facts`` says which. Three U-Net evaluations per step and value. Departures: DDIM instead of the Euler ancestral sampler, in
    100 steps as in the paper.
    """

    name = "instruct_pix2pix"
    version = "1"
    knob = Knob(
        "image_freedom",
        0.1,
        1.0,
        (1 / 2.2, 1 / 1.9, 1 / 1.6, 1 / 1.3, 1.0),
        "1 / s_I, the inverse of the guidance scale towards the source",
    )
    channels = frozenset({4})
    checkpoint = "as the model, an InstructPix2Pix checkpoint of 8 input channels (timbrooks/instruct-pix2pix, MIT)"
    tested_on = "tiny checkpoint"
    Params = InstructPix2PixParams
    params: InstructPix2PixParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"steps": 100, "guidance": 7.5},
        "fast": {"steps": 20},
    }

    def prepare(self, task: EditTask) -> InstructPix2PixState:
        self.check(task)
        model = self.model
        x0 = model.encode(task.image)
        instruction, empty = model.embed_pair(task.instruction or task.target_text)
        return InstructPix2PixState(
            source=x0 / model.vae.config.scaling_factor + float(model.vae.config.get("shift_factor") or 0),
            noise=model.noise(task.seed, x0.shape),
            instruction=instruction,
            empty=empty,
            instruction_from="manifest" if task.instruction else "target_text",
        )

    @torch.no_grad()
    def render(self, state: InstructPix2PixState, values: Sequence[float]) -> list[Image]:
        model, schedule = self.model, self.model.schedule(self.params.steps)
        image_guidance = torch.tensor([1 / value for value in values], device=model.device).view(-1, 1, 1, 1)
        x = state.noise.expand(len(values), -1, -1, -1)
        for level in range(schedule.steps, 0, -1):
            with model.guarded_together():
                output = self._predict(model, state, x, schedule.timestep(level), image_guidance)
                x = model.guard(schedule.ddim_step(x, output, level), f"decoding to level {level - 1}")
        return model.decode(x)

    def _predict(self, model: DiffusionModel, state: InstructPix2PixState, x: Tensor, t: float, image_guidance: Tensor) -> Tensor:
        """Equation 3 for m latents, from one batch of 3m."""
        m = len(x)
        sources = torch.cat([state.source, state.source, torch.zeros_like(state.source)])
        texts = torch.cat([state.instruction, state.empty, state.empty])
        both, image, neither = model.predict(
            x.repeat(3, 1, 1, 1), t, texts.repeat_interleave(m, dim=0), extra=sources.repeat_interleave(m, dim=0)
        ).chunk(3)
        return neither + image_guidance * (image - neither) + self.params.guidance * (both - image)

    def facts(self, state: InstructPix2PixState) -> dict[str, str | float | bool]:
        return {"instruction_from": state.instruction_from}
