from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import ValidationError

from editors import BatchEditor, Editor, EditorError, EditTask, Knob, MissingInput, SamplingParams
from editors.anchors import Copy, Oracle, Regenerate, VAERoundTrip
from editors.blended_latent import BlendedLatent
from editors.diffedit import DiffEdit
from editors.diffedit_no_encode import DiffEditNoEncode
from editors.encode_decode import EncodeDecode
from editors.imagic import Imagic
from editors.sdedit import SDEdit

ALL: list[type[Editor]] = [
    BlendedLatent,
    Copy,
    DiffEdit,
    DiffEditNoEncode,
    EncodeDecode,
    Imagic,
    Oracle,
    Regenerate,
    SDEdit,
    VAERoundTrip,
]


@pytest.mark.parametrize("editor", ALL, ids=lambda e: e.name)
def test_declarations_are_complete_and_consistent(editor: type[Editor]) -> None:
    assert (editor.knob is None) == editor.anchor
    if editor.knob is not None:
        grid = editor.knob.grid
        assert list(grid) == sorted(set(grid))
        assert editor.knob.low <= grid[0]
        assert grid[-1] <= editor.knob.high
        assert {"paper", "fast", "toybox"} <= set(editor.presets)
    for preset in ("", *editor.presets):
        assert isinstance(editor.resolve(preset), editor.Params)
    assert all(field.description for field in editor.Params.model_fields.values())


class Counts(BatchEditor[str]):
    """Says how many it was given."""

    name, version, knob, needs_model = "counts", "1", Knob("amount", 0.0, 1.0, (0.0, 1.0), ""), False

    def prepare_many(self, tasks: Sequence[EditTask]) -> list[str]:
        return [f"{task.target_text} of {len(tasks)}" for task in tasks]

    def render_many(self, states: Sequence[str], values: Sequence[float]) -> list[Sequence[Any]]:
        return [[f"{state}, {len(states)} at {value:g}" for value in values] for state in states]


def test_an_editor_written_for_several_takes_one_as_a_list_of_one(task: EditTask) -> None:
    editor = Counts(None, Counts.resolve())
    text = task.target_text
    assert editor.prepare(task) == f"{text} of 1"
    assert editor.render(f"{text} of 1", (0.0, 1.0)) == [f"{text} of 1, 1 at 0", f"{text} of 1, 1 at 1"]
    assert (Counts.batches, Copy.batches) == (True, False)


def test_an_editor_written_for_several_must_say_how() -> None:
    class Lacks(BatchEditor[str]):
        name, version, knob, needs_model = "lacks", "1", None, False

    with pytest.raises(TypeError, match="prepare_many"):
        Lacks(None, Lacks.resolve())  # type: ignore[abstract]


def test_the_knob_is_the_classs_own_unless_parameters_change_it() -> None:
    assert SDEdit.knob_of(SDEdit.resolve()) is SDEdit.knob
    assert Copy.knob_of(Copy.resolve()) is None
    tuned, plain = (BlendedLatent.resolve("", {"background_reconstruction_steps": steps}) for steps in (1, 0))
    assert [knob.zero for knob in map(BlendedLatent.knob_of, (tuned, plain)) if knob] == ["", "round trip"]


def test_a_share_of_the_schedule_is_a_knob_from_nothing_to_all() -> None:
    assert Knob.share("r", "share", (0.5, 1.0)) == Knob("r", 0.0, 1.0, (0.5, 1.0), "share", zero="round trip")


@pytest.mark.parametrize("editor", ALL, ids=lambda e: e.name)
def test_the_defaults_are_the_papers_values(editor: type[Editor]) -> None:
    if "paper" in editor.presets:
        assert editor.resolve("paper") == editor.resolve("")


def test_overrides_win_over_the_preset_and_the_preset_over_the_defaults() -> None:
    params = Imagic.resolve("toybox", {"draws": 2})
    assert params.model_dump() == {**Imagic.Params().model_dump(), **Imagic.presets["toybox"], "draws": 2}


