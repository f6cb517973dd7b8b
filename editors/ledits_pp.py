"""LEDITS++ (Brack et al., CVPR 2024, arXiv 2311.16711): inversion of an SDE solver, and guidance inside implicit masks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.functional import gaussian_blur  # type: ignore[import-untyped]

from editors.base import Editor, EditorError, EditTask, FairPlay, Image, Knob, Params
from editors.toolbox.attention import align, attention_maps
from editors.toolbox.limits import sent
from editors.toolbox.schedule import DiffusionSchedule
from editors.toolbox.source import Texts
from editors.toolbox.sweep import independent_levels, predict_levels

__all__ = ["LEditsPP", "LEditsPPParams", "LEditsPPState", "solver_step", "top_cells"]

INTERSECT_BELOW = 0.8
"""Share of the trained timesteps above which the mask is the attention's alone: predictions tell little of places there."""


class LEditsPPParams(Params):
    """Parameters of LEDITS++."""

    steps: int = Field(50, ge=1, le=1000, description="steps of the whole schedule; a partial edit executes its share")
    edit_guidance: float = Field(5.0, ge=0, description="s_e, scale of the guidance towards the target text")
    threshold: float = Field(0.9, ge=0, lt=1, description="quantile of attention and of guidance from which on a cell is edited")
    mask_reduction: int = Field(
        4, ge=1, description="latent cells per cell of the attention layers that the mask reads, along a side"
    )
    use_source_text: bool = Field(
        True, description="the attention mask looks at the words that the source text, where there is one, lacks; else at all"
    )


@dataclass(frozen=True, eq=False)
class LEditsPPState(Texts):
    """The picture in the noise space of the solver, and the edit."""

    latents: list[Tensor]
    """The latents x_0..x_n, each (1, c, h, w), noised independently of each other."""
    clean: list[Tensor]
    """The clean latents predicted from them without text, each (1, c, h, w); that of level t is element t - 1."""
    words: Tensor
    """(l,) bool: tokens of the target text whose attention makes the mask."""


