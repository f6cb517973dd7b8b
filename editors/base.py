"""What an editor is: what it declares about itself, and its two phases. The words it speaks are those of ``editors.task``."""

from __future__ import annotations

import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias, TypeVar

from numpy.typing import NDArray
from pydantic import ValidationError

from editors.task import (
    ANY_FAMILY,
    DIFFUSION,
    FAMILIES,
    FAMILY_PRESETS,
    FLOW,
    SAMPLING_PRESETS,
    Cancelled,
    EditorError,
    EditTask,
    FairPlay,
    Image,
    Knob,
    MissingInput,
    NotFinite,
    Params,
    SamplingParams,
)

if TYPE_CHECKING:
    from editors.toolbox.diffusion import DiffusionModel
    from editors.toolbox.hub import Repository

__all__ = [
    "ANY_FAMILY",
    "DIFFUSION",
    "FAMILY_PRESETS",
    "FLOW",
    "SAMPLING_PRESETS",
    "BatchEditor",
    "Cancelled",
    "EditTask",
    "Editor",
    "EditorError",
    "FairPlay",
    "Image",
    "Knob",
    "MissingInput",
    "NotFinite",
    "Params",
    "SamplingParams",
    "State",
]

State = TypeVar("State")
"""What ``prepare`` hands to ``render``; each editor has its own type."""


_Params: TypeAlias = Params


def _within_bounds(render: Callable[..., Any]) -> Callable[..., Any]:
    """``render`` or ``render_many`` that looks at its values first."""

    @wraps(render)
    def checked(self: Editor[Any], state: Any, values: Sequence[float]) -> Any:
        self.check_values(values)
        return render(self, state, values)

    return checked


