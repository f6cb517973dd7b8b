"""pix2pix-zero (Parmar et al., SIGGRAPH 2023, arXiv 2302.03027): an edit along a direction between texts, held by cross-attention guidance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from editors.base import Editor, EditTask, FairPlay, Image, Knob, SamplingParams
from editors.toolbox.attention import with_attention
from editors.toolbox.diffusion import derive_seed, seeded
from editors.toolbox.limits import GUIDED_PIXELS, fixed_order
from editors.toolbox.noise_statistics import descended, divergence_from_normal, pair_correlation
from editors.toolbox.sweep import Sweep

__all__ = ["Pix2PixZero", "Pix2PixZeroParams", "Pix2PixZeroState"]

_ROLLS = 5
"""Draws of distances between neighbours in a step of the regularisation."""


class Pix2PixZeroParams(SamplingParams):
    """Parameters of pix2pix-zero; the defaults are those of the authors' script for real pictures."""

    guidance: float = Field(5.0, ge=0, description="guidance scale of the edit away from the source text")
    attention_rate: float = Field(0.1, ge=0, description="lambda_xa, step along the gradient of the loss on cross-attention maps")
    regularisation_steps: int = Field(
        5, ge=0, description="steps of noise regularisation on a prediction of the inversion; 0 = none"
    )
    pair_rate: float = Field(20.0, ge=0, description="rate of its loss on correlated neighbours")
    normal_rate: float = Field(20.0, ge=0, description="rate of its divergence from a normal distribution")


@dataclass(frozen=True, eq=False)
class Pix2PixZeroState:
    """A source, inverted and generated again, and the texts."""

    source: Tensor
    """Embedding c of the source text, (1, l, d)."""
    direction: Tensor
    """Delta c, from the source's embedding to the target's, (1, l, d)."""
    reference: list[Tensor]
    """The latents that the source's own generation passes through, each (1, c, h, w), by level."""


class Pix2PixZero(Editor[Pix2PixZeroState]):
    """pix2pix-zero, Algorithm 1.

    1. *Inversion* by DDIM under the source text, whose predictions are moved by gradient descent towards white noise:
       uncorrelated neighbours, mean 0 and variance 1 (``editors.toolbox.noise_statistics``).
    2. *Reference*: the source is generated from there under its own text.
    3. *Edit* under c_edit = c + alpha Delta c. At each step x_t first goes a step lambda_xa down the gradient of |M_t(edit) - M_t(source)|^2,
       over the cross-attention maps of all layers, summed over cells and words, mean of heads; then it is denoised, guided away from
       the source text.

    The knob is alpha, the length of the edit direction; the published method is 1, and 0 generates the source again.

    Departures: Delta c is the difference of a sample's two texts, where the paper takes the means of a bank of sentences around two words,
    written by a language model; a manifest has one sentence of each. The gradient is that of the edit's own prediction, as in the paper; the
    authors' code moves two copies of x_t, one for each half of guidance, by half of it, and goes on with that of the source text. The
    reference goes through the U-Net beside the edits, so that no maps are kept. The latent is the mean of the VAE posterior.
    """

    name = "pix2pix_zero"
    version = "1"
    knob = Knob("direction", 0.0, 2.0, (0.0, 0.25, 0.5, 0.75, 1.0, 1.5), "alpha, length of the edit direction between the texts")
    needs = frozenset({"source_text"})
    Params = Pix2PixZeroParams
    params: Pix2PixZeroParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {**{"steps": 50, "guidance": 5.0, "attention_rate": 0.1}, "regularisation_steps": 5},
        "fast": {"steps": 20},
        "toybox": {"steps": 25, "guidance": 3.0},
    }

    def fair_play(self) -> FairPlay:
        return FairPlay(uses_source_text=True)

    @torch.no_grad()
    def prepare(self, task: EditTask) -> Pix2PixZeroState:
        self.check(task)
        model, schedule = self.model, self.model.diffusion_schedule(self.params.steps)
        source, target = torch.split(model.embed([task.source_text or "", task.target_text]), 1)
        x, shifts = model.encode(task.image), seeded(derive_seed(task.seed, "shifts"))
        for t in range(1, schedule.steps + 1):
            output = model.predict(x, schedule.timestep(t), source)
            x = schedule.ddim_inverse_step(x, self._like_noise(output, shifts), t)
        model.guard(x, "the end of the inversion")
        reference = [x]
        for t in range(schedule.steps, 0, -1):
            reference.append(schedule.ddim_step(reference[-1], model.predict(reference[-1], schedule.timestep(t), source), t))
        return Pix2PixZeroState(source, target - source, reference[::-1])

    def _like_noise(self, output: Tensor, shifts: torch.Generator) -> Tensor:
        """A prediction after noise regularisation."""
        for _ in range(self.params.regularisation_steps):
            for _ in range(_ROLLS):
                output = descended(output, lambda x: pair_correlation(x, shifts), self.params.pair_rate / _ROLLS)
            output = descended(output, divergence_from_normal, self.params.normal_rate)
        return output

    @torch.no_grad()
    def render(self, state: Pix2PixZeroState, values: Sequence[float]) -> list[Image]:
        model, schedule, n = self.model, self.model.diffusion_schedule(self.params.steps), self.params.steps
        pixels = state.reference[n][0, 0].numel() * model.factor**2
        room = min(GUIDED_PIXELS // pixels, model.max_batch) - 1
        edits = Sweep(model, [(alpha, n, state.reference[n]) for alpha in values])
        for t, given, alphas in edits:
            texts = torch.cat([state.source + alpha * state.direction for alpha in alphas])

            def held(rows: Sequence[int], t: int = t, x: Tensor = given, texts: Tensor = texts) -> Tensor:
                some = slice(rows[0], rows[-1] + 1)
                return self._held(state, t, x[some], texts[some])

            with model.guarded_together():
                guided = self.params.attention_rate > 0
                x = torch.cat(model.limits.each("cross-attention guidance", room, range(len(given)), held)) if guided else given
                eps = model.predict(x, schedule.timestep(t), texts, self.params.guidance, state.source)
            edits.x = schedule.ddim_step(x, eps, t)
        return model.decode(edits.latents)

    def _held(self, state: Pix2PixZeroState, t: int, x: Tensor, texts: Tensor) -> Tensor:
        """x_t (m, c, h, w) after cross-attention guidance towards the source's maps, under the edits' texts (m, l, d)."""
        loss = x.new_zeros(())

        def compare(maps: Tensor, is_cross: bool) -> Tensor:
            nonlocal loss
            if is_cross:
                loss = loss + (maps[1:] - maps[:1].detach()).float().square().sum((2, 3)).mean(1).sum()
            return maps

        compared = with_attention(self.model, compare, lambda is_cross, cells: is_cross)
        times = torch.full((1 + len(x),), self.model.diffusion_schedule(self.params.steps).timestep(t), device=self.model.device)
        with torch.enable_grad(), fixed_order(self.model.device):
            leaf = x.detach().requires_grad_()
            output = compared.unet_output(torch.cat([state.reference[t], leaf]), times, torch.cat([state.source, texts]))
            (gradient,) = torch.autograd.grad(loss, leaf)
        step = f"cross-attention guidance at level {t}"
        with self.model.guarded_together():
            self.model.guard(output.detach(), step)
            return self.model.guard(x - self.params.attention_rate * gradient, step)
