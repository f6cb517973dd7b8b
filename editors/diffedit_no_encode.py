"""DiffEdit without encoding: its automatic mask over SDEdit's noise (an ablation of arXiv 2210.11427)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from editors.base import Editor, EditTask, FairPlay, Image, Knob
from editors.diffedit import DiffEdit, DiffEditParams
from editors.toolbox.mask import AutoMask, auto_mask
from editors.toolbox.sweep import decode_many

__all__ = ["DiffEditNoEncode", "DiffEditNoEncodeState"]


@dataclass(frozen=True, eq=False)
class DiffEditNoEncodeState:
    """All that no knob value changes."""

    x0: Tensor
    """Source latent, (1, c, h, w)."""
    noise: Tensor
    """The one noise of all levels and knob values, (1, c, h, w)."""
    mask: AutoMask
    target: Tensor
    empty: Tensor


class DiffEditNoEncode(Editor[DiffEditNoEncodeState]):
    """DiffEdit with step 2 replaced: the source latent is noised instead of inverted.

    Start and background of a level are q_sample(x0, noise) with the same noise at every level, so that they agree where
    they meet and the background ends at the clean latent. Mask, schedule and decode are DiffEdit's.
    """

    name = "diffedit_no_encode"
    version = "1"
    knob = Knob(
        "encode_ratio",
        0.0,
        1.0,
        (0.2, 0.4, 0.6, 0.8, 1.0),
        "share of the schedule that is noised and decoded anew",
        zero="round trip",
    )
    Params = DiffEditParams
    params: DiffEditParams
    presets = DiffEdit.presets

    def fair_play(self) -> FairPlay:
        return FairPlay(uses_source_text=self.params.use_source_text)

    def prepare(self, task: EditTask) -> DiffEditNoEncodeState:
        self.check(task)
        model, schedule = self.model, self.model.schedule(self.params.steps)
        x0 = model.encode(task.image)
        target, empty = model.embed_pair(task.target_text)
        mask = auto_mask(model, schedule, self.params, task, x0=x0, target=target, empty=empty)
        return DiffEditNoEncodeState(x0, model.noise(task.seed, x0.shape), mask, target, empty)

    def render(self, state: DiffEditNoEncodeState, values: Sequence[float]) -> Sequence[Image | None]:
        return self.render_many([state], values)[0]

    def render_many(self, states: Sequence[DiffEditNoEncodeState], values: Sequence[float]) -> list[Sequence[Image | None]]:
        self.check_values(values)
        schedule = self.model.schedule(self.params.steps)

        def noised(state: DiffEditNoEncodeState, level: int) -> Tensor:
            return schedule.q_sample(state.x0, state.noise, level)

        return decode_many(
            self.model,
            schedule,
            states,
            values,
            noised,
            guidance=self.params.guidance,
            cells=lambda state: state.mask.cells,
        )

    def pictures(self, state: DiffEditNoEncodeState) -> dict[str, NDArray[Any]]:
        return state.mask.pictures(self.model.factor)

    def facts(self, state: DiffEditNoEncodeState) -> dict[str, str | float | bool]:
        return state.mask.facts(self.params)
