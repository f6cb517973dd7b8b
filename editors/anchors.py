"""Control rows that give the axes meaning: no edit, the VAE's loss, a new picture from the text alone, a real one, the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from torch import Tensor

from editors.base import SAMPLING_PRESETS, Editor, EditTask, FairPlay, Image, Params, SamplingParams
from editors.toolbox.grid import to_grid
from editors.toolbox.sweep import decode_sweep

__all__ = ["Copy", "Oracle", "Regenerate", "RegenerateState", "Retrieve", "VAERoundTrip"]


class Copy(Editor[Image]):
    """The source picture, untouched: full fidelity, no edit."""

    name = "copy"
    version = "1"
    knob = None
    anchor = True
    deterministic = True
    needs_model = False
    Params = Params

    def prepare(self, task: EditTask) -> Image:
        self.check(task)
        return task.image

    def render(self, state: Image, values: Sequence[float]) -> list[Image]:
        return [state.copy() for _ in values]


class Oracle(Editor[Image]):
    """The manifest's ground-truth edit: what a perfect editor would return."""

    name = "oracle"
    version = "1"
    knob = None
    anchor = True
    deterministic = True
    needs_model = False
    needs = frozenset({"truth"})
    Params = Params

    def fair_play(self) -> FairPlay:
        return FairPlay(uses_truth=True)

    def prepare(self, task: EditTask) -> Image:
        self.check(task)
        return cast("Image", task.truth)

    def render(self, state: Image, values: Sequence[float]) -> list[Image]:
        return [state.copy() for _ in values]


@dataclass(frozen=True, eq=False)
class RetrieveState:
    """The real picture on the source's grid, and how it got there."""

    picture: Image
    transform: str


class Retrieve(Editor[RetrieveState]):
    """A real picture of the target class, whatever the source: full realism and class, no fidelity.

    The RETRIEVE row of FlexIT and DiffEdit (CVPR 2022; arXiv 2210.11427). Which picture it is, is chosen outside, by the unit's seed
    and never the sample's own source or truth; one of another size is cropped about its middle to the source's aspect ratio and
    resized.
    """

    name = "retrieve"
    version = "1"
    knob = None
    anchor = True
    deterministic = True
    needs_model = False
    needs = frozenset({"real"})
    Params = Params

    def prepare(self, task: EditTask) -> RetrieveState:
        self.check(task)
        return RetrieveState(*to_grid(cast("Image", task.real), *task.image.shape[:2]))

    def render(self, state: RetrieveState, values: Sequence[float]) -> list[Image]:
        return [state.picture.copy() for _ in values]

    def facts(self, state: RetrieveState) -> dict[str, str | float | bool]:
        return {"transform": state.transform}


class VAERoundTrip(Editor[Tensor]):
    """The source encoded to its mean latent and decoded: the most faithful picture a latent editor can return."""

    name = "vae_round_trip"
    version = "1"
    knob = None
    anchor = True
    deterministic = True
    Params = Params

    def prepare(self, task: EditTask) -> Tensor:
        self.check(task)
        return self.model.encode(task.image)

    def render(self, state: Tensor, values: Sequence[float]) -> list[Image]:
        picture = self.model.decode(state)[0]
        return [picture.copy() for _ in values]


@dataclass(frozen=True, eq=False)
class RegenerateState:
    """Noise (1, c, h, w) and embeddings (1, l, d)."""

    noise: Tensor
    target: Tensor
    empty: Tensor


class Regenerate(Editor[RegenerateState]):
    """A new picture from the target text and noise, blind to the source: full edit, no fidelity."""

    name = "regenerate"
    version = "1"
    knob = None
    anchor = True
    Params = SamplingParams
    params: SamplingParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = SAMPLING_PRESETS

    def prepare(self, task: EditTask) -> RegenerateState:
        self.check(task)
        target, empty = self.model.embed_pair(task.target_text)
        shape = (1, self.model.vae.config.latent_channels, *(side // self.model.factor for side in task.image.shape[:2]))
        return RegenerateState(self.model.noise(task.seed, shape), target, empty)

    def render(self, state: RegenerateState, values: Sequence[float]) -> list[Image]:
        schedule = self.model.schedule(self.params.steps)
        start = [(schedule.steps, state.noise)]
        latent = decode_sweep(self.model, schedule, start, state.target, guidance=self.params.guidance, uncond=state.empty)
        picture = self.model.decode(latent)[0]
        return [picture.copy() for _ in values]
