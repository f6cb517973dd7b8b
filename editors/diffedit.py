"""DiffEdit (Couairon et al., ICLR 2023, arXiv 2210.11427): automatic mask, DDIM inversion, masked decode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from editors.base import ANY_FAMILY, FAMILY_PRESETS, SAMPLING_PRESETS, EditTask, FairPlay, Knob, SamplingParams
from editors.partial_decode import PartialDecode
from editors.toolbox.mask import AutoMask, MaskParams, auto_mask
from editors.toolbox.source import Source
from editors.toolbox.sweep import Sweep, invert_many

__all__ = ["DiffEdit", "DiffEditParams", "DiffEditState"]


class DiffEditParams(SamplingParams, MaskParams):
    """Parameters of DiffEdit; the defaults are the paper's with Stable Diffusion."""


@dataclass(frozen=True, eq=False)
class DiffEditState(Source):
    """All of DiffEdit but the decode."""

    trajectory: list[Tensor]
    """Encoded latents x_0..x_n, each (1, c, h, w), by level."""
    mask: AutoMask


class DiffEdit(PartialDecode[DiffEditState]):
    """DiffEdit, all three steps as the paper has them.

    1. The mask M, from predictions at half strength under target and reference text (``editors.toolbox.mask``).
    2. The source latent is inverted by DDIM without text and without guidance, once, through the whole schedule. Every
       encoding ratio r starts from the latent at level round(r n) of that one trajectory.
    3. From there it is decoded with the target text and guidance. After each step the background is replaced by the
       inverted latent of the level just reached, y = M y + (1 - M) x_t, so after the last step by the clean latent.

    What the common pipeline implementation does otherwise, and this one does not: it blends the latent of the level
    before the step, which leaves the background one level too noisy and never clean; it inverts with guidance by default;
    it keeps a copied stack of latents; it cuts the number of steps off instead of rounding it. See ``editors.toolbox.mask`` for
    its mask. Knob values share mask and inversion, and decode in one batch, together with those of other samples.
    """

    name = "diffedit"
    version = "1"
    families = ANY_FAMILY
    knob = Knob.share("encode_ratio", "share of the schedule that is inverted and decoded anew")
    Params = DiffEditParams
    params: DiffEditParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "steps": 50,
            "guidance": 7.5,
            "mask_maps": 10,
            "mask_strength": 0.5,
            "mask_threshold": 0.5,
            "mask_rule": "paper",
            "use_source_text": False,
        },
        "paper_imagenet": {"steps": 50, "guidance": 5.0, "mask_maps": 10, "mask_strength": 0.5, "mask_threshold": 0.5},
        "diffusers_mask": {"steps": 50, "guidance": 7.5, "mask_rule": "diffusers"},
        **SAMPLING_PRESETS,
        **FAMILY_PRESETS,
    }

    def fair_play(self) -> FairPlay:
        return FairPlay(uses_source_text=self.params.use_source_text)

    def prepare_many(self, tasks: Sequence[EditTask]) -> list[DiffEditState]:
        """Step 1 for each task by itself, since a mask is a decision, which another batch's rounding might turn over; step 2."""
        sources = [self.source(task) for task in tasks]
        masks = [
            auto_mask(self.model, self.schedule, self.params, task, **vars(source))
            for task, source in zip(tasks, sources, strict=True)
        ]
        encoded = self.encode(tasks, sources)
        return [
            DiffEditState(**vars(source), trajectory=xs, mask=mask)
            for source, xs, mask in zip(sources, encoded, masks, strict=True)
        ]

    def encode(self, tasks: Sequence[EditTask], sources: Sequence[Source]) -> list[list[Tensor]]:
        """Step 2: x_0..x_n of each source, by DDIM inversion without text."""
        return invert_many(self.model, self.schedule, [source.x0 for source in sources], sources[0].empty)

    def start(self, state: DiffEditState, t: int) -> Tensor:
        """x_t of step 2."""
        return state.trajectory[t]

    def denoise(self, edits: Sweep[DiffEditState]) -> None:
        """Step 3: y_{t-1} = M DDIM(y_t, eps(y_t, t, target)) + (1 - M) x_{t-1}."""
        for t, y, states in edits:
            eps = self.predict(y, t, states)
            edited = self.schedule.ddim_step(y, eps, t)
            background = torch.cat([state.trajectory[t - 1] for state in states])
            M = torch.cat([state.mask.cells for state in states])
            edits.x = torch.where(M, edited, background)

    def pictures(self, state: DiffEditState) -> dict[str, NDArray[Any]]:
        return state.mask.pictures(self.model.factor)

    def facts(self, state: DiffEditState) -> dict[str, str | float | bool]:
        return state.mask.facts(self.params)
