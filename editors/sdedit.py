"""SDEdit (Meng et al., ICLR 2022, arXiv 2108.01073) in its text-guided latent form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from editors.base import Editor, EditTask, Image, Knob, SamplingParams
from editors.toolbox.sweep import decode_many

__all__ = ["SDEdit", "SDEditState"]


@dataclass(frozen=True, eq=False)
class SDEditState:
    """Latent, noise and texts."""

    x0: Tensor
    """Source latent, (1, c, h, w)."""
    noise: Tensor
    """The noise that all knob values share, (1, c, h, w)."""
    target: Tensor
    empty: Tensor


class SDEdit(Editor[SDEditState]):
    """Noise the source latent to a share of the schedule, denoise it with the target text and guidance.

    This is what is called SDEdit in text-guided editing, the image-to-image mode of Stable Diffusion: DDIM (no noise
    added on the way) with one pass, where the paper solves the reverse SDE of an unconditional model K times. Executed steps are
    round(strength n), not cut off, and the latent is the mean of the VAE posterior, not a sample of it. At strength 0
    the result is the VAE round trip. The preset ``paper`` holds the values of that mode; the paper itself recommends a
    strength of 0.3 to 0.6, which is the knob.
    """

    name = "sdedit"
    version = "1"
    knob = Knob(
        "strength",
        0.0,
        1.0,
        (0.2, 0.4, 0.6, 0.8, 1.0),
        "share of the schedule that is noised and denoised",
        zero="round trip",
    )
    Params = SamplingParams
    params: SamplingParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"steps": 50, "guidance": 7.5},
        "fast": {"steps": 20},
        "toybox": {"steps": 25, "guidance": 3.0},
    }

    def prepare(self, task: EditTask) -> SDEditState:
        self.check(task)
        x0 = self.model.encode(task.image)
        target, empty = self.model.embed_pair(task.target_text)
        return SDEditState(x0, self.model.noise(task.seed, x0.shape), target, empty)

    def render(self, state: SDEditState, values: Sequence[float]) -> Sequence[Image | None]:
        return self.render_many([state], values)[0]

    def render_many(self, states: Sequence[SDEditState], values: Sequence[float]) -> list[Sequence[Image | None]]:
        self.check_values(values)
        schedule = self.model.schedule(self.params.steps)

        def noised(state: SDEditState, level: int) -> Tensor:
            return schedule.q_sample(state.x0, state.noise, level)

        return decode_many(self.model, schedule, states, values, noised, guidance=self.params.guidance)
