"""Encode-Decode: DDIM inversion and guided decode without a mask (an ablation of DiffEdit, arXiv 2210.11427)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from editors.base import Editor, EditTask, Image, Knob, SamplingParams
from editors.toolbox.sweep import decode_many, invert_many

__all__ = ["EncodeDecode", "EncodeDecodeState"]


@dataclass(frozen=True, eq=False)
class EncodeDecodeState:
    """The inversion and the texts."""

    trajectory: list[Tensor]
    """Inverted latents x_0..x_n, each (1, c, h, w), by level."""
    target: Tensor
    empty: Tensor


class EncodeDecode(Editor[EncodeDecodeState]):
    """Invert the source latent without text and without guidance, decode it with the target text and guidance.

    The inversion is made once, through the whole schedule; an encoding ratio r starts from its level round(r n).
    Nothing is random, so the seed has no effect.
    """

    name = "encode_decode"
    version = "1"
    knob = Knob(
        "encode_ratio",
        0.0,
        1.0,
        (0.2, 0.4, 0.6, 0.8, 1.0),
        "share of the schedule that is inverted and decoded anew",
        zero="round trip",
    )
    deterministic = True
    Params = SamplingParams
    params: SamplingParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"steps": 50, "guidance": 7.5},
        "paper_imagenet": {"steps": 50, "guidance": 5.0},
        "fast": {"steps": 20},
        "toybox": {"steps": 25, "guidance": 3.0},
    }

    def prepare(self, task: EditTask) -> EncodeDecodeState:
        return self.prepare_many([task])[0]

    def prepare_many(self, tasks: Sequence[EditTask]) -> list[EncodeDecodeState]:
        for task in tasks:
            self.check(task)
        model = self.model
        texts = [model.embed_pair(task.target_text) for task in tasks]
        latents = [model.encode(task.image) for task in tasks]
        trajectories = invert_many(model, model.schedule(self.params.steps), latents, texts[0][1])
        return [EncodeDecodeState(x, target, empty) for x, (target, empty) in zip(trajectories, texts, strict=True)]

    def render(self, state: EncodeDecodeState, values: Sequence[float]) -> Sequence[Image | None]:
        return self.render_many([state], values)[0]

    def render_many(self, states: Sequence[EncodeDecodeState], values: Sequence[float]) -> list[Sequence[Image | None]]:
        self.check_values(values)
        schedule = self.model.schedule(self.params.steps)

        def inverted(state: EncodeDecodeState, level: int) -> Tensor:
            return state.trajectory[level]

        return decode_many(self.model, schedule, states, values, inverted, guidance=self.params.guidance)