@pytest.mark.parametrize("editor", ALL, ids=lambda e: e.name)
def test_grids_of_presets_ascend_within_the_knob(editor: type[Editor]) -> None:
    assert editor.grids.keys() <= editor.presets.keys()
    for preset, grid in editor.grids.items():
        knob = editor.knob_of(editor.resolve(preset))
        assert knob is not None
        assert list(grid) == sorted(set(grid))
        assert knob.low <= grid[0] < grid[-1] <= knob.high


def test_wrong_names_and_values_say_what_is_wrong_and_what_there_is() -> None:
    with pytest.raises(EditorError, match=r"diffedit: unknown preset 'papr'; did you mean 'paper'"):
        DiffEdit.resolve("papr")
    with pytest.raises(EditorError, match=r"unknown parameter 'guidence'; did you mean 'guidance'"):
        DiffEdit.resolve("", {"guidence": 3})
    with pytest.raises(EditorError, match=r"steps: .*greater than or equal to 1, got 0"):
        SDEdit.resolve("", {"steps": 0})
    with pytest.raises(EditorError, match=r"dilations: .*odd kernel sides"):
        BlendedLatent.resolve("", {"dilations": [3, 5]})


def test_parameters_are_immutable() -> None:
    with pytest.raises(ValidationError):
        SDEdit.Params().steps = 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan")])
def test_knob_values_out_of_bounds_are_refused(value: float) -> None:
    editor = Bounded(None, Bounded.Params())
    with pytest.raises(EditorError, match=r"strength must be in 0\.\.1, got"):
        editor.check_values([0.5, value])


class Bounded(Copy):
    knob: ClassVar = SDEdit.knob


def test_a_task_with_a_wrong_array_is_refused() -> None:
    image = np.zeros((8, 6, 3), np.uint8)
    with pytest.raises(MissingInput, match=r"image: .*float64"):
        EditTask(image=image.astype(float), target_text="a cat")  # type: ignore[arg-type]
    with pytest.raises(MissingInput, match=r"mask: expected a \(8, 6\) bool"):
        EditTask(image=image, target_text="a cat", mask=np.zeros((6, 8), bool))


def test_what_an_editor_needs_is_checked() -> None:
    task = EditTask(image=np.zeros((8, 8, 3), np.uint8), target_text="a cat")
    oracle = Oracle(None, Oracle.Params())
    with pytest.raises(MissingInput, match="oracle needs truth"):
        oracle.prepare(task)
    truth = np.full((8, 8, 3), 9, np.uint8)
    assert np.array_equal(oracle.render(oracle.prepare(replace(task, truth=truth)), (0.0,))[0], truth)
    with pytest.raises(MissingInput, match="sdedit needs a diffusion model"):
        SDEdit(None, SDEdit.Params())
    with pytest.raises(EditorError, match="expected parameters of ImagicParams, got SamplingParams"):
        Loose(None, SDEdit.Params())


class Loose(Imagic):
    needs_model = False


def test_importing_the_contract_does_not_import_torch() -> None:
    code = "import sys, editors; sys.exit('torch' in sys.modules or 'diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": True}, "steps: expected a number, not a switch, got True"),
        ({"steps": "20"}, "steps: expected a number, not a text, got '20'"),
        ({"guidance": False}, "guidance: expected a number, not a switch, got False"),
        ({"guidance": float("inf")}, "guidance: Input should be a finite number, got inf"),
        ({"sure": 1}, "sure: expected true or false, not a number, got 1"),
        ({"sure": "yes"}, "sure: expected true or false, not a text, got 'yes'"),
        ({"steps": ["x" * 10_000] * 1000}, "steps: Input should be a valid integer, got "),
    ],
)
def test_parameters_are_of_their_kind(given: dict[str, Any], message: str) -> None:
    class Own(SamplingParams):
        sure: bool = False
        either: int | str = 1

    class Sampling(Counts):
        Params = Own

    assert Sampling.resolve("", {"steps": 20, "guidance": 7, "sure": True, "either": "a"}).guidance == 7.0
    with pytest.raises(EditorError) as caught:
        Sampling.resolve("", given)
    assert f": {message}" in str(caught.value)
    assert len(str(caught.value)) < 300
