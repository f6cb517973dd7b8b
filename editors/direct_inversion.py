"""Direct Inversion, also PnP Inversion (Ju et al., ICLR 2024, arXiv 2310.01506), with prompt-to-prompt (arXiv 2208.01626)."""

from __future__ import annotations

from collections.abc import Sequence

from editors.base import EditTask, Image
from editors.prompt_to_prompt import Inverted, PromptToPrompt

__all__ = ["DirectInversion"]


class DirectInversion(PromptToPrompt[Inverted]):
    """Direct Inversion: the branch of the source is corrected in every step, that of the edit is left alone.

    The source is inverted by DDIM under the source text without guidance. The decode, with guidance, drifts off that
    trajectory; the method adds to the source branch after each step the offset back to it, x*_{t-1} - x'_{t-1} (Alg. 1). The
    edit branch starts from the same noise, gets no offset, and borrows attention from the source branch (``editors.toolbox.attention``).

    A branch that is set back onto the trajectory after every step is the trajectory. So the source branch is not computed but
    read, and only its attention costs a prediction: one, with text, for all knob values together, where the reference
    code has two in a pass for the offsets and two more for each edit. It also pastes source latents back where
    a sample names words to blend, which no manifest here does; the words to emphasise are those that only the target
    text has. The timesteps are the checkpoint's own, whose ``steps_offset`` is 1 in Stable Diffusion, where the reference code has
    a scheduler with 0: one timestep less at every level.

    The knob is the share of the schedule that is inverted and decoded anew: the published method is 1, and 0 is the VAE
    round trip. Every value starts from the one trajectory. Nothing is random, so the seed has no effect.
    """

    name = "direct_inversion"
    version = "1"

    def prepare(self, task: EditTask) -> Inverted:
        return self._invert(task)

    def render(self, state: Inverted, values: Sequence[float]) -> list[Image]:
        unconds = [state.empty] * len(state.trajectory)
        return self._decode(state, values, state.trajectory, unconds)

    def facts(self, state: Inverted) -> dict[str, str | float | bool]:
        return {"alignment": state.alignment.form}
