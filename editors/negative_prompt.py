"""Negative-prompt inversion (Miyake et al., arXiv 2305.16807), with prompt-to-prompt attention control."""

from __future__ import annotations

from collections.abc import Sequence

from editors.base import EditTask, Image
from editors.prompt_to_prompt import Inverted, PromptToPrompt

__all__ = ["NegativePromptInversion"]


class NegativePromptInversion(PromptToPrompt[Inverted]):
    """Negative-prompt inversion: the source text stands where null-text inversion has an optimised embedding of no text.

    Under the source text, guidance then adds nothing, eps + w (eps - eps), and the decode retraces the inversion as far as DDIM does; no
    embedding is fitted (Section 4 of the paper, which shows it to be what null-text inversion tends to). The edit is guided away from the
    source text. Its attention control is prompt-to-prompt's (``editors.toolbox.attention``), borrowed from the source's branch.

    Departure: that branch is read off the inverted trajectory, which it follows but for DDIM's own error.

    The knob is the share of the schedule that is inverted and decoded anew: the published method is 1, and 0 is the VAE round trip. Every
    value starts from the one trajectory. Nothing is random, so the seed has no effect.
    """

    name = "negative_prompt"
    version = "1"

    def prepare(self, task: EditTask) -> Inverted:
        return self._invert(task)

    def render(self, state: Inverted, values: Sequence[float]) -> list[Image]:
        return self._decode(state, values, state.trajectory, [state.source] * len(state.trajectory))

    def facts(self, state: Inverted) -> dict[str, str | float | bool]:
        return {"alignment": state.alignment.form}
