"""Editors without a model: quick, deterministic, and as ill-behaved as a test wants."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import signal
import sys
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


class Negative(Fade):
    """The source at 0, its negative at 1; no noise."""

    name = "negative"
    knob = Knob("amount", 0.0, 1.0, (0.0, 1.0), "share of the negative")
    deterministic = True

    def render(self, state: tuple[Image, NDArray[np.float64]], values: Sequence[float]) -> list[Image]:
        return [np.where(value > 0.5, 255 - state[0], state[0]).astype(np.uint8) for value in values]


class Early(Fade):
    """Has a preset with a grid of its own."""

    name = "early"
    grids: ClassVar[Mapping[str, tuple[float, ...]]] = {"loud": (0.0, 0.25)}


class NeedsMask(Fade):
    name = "needs_mask"
    needs = frozenset({"mask"})


class Masked(Fade):
    """Is shown the mask."""

    name = "masked"
    needs = frozenset({"mask"})

    def fair_play(self) -> FairPlay:
        return FairPlay(uses_mask=True)


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


class Vanishes(Fade):
    """Ends its process without a word, and as if nothing were wrong."""

    name = "vanishes"

    def prepare(self, task: EditTask) -> tuple[Image, NDArray[np.float64]]:
        if "number 0" in task.target_text:
            ctypes.CDLL(None)._exit(0)
        return super().prepare(task)


class Flaky(Fade):
    """Raises what `error` says, on the first `fails` tries of the sample whose text holds the word zero."""

    name = "flaky"
    tries: ClassVar[int] = 0

    class Params(Fade.Params):
        error: str = Field("reset", description="what it raises")
        fails: int = Field(1, description="how often")

    params: Params

    def prepare(self, task: EditTask) -> tuple[Image, NDArray[np.float64]]:
        if "number 0" in task.target_text:
            Flaky.tries += 1
            if Flaky.tries <= self.params.fails:
                try:
                    raise ConnectionResetError("the hub hung up") if self.params.error == "reset" else ZeroDivisionError("a bug")
                except OSError as error:
                    raise EditorError("no answer") from error
        return super().prepare(task)


class Sleeps(Fade):
    """Does not end on the sample whose text holds the word zero; `deaf`, it hears no alarm either."""

    name = "sleeps"

    class Params(Fade.Params):
        deaf: bool = Field(False, description="hear no alarm")

    params: Params

    def prepare(self, task: EditTask) -> tuple[Image, NDArray[np.float64]]:
        if "number 0" in task.target_text:
            if self.params.deaf:
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
            with contextlib.suppress(Exception):
                time.sleep(60)
        return super().prepare(task)


class Mute(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise SystemExit(3)


class Misbehaves(Fade):
    """Raises what no editor should, or gives facts and pictures with odd names and values, as `how` says."""

    name = "misbehaves"

    class Params(Fade.Params):
        how: str = Field(..., description="what it does")

    params: Params

    def prepare(self, task: EditTask) -> tuple[Image, NDArray[np.float64]]:
        match self.params.how:
            case "exit":
                sys.exit(0)
            case "leave":
                os._exit(0)
            case "wander":
                os.chdir("/")
            case "interrupt":
                raise KeyboardInterrupt
            case "generator exit":
                raise GeneratorExit
            case "mute":
                raise Mute
            case "surrogate":
                raise ValueError("no \ud800 letter")
            case "swallow":
                with contextlib.suppress(KeyboardInterrupt):
                    signal.raise_signal(signal.SIGINT)
        return super().prepare(task)

    def facts(self, state: tuple[Image, NDArray[np.float64]]) -> dict[str, Any]:
        return {
            "facts": {
                "deep": {"nan": [float("nan"), np.float32(1.5)], 1: np.arange(2)},
                "path": Path("a") / "b",
                "odd": "\udc80",
            },
            "object": {"deep": [object()]},
            "number": {"huge": 10**5000},
        }.get(self.params.how, {})

    def pictures(self, state: tuple[Image, NDArray[np.float64]]) -> dict[str, NDArray[Any]]:
        names = ["000", "a b", "a_b", "A_B", "", "\ud800", "é" * 300] if self.params.how == "pictures" else []
        return {name: np.full((4, 4), number, np.uint8) for number, name in enumerate(names)}


class Paced(Fade):
    """Takes 3 s and 0.25 s a step of a clock of its own."""

    name = "paced"
    batches = True
    now: ClassVar[float] = 0.0

    class Params(Fade.Params):
        steps: int = Field(50, ge=1, description="steps")
        fails: bool = Field(False, description="never gets there")

    params: Params

    def prepare(self, task: EditTask) -> tuple[Image, NDArray[np.float64]]:
        if self.params.fails:
            raise EditorError("not today")
        Paced.now += 3.0 + 0.25 * self.params.steps
        return super().prepare(task)


class ExitsAtOnce(Fade):
    """Never comes to work."""

    name = "exits_at_once"

    def __init__(self, *arguments: Any) -> None:
        sys.exit(1)


class Interrupts(Fade):
    """The user presses Ctrl-C during the second sample."""

    name = "interrupts"

    def render(self, state: tuple[Image, NDArray[np.float64]], values: Sequence[float]) -> list[Image]:
        if not Path("healed").exists():
            signal.raise_signal(signal.SIGINT)
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
        exits: bool = Field(False, description="leave it instead")

    params: Params

    def prepare(self, task: EditTask) -> tuple[Image, NDArray[np.float64]]:
        if "number 0" in task.target_text and self.params.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        if "number 0" in task.target_text and self.params.exits:
            sys.exit(0)
        if "number 0" in task.target_text and self.params.bad:
            raise EditorError("no zeros please")
        return super().prepare(task)


class Tight(Several):
    """Has room for two samples at once."""

    name = "tight"

    def prepare_many(self, tasks: Sequence[EditTask]) -> list[tuple[Image, NDArray[np.float64]]]:
        import torch

        if len(tasks) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().prepare_many(tasks)


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


class Grey(Unchanged):
    """An anchor that is called regenerate, as the real one: nearer to any truth than the source is, and far from the source."""

    name = "regenerate"

    def render(self, state: tuple[Image, NDArray[np.float64]], values: Sequence[float]) -> list[Image]:
        return [np.full_like(state[0], 127) for _ in values]
