"""Encode-Decode: DDIM inversion and guided decode without a mask (an ablation of DiffEdit, arXiv 2210.11427)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from editors.base import ANY_FAMILY, FAMILY_PRESETS, SAMPLING_PRESETS, EditTask, Knob, SamplingParams
from editors.partial_decode import PartialDecode
from editors.toolbox.source import Source
from editors.toolbox.sweep import Sweep, invert_many

__all__ = ["EncodeDecode", "EncodeDecodeState"]


@dataclass(frozen=True, eq=False)
class EncodeDecodeState(Source):
    """Latent, texts and inversion."""

    trajectory: list[Tensor]
    """Inverted latents x_0..x_n, each (1, c, h, w), by level."""


class EncodeDecode(PartialDecode[EncodeDecodeState]):
    """Invert the source latent without text and without guidance, decode it with the target text and guidance.

    The inversion is made once, through the whole schedule; an encoding ratio r starts from its level round(r n).
    Nothing is random, so the seed has no effect.
    """

    name = "encode_decode"
    version = "1"
    families = ANY_FAMILY
    knob = Knob.share("encode_ratio", "share of the schedule that is inverted and decoded anew")
    deterministic = True
    Params = SamplingParams
    params: SamplingParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"steps": 50, "guidance": 7.5},
        "paper_imagenet": {"steps": 50, "guidance": 5.0},
        **SAMPLING_PRESETS,
        **FAMILY_PRESETS,
    }

    def prepare_many(self, tasks: Sequence[EditTask]) -> list[EncodeDecodeState]:
        sources = [self.source(task) for task in tasks]
        inverted = invert_many(self.model, self.schedule, [source.x0 for source in sources], sources[0].empty)
        return [EncodeDecodeState(**vars(source), trajectory=xs) for source, xs in zip(sources, inverted, strict=True)]

    def start(self, state: EncodeDecodeState, t: int) -> Tensor:
        """x_t of the inversion."""
        return state.trajectory[t]

    def denoise(self, edits: Sweep[EncodeDecodeState]) -> None:
        """y_{t-1} = DDIM(y_t, eps(y_t, t, target))."""
        for t, y, states in edits:
            eps = self.predict(y, t, states)
            edits.x = self.schedule.ddim_step(y, eps, t)