class LEditsPP(Editor[LEditsPPState]):
    """LEDITS++ with one edit concept, the target text.

    1. Inversion: x_t noised independently for every t, as in edit-friendly DDPM inversion, without text. The noise of a step
       is what a step of the second-order sde-dpmsolver++ from x_t would have to add to arrive at x_{t-1} (Sec. 3.1).
    2. Decode with those noises and eps = eps_empty + s_e M (eps_target - eps_empty) (Sec. 3.2).
    3. M is made anew at every step (Sec. 3.3): the cells where the attention to the edit's words is in its top quantile, and,
       of those, the ones where the guidance, its size summed over channels, is in its top quantile as well.

    With s_e = 0 the picture comes back. The knob is the share of the schedule that is decoded; the paper's evaluation starts
    at 0.75 with 20 steps left to go; 0 is the VAE round trip. A start level has no step before it, so its own step is
    of first order, in the inversion as in the decode; that needs no further prediction, so one inversion serves all values.

    The method takes the words to add as an order from its user; a manifest has captions. The target text as a whole gives the
    guidance, and its words that the source text lacks give the attention mask.

    Where the common pipeline departs: it predicts the inversion level by level, where here all levels share batches; it stretches
    the schedule to int(n (1 + skip)) steps; its solver ends without noise, so that it does not come back exactly; it wants sides
    that are multiples of 32, where here any that the VAE and the U-Net take will do; it moves maps and masks to the CPU at
    each step; it decodes a reconstruction that nobody asked for. Its rule that above timestep 800 the attention alone decides
    is kept. Preset ``diffusers`` has its values. The paper's lambda of 0.1 and the pipeline's threshold of 0.9 are read as the same.
    """

    name = "ledits_pp"
    version = "1"
    knob = Knob.share("strength", "share of the schedule that is decoded anew", (0.25, 0.5, 0.75, 0.85, 1.0))
    Params = LEditsPPParams
    params: LEditsPPParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"steps": 27, "threshold": 0.9},
        "diffusers": {"steps": 34, "edit_guidance": 5.0, "threshold": 0.9},
        "fast": {"steps": 20},
        "toybox": {"steps": 25, "mask_reduction": 2},
    }

    def fair_play(self) -> FairPlay:
        return FairPlay(uses_source_text=self.params.use_source_text)

    @torch.no_grad()
    def prepare(self, task: EditTask) -> LEditsPPState:
        self.check(task)
        model, schedule = self.model, self.model.diffusion_schedule(self.params.steps)
        target, empty = model.embed_pair(task.target_text)
        latents = independent_levels(model, schedule, model.encode(task.image), task.seed)
        outputs = predict_levels(model, schedule, latents, empty)
        clean = [schedule.split(latents[k], outputs[k - 1], k)[0] for k in range(1, schedule.steps + 1)]
        return LEditsPPState(target, empty, latents, clean, self._words(task))

    def _words(self, task: EditTask) -> Tensor:
        described = task.source_text if self.params.use_source_text and task.source_text else ""
        new = align(self.model.tokenizer, described, task.target_text).new
        return new if bool(new.any()) else align(self.model.tokenizer, "", task.target_text).new

    @torch.no_grad()
    def render(self, state: LEditsPPState, values: Sequence[float]) -> list[Image]:
        model, schedule = self.model, self.model.diffusion_schedule(self.params.steps)
        starts = [schedule.level(value) for value in values]
        latents = dict(enumerate(state.latents[start] for start in starts))
        before: dict[int, Tensor] = {}
        predict = self._predictor(state)

        def step(level: int, some: Sequence[int]) -> None:
            x = torch.cat([latents[i] for i in some])
            clean = schedule.split(x, predict(x, schedule.timestep(level)), level)[0]
            made = []
            for i, own, x0 in zip(some, torch.split(x, 1), torch.split(clean, 1), strict=True):
                source, there = state.latents[level], state.clean[level - 1]
                earlier = None if starts[i] == level else state.clean[level]
                noise = state.latents[level - 1] - solver_step(schedule, source, there, earlier, level)
                made.append(solver_step(schedule, own, x0, before.get(i), level) + noise)
            model.guard(torch.cat(made), f"decoding to level {level - 1}")
            latents.update(zip(some, made, strict=True))
            before.update(zip(some, torch.split(clean, 1), strict=True))

        for level in range(max(starts, default=0), 0, -1):
            items = [i for i, start in enumerate(starts) if start >= level]
            with model.guarded_together():
                model.limits.each("pairs of predictions", model.max_batch // 2, items, partial(step, level))
        return model.decode(torch.cat([latents[i] for i in range(len(starts))]))

    def _predictor(self, state: LEditsPPState) -> Callable[[Tensor, float], Tensor]:
        """What predicts for latents x (m, c, h, w) at a timestep, with guidance inside the mask."""
        height, width = (-(-side // self.params.mask_reduction) for side in state.latents[0].shape[-2:])
        model, maps, sizes = attention_maps(self.model, height * width)
        words = sent(state.words.nonzero().flatten(), model.device)

        def predict(x: Tensor, timestep: float) -> Tensor:
            m = len(x)
            maps.clear()
            texts = torch.cat([state.empty.expand(m, -1, -1), state.target.expand(m, -1, -1)])
            output = model.unet_output(torch.cat([x, x]), torch.full((2 * m,), timestep, device=model.device), texts)
            empty, conditional = model.guard(output, f"prediction at timestep {timestep}").chunk(2)
            guidance = self.params.edit_guidance * (conditional - empty)
            if not maps:
                raise EditorError(
                    f"ledits_pp: mask_reduction: no attention layer has {height}x{width} cells; the U-Net has layers of "
                    + ", ".join(sorted(str(size) for size in sizes))
                )
            attention = torch.stack([layer[m:] for layer in maps]).mean(0)[:, :, words].sum(2)
            mask = self._attention_mask(attention.view(-1, 1, height, width), x)
            if timestep <= INTERSECT_BELOW * model.train_levels:
                mask = mask & top_cells(guidance.abs().sum(1, keepdim=True), self.params.threshold)
            return empty + mask * guidance

        return predict

    def _attention_mask(self, attention: Tensor, like: Tensor) -> Tensor:
        """(m, 1, h, w) bool from the attention to the edit's words, (m, 1, coarser h, coarser w)."""
        mask = top_cells(gaussian_blur(attention, [3, 3], [0.5, 0.5]), self.params.threshold)
        return interpolate(mask.float(), size=like.shape[-2:], mode="nearest").bool()


def top_cells(x: Tensor, quantile: float) -> Tensor:
    """Where (m, 1, h, w) reaches the quantile of its own cells; bool."""
    bounds = torch.quantile(x.flatten(1), quantile, dim=1)
    return x >= bounds.view(-1, 1, 1, 1)


def solver_step(schedule: DiffusionSchedule, x: Tensor, x0: Tensor, before: Tensor | None, level: int) -> Tensor:
    """What sde-dpmsolver++ arrives at from level k at level k - 1, less its noise; of second order where ``before`` is given.

    ``x0`` is the clean latent predicted at level k, ``before`` that predicted at level k + 1. Source: Lu et al., DPM-Solver++
    (arXiv 2211.01095), SDE form of the two-step solver.
    """
    alphas = [math.sqrt(a) for a in schedule.alpha_bars[level - 1 : level + 2]]
    sigmas = [math.sqrt(1 - a) for a in schedule.alpha_bars[level - 1 : level + 2]]
    if sigmas[0] == 0:
        return x0
    logs = [math.log(alpha / sigma) for alpha, sigma in zip(alphas, sigmas, strict=True)]
    h = logs[0] - logs[1]
    if before is not None:
        x0 = x0 + 0.5 * h / (logs[1] - logs[2]) * (x0 - before)
    return sigmas[0] / sigmas[1] * math.exp(-h) * x + alphas[0] * (1 - math.exp(-2 * h)) * x0
