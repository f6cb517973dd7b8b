"""Editors without a model: quick, deterministic, and as ill-behaved as a test wants."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from editors.base import Editor, EditorError, EditTask, FairPlay, Image, Knob
from editors.base import Params as BaseParams


class Fade(Editor[tuple[Image, NDArray[np.float64]]]):
    """Blends the source with noise of the unit's own; the knob is the share of noise."""

    name = "fade"
    version = "1"
    knob = Knob("amount", 0.0, 1.0, (0.0, 0.5, 1.0), "share of noise")
    needs_model = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"loud": {"gain": 2.0}}

    class Params(BaseParams):
        gain: float = Field(1.0, gt=0, description="factor of the noise")
        seconds: float = Field(0.0, ge=0, description="time to waste")

    params: Params

    def prepare(self, task: EditTask) -> tuple[Image, NDArray[np.float64]]:
        time.sleep(self.params.seconds)
        noise = np.random.default_rng(task.seed).uniform(0, 255, task.image.shape)
        return task.image, noise * self.params.gain

    def render(self, state: tuple[Image, NDArray[np.float64]], values: Sequence[float]) -> list[Image]:
        image, noise = state
        return [np.clip((1 - value) * image + value * noise, 0, 255).astype(np.uint8) for value in values]

    def pictures(self, state: tuple[Image, NDArray[np.float64]]) -> dict[str, NDArray[Any]]:
        bright = state[0].mean(axis=2) > 127
        return {"noise": state[1].mean(axis=2), "bright": bright, "000": bright, "a b": bright, "a_b": ~bright}

    def facts(self, state: tuple[Image, NDArray[np.float64]]) -> dict[str, str | float | bool]:
        return {"mean": float(state[0].mean()), "undefined": float("nan")}

    def fair_play(self) -> FairPlay:
        return FairPlay(candidates=3, selector="none")


class NeedsMask(Fade):
    name = "needs_mask"
    needs = frozenset({"mask"})


class FailsOnce(Fade):
    """Raises on the sample whose text holds the word zero, unless the file `healed` lies in the current folder."""

    name = "fails_once"

    def prepare(self, task: EditTask) -> tuple[Image, NDArray[np.float64]]:
        if "number 0" in task.target_text and not Path("healed").exists():
            raise EditorError("no zeros\nplease")
        return super().prepare(task)


class Crashes(FailsOnce):
    """A bug rather than an error on purpose."""

    name = "crashes"

    def prepare(self, task: EditTask) -> tuple[Image, NDArray[np.float64]]:
        if "number 0" in task.target_text:
            raise ZeroDivisionError("a bug")
        return super().prepare(task)


class Dies(Fade):
    """Kills its process, as the kernel does when memory runs out."""

    name = "dies"

    def prepare(self, task: EditTask) -> tuple[Image, NDArray[np.float64]]:
        if "number 0" in task.target_text:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().prepare(task)


class Interrupts(Fade):
    """The user presses Ctrl-C during the second sample."""

    name = "interrupts"

    def render(self, state: tuple[Image, NDArray[np.float64]], values: Sequence[float]) -> list[Image]:
        if not Path("healed").exists():
            raise KeyboardInterrupt
        return super().render(state, values)


class WrongSize(Fade):
    name = "wrong_size"

    def render(self, state: tuple[Image, NDArray[np.float64]], values: Sequence[float]) -> list[Image]:
        return [edit[:-1] for edit in super().render(state, values)]


class TooFew(Fade):
    name = "too_few"

    def render(self, state: tuple[Image, NDArray[np.float64]], values: Sequence[float]) -> list[Image]:
        return super().render(state, values)[1:]


class Follows(Fade):
    """Writes the length of its instruction into the picture."""

    name = "follows"
    needs = frozenset({"instruction"})

    def prepare(self, task: EditTask) -> tuple[Image, NDArray[np.float64]]:
        return np.full_like(task.image, len(task.instruction or "")), np.zeros(task.image.shape)


class Gaps(Fade):
    """Has no edit at 0.5 for the sample that is called sample-1."""

    name = "gaps"

    def prepare(self, task: EditTask) -> tuple[Image, NDArray[np.float64]]:
        self._lacks = task.sample_id == "sample-1"
        return super().prepare(task)

    def render(self, state: tuple[Image, NDArray[np.float64]], values: Sequence[float]) -> Any:
        edits = super().render(state, values)
        return [None if self._lacks and value == 0.5 else edit for value, edit in zip(values, edits, strict=True)]


class Several(Fade):
    """Takes several samples at once, unless one of them holds the word zero and the parameter forbids it."""

    name = "several"
    batches = True

    class Params(Fade.Params):
        bad: bool = Field(False, description="fail on the sample with zero, and on every batch with it")
        dies: bool = Field(False, description="kill the process instead")

    params: Params

    def prepare(self, task: EditTask) -> tuple[Image, NDArray[np.float64]]:
        if "number 0" in task.target_text and self.params.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        if "number 0" in task.target_text and self.params.bad:
            raise EditorError("no zeros please")
        return super().prepare(task)


class Reads(Fade):
    """Its result depends on a file beside the model."""

    name = "reads"

    class Params(Fade.Params):
        path: str = Field("", description="a file")
        clip: str = Field("", description="a network, read where `path` is empty")

    params: Params

    @classmethod
    def assets(cls, params: BaseParams) -> Mapping[str, str]:
        assert isinstance(params, Reads.Params)
        if not params.path:
            return {"clip": f"digest of {params.clip}"}
        if not Path(params.path).is_file():
            raise EditorError(f"path: no such file: {params.path}")
        return {"path": hashlib.sha256(Path(params.path).read_bytes()).hexdigest()}


class Unchanged(Fade):
    """An anchor that is called copy, as the real one."""

    name = "copy"
    knob = None
    anchor = True
    deterministic = True
