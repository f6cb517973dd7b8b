"""What the editors share that invert under the source text and decode with prompt-to-prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from editors.base import Editor, EditTask, FairPlay, Image, State
from editors.toolbox.attention import Alignment, PromptToPromptParams, align, decode_beside_source
from editors.toolbox.source import Texts
from editors.toolbox.sweep import ddim_invert

__all__ = ["Inverted", "PromptToPrompt"]


@dataclass(frozen=True, eq=False)
class Inverted(Texts):
    """A source, inverted, with the texts and how they match."""

    trajectory: list[Tensor]
    """Inverted latents x_0..x_n, each (1, c, h, w), by level."""
    source: Tensor
    """Embedding of the source text, (1, l, d)."""
    alignment: Alignment


class PromptToPrompt(Editor[State]):
    """What editors share that invert under the source text and decode with prompt-to-prompt."""

    needs = frozenset({"source_text"})
    deterministic = True
    Params: ClassVar[type[PromptToPromptParams]] = PromptToPromptParams
    params: PromptToPromptParams

    def fair_play(self) -> FairPlay:
        return FairPlay(uses_source_text=True)

    def _invert(self, task: EditTask) -> Inverted:
        """DDIM inversion under the source text, without guidance."""
        self.check(task)
        model, text = self.model, task.source_text or ""
        source, target, empty = torch.split(model.embed([text, task.target_text, ""]), 1)
        trajectory = ddim_invert(model, model.schedule(self.params.steps), model.encode(task.image), source)
        return Inverted(target, empty, trajectory, source, align(model.tokenizer, text, task.target_text, self.params.alignment))

    def _decode(self, given: Inverted, values: Sequence[float], path: Sequence[Tensor], unconds: Sequence[Tensor]) -> list[Image]:
        """One picture per value, each decoded from its level of ``path``; see ``decode_beside_source``."""
        schedule = self.model.schedule(self.params.steps)
        latents = decode_beside_source(
            self.model,
            schedule,
            self.params,
            given.alignment,
            source=path,
            starts=[schedule.level(value) for value in values],
            texts=(given.source, given.target),
            unconds=unconds,
        )
        return self.model.decode(latents)
