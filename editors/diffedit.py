"""DiffEdit (Couairon et al., ICLR 2023, arXiv 2210.11427): automatic mask, DDIM inversion, masked decode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from numpy.typing import NDArray
from torch import Tensor

from editors.base import Editor, EditTask, FairPlay, Image, Knob, SamplingParams
from editors.toolbox.mask import AutoMask, MaskParams, auto_mask
from editors.toolbox.schedule import Schedule
from editors.toolbox.sweep import decode_many, invert_many

__all__ = ["DiffEdit", "DiffEditParams", "DiffEditState"]


class DiffEditParams(SamplingParams, MaskParams):
    """Parameters of DiffEdit; the defaults are the paper's with Stable Diffusion."""


@dataclass(frozen=True, eq=False)
class DiffEditState:
    """All of DiffEdit but the decode."""

    trajectory: list[Tensor]
    """Inverted latents x_0..x_n, each (1, c, h, w), by level."""
    mask: AutoMask
    target: Tensor
    """Embedding of the target text, (1, l, d)."""
    empty: Tensor
    """Embedding of the empty text, (1, l, d)."""


class DiffEdit(Editor[DiffEditState]):
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
    knob = Knob(
        "encode_ratio",
        0.0,
        1.0,
        (0.2, 0.4, 0.6, 0.8, 1.0),
        "share of the schedule that is inverted and decoded anew",
        zero="round trip",
    )
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
        "fast": {"steps": 20},
        "toybox": {"steps": 25, "guidance": 3.0},
    }

    def fair_play(self) -> FairPlay:
        return FairPlay(uses_source_text=self.params.use_source_text)

    def prepare(self, task: EditTask) -> DiffEditState:
        return self.prepare_many([task])[0]

    def prepare_many(self, tasks: Sequence[EditTask]) -> list[DiffEditState]:
        schedule = self.model.schedule(self.params.steps)
        states = [self._before_inversion(schedule, task) for task in tasks]
        trajectories = invert_many(self.model, schedule, [state.trajectory[0] for state in states], states[0].empty)
        return [replace(state, trajectory=trajectory) for state, trajectory in zip(states, trajectories, strict=True)]

    def _before_inversion(self, schedule: Schedule, task: EditTask) -> DiffEditState:
        """A mask is a decision, which another batch's rounding might turn over: each task is looked at by itself."""
        self.check(task)
        model = self.model
        x0 = model.encode(task.image)
        target, empty = model.embed_pair(task.target_text)
        mask = auto_mask(model, schedule, self.params, task, x0=x0, target=target, empty=empty)
        return DiffEditState([x0], mask, target, empty)

    def render(self, state: DiffEditState, values: Sequence[float]) -> Sequence[Image | None]:
        return self.render_many([state], values)[0]

    def render_many(self, states: Sequence[DiffEditState], values: Sequence[float]) -> list[Sequence[Image | None]]:
        self.check_values(values)

        def inverted(state: DiffEditState, level: int) -> Tensor:
            return state.trajectory[level]

        return decode_many(
            self.model,
            self.model.schedule(self.params.steps),
            states,
            values,
            inverted,
            guidance=self.params.guidance,
            cells=lambda state: state.mask.cells,
        )

    def pictures(self, state: DiffEditState) -> dict[str, NDArray[Any]]:
        return state.mask.pictures(self.model.factor)

    def facts(self, state: DiffEditState) -> dict[str, str | float | bool]:
        return state.mask.facts(self.params)
