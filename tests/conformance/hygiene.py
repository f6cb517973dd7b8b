"""What an editor leaves behind: the model and the task as they were, pictures of the right kind, an honest bill."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest

from editors import EditorError
from etabench_conformance.alone import alone
from etabench_conformance.case import Case, edit


def the_model_is_bit_identical_afterwards(case: Case) -> None:
    """Weights, modules, modes, hooks and attention processors of the shared model are those from before."""
    seen = alone(case)
    changed = [what for what in seen.before if seen.before[what] != seen.after[what]]
    assert not changed, f"editing changed the {', '.join(changed)}"


def inputs_are_untouched(case: Case) -> None:
    """No array of the task is written to; they may even be read-only."""
    task = case.task()
    arrays = {name: value for name, value in vars(task).items() if isinstance(value, np.ndarray)}
    before = {name: value.copy() for name, value in arrays.items()}
    for value in arrays.values():
        value.setflags(write=False)
    edit(case.make(), task, case.grid)
    for name, value in arrays.items():
        assert np.array_equal(value, before[name]), f"task.{name} was changed"


def pictures_have_the_size_of_the_source(case: Case) -> None:
    """uint8 RGB of the source's size, one per value, for square sources and for others; no two share memory."""
    square, cropped = alone(case), case.task(crop=16)
    for task, pictures in ((square.task, square.pictures), (cropped, edit(case.make(), cropped, case.grid))):
        assert len(pictures) == len(case.grid)
        for picture in pictures:
            assert picture.dtype == np.uint8, f"got {picture.dtype}"
            assert picture.shape == task.image.shape, f"got {picture.shape} for a source of {task.image.shape}"
            assert picture.flags["C_CONTIGUOUS"], "an edit is a strided view: np.ascontiguousarray"
            assert not np.shares_memory(picture, task.image), "an edit is a view of the source"
        assert not any(np.shares_memory(*two) for two in combinations(pictures, 2)), "two edits share their memory"
        assert any(picture.std() > 0 for picture in pictures), "nothing but blank pictures"


def values_out_of_bounds_are_refused(case: Case) -> None:
    """A knob value outside the declared bounds is an EditorError, not an extrapolation."""
    editor = case.make()
    if editor.knob is None:
        return
    state = editor.prepare(case.task())
    for value in (editor.knob.low - 1, editor.knob.high + 1):
        with pytest.raises(EditorError, match=editor.knob.name):
            editor.render(state, (value,))


def cost_is_counted(case: Case) -> None:
    """The model's counter grows by the samples that really went through a U-Net, copies of it included."""
    seen = alone(case)
    assert seen.counted == seen.unet_samples, f"{seen.unet_samples} samples went through the U-Net, {seen.counted} were counted"


def facts_and_pictures_can_be_recorded(case: Case) -> None:
    """``facts`` are plain values by name, ``pictures`` arrays that make a PNG; ``fair_play`` answers."""
    editor = case.make()
    state = editor.prepare(case.task())
    editor.render(state, case.grid)
    facts = editor.facts(state)
    assert json.dumps(facts), "facts are not JSON"
    for name, picture in editor.pictures(state).items():
        assert picture.ndim in (2, 3), f"{name}: {picture.shape}"
        assert picture.dtype == bool or np.isfinite(picture).all(), f"{name} is not finite"
    assert editor.fair_play().candidates >= 1
