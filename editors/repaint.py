"""RePaint (Lugmayr et al., CVPR 2022, arXiv 2201.09865) in latent space and with text, written from the paper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from editors.base import DIFFUSION, Editor, EditTask, FairPlay, Image, Knob, SamplingParams
from editors.toolbox.diffusion import derive_seed
from editors.toolbox.mask import mask_of, to_cells
from editors.toolbox.schedule import DiffusionSchedule, diffuse, posterior
from editors.toolbox.source import MaskedSource, Source

__all__ = ["Move", "RePaint", "RePaintParams", "RePaintState", "walk"]


class RePaintParams(SamplingParams):
    """Parameters of RePaint; the defaults are the paper's."""

    steps: int = Field(
        250, ge=1, le=1000, description="noise levels T of the whole schedule; resampling visits most of them often"
    )
    jump_length: int = Field(10, ge=1, description="levels j that a jump goes back up")
    jump_n_sample: int = Field(10, ge=1, description="times r that each stretch of j levels is sampled; 1 = no resampling")


class Move(NamedTuple):
    """One move of the walk along the levels."""

    start: int
    """Level it leaves."""
    end: int
    """Level it reaches: one below (a denoising step) or one above (a diffusion step)."""
    top: int
    """Level that the jump it belongs to goes up to; 0 for the first descent, in which everything takes part."""
    visit: int
    """How many times this stretch has been sampled before."""


def walk(levels: int, jump_length: int, jump_n_sample: int) -> list[Move]:
    """The order in which RePaint visits noise levels: down, and wherever a stretch of ``jump_length`` ends, up and down again.

    The paper counts states t = T - 1 .. 0 and a last step out of state 0; it jumps from every t that is a multiple of j
    below T - j, r - 1 times each. State t is level t + 1 here, so stretches end at level 1 and every j above.
    """
    moves: list[Move] = []
    for level in range(levels - 1, -1, -1):
        moves.append(Move(level + 1, level, 0, 0))
        state = level - 1
        if state < 0 or state % jump_length or state >= levels - jump_length:
            continue
        top = level + jump_length
        for visit in range(1, jump_n_sample):
            moves += [Move(k, k + 1, top, visit) for k in range(level, top)]
            moves += [Move(k, k - 1, top, visit) for k in range(top, level, -1)]
    return moves


@dataclass(frozen=True, eq=False)
class RePaintState(MaskedSource):
    """All that no knob value changes."""

    seed: int


class RePaint(Editor[RePaintState]):
    """Inpainting with an unchanged model: Algorithm 1 and the jump schedule of the paper, on latents.

    Every denoising step is an ancestral DDPM step with the posterior variance; after it everything outside the mask is replaced
    by the source noised to the level just reached, with fresh noise (Eq. 8). After each stretch of j levels the latent is
    diffused back up by j levels and denoised again, r times in all (resampling), so that the inside gets to know the
    outside. The last step adds no noise, and leaves the background at the clean latent.

    The paper's model works on pixels of 256 px, unconditional or with a classifier; this is its text-guided latent form, with
    classifier-free guidance, whose scale of 7.5 is not the paper's. Its Algorithm 1 prints the noise level of the state before
    the step for the background; its Eq. 8 and the text ask for the level reached, which is what is done. The authors' code replaces
    the background before a denoising step, and so right after a jump up too; here, as in Algorithm 1, a jump up diffuses it with
    the rest, and the next denoising step sees it so. A cell belongs to the mask where any of its pixels does.

    Knob: strength s starts from the source noised to level round(s n) and takes the part of the walk that lies
    below; 1 is the paper's setting, 0 the VAE round trip. Start and noise of every visit are shared by all knob values. A jump is
    made by those values alone whose start lies above it, which is the walk each of them has when rendered alone.
    """

    name = "repaint"
    version = "1"
    families = DIFFUSION
    knob = Knob.share("strength", "share of the schedule that is noised, denoised and resampled", (0.1, 0.2, 0.3, 0.5, 1.0))
    needs = frozenset({"mask"})
    Params = RePaintParams
    params: RePaintParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"steps": 250, "jump_length": 10, "jump_n_sample": 10},
        "fast": {"steps": 50, "jump_length": 5, "jump_n_sample": 3},
        "toybox": {"steps": 25, "guidance": 3.0, "jump_length": 5, "jump_n_sample": 3},
    }

    def fair_play(self) -> FairPlay:
        return FairPlay(uses_mask=True)

    def prepare(self, task: EditTask) -> RePaintState:
        self.check(task)
        source, mask = Source.of(self.model, task), mask_of(task)
        return RePaintState(**vars(source), pixels=mask.copy(), cells=to_cells(mask, source.x0), seed=task.seed)

    @torch.no_grad()
    def render(self, state: RePaintState, values: Sequence[float]) -> list[Image]:
        schedule, p = self.model.diffusion_schedule(self.params.steps), self.params
        starts = [schedule.level(value) for value in values]
        noise = self.model.noise(state.seed, state.x0.shape)
        latents = [schedule.q_sample(state.x0, noise, start) for start in starts]
        for move in walk(max(starts, default=0), p.jump_length, p.jump_n_sample):
            items = [i for i, start in enumerate(starts) if start >= max(move.start, move.top)]
            if not items:
                continue
            x = torch.cat([latents[i] for i in items])
            where = f"level {move.start} to {move.end}, visit {move.visit}"
            self.model.stop_if_cancelled(where)
            if move.end < move.start:
                with self.model.guarded_together():
                    x = self.model.guard(self._down(state, schedule, x, move), where)
            else:  # nothing is predicted, so what was finite stays so
                x = self._up(state, schedule, x, move)
            for i, latent in zip(items, torch.split(x, 1), strict=True):
                latents[i] = latent
        return self.model.decode(torch.cat(latents))

    def _down(self, state: RePaintState, schedule: DiffusionSchedule, x: Tensor, move: Move) -> Tensor:
        """x_{t-1} = m (posterior sample) + (1 - m) (source noised to t - 1)."""
        output = self.model.predict(x, schedule.timestep(move.start), state.target, self.params.guidance, state.empty)
        mean, variance = posterior(schedule, x, output, move.start)
        unknown = mean + math.sqrt(variance) * self._noise(state, "unknown", move)
        known = schedule.q_sample(state.x0, self._noise(state, "known", move), move.end)
        return torch.where(state.cells, unknown, known)

    def _up(self, state: RePaintState, schedule: DiffusionSchedule, x: Tensor, move: Move) -> Tensor:
        return diffuse(schedule, x, self._noise(state, "up", move), move.start)

    def _noise(self, state: RePaintState, what: str, move: Move) -> Tensor:
        return self.model.noise(derive_seed(state.seed, f"{what} {move.start} {move.top} {move.visit}"), state.x0.shape)

    def pictures(self, state: RePaintState) -> dict[str, NDArray[Any]]:
        return {"mask": state.pixels}

    def facts(self, state: RePaintState) -> dict[str, str | float | bool]:
        return state.facts()
