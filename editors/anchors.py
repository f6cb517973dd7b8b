"""Control rows that give the axes meaning: no edit, the VAE's loss, a new picture from the text alone, a real one, the truth."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from torch import Tensor

from editors.base import ANY_FAMILY, FAMILY_PRESETS, SAMPLING_PRESETS, Editor, EditTask, FairPlay, Image, SamplingParams, State
from editors.toolbox.grid import to_grid
from editors.toolbox.source import Texts
from editors.toolbox.sweep import decode_sweep

__all__ = ["Copy", "Oracle", "Regenerate", "RegenerateState", "Retrieve", "VAERoundTrip"]


class Anchor(Editor[State]):
    """One picture, with no knob to change it."""

    knob = None
    anchor = True

    @abstractmethod
    def picture(self, state: State) -> Image:
        """The one result."""

    def render(self, state: State, values: Sequence[float]) -> list[Image]:
        picture = self.picture(state)
        return [picture.copy() for _ in values]


class Copy(Anchor[Image]):
    """The source picture, untouched: full fidelity, no edit."""

    name = "copy"
    version = "1"
    deterministic = True
    needs_model = False

    def prepare(self, task: EditTask) -> Image:
        self.check(task)
        return task.image

    def picture(self, state: Image) -> Image:
        return state


class Oracle(Anchor[Image]):
    """The manifest's ground-truth edit: what a perfect editor would return."""

    name = "oracle"
    version = "1"
    deterministic = True
    needs_model = False
    needs = frozenset({"truth"})

    def fair_play(self) -> FairPlay:
        return FairPlay(uses_truth=True)

    def prepare(self, task: EditTask) -> Image:
        self.check(task)
        return cast("Image", task.truth)

    def picture(self, state: Image) -> Image:
        return state


@dataclass(frozen=True, eq=False)
class RetrieveState:
    """The real picture on the source's grid, and how it got there."""

    picture: Image
    transform: str


class Retrieve(Anchor[RetrieveState]):
    """A real picture of the target class, whatever the source: full realism and class, no fidelity.

    The RETRIEVE row of FlexIT and DiffEdit (CVPR 2022; arXiv 2210.11427). Which picture it is, is chosen outside, by the unit's seed
    and never the sample's own source or truth; one of another size is cropped about its middle to the source's aspect ratio and
    resized.
    """

    name = "retrieve"
    version = "1"
    deterministic = True
    needs_model = False
    needs = frozenset({"real"})

    def prepare(self, task: EditTask) -> RetrieveState:
        self.check(task)
        return RetrieveState(*to_grid(cast("Image", task.real), *task.image.shape[:2]))

    def picture(self, state: RetrieveState) -> Image:
        return state.picture

    def facts(self, state: RetrieveState) -> dict[str, str | float | bool]:
        return {"transform": state.transform}


class VAERoundTrip(Anchor[Tensor]):
    """The source encoded to its mean latent and decoded: the most faithful picture a latent editor can return."""

    name = "vae_round_trip"
    version = "1"
    families = ANY_FAMILY
    deterministic = True

    def prepare(self, task: EditTask) -> Tensor:
        self.check(task)
        return self.model.encode(task.image)

    def picture(self, state: Tensor) -> Image:
        return self.model.decode(state)[0]


@dataclass(frozen=True, eq=False)
class RegenerateState(Texts):
    """Texts and noise."""

    noise: Tensor
    """The noise that becomes a picture, (1, c, h, w)."""


class Regenerate(Anchor[RegenerateState]):
    """A new picture from the target text and noise, blind to the source: full edit, no fidelity."""

    name = "regenerate"
    version = "1"
    families = ANY_FAMILY
    Params = SamplingParams
    params: SamplingParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {**SAMPLING_PRESETS, **FAMILY_PRESETS}

    def prepare(self, task: EditTask) -> RegenerateState:
        self.check(task)
        target, empty = self.model.embed_pair(task.target_text)
        shape = (1, self.model.backbone.latent_channels, *(side // self.model.factor for side in task.image.shape[:2]))
        return RegenerateState(target, empty, self.model.noise(task.seed, shape))

    def picture(self, state: RegenerateState) -> Image:
        schedule = self.model.schedule(self.params.steps)
        start = [(schedule.steps, state.noise)]
        latent = decode_sweep(self.model, schedule, start, state.target, guidance=self.params.guidance, uncond=state.empty)
        return self.model.decode(latent)[0]
