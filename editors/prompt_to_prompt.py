"""Prompt-to-prompt (Hertz et al., ICLR 2023, arXiv 2208.01626) on a real picture, and what editors share that refine it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from editors.base import SAMPLING_PRESETS, Editor, EditTask, FairPlay, Image, Knob, State
from editors.toolbox.attention import Alignment, PromptToPromptParams, align, decode_beside_source
from editors.toolbox.source import Texts
from editors.toolbox.sweep import Sweep, ddim_invert

__all__ = ["DDIMPromptToPrompt", "Inverted", "PromptToPrompt"]


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

    knob = Knob.share("strength", "share of the schedule that is inverted and decoded anew")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"steps": 50, "guidance": 7.5, "cross_replace": 0.4, "self_replace": 0.6, "equaliser": 2.0},
        **SAMPLING_PRESETS,
    }
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


class DDIMPromptToPrompt(PromptToPrompt[Inverted]):
    """Prompt-to-prompt on a picture inverted by DDIM, the way of the paper's Section 4 for real pictures.

    The picture is inverted under the source text without guidance. Two branches are decoded from there with guidance, one under the source
    text, the other under the target text, which borrows attention maps of the first (``editors.toolbox.attention``). Guidance drives
    the source's branch off the inverted trajectory, so that what is borrowed is not quite of the picture: null-text inversion and
    Direct Inversion (``editors.null_text``, ``editors.direct_inversion``) are cures of that, and this is what they are compared with.

    The knob is the share of the schedule that is inverted and decoded anew: the published method is 1, and 0 is the VAE round trip. Each
    value has a source branch of its own. Nothing is random, so the seed has no effect.
    """

    name = "prompt_to_prompt"
    version = "1"

    def prepare(self, task: EditTask) -> Inverted:
        return self._invert(task)

    def render(self, state: Inverted, values: Sequence[float]) -> list[Image]:
        unconds = [state.empty] * len(state.trajectory)
        return [self._decode(state, [value], self._source_branch(state, value), unconds)[0] for value in values]

    def _source_branch(self, state: Inverted, value: float) -> list[Tensor]:
        """The latents of the source's own guided decode from the level of ``value``, by level."""
        model, schedule = self.model, self.model.schedule(self.params.steps)
        start = schedule.level(value)
        branch = list(state.trajectory[: start + 1])
        decode = Sweep(model, [(None, start, branch[start])])
        for t, x, _ in decode:
            eps = model.predict(x, schedule.timestep(t), state.source, self.params.guidance, state.empty)
            branch[t - 1] = decode.x = schedule.ddim_step(x, eps, t)
        return branch

    def facts(self, state: Inverted) -> dict[str, str | float | bool]:
        return {"alignment": state.alignment.form}
