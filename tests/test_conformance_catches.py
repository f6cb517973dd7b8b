"""Every public check fails for an editor that deserves it: one small honest editor, spoilt in one way at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from editors import Editor, EditTask, Image
from editors.base import Knob, Params
from editors.toolbox.diffusion import seeded
from etabench_conformance import CHECKS, Case

NAMED = {check.__name__: check for check in CHECKS}


@dataclass
class State:
    source: Image
    noise: NDArray[np.float64]


class Honest(Editor[State]):
    """Fade the source into noise."""

    name = "honest"
    version = "1"
    knob = Knob("amount", 0.0, 1.0, (0.0, 0.5, 1.0), "share of noise", zero="source")
    needs_model = False
    Params = Params

    def prepare(self, task: EditTask) -> State:
        return State(task.image.copy(), np.random.default_rng(task.seed).uniform(0, 255, task.image.shape))

    def render(self, state: State, values: Sequence[float]) -> Sequence[Image | None]:
        self.check_values(values)
        return [np.rint((1 - v) * state.source + v * state.noise).astype(np.uint8) for v in values]


class Remembers(Honest):
    """The noise depends on how many samples came before."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.before = 0

    def prepare(self, task: EditTask) -> State:
        self.before += 1
        state = super().prepare(task)
        return State(state.source, np.roll(state.noise, self.before))


class RemembersForAll(Remembers):
    """The same, counted for all editors of the process: the sample alone is no more alone than the others."""

    ever = 0

    def prepare(self, task: EditTask) -> State:
        RemembersForAll.ever += 1
        self.before = RemembersForAll.ever
        return super().prepare(task)


class Wears(Honest):
    """Rendering changes the state."""

    def render(self, state: State, values: Sequence[float]) -> Sequence[Image | None]:
        state.noise = np.roll(state.noise, 1)
        return super().render(state, values)


class MixesSamples(Honest):
    """A batch shares the noise of its first task."""

    def prepare_many(self, tasks: Sequence[EditTask]) -> list[State]:
        noise = self.prepare(tasks[0]).noise
        return [State(task.image.copy(), noise + index) for index, task in enumerate(tasks)]


class IgnoresTheSeed(Honest):
    def prepare(self, task: EditTask) -> State:
        return State(task.image.copy(), np.random.default_rng(0).uniform(0, 255, task.image.shape))


class DrawsGlobally(Honest):
    def prepare(self, task: EditTask) -> State:
        return State(task.image.copy(), torch.rand(task.image.shape).numpy() * 255.0)


class WritesIntoTheTask(Honest):
    def prepare(self, task: EditTask) -> State:
        state = super().prepare(task)
        task.image[0, 0] = 7
        return state


class Crops(Honest):
    def render(self, state: State, values: Sequence[float]) -> Sequence[Image | None]:
        return [None if each is None else each[:-1].copy() for each in super().render(state, values)]


class SharesMemory(Honest):
    def render(self, state: State, values: Sequence[float]) -> Sequence[Image | None]:
        return [super().render(state, values[-1:])[0]] * len(values)


class Extrapolates(Honest):
    def check_values(self, values: Sequence[float]) -> None:
        pass

    def render(self, state: State, values: Sequence[float]) -> Sequence[Image | None]:
        return super().render(state, [min(max(v, 0.0), 1.0) for v in values])


class Backwards(Honest):
    """More of the knob is less of an edit, and its zero is no source."""

    def render(self, state: State, values: Sequence[float]) -> Sequence[Image | None]:
        return super().render(state, [1 - v for v in values])


class OnTheModel(Honest):
    """As honest as the other, and goes through the networks."""

    needs_model = True
    knob = Knob("amount", 0.0, 1.0, (0.0, 0.5, 1.0), "share of noise", zero="round trip")

    def _predict(self, x: torch.Tensor) -> torch.Tensor:
        return self.model.predict(x, 500, self.model.embed(["a dog"]))

    def render(self, state: State, values: Sequence[float]) -> Sequence[Image | None]:
        self.check_values(values)
        x0 = self.model.encode(state.source)
        noise = torch.randn(x0.shape, generator=seeded(int(state.noise.sum())))
        found: list[Image | None] = []
        for value in values:
            output = self._predict(x0)
            found.append(self.model.decode(x0 + value * (noise + 1e-3 * output))[0])
        return found


class TunesTheModel(OnTheModel):
    def prepare(self, task: EditTask) -> State:
        with torch.no_grad():
            next(iter(self.model.unet.parameters())).add_(1e-3)
        return super().prepare(task)


class HidesItsCost(OnTheModel):
    def _predict(self, x: torch.Tensor) -> torch.Tensor:
        times = torch.tensor([500])
        with torch.no_grad():
            output: torch.Tensor = self.model.unet(x, times, self.model.embed(["a dog"])).sample
        return self.model.guard(output, "prediction")


class NeverAsksWhetherToStop(OnTheModel):
    def _predict(self, x: torch.Tensor) -> torch.Tensor:
        asked, self.model.cancelled = self.model.cancelled, lambda: False
        try:
            return super()._predict(x)
        finally:
            self.model.cancelled = asked

    def render(self, state: State, values: Sequence[float]) -> Sequence[Image | None]:
        asked, self.model.cancelled = self.model.cancelled, lambda: False
        try:
            return super().render(state, values)
        finally:
            self.model.cancelled = asked


class PaintsOverNaN(OnTheModel):
    def _predict(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            output: torch.Tensor = self.model.unet(x, torch.tensor([500]), self.model.embed(["a dog"])).sample
        return torch.nan_to_num(output)


def case(cls: type[Editor[Any]]) -> Case:
    return Case(f"{__name__}:{cls.__name__}")


SPOILT = (
    (Remembers, "same_after_other_samples"),
    (Remembers, "same_in_another_order"),
    (RemembersForAll, "same_after_other_samples"),
    (RemembersForAll, "same_in_another_order"),
    (Wears, "same_in_a_batch_of_other_values"),
    (MixesSamples, "same_in_a_batch_of_other_samples"),
    (IgnoresTheSeed, "another_seed_changes_it"),
    (DrawsGlobally, "the_global_generator_is_left_alone"),
    (WritesIntoTheTask, "inputs_are_untouched"),
    (Crops, "pictures_have_the_size_of_the_source"),
    (SharesMemory, "pictures_have_the_size_of_the_source"),
    (Extrapolates, "values_out_of_bounds_are_refused"),
    (Backwards, "more_is_further_from_the_source"),
    (Backwards, "zero_is_what_it_declares"),
    (TunesTheModel, "the_model_is_bit_identical_afterwards"),
    (HidesItsCost, "cost_is_counted"),
    (NeverAsksWhetherToStop, "stops_between_steps"),
    (PaintsOverNaN, "nan_is_a_typed_failure"),
)


@pytest.mark.parametrize(("cls", "name"), SPOILT, ids=[f"{cls.__name__}-{name}" for cls, name in SPOILT])
def test_a_spoilt_editor_is_caught(cls: type[Editor[Any]], name: str) -> None:
    with pytest.raises((AssertionError, ValueError, pytest.fail.Exception)):
        NAMED[name](case(cls))


@pytest.mark.parametrize("name", sorted(set(NAMED) - {"same_after_a_kill_and_by_two_workers"}))
@pytest.mark.parametrize("cls", [Honest, OnTheModel])
def test_an_honest_editor_passes(cls: type[Editor[Any]], name: str) -> None:
    NAMED[name](case(cls))
