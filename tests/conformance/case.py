"""One editor under test: how to make it, what to give it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bench import registry
from bench.manifest import Sample, open_manifest
from bench.spec import load_spec
from bench.toybox import embedded
from editors import DiffusionModel, Editor, EditTask, Image, Knob

SAMPLES = 4
Folder = Path | Callable[[], Path]
Given = Mapping[str, Any] | Callable[[], Mapping[str, Any]]
"""Parameters by name, or what makes them when a check first needs them, such as one that writes a checkpoint."""


@cache
def _samples() -> tuple[Sample, ...]:
    manifest = open_manifest(load_spec("ci").manifest, 64)
    step = len(manifest) // SAMPLES
    return tuple(manifest.load(index * step) for index in range(SAMPLES))


@lru_cache(maxsize=2)
def _model(folder: Path) -> DiffusionModel:
    """Read once and never edited with: `Case.open_model` copies it, which takes half the time of reading it again."""
    return DiffusionModel.load(folder)


@dataclass(frozen=True, eq=False)
class Case:
    """An editor with its parameters, its model folder and knob values; makes fresh editors and tasks on demand.

    Two cases are never equal, so that what is kept for one (`alone`) is never taken for another's.
    """

    target: str
    """Registered name, ``module:Class`` or ``path/to/file.py:Class``."""
    preset: str = ""
    params: Given = field(default_factory=dict)
    """Parameters that make one edit quick."""
    knob_params: Given = field(default_factory=dict)
    """Parameters, beside the preset, for the check of the knob."""
    model: Folder | None = None
    """A diffusers folder, or what makes one; the ToyBox generator where it is None."""
    values: Sequence[float] | None = None
    """Three or more knob values, ascending; lowest, middle and highest of the editor's grid where it is None."""

    @property
    def editor_class(self) -> type[Editor[Any]]:
        """The class under test."""
        return registry.load_editor(self.target)

    @property
    def folder(self) -> Path:
        """The checkpoint."""
        made = self.model() if callable(self.model) else self.model
        return made or embedded.generator()

    def knob(self, *, slow: bool = False) -> Knob | None:
        """The editor's knob, which may depend on its parameters; None for an anchor. ``slow`` as in ``make``."""
        return self.editor_class.knob_of(self.resolved(self.knob_params if slow else self.params))

    @property
    def grid(self) -> tuple[float, ...]:
        """Knob values to render; ``(0.0,)`` for an anchor."""
        knob = self.knob()
        if self.values is not None:
            return tuple(self.values)
        if knob is None:
            return (0.0,)
        return (knob.low if knob.zero else knob.grid[0], knob.grid[len(knob.grid) // 2], knob.grid[-1])

    def open_model(self) -> DiffusionModel | None:
        """A model of its own; None where the editor needs none."""
        return copy.deepcopy(_model(self.folder)) if self.editor_class.needs_model else None

    @property
    def quick(self) -> dict[str, Any]:
        """``params``, made if they have to be."""
        return dict(self.params() if callable(self.params) else self.params)

    def resolved(self, overrides: Given) -> Any:
        """Parameters of the preset with ``overrides``; an empty ``clip`` becomes ToyBox's ranking network, as in a run."""
        cls = self.editor_class
        given = dict(overrides() if callable(overrides) else overrides)
        return embedded.with_ranker(cls, cls.resolve(self.preset, given))

    def make(self, model: DiffusionModel | None = None, *, slow: bool = False) -> Editor[Any]:
        """An editor on ``model``, or on a model of its own; ``slow`` for the parameters of the check of the knob."""
        cls = self.editor_class
        if cls.needs_model and model is None:
            model = self.open_model()
        return cls(model, self.resolved(self.knob_params if slow else self.params))

    def task(self, number: int = 0, *, seed: int = 1, crop: int = 0) -> EditTask:
        """Sample ``number`` with everything an editor may need; ``crop`` takes that many pixels off its height."""
        samples = _samples()
        sample, other = samples[number % SAMPLES], samples[(number + 1) % SAMPLES]
        rows = slice(0, sample.image.shape[0] - crop)
        return EditTask(
            image=sample.image[rows].copy(),
            target_text=sample.target_text,
            source_text=sample.source_text,
            mask=None if sample.mask is None else sample.mask[rows].copy(),
            seed=seed,
            truth=None if sample.truth is None else sample.truth[rows].copy(),
            real=other.image[rows].copy(),
            instruction=sample.target_text,
            sample_id=sample.id,
        )

    def sample_ids(self, count: int) -> list[str]:
        """Manifest ids of the first ``count`` samples."""
        return [sample.id for sample in _samples()[:count]]


def edit(editor: Editor[Any], task: EditTask, values: Sequence[float]) -> list[Image]:
    """Both phases."""
    pictures = editor.render(editor.prepare(task), values)
    assert all(picture is not None for picture in pictures), "a picture is missing"
    return [picture for picture in pictures if picture is not None]


def same(one: Sequence[Image | None], other: Sequence[Image | None]) -> bool:
    """Whether two lists of pictures are there in full and equal to the bit."""
    pairs = list(zip(one, other, strict=False))
    return len(one) == len(other) and all(a is not None and b is not None and np.array_equal(a, b) for a, b in pairs)


def levels_apart(one: Sequence[Image | None], other: Sequence[Image | None]) -> int:
    """Largest difference of a channel between two lists of pictures, in levels of 255."""
    most = 0
    for a, b in zip(one, other, strict=True):
        assert a is not None, "a picture is missing"
        assert b is not None, "a picture is missing"
        most = max(most, int(np.abs(a.astype(int) - b.astype(int)).max()))
    return most
