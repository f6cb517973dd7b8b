"""Null-text inversion (Mokady et al., CVPR 2023, arXiv 2211.09794) with prompt-to-prompt (arXiv 2208.01626)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import mse_loss

from editors.base import EditTask, Image, Knob
from editors.prompt_to_prompt import Inverted, PromptToPrompt
from editors.toolbox.attention import PromptToPromptParams
from editors.toolbox.limits import fixed_order

__all__ = ["NullText", "NullTextParams", "NullTextState"]


class NullTextParams(PromptToPromptParams):
    """Parameters of null-text inversion; the defaults are the paper's, those of the attention control the PIE-Bench runs'."""

    inner_steps: int = Field(10, ge=0, description="N, Adam steps on the empty text's embedding at each level at the most")
    learning_rate: float = Field(
        1e-2, gt=0, description="of the first level; it falls linearly to half of that over the schedule"
    )
    stop: float = Field(1e-5, ge=0, description="loss at which a level is left early; rises by twice that with each of 50 levels")


@dataclass(frozen=True, eq=False)
class NullTextState:
    """The optimised way back to the source, the texts and how they match."""

    path: list[Tensor]
    """Latents by level, each (1, c, h, w), of the guided decode of the source with the optimised embeddings; 0 is the source."""
    unconds: list[Tensor]
    """The embedding (1, l, d) that stands for the empty text at each level; at 0 the empty text itself, which is not read."""
    given: Inverted
    """The pivot, the texts and how they match."""
    error: float
    """Root mean square of the latent that the path arrives at less the source latent."""
    updates: int
    """Adam steps taken."""


class NullText(PromptToPrompt[NullTextState]):
    """Null-text inversion: the guided decode is brought back to the source by tuning the empty text's embedding.

    1. Pivot: z*_0..z*_n by DDIM inversion under the source text without guidance (Sec. 3.2).
    2. From the noisiest level down, the embedding of the empty text is optimised so that a guided step under the source text
       arrives at the next z* (Eq. 3, Alg. 1); it starts from that of the level before. Step i of the schedule has
       the rate 1e-2 (1 - i/100) and is left early at a loss below 1e-5 + 2e-5 i, i counted in fiftieths of the schedule.
    3. The edit is decoded from z*_n with those embeddings, beside the source, whose attention it borrows
       (``editors.toolbox.attention``).

    The knob is the share of the schedule that is decoded anew; the published method is 1, and 0, where nothing is decoded, is
    the VAE round trip. The embeddings are fitted along one path, and each belongs to the latent that the path has at its level,
    which is near the pivot but not on it. So a smaller share starts from the path, not from the pivot: there the embeddings
    are exactly those fitted, the source text leads exactly where the whole path led, and one inversion and one
    optimisation serve all values. Starting at the pivot would need an optimisation for each.

    The source branch of the edit is that same path, kept from step 2; only its attention costs predictions. The common pipeline
    implementation keeps embeddings in a file named after the picture whatever the text and the number of steps, stops at
    1e-6, and edits without attention control. Nothing of that is repeated. The timesteps are the checkpoint's own, whose
    ``steps_offset`` is 1 in Stable Diffusion, where the reference code has a scheduler with 0: one timestep less at every level.
    Nothing is random, so the seed has no effect.
    """

    name = "null_text"
    version = "1"
    knob = Knob.share("strength", "share of the schedule that is decoded anew")
    Params = NullTextParams
    params: NullTextParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"steps": 50, "guidance": 7.5, "inner_steps": 10, "learning_rate": 1e-2, "stop": 1e-5},
        "fast": {"steps": 20, "inner_steps": 5},
        "toybox": {"steps": 25, "guidance": 3.0},
    }

    def prepare(self, task: EditTask) -> NullTextState:
        given = self._invert(task)
        path, unconds, updates = self._optimise(given.trajectory, given.source, given.empty)
        error = float((path[0] - given.trajectory[0]).square().mean().sqrt())
        path[0] = given.trajectory[0]
        return NullTextState(path, unconds, given, error, updates)

    def _optimise(self, pivot: list[Tensor], source: Tensor, empty: Tensor) -> tuple[list[Tensor], list[Tensor], int]:
        """Path and embeddings by level, and the number of updates."""
        model, n = self.model, self.params.steps
        path, unconds, updates = list(pivot), [empty] * (n + 1), 0
        null = empty
        for level in range(n, 0, -1):
            with model.guarded_together():
                null, path[level - 1], taken = self._level(level, path[level], pivot[level - 1], null=null, source=source)
            unconds[level] = null
            updates += taken
        return path, unconds, updates

    def _level(self, level: int, x: Tensor, goal: Tensor, *, null: Tensor, source: Tensor) -> tuple[Tensor, Tensor, int]:
        """The embedding of a level that leads x (1, c, h, w) next to ``goal``, where it leads, and the number of updates."""
        model, p, n = self.model, self.params, self.params.steps
        schedule, i = model.schedule(n), (n - level) * 50 / n
        timestep = schedule.timestep(level)
        times = torch.full((1,), timestep, device=model.device)
        conditional = model.predict(x, timestep, source)
        null, updates = null.clone().requires_grad_(True), 0
        optimiser = torch.optim.Adam([null], lr=p.learning_rate * (1 - i / 100))
        while updates < p.inner_steps:
            with torch.enable_grad(), fixed_order(model.device):
                unconditional = model.unet_output(x, times, null)
                guided = unconditional + p.guidance * (conditional - unconditional)
                loss = mse_loss(schedule.ddim_step(x, guided, level), goal)
                optimiser.zero_grad()
                torch.autograd.backward(loss)
            optimiser.step()
            updates += 1
            if model.number(loss, f"null-text optimisation at level {level}") < p.stop * (1 + 2 * i):
                break
        null = null.detach()
        unconditional = model.predict(x, timestep, null)
        return null, schedule.ddim_step(x, unconditional + p.guidance * (conditional - unconditional), level), updates

    def render(self, state: NullTextState, values: Sequence[float]) -> list[Image]:
        return self._decode(state.given, values, state.path, state.unconds)

    def facts(self, state: NullTextState) -> dict[str, str | float | bool]:
        return {"alignment": state.given.alignment.form, "reconstruction_error": state.error, "updates": float(state.updates)}
