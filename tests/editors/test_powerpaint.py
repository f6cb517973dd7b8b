from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPTokenizer

from editors import DiffusionModel, EditorError, EditTask, MissingInput
from editors.powerpaint import PowerPaint
from editors.toolbox.checkpoint import CheckpointError


@pytest.fixture(scope="module")
def powerpaint(powerpaint_folder: Path) -> DiffusionModel:
    return DiffusionModel.load(powerpaint_folder)


def make(model: DiffusionModel, **params: object) -> PowerPaint:
    return PowerPaint(model, PowerPaint.resolve("", {"steps": 5, "negative_text": "red", **params}))


def embedded(model: DiffusionModel, *texts: str) -> torch.Tensor:
    return model.embed([text.replace("P_obj", "P_obj_0 P_obj_1").replace("P_ctxt", "P_ctxt_0 P_ctxt_1") for text in texts])


def test_the_learned_words_are_tokens_of_their_own(powerpaint: DiffusionModel, masked: EditTask) -> None:
    known = powerpaint.tokenizer.get_added_vocab()
    ids = powerpaint.tokenizer("P_obj_0 P_obj_1 a cat").input_ids
    assert ids[1:3] == [known["P_obj_0"], known["P_obj_1"]]
    target, away = make(powerpaint).texts(masked)
    expected = embedded(powerpaint, f"P_obj {masked.target_text}", "red")
    # embedding two texts or four in one batch rounds differently
    assert torch.allclose(target, expected[:1], atol=1e-5)
    assert torch.allclose(away, expected[1:], atol=1e-5)


def test_a_word_may_be_a_single_token(powerpaint: DiffusionModel, powerpaint_folder: Path, masked: EditTask) -> None:
    model = powerpaint.variant()
    model.backbone.loaded["tokenizer"] = CLIPTokenizer.from_pretrained(powerpaint_folder / "tokenizer")
    rows = model.text_encoder.get_input_embeddings().num_embeddings
    model.tokenizer.add_tokens(["P_obj"])
    assert model.tokenizer.get_added_vocab()["P_obj"] == rows
    with pytest.raises(CheckpointError, match=f"has {rows} words and none for P_obj"):
        make(model).texts(masked)
    make(model, task="shape").texts(masked)


def test_fitting_the_shape_mixes_two_texts_by_degree(powerpaint: DiffusionModel, masked: EditTask) -> None:
    def texts(degree: float) -> torch.Tensor:
        return torch.cat(make(powerpaint, task="shape", fitting_degree=degree).texts(masked))

    fits, context, between = texts(1.0), texts(0.0), texts(0.25)
    assert not torch.allclose(fits, context)
    assert torch.allclose(between, 0.25 * fits + 0.75 * context, atol=1e-5)  # rounding of one sum
    expected = embedded(powerpaint, f"P_ctxt {masked.target_text}", "P_ctxt red")
    assert torch.allclose(context, expected, atol=1e-5)


def test_the_fitting_degree_is_swept_as_a_knob(powerpaint: DiffusionModel, masked: EditTask) -> None:
    editor = make(powerpaint, task="shape", knob="fitting_degree")
    knob = PowerPaint.knob_of(editor.params)
    assert knob is not None
    assert (knob.name, knob.low, knob.high) == ("fitting_degree", 0, 1)
    degrees = (0.0, 0.4, 1.0)
    swept = editor.render(editor.prepare(masked), degrees)
    for degree, picture in zip(degrees, swept, strict=True):
        alone = make(powerpaint, task="shape", fitting_degree=degree)
        (expected,) = alone.render(alone.prepare(masked), (1.0,))
        # rounding of another batch size may move a value across the border of two grey levels
        assert np.abs(picture.astype(int) - expected).max() <= 1
    assert not np.array_equal(swept[0], swept[2])
    assert PowerPaint.knob_of(make(powerpaint, task="shape").params) == PowerPaint.knob
    with pytest.raises(EditorError, match="fitting_degree is a knob of task shape, not of text"):
        make(powerpaint, knob="fitting_degree")


def test_removal_reads_no_text_of_the_task(powerpaint: DiffusionModel, masked: EditTask, other: EditTask) -> None:
    editor = make(powerpaint, task="removal")
    first, second = editor.texts(masked), editor.texts(other)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert PowerPaint.resolve("removal").model_dump()["guidance"] == 10


def test_the_task_changes_the_picture_and_is_a_fact(powerpaint: DiffusionModel, masked: EditTask) -> None:
    pictures = {}
    for task in ("text", "shape", "removal"):
        editor = make(powerpaint, task=task)
        state = editor.prepare(masked)
        pictures[task] = editor.render(state, (1.0,))[0]
        assert editor.facts(state)["task"] == task
    assert not np.array_equal(pictures["text"], pictures["shape"])
    assert not np.array_equal(pictures["text"], pictures["removal"])
    with pytest.raises(EditorError, match="task"):
        make(powerpaint, task="outpainting")


def test_folders_that_lack_words_or_channels_are_refused(
    inpainting_folder: Path, model: DiffusionModel, masked: EditTask, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(inpainting_folder, tmp_path / "plain"))
    with pytest.raises(CheckpointError, match=r"no learned word P_obj; it takes .*JunhaoZhuang/PowerPaint-v1"):
        make(DiffusionModel.load(folder)).prepare(masked)
    with pytest.raises(MissingInput, match=r"expected 5; use .*PowerPaint-v1"):
        make(model)
