"""ILVR (Choi et al., ICCV 2021, arXiv 2108.02938) in latent space, with a text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import interpolate

from editors.base import DIFFUSION, Editor, EditorError, EditTask, Image, Knob, SamplingParams
from editors.toolbox.diffusion import derive_seed
from editors.toolbox.schedule import DiffusionSchedule, posterior
from editors.toolbox.source import Texts
from editors.toolbox.sweep import Sweep

__all__ = ["ILVR", "ILVRParams", "ILVRState", "low_pass"]


class ILVRParams(SamplingParams):
    """Parameters of ILVR."""

    steps: int = Field(100, ge=1, le=1000, description="steps of the whole schedule")
    down_factor: int = Field(32, ge=1, description="N in pixels, a power of two: what the low-pass filter leaves is coarser")


@dataclass(frozen=True, eq=False)
class ILVRState(Texts):
    """The conditioned sample's way from noise to the source's low frequencies."""

    trajectory: list[Tensor]
    """Latents at levels 0..n, each (1, c, h, w); those below n carry the low frequencies of the source at their level."""
    seed: int


class ILVR(Editor[ILVRState]):
    """Iterative latent variable refinement, guided by the target text.

    A sample is drawn from pure noise by ancestral sampling. After each step its low frequencies are replaced by those of
    the source, noised to the level just reached (Alg. 1): x_{t-1} = x' - phi(x') + phi(y_{t-1}), y_{t-1} drawn from
    q(y_{t-1} | y). phi is a bicubic down- and up-sampling by N. The knob is the range of the paper, counted from the clean end:
    a share r of the schedule runs without the replacement, so 1 is a picture from the text alone, and 0 replaces at every
    level, the clean one included. Values differ only in where they leave the conditioned sample, which is drawn once.

    At 0 the picture agrees with the source in its low frequencies alone; it is the VAE round trip only where N is a
    single latent cell.

    Latent form: the paper's model is one of pixels without a text. N stays in pixels; N / factor latent cells are what the
    filter sees. Guidance is that of the text-to-image model, for which the paper has no value.

    The reference code replaces with the source noised to the level before the step, one level too noisy; and, counting
    steps from 0, it leaves one more step free than asked for, which at 0 is the last. The paper's form is used here.
    """

    name = "ilvr"
    version = "1"
    families = DIFFUSION
    knob = Knob(
        "free_share", 0.0, 1.0, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), "share of the schedule, at its clean end, left unconditioned"
    )
    Params = ILVRParams
    params: ILVRParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"steps": 100, "down_factor": 32},
        "fast": {"steps": 25},
        "toybox": {"steps": 25, "guidance": 3.0, "down_factor": 8},
    }

    def prepare(self, task: EditTask) -> ILVRState:
        self.check(task)
        model, schedule = self.model, self.model.diffusion_schedule(self.params.steps)
        cells, rest = divmod(self.params.down_factor, model.factor)
        if rest or cells & (cells - 1) or not cells:
            expected = f"a power of two times {model.factor}, the pixels of a latent cell"
            raise EditorError(f"ilvr: down_factor: expected {expected}, got {self.params.down_factor}")
        x0 = model.encode(task.image)
        target, empty = model.embed_pair(task.target_text)
        state = ILVRState(target, empty, [model.noise(task.seed, x0.shape)], task.seed)
        conditioned = Sweep(model, [(state, schedule.steps, state.trajectory[0])])
        for t, x, _ in conditioned:  # Alg. 1
            proposal = self._ancestral(schedule, x, t, state)
            y = schedule.q_sample(x0, model.noise(derive_seed(task.seed, f"reference {t - 1}"), x0.shape), t - 1)
            conditioned.x = proposal + low_pass(y - proposal, cells)
            state.trajectory.insert(0, conditioned.x)
        return state

    def _ancestral(self, schedule: DiffusionSchedule, x: Tensor, t: int, state: ILVRState) -> Tensor:
        """x' ~ p(x_{t-1} | x_t), one step of DDPM with the noise of its level; the last step adds none."""
        eps = self.model.predict(x, schedule.timestep(t), state.target, self.params.guidance, state.empty)
        mean, variance = posterior(schedule, x, eps, t)
        return mean + math.sqrt(variance) * self.model.noise(derive_seed(state.seed, f"step {t}"), (1, *x.shape[1:]))

    def render(self, state: ILVRState, values: Sequence[float]) -> list[Image]:
        schedule = self.model.diffusion_schedule(self.params.steps)
        edits = Sweep(self.model, [(t, t, state.trajectory[t]) for t in map(schedule.level, values)])
        for t, x, _ in edits:
            edits.x = self._ancestral(schedule, x, t, state)
        return self.model.decode(edits.latents)


@torch.no_grad()
def low_pass(x: Tensor, cells: int) -> Tensor:
    """phi: (m, c, h, w) reduced by ``cells`` along each side and brought back to its size; linear, and nothing for 1."""
    if cells == 1:
        return x
    height, width = x.shape[-2:]
    small = (max(1, height // cells), max(1, width // cells))
    reduced = interpolate(x, size=small, mode="bicubic", antialias=True, align_corners=False)
    return interpolate(reduced, size=(height, width), mode="bicubic", antialias=True, align_corners=False)
