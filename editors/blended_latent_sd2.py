"""Blended Latent Diffusion as the authors' later script for Stable Diffusion 2 has it: another algorithm than the paper's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray

from editors.base import SAMPLING_PRESETS, Editor, EditTask, FairPlay, Image, Knob, SamplingParams
from editors.toolbox.diffusion import derive_seed
from editors.toolbox.mask import mask_of, to_cells
from editors.toolbox.schedule import DiffusionSchedule, noise_scheduler
from editors.toolbox.source import MaskedSource, Source
from editors.toolbox.sweep import Sweep

__all__ = ["BlendedLatentSD2", "BlendedLatentSD2State"]


@dataclass(frozen=True, eq=False)
class BlendedLatentSD2State(MaskedSource):
    """All that no knob value changes."""

    seed: int


class BlendedLatentSD2(Editor[BlendedLatentSD2State]):
    """The script ``text_editing_SD2`` as it behaves. It is what tables on PIE-Bench call BLD.

    It differs from the paper (``editors.blended_latent``) in everything but the idea:

    - The first quarter of the schedule is skipped (``blending_percentage`` 0.25), and yet the latent starts from pure Gaussian
      noise: the first step takes for noise of its level what holds nothing of the source and too much noise.
    - The background is blended in after the step, with the noise of the level before it: one step too noisy. After the last
      step it carries the noise of timestep 0 instead of being clean.
    - The mask is sampled by nearest and not dilated; there is no background reconstruction and no ranking; guidance 7.5.
    - Its schedule is DDIM's with ``steps_offset`` 0 (50 steps: 0, 20, ..., 980), whatever the checkpoint says.

    One thing is not repeated: its default generator belongs to the process and is made at import, so that its results depend
    on the order of calls. Here all noise is the unit's; the noise of start and levels is shared by all knob values.

    Knob: strength is the share of the schedule that is executed, 1 - ``blending_percentage``; 0.75 is the script's. The skipped
    steps are cut off as there, without the float error of the product. Below 1 the foreground starts with more noise than its
    level should have, the more the smaller the strength, so that less strength is **not** less edit: at strength 0 no step is
    executed and the result is decoded noise, background included. A curve through this knob shows how many steps the method
    needs, not a tradeoff.
    """

    name = "blended_latent_sd2"
    version = "1"
    knob = Knob(
        "strength", 0.0, 1.0, (0.5, 0.75, 1.0), "share of the schedule that is executed, from pure noise; 0.75 is the script's"
    )
    needs = frozenset({"mask"})
    Params = SamplingParams
    params: SamplingParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"steps": 50, "guidance": 7.5},
        **SAMPLING_PRESETS,
    }

    def fair_play(self) -> FairPlay:
        return FairPlay(uses_mask=True)

    @property
    def schedule(self) -> DiffusionSchedule:
        """The script's own schedule on the checkpoint's table of alphas."""
        own = noise_scheduler({**self.model.scheduler.config, "steps_offset": 0, "timestep_spacing": "leading"})
        return DiffusionSchedule.of(own, self.params.steps)

    def prepare(self, task: EditTask) -> BlendedLatentSD2State:
        self.check(task)
        source, mask = Source.of(self.model, task), mask_of(task)
        return BlendedLatentSD2State(
            **vars(source), pixels=mask.copy(), cells=to_cells(mask, source.x0, "nearest"), seed=task.seed
        )

    def render(self, state: BlendedLatentSD2State, values: Sequence[float]) -> list[Image]:
        """From pure noise: z_{t-1} = m DDIM(z_t, eps(z_t, t)) + (1 - m) q_sample(z_init, t), the background of the level before."""
        model, schedule = self.model, self.schedule
        noise = model.noise(state.seed, state.x0.shape)
        edits = Sweep(model, [(value, schedule.steps - self.skipped(value), noise) for value in values])
        for t, z, _ in edits:
            eps = model.predict(z, schedule.timestep(t), state.target, self.params.guidance, state.empty)
            fresh = model.noise(derive_seed(state.seed, f"background {t}"), state.x0.shape)
            edits.x = torch.where(state.cells, schedule.ddim_step(z, eps, t), schedule.q_sample(state.x0, fresh, t))
        return model.decode(edits.latents)

    def skipped(self, strength: float) -> int:
        """Noisiest levels that are left out."""
        return math.floor(self.params.steps * (1 - strength) + 1e-9)

    def pictures(self, state: BlendedLatentSD2State) -> dict[str, NDArray[Any]]:
        return {"mask": state.pixels}

    def facts(self, state: BlendedLatentSD2State) -> dict[str, str | float | bool]:
        return state.facts()
