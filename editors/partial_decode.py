"""What editors share that decode a share r of the schedule anew: SDEdit, DiffEdit and its ablations, inpainting.

A method says in its own file where an edit starts, x_t at t = round(r n), and how it is denoised from there: one loop over the
levels. The rest is here: which values and samples go into one batch, the checks, the pictures.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from editors.base import BatchEditor, EditTask, Image, SamplingParams
from editors.toolbox.diffusion import DiffusionModel
from editors.toolbox.schedule import Schedule
from editors.toolbox.source import Source
from editors.toolbox.sweep import Sweep, in_groups

__all__ = ["PartialDecode"]


_State = TypeVar("_State", bound=Source)


class PartialDecode(BatchEditor[_State]):
    """All knob values of all samples of one size are denoised in one loop, each from its own level on."""

    params: SamplingParams

    @abstractmethod
    def start(self, state: _State, t: int) -> Tensor:
        """x_t, the source at level t = 0..n, (1, c, h, w): where the edit of a value r starts, at t = round(r n)."""

    @abstractmethod
    def denoise(self, edits: Sweep[_State]) -> None:
        """The method's loop over the levels; see ``Sweep``, whose owners are the states."""

    @cached_property
    def schedule(self) -> Schedule:
        """Levels 0..n and the DDIM steps between them."""
        return self.model.schedule(self.params.steps)

    def source(self, task: EditTask) -> Source:
        """Check a task, encode its picture and embed its target text."""
        self.check(task)
        return Source.of(self.model, task)

    def network(self, state: _State) -> DiffusionModel:
        """The model that a state is denoised with; states of different models are never in one batch."""
        return self.model

    def predict(self, x: Tensor, t: int, states: Sequence[_State]) -> Tensor:
        """eps(x, t): the U-Net's guided output for latents x (m, c, h, w) at level t, each under its own state's texts.

        It is epsilon or v, as the model was trained; ``Schedule.ddim_step`` knows which.
        """
        texts, empty = (torch.cat([getattr(state, name) for state in states]) for name in ("target", "empty"))
        return self.network(states[0]).predict(x, self.schedule.timestep(t), texts, self.params.guidance, empty)

    def render_many(self, states: Sequence[_State], values: Sequence[float]) -> list[Sequence[Image | None]]:
        levels = [self.schedule.level(value) for value in values]

        def together(group: list[_State]) -> list[Sequence[Image | None]]:
            model = self.network(group[0])
            edits = Sweep(model, [(state, t, self.start(state, t)) for state in group for t in levels])
            self.denoise(edits)
            pictures = model.decode(edits.latents)
            return [pictures[i * len(levels) : (i + 1) * len(levels)] for i in range(len(group))]

        return in_groups(states, lambda state: (id(self.network(state)), state.x0.shape), together)
