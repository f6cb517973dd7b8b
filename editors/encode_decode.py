"""Encode-Decode: DDIM inversion and guided decode without a mask (an ablation of DiffEdit, arXiv 2210.11427)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from editors.base import Editor, EditTask, Image, Knob, SamplingParams
from editors.sweep import ddim_invert, decode_sweep

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
    knob = Knob("encode_ratio", 0.0, 1.0, (0.2, 0.4, 0.6, 0.8, 1.0), "share of the schedule that is inverted and decoded anew")
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
        self.check(task)
        model = self.model
        target, empty = model.embed_pair(task.target_text)
        trajectory = ddim_invert(model, model.schedule(self.params.steps), model.encode(task.image), empty)
        return EncodeDecodeState(trajectory, target, empty)

    def render(self, state: EncodeDecodeState, values: Sequence[float]) -> list[Image]:
        self.check_values(values)
        schedule = self.model.schedule(self.params.steps)
        starts = [(level, state.trajectory[level]) for level in map(schedule.level, values)]
        latents = decode_sweep(self.model, schedule, starts, state.target, guidance=self.params.guidance, uncond=state.empty)
        return self.model.decode(latents)