class Editor(ABC, Generic[State]):
    """A method that turns (image, target text) into edited images, in two phases.

    ``prepare`` does all that does not depend on the knob; ``render`` makes one picture per knob value from its state.

    *What must be set*: ``name``, ``version``, ``knob`` and, where there are any, ``Params`` (with ``params: TheClass`` beside it
    for the type checker) and ``presets``. ``prepare`` and ``render`` must be written. All else has a default that says "nothing
    special".

    *Who calls what, and when*. A worker process makes one editor per entry of a run and calls, for each sample, ``prepare``, then
    ``render`` with all values of the grid, then ``pictures`` and ``facts``; where ``batches`` is set, ``prepare_many`` and
    ``render_many`` in their place. Checks and notebooks render one state several times, with other values, in any order, and hold
    several states at once: ``render`` leaves its state as it was, but for what ``facts`` tells of. A state is rendered by the editor
    that prepared it, in the process that did; it need not be picklable. An editor is never in two threads at once.
    ``resolve``, ``repositories``, ``assets`` and ``knob_of`` are called on the class, when a run is planned, in a process that loads no model.

    *What a result depends on*: the model, the parameters, the task and the values, and nothing else, not on what was edited
    before or what is in the batch beside it. Noise comes from generators seeded by ``task.seed`` (``DiffusionModel.noise``,
    ``derive_seed``). Never written to: the arrays of a task, the model's weights (fit a copy: ``DiffusionModel.variant``), the
    global generators of torch, numpy and random, and anything that outlives a sample and may change the next one.

    *What is counted*: every sample that goes through the U-Net, with guidance two. ``DiffusionModel.predict`` and
    ``unet_output`` count; who calls a U-Net by another way has to add to the count or goes under a false cost.

    *Cancelling*: ``DiffusionModel.cancelled`` is asked between two steps, which ``stop_if_cancelled``, ``guard``, ``predict`` and the
    walks of the tool box do. An editor with a loop of its own asks at least once in every step that takes seconds.

    *Failure*: raise one of the ``EditorError`` family, a line that says what to do. It becomes the unit's record, in place of pictures;
    the run goes on with the next unit. Any other exception becomes a record too, with its traceback, since it is a bug. A batch
    that fails is made again one by one, so that a bad sample fails alone. No picture is ever made up for one that failed.
    """

    name: ClassVar[str]
    """Registered name."""
    version: ClassVar[str]
    """Changes whenever a result may change."""
    knob: ClassVar[Knob | None]
    """None for an anchor, which has one result."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """Optional fields of the task it cannot work without, of ``source_text``, ``mask``, ``instruction``, ``truth``, ``real``."""
    needs_model: ClassVar[bool] = True
    """Works on the run's diffusion model; where False, ``model`` may be None."""
    channels: ClassVar[frozenset[int]] = frozenset({0})
    """Numbers of U-Net input channels beside the latent that it knows how to fill (5: inpainting, 4: InstructPix2Pix)."""
    families: ClassVar[frozenset[str]] = frozenset({"sd"})
    """Families of models that it works on (``FAMILIES``): ``ANY_FAMILY`` where it asks the model for nothing that is one family's own,
    ``DIFFUSION`` or ``FLOW`` where it needs the noise of a diffusion model or of a flow.
    """
    checkpoint: ClassVar[str] = ""
    """Weights it needs beside, or instead of, a plain text-to-image model, and where they come from; empty where there are none."""
    tested_on: ClassVar[str] = "toybox"
    """``toybox``, or ``tiny checkpoint`` where only a random one of the same architecture could be had for the tests."""
    anchor: ClassVar[bool] = False
    """A control row rather than an editing method."""
    deterministic: ClassVar[bool] = False
    """The seed has no effect."""
    batches: ClassVar[bool] = False
    """Makes several samples faster together than one by one: then it is given as many as ``batch`` of the spec allows."""
    paced_by: ClassVar[tuple[str, ...]] = ("steps",)
    """Those of its parameters that count steps to each of which a unit's time is proportional, but for what it takes anyway. By them a few
    steps tell the time of a run; names that it does not have mean nothing.
    """
    outside: ClassVar[bool] = False
    """Its edits were made elsewhere: time and memory that a unit takes here say nothing of the method and are not recorded."""
    Params: ClassVar[type[_Params]] = _Params
    """The class of its parameters; every field has a default and a description."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Named parameter values; the name ``""`` always means the defaults of ``Params``."""
    grids: ClassVar[Mapping[str, tuple[float, ...]]] = {}
    """Knob values, ascending, of a curve in those presets that the knob's own grid does not suit."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Every editor's ``render`` and ``render_many`` refuse values out of bounds, by ``check_values``, before they begin."""
        super().__init_subclass__(**arguments)
        for name in ("render", "render_many"):
            if name in vars(cls):
                setattr(cls, name, _within_bounds(vars(cls)[name]))

    def __init__(self, model: DiffusionModel | None, params: _Params) -> None:
        """Bind to a model (None only where ``needs_model`` is False) and to parameters of the editor's own class."""
        if self.needs_model and model is None:
            raise MissingInput(f"{self.name} needs a diffusion model, got none")
        if not isinstance(params, self.Params):
            raise EditorError(f"{self.name}: expected parameters of {self.Params.__name__}, got {type(params).__name__}")
        if model is not None and (why := self.misfit(model.family)):
            raise MissingInput(f"{self.name}: {why}")
        if self.needs_model and model is not None and model.extra_channels not in self.channels:
            takes = " or ".join(str(n) for n in sorted(self.channels))
            raise MissingInput(
                f"{self.name}: the U-Net takes {model.extra_channels} channels beside the latent, expected {takes}; "
                f"use {self.checkpoint or 'a plain text-to-image checkpoint'}"
            )
        self._model = model
        self.params = params

    @classmethod
    def misfit(cls, family: str) -> str:
        """Why the editor cannot work on a model of ``family``, in words; empty where it can."""
        if not cls.needs_model or family in cls.families:
            return ""
        works = " or ".join(FAMILIES[each] for each in FAMILIES if each in cls.families)
        return f"it works on {works}, and the model is of {FAMILIES.get(family, family)}"

    @property
    def model(self) -> DiffusionModel:
        """The diffusion model; raises ``MissingInput`` where there is none."""
        if self._model is None:
            raise MissingInput(f"{self.name} was made without a diffusion model")
        return self._model

    @abstractmethod
    def prepare(self, task: EditTask) -> State:
        """All that is independent of the knob. Raises ``EditorError``, such as ``MissingInput`` by ``check``."""

    @abstractmethod
    def render(self, state: State, values: Sequence[float]) -> Sequence[Image | None]:
        """One picture (H, W, 3) uint8 per knob value, in the order of ``values``, each of the size of the task's image and an array
        of its own. An anchor gets ``(0.0,)``.

        None stands for a picture that does not exist (an outside edit that was not delivered); it is recorded as missing. It is no
        way to fail: raise ``EditorError`` for that.
        """

    def prepare_many(self, tasks: Sequence[EditTask]) -> list[State]:
        """``prepare`` of one task or more, in order; ``BatchEditor`` is for those that can do them in one batch.

        Each state is what ``prepare`` gives for its task alone, up to the rounding that batched kernels bring.
        """
        return [self.prepare(task) for task in tasks]

    def render_many(self, states: Sequence[State], values: Sequence[float]) -> list[Sequence[Image | None]]:
        """``render`` of one state or more at the same values, in order; like ``prepare_many``."""
        return [self.render(state, values) for state in states]

    @classmethod
    def knob_of(cls, params: _Params) -> Knob | None:
        """The knob under these parameters, of ``Params``; ``knob`` itself unless they change its name, bounds, grid or promise."""
        return cls.knob

    @classmethod
    def assets(cls, params: _Params) -> Mapping[str, str]:
        """sha256 of every file beside the model that determines the result (a ranking network, outside edits), by role.

        They are part of a unit's identity. Raises ``EditorError`` where one is missing.
        """
        return {}

    @classmethod
    def repositories(cls, params: _Params) -> Mapping[str, Repository]:
        """What it reads of the hub beside the model, each at its commit, by the parameter that names it as ``owner/name``.

        A run puts ``owner/name@commit`` in their place when it is planned, so that no branch moves under it. Raises ``EditorError``.
        """
        return {}

    def fair_play(self) -> FairPlay:
        """What the editor is given, with its present parameters."""
        return FairPlay()

    def pictures(self, state: State) -> dict[str, NDArray[Any]]:
        """Intermediates worth showing by name: bool (H, W) masks, float maps."""
        return {}

    def facts(self, state: State) -> dict[str, str | float | bool]:
        """Choices made for this task that a reader of the result should know."""
        return {}

    def check(self, task: EditTask) -> None:
        """Raise ``MissingInput`` where the task lacks something in ``needs``."""
        for field in sorted(self.needs):
            if getattr(task, field) is None:
                raise MissingInput(
                    f"{self.name} needs {field}, the task has none: add it to the manifest or leave {self.name} out"
                )

    def check_values(self, values: Sequence[float]) -> None:
        """Raise ``EditorError`` where a knob value is out of bounds; asked before every ``render``."""
        if self.knob is not None:
            for value in values:
                if not self.knob.low <= value <= self.knob.high:
                    bounds = f"{self.knob.low:g}..{self.knob.high:g}"
                    raise EditorError(f"{self.name}: {self.knob.name} must be in {bounds}, got {value!r}")

    @classmethod
    def resolve(cls, preset: str = "", overrides: Mapping[str, Any] | None = None) -> _Params:
        """Parameters of a preset with single values replaced; ``EditorError`` with a suggestion on an unknown name."""
        if preset and preset not in cls.presets:
            raise EditorError(f"{cls.name}: unknown preset {preset!r}{_instead(preset, cls.presets)}")
        overrides = overrides or {}
        for key in overrides:
            if key not in cls.Params.model_fields:
                raise EditorError(f"{cls.name}: unknown parameter {key!r}{_instead(key, cls.Params.model_fields)}")
        try:
            return cls.Params(**{**cls.presets.get(preset, {}), **overrides})
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "parameters"
            raise EditorError(f"{cls.name}: {where}: {first['msg']}, got {reprlib.repr(first.get('input'))}") from None


class BatchEditor(Editor[State]):
    """An editor that is written for several samples at once; one sample is the case of a list of one.

    Samples may differ in size: what goes into one batch must be grouped by it (``editors.toolbox.sweep.in_groups``).
    """

    batches = True

    @abstractmethod
    def prepare_many(self, tasks: Sequence[EditTask]) -> list[State]: ...

    @abstractmethod
    def render_many(self, states: Sequence[State], values: Sequence[float]) -> list[Sequence[Image | None]]: ...

    def prepare(self, task: EditTask) -> State:
        return self.prepare_many([task])[0]

    def render(self, state: State, values: Sequence[float]) -> Sequence[Image | None]:
        return self.render_many([state], values)[0]


def _instead(word: str, known: Mapping[str, Any]) -> str:
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; it has {', '.join(sorted(known)) or 'none'}"
