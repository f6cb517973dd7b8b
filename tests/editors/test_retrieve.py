from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from editors import EditTask, Image, MissingInput
from editors.anchors import Retrieve
from editors.toolbox.grid import to_grid


def ramp(height: int, width: int) -> Image:
    """Brightness grows from left to right."""
    return np.broadcast_to(np.linspace(0, 255, width).astype(np.uint8)[None, :, None], (height, width, 3)).copy()


def test_the_real_picture_is_the_answer_whatever_the_source(task: EditTask) -> None:
    editor = Retrieve(None, Retrieve.resolve())
    real = ramp(64, 64)
    state = editor.prepare(replace(task, real=real))
    (edit,) = editor.render(state, (0.0,))
    np.testing.assert_array_equal(edit, real)
    edit[:] = 0
    assert real.max() == 255, "the task's picture is not handed out"
    assert editor.facts(state) == {"transform": "none"}


def test_another_size_is_cropped_about_its_middle(task: EditTask) -> None:
    editor = Retrieve(None, Retrieve.resolve())
    state = editor.prepare(replace(task, real=ramp(128, 256)))
    (edit,) = editor.render(state, (0.0,))
    assert edit.shape == task.image.shape
    # the middle half of the ramp: a quarter and three quarters of 255, within a step of the smaller picture
    assert abs(int(edit[0, 0, 0]) - 64) <= 3
    assert abs(int(edit[0, -1, 0]) - 191) <= 3
    assert editor.facts(state) == {"transform": "center-crop 256x128 to 64x64, lanczos"}


def test_without_a_real_picture_it_cannot_answer(task: EditTask) -> None:
    with pytest.raises(MissingInput, match="retrieve needs real"):
        Retrieve(None, Retrieve.resolve()).prepare(task)


def test_an_equal_aspect_ratio_is_only_resized() -> None:
    picture, said = to_grid(ramp(96, 48), 64, 32)
    assert (picture.shape, said) == ((64, 32, 3), "resize 48x96 to 32x64, lanczos")
