"""DiffEdit without encoding: its automatic mask over SDEdit's noise (an ablation of arXiv 2210.11427)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from editors.base import EditTask, Knob
from editors.diffedit import DiffEdit
from editors.toolbox.source import Source

__all__ = ["DiffEditNoEncode"]


class DiffEditNoEncode(DiffEdit):
    """DiffEdit with step 2 replaced: the source latent is noised instead of inverted.

    Start and background of a level are q_sample(x0, noise) with the same noise at every level, so that they agree where
    they meet and the background ends at the clean latent. Mask, schedule and decode are DiffEdit's.
    """

    name = "diffedit_no_encode"
    version = "1"
    knob = Knob.share("encode_ratio", "share of the schedule that is noised and decoded anew")

    def encode(self, tasks: Sequence[EditTask], sources: Sequence[Source]) -> list[list[Tensor]]:
        """x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise for t = 0..n, in place of the inversion."""
        noises = [self.model.noise(task.seed, source.x0.shape) for task, source in zip(tasks, sources, strict=True)]
        return [
            [self.schedule.q_sample(source.x0, noise, t) for t in range(self.schedule.steps + 1)]
            for source, noise in zip(sources, noises, strict=True)
        ]
