"""SDEdit (Meng et al., ICLR 2022, arXiv 2108.01073) in its text-guided latent form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from editors.base import ANY_FAMILY, FAMILY_PRESETS, SAMPLING_PRESETS, EditTask, Knob, SamplingParams
from editors.partial_decode import PartialDecode
from editors.toolbox.source import Source
from editors.toolbox.sweep import Sweep

__all__ = ["SDEdit", "SDEditState"]


@dataclass(frozen=True, eq=False)
class SDEditState(Source):
    """Latent, texts and noise."""

    noise: Tensor
    """The noise that all knob values share, (1, c, h, w)."""


class SDEdit(PartialDecode[SDEditState]):
    """Noise the source latent to a share of the schedule, denoise it with the target text and guidance.

    This is what is called SDEdit in text-guided editing, the image-to-image mode of Stable Diffusion: DDIM (no noise
    added on the way) with one pass, where the paper solves the reverse SDE of an unconditional model K times. Executed steps are
    round(strength n), not cut off, and the latent is the mean of the VAE posterior, not a sample of it. At strength 0
    the result is the VAE round trip. The preset ``paper`` holds the values of that mode; the paper itself recommends a
    strength of 0.3 to 0.6, which is the knob.
    """

    name = "sdedit"
    version = "1"
    families = ANY_FAMILY
    knob = Knob.share("strength", "share of the schedule that is noised and denoised")
    Params = SamplingParams
    params: SamplingParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"steps": 50, "guidance": 7.5},
        **SAMPLING_PRESETS,
        **FAMILY_PRESETS,
    }

    def prepare_many(self, tasks: Sequence[EditTask]) -> list[SDEditState]:
        states = []
        for task in tasks:
            source = self.source(task)
            states.append(SDEditState(**vars(source), noise=self.model.noise(task.seed, source.x0.shape)))
        return states

    def start(self, state: SDEditState, t: int) -> Tensor:
        """x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise, the same noise at every level."""
        return self.schedule.q_sample(state.x0, state.noise, t)

    def denoise(self, edits: Sweep[SDEditState]) -> None:
        """x_{t-1} = DDIM(x_t, eps(x_t, t, target))."""
        for t, x, states in edits:
            eps = self.predict(x, t, states)
            edits.x = self.schedule.ddim_step(x, eps, t)
