"""InfEdit (Xu et al., CVPR 2024, arXiv 2312.04965): an edit without inversion, by the denoising diffusion consistent model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from editors.base import Editor, EditTask, FairPlay, Image, Knob, SamplingParams
from editors.toolbox.attention import Alignment, align
from editors.toolbox.diffusion import derive_seed
from editors.toolbox.schedule import share_of_steps
from editors.toolbox.source import Source
from editors.toolbox.sweep import Sweep
from editors.toolbox.unified_attention import with_unified_attention

__all__ = ["InfEdit", "InfEditParams", "InfEditState"]


class InfEditParams(SamplingParams):
    """Parameters of InfEdit; the defaults are those of the authors' PIE-Bench run on a latent consistency model."""

    steps: int = Field(12, ge=1, le=1000, description="steps of the whole schedule; a partial edit executes its share")
    guidance: float = Field(2.3, ge=0, description="guidance scale of the target text")
    source_guidance: float = Field(1.0, ge=0, description="guidance scale of the source text")
    cross_replace: float = Field(0.7, ge=0, le=1, description="share of an edit's steps with the layout branch's cross-attention")
    self_replace: float = Field(0.7, ge=0, le=1, description="share of an edit's steps with the source's self-attention maps")
    alignment: Literal["refine", "replace"] = Field(
        "refine",
        description="refine: shared words take the layout branch's maps; replace: swapped words too, where both texts have as many words",
    )


@dataclass(frozen=True, eq=False)
class InfEditState(Source):
    """A picture and its two texts."""

    source: Tensor
    """Embedding of the source text, (1, l, d)."""
    alignment: Alignment
    """Which tokens of the two texts belong together."""
    seed: int
    """Seed of the task."""


class InfEdit(Editor[InfEditState]):
    """InfEdit: virtual inversion, with unified attention control.

    1. *Virtual inversion*: at every level the source is noised afresh, z_src = sqrt(abar) x_0 + sqrt(1 - abar) eps,
       and so is the edit's clean latent by the same eps, which is the step of a consistency sampler. The noise that leads from z_src
       back to x_0 is known, so there is nothing to invert. The edit's clean latent becomes x_0 + f(z_tgt, target) - f(z_src, source), f the
       clean latent that a prediction stands for. It begins as x_0.
    2. *Unified attention control*: a third branch, of the layout, goes beside source and edit under the source text, moved
       in the same way. The edit has its cross-attention to the words that both texts share. For a share of the steps edit and layout have
       the source's self-attention maps, and after that the layout asks with the edit's queries for the source's keys and values
       (``editors.toolbox.unified_attention``).

    The knob is the share of the schedule that is executed: the published method is 1, and 0 is the VAE round trip. The noise of a level is
    shared by all knob values.

    Departures: the levels are those of the checkpoint's schedule, where the authors have the timesteps of latent consistency models; the
    first latent is the noised source, where their PIE-Bench run has noise alone. Pasting by the maps of words that are
    named for a sample is not part of this. It is made for consistency models, and runs on any.
    """

    name = "infedit"
    version = "1"
    knob = Knob.share("strength", "share of the schedule that is executed")
    needs = frozenset({"source_text"})
    Params = InfEditParams
    params: InfEditParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {**{"steps": 12, "guidance": 2.3, "source_guidance": 1.0}, "cross_replace": 0.7, "self_replace": 0.7},
        "fast": {"steps": 6},
        "toybox": {"steps": 25, "guidance": 3.0},
    }

    def fair_play(self) -> FairPlay:
        return FairPlay(uses_source_text=True)

    @torch.no_grad()
    def prepare(self, task: EditTask) -> InfEditState:
        self.check(task)
        text, model = task.source_text or "", self.model
        alignment = align(model.tokenizer, text, task.target_text, self.params.alignment)
        return InfEditState(**vars(Source.of(model, task)), source=model.embed([text]), alignment=alignment, seed=task.seed)

    @torch.no_grad()
    def render(self, state: InfEditState, values: Sequence[float]) -> list[Image]:
        """Of every edit the clean latents of the edit and of its layout go through the loop as one, (m, 2 c, h, w)."""
        model, schedule = self.model, self.model.diffusion_schedule(self.params.steps)
        controlled, control = with_unified_attention(model, state.alignment)
        starts, x0 = [schedule.level(value) for value in values], state.x0

        def moved(t: int, clean: Tensor, starts: list[int], some: Sequence[int]) -> Tensor:
            m, noise = len(some), model.noise(derive_seed(state.seed, f"level {t}"), x0.shape)
            edit, layout = clean[some[0] : some[-1] + 1].chunk(2, dim=1)
            control.cross, control.self_ = (
                torch.tensor([starts[i] - t < share_of_steps(share, starts[i]) for i in some])
                for share in (self.params.cross_replace, self.params.self_replace)
            )
            z = schedule.q_sample(torch.cat([x0, edit, layout]), noise, t)
            output = controlled.unet_output(
                torch.cat([z, z]),
                torch.full((2 * len(z),), schedule.timestep(t), device=model.device),
                torch.cat(
                    [
                        state.empty.expand(len(z), -1, -1),
                        state.source,
                        state.target.expand(m, -1, -1),
                        state.source.expand(m, -1, -1),
                    ]
                ),
            )
            empty, conditional = output.chunk(2)
            scale = torch.full((len(z), 1, 1, 1), self.params.source_guidance, device=model.device)
            scale[1 : 1 + m] = self.params.guidance
            f, _ = schedule.split(z, empty + scale * (conditional - empty), t)
            return torch.cat((x0 + f[1:] - f[:1]).chunk(2), dim=1)

        edits = Sweep(model, [(start, start, torch.cat([x0, x0], dim=1)) for start in starts])
        for t, clean, owners in edits:
            step = partial(moved, t, clean, owners)
            parts = model.limits.each("edits beside the source", (model.max_batch - 2) // 4, range(len(clean)), step)
            edits.x = model.guard(torch.cat(parts), f"level {t}")
        return model.decode(edits.latents.chunk(2, dim=1)[0])

    def facts(self, state: InfEditState) -> dict[str, str | float | bool]:
        return {"alignment": state.alignment.form}
