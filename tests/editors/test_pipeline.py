from __future__ import annotations

import gc
import shutil
import weakref
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import fake_hub
import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline
from PIL import Image as Pillow

from bench.toybox.embedded import TOYBOX
from editors import EditorError, EditTask, Image, MissingInput, NotFinite
from editors.pipeline import Pipeline, PipelineParams
from editors.toolbox import pipelines
from editors.toolbox.checkpoint import CheckpointError
from editors.toolbox.diffusion import seeded

GENERATOR = str(TOYBOX / "generator")


def make(checkpoint: Path | str, **params: Any) -> Pipeline:
    given = {"checkpoint": str(checkpoint), "pipeline": "StableDiffusionImg2ImgPipeline", "device": "cpu"}
    return Pipeline(None, Pipeline.resolve("", {**given, "call": {"num_inference_steps": 5}, **params}))


def by_hand(pipeline: Any, task: EditTask, **given: Any) -> Image:
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline(
        prompt=task.target_text, image=Pillow.fromarray(task.image), generator=seeded(task.seed), output_type="np", **given
    ).images
    return (images[0] * 255).round().astype(np.uint8)


def test_on_the_embedded_model_it_is_the_pipeline_called_by_hand(task: EditTask) -> None:
    editor = make(GENERATOR, call={"num_inference_steps": 5, "guidance_scale": 3.0})
    state = editor.prepare(task)
    pictures = editor.render(state, (0.4, 1.0))
    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(GENERATOR, dtype=torch.float32)
    for value, picture in zip((0.4, 1.0), pictures, strict=True):
        expected = by_hand(pipeline, task, num_inference_steps=5, guidance_scale=3.0, strength=value)
        assert np.array_equal(picture, expected)
    facts = editor.facts(state)
    assert facts["network_evaluations"] == 2 * (2 + 5)
    assert facts["pipeline"] == "StableDiffusionImg2ImgPipeline"
    assert (facts["knob"], facts["text"], facts["transform"]) == ("strength", "target_text", "none")


def test_seeds_matter_and_nothing_else_does(tiny_folder: Path, task: EditTask, other: EditTask) -> None:
    state = torch.get_rng_state()
    editor = make(tiny_folder)
    first = editor.render(editor.prepare(task), (0.6, 1.0))
    editor.render(editor.prepare(other), (0.8,))
    torch.rand(1)
    alone = make(tiny_folder)
    again = alone.render(alone.prepare(task), (1.0, 0.6))
    assert np.array_equal(first[0], again[1])
    assert np.array_equal(first[1], again[0])
    seeded_otherwise = replace(task, seed=task.seed ^ 2**40)
    assert not np.array_equal(first[1], editor.render(editor.prepare(seeded_otherwise), (1.0,))[0])
    torch.set_rng_state(state)


def test_a_pipeline_is_loaded_once_for_all_its_editors(
    tiny_folder: Path, task: EditTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Path] = []
    load = StableDiffusionImg2ImgPipeline.from_pretrained

    def count(folder: Path, **given: Any) -> Any:
        loaded.append(folder)
        return load(folder, **given)

    monkeypatch.setattr(StableDiffusionImg2ImgPipeline, "from_pretrained", count)
    folder = shutil.copytree(tiny_folder, tmp_path / "never loaded before")
    for editor in (make(folder), make(folder, call={"num_inference_steps": 3})):
        editor.render(editor.prepare(task), (1.0,))
    assert loaded == [folder]


def test_the_mask_and_the_instruction_go_where_they_are_sent(tiny_folder: Path, masked: EditTask) -> None:
    assert masked.mask is not None
    told = replace(masked, instruction="a red ball")
    params = {"pipeline": "StableDiffusionInpaintPipeline", "mask_argument": "mask_image", "text": "instruction"}
    size = {"num_inference_steps": 5, "height": 64, "width": 64}
    editor = make(tiny_folder, **params, call=size)
    state = editor.prepare(told)
    (picture,) = editor.render(state, (0.6,))
    pipeline = StableDiffusionInpaintPipeline.from_pretrained(tiny_folder)
    by_instruction = replace(masked, target_text="a red ball")
    expected = by_hand(pipeline, by_instruction, mask_image=Pillow.fromarray(masked.mask), strength=0.6, **size)
    assert np.array_equal(picture, expected)
    assert editor.fair_play().uses_mask
    assert not make(tiny_folder).fair_play().uses_mask
    assert editor.facts(state)["text"] == "instruction"
    with pytest.raises(MissingInput, match=r"mask_image wants a mask"):
        editor.prepare(replace(told, mask=None))


def test_a_knob_of_another_name_and_direction(instruct_folder: Path, task: EditTask) -> None:
    params = {"pipeline": "StableDiffusionInstructPix2PixPipeline", "knob": "image_guidance_scale", "knob_as": "inverse"}
    editor = make(instruct_folder, **params)
    state = editor.prepare(task)
    (picture,) = editor.render(state, (0.5,))
    pipeline = diffusers.StableDiffusionInstructPix2PixPipeline.from_pretrained(instruct_folder)
    assert np.array_equal(picture, by_hand(pipeline, task, num_inference_steps=5, image_guidance_scale=2.0))
    assert editor.facts(state)["knob"] == "1 / image_guidance_scale"
    assert editor.facts(state)["network_evaluations"] == 3 * 5
    with pytest.raises(EditorError, match=r"must be above 0"):
        editor.render(state, (0.0,))


def test_the_knob_is_named_and_gridded_after_the_argument(tiny_folder: Path, instruct_folder: Path) -> None:
    def knob(folder: Path, **params: Any) -> tuple[str, tuple[float, ...]]:
        found = Pipeline.knob_of(make(folder, **params).params)
        assert found is not None
        assert all(found.low <= value <= found.high for value in found.grid)
        assert list(found.grid) == sorted(found.grid)
        return found.name, found.grid

    assert knob(tiny_folder) == ("strength", (0.2, 0.4, 0.6, 0.8, 1.0))
    assert knob(tiny_folder, knob="guidance_scale") == ("guidance_scale", (3.75, 5.625, 7.5, 11.25, 15.0))
    params = {"pipeline": "StableDiffusionInstructPix2PixPipeline", "knob": "image_guidance_scale", "knob_as": "inverse"}
    name, grid = knob(instruct_folder, **params)
    assert name == "1/image_guidance_scale"
    assert grid[2] == pytest.approx(1 / 1.5)


def test_whole_numbers_stay_whole(tiny_folder: Path, task: EditTask) -> None:
    editor = make(tiny_folder, knob="num_inference_steps", call={"strength": 1.0})
    state = editor.prepare(task)
    editor.render(state, (3.0,))
    assert editor.facts(state)["network_evaluations"] == 2 * 3


class Stub(torch.nn.Module):
    """Stands in for a pipeline: returns what it is told to, whatever it is called with."""

    def __init__(self, output: np.ndarray[Any, Any], **more: Any) -> None:
        super().__init__()
        self.output, self.more, self.device = output, more, torch.device("cpu")
        self.transformer = torch.nn.Identity()

    def __call__(self, *, prompt: str, image: Pillow.Image, strength: float = 1.0, **_: Any) -> Any:
        self.transformer(torch.zeros(2, 3))
        return SimpleNamespace(images=self.output[None], **self.more)


def stubbed(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, stub: Stub, **params: Any) -> Pipeline:
    monkeypatch.setattr(pipelines, "_load", lambda wanted: stub)
    editor = make(tiny_folder, call={}, **params)
    editor._hosted = pipelines.Hosted(pipelines.Wanted(tiny_folder, "stub", "float32", "cpu"))
    return editor


@pytest.mark.parametrize(
    ("fit", "expected"), [("center-crop", "center-crop 96x128 to 64x64, lanczos"), ("squash", "squash 96x128 to 64x64, lanczos")]
)
def test_an_output_of_another_size_comes_back_to_the_grid(
    tiny_folder: Path, task: EditTask, monkeypatch: pytest.MonkeyPatch, fit: str, expected: str
) -> None:
    tall = np.zeros((128, 96, 3), np.float32)
    tall[16:112] = 1.0
    editor = stubbed(tiny_folder, monkeypatch, Stub(tall), fit=fit)
    state = editor.prepare(task)
    (picture,) = editor.render(state, (1.0,))
    assert picture.shape == task.image.shape
    assert picture.dtype == np.uint8
    assert (picture.min() == 255) == (fit == "center-crop")
    assert editor.facts(state)["transform"] == expected
    assert editor.facts(state)["network_evaluations"] == 2


def test_nan_and_a_filtered_picture_are_failures(tiny_folder: Path, task: EditTask, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = stubbed(tiny_folder, monkeypatch, Stub(np.full((64, 64, 3), np.nan)))
    with pytest.raises(NotFinite):
        broken.render(broken.prepare(task), (1.0,))
    filtered = stubbed(tiny_folder, monkeypatch, Stub(np.zeros((64, 64, 3)), nsfw_content_detected=[True]))
    with pytest.raises(EditorError, match=r"safety filter"):
        filtered.render(filtered.prepare(task), (1.0,))


def test_what_the_pipeline_refuses_is_one_line(tiny_folder: Path, task: EditTask) -> None:
    editor = make(tiny_folder)
    with pytest.raises(EditorError, match=r"StableDiffusionImg2ImgPipeline with strength = 1.5 refuses: ") as caught:
        editor.render(editor.prepare(task), (1.5,))
    assert "\n" not in str(caught.value)
    with pytest.raises(EditorError, match=r"value must be in 0\.\.1000"):
        editor.render(editor.prepare(task), (-1.0,))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"pipeline": "StableDiffusionImg2ImgPipelin"}, "no pipeline class .*did you mean 'StableDiffusionImg2ImgPipeline'"),
        ({"pipeline": "AutoencoderKL"}, "no pipeline class 'AutoencoderKL'"),
        ({"knob": "strenght"}, "knob: .*no argument 'strenght'; did you mean 'strength'"),
        ({"call": {"guidance_scal": 3}}, "call: .*did you mean 'guidance_scale'"),
        ({"mask_argument": "mask_image"}, "mask_argument: .*no argument 'mask_image'"),
        ({"call": {"strength": 0.5}}, "call: strength is set by knob; give it once"),
        ({"pipeline": ""}, "StableDiffusionPipeline takes no argument"),
    ],
)
def test_wrong_names_are_found_before_anything_is_loaded(
    tiny_folder: Path, params: Mapping[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(pipelines, "_load")
    with pytest.raises(EditorError, match=message):
        Pipeline.assets(make(tiny_folder, **params).params)


def test_wrong_checkpoints_and_parameters_are_said(tiny_folder: Path, task: EditTask, tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"give checkpoint: any image-and-text pipeline.*FLUX\.1-Kontext"):
        Pipeline.assets(PipelineParams())
    with pytest.raises(CheckpointError, match=r"no model_index\.json"):
        Pipeline.assets(make(tmp_path).params)
    with pytest.raises(EditorError, match=r"call: .*generator is set by the editor"):
        make(tiny_folder, call={"generator": 1})
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "copy"))
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"cannot be loaded as StableDiffusionImg2ImgPipeline") as caught:
        make(folder).prepare(task)
    assert "\n" not in str(caught.value)


def test_the_digest_covers_every_weight(tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "copy"))
    digest = Pipeline.assets(make(tiny_folder).params)
    assert Pipeline.assets(make(f"/nowhere, {folder}").params) == digest
    (folder / "README.md").write_text("no weight")
    assert Pipeline.assets(make(folder).params) == digest
    (folder / "transformer").mkdir()
    (folder / "transformer" / "model.safetensors").write_bytes(b"more")
    assert Pipeline.assets(make(folder).params) != digest


@pytest.mark.parametrize("preset", list(Pipeline.presets))
def test_presets_name_a_pipeline_and_arguments_that_exist(preset: str, tiny_folder: Path) -> None:
    params = Pipeline.resolve(preset, {"checkpoint": str(tiny_folder)})
    assert len(Pipeline.assets(params)["checkpoint"]) == 64
    knob = Pipeline.knob_of(params)
    assert knob is not None
    assert knob.grid[2] == (3.5 if preset == "flux_kontext" else 4.0)


@pytest.mark.slow
def test_eight_edits_ask_the_hub_no_more_than_one_load(
    tiny_folder: Path, task: EditTask, other: EditTask, tmp_path: Path
) -> None:
    def asked(name: str, tasks: list[EditTask], values: tuple[float, ...]) -> int:
        hub.add(name, tiny_folder)
        before = len(hub.requests)
        editor = make(name)
        for each in tasks:
            state = editor.prepare(each)
            editor.render(state, values)
            assert str(editor.facts(state)["checkpoint"]).startswith(f"{name}@")
        return len(hub.requests) - before

    with fake_hub.on_loopback(tmp_path) as hub:
        one = asked("some/moving-one", [task], (1.0,))
        eight = asked("some/moving-two", [task, other], (0.2, 0.4, 0.6, 1.0))
        commits = [folder.name for folder in (hub.cache / "hub").glob("*/snapshots/*")]
    assert one == eight > 0
    assert len(commits) == 2, "one snapshot of each, though the branch moves at each look"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("some/gated-model", r"it is gated \(401\): accept its terms at \S+ and log in"),
        ("some/missing-model", "there is no model repository of that name"),
        ("some/dropped-model", r"the connection to http://127\S+ fails"),
        ("some/down-model", "answers 503"),
    ],
)
def test_a_pipeline_that_the_hub_does_not_give_is_one_line(tiny_folder: Path, tmp_path: Path, name: str, message: str) -> None:
    with fake_hub.on_loopback(tmp_path) as hub:
        if "missing" not in name:
            hub.add(name, tiny_folder)
        with pytest.raises(CheckpointError, match=message) as caught:
            Pipeline.assets(make(name).params)
    assert str(caught.value).startswith(f"pipeline: {name}: ")
    assert "\n" not in str(caught.value)


def test_what_is_here_whole_needs_no_hub_and_a_part_is_not_taken_for_it(tiny_folder: Path, tmp_path: Path) -> None:
    with fake_hub.on_loopback(tmp_path) as hub:
        hub.add("some/model", tiny_folder)
        hub.add("some/dropped-model", tiny_folder)
        digest = Pipeline.assets(make("some/model").params)
        (place,) = Pipeline.repositories(make("some/model").params).values()
        asked = len(hub.requests)
        assert Pipeline.assets(make(str(place)).params) == digest
        assert len(hub.requests) == asked
        hub.down = True
        assert Pipeline.assets(make("some/model").params) == digest
        hub.down = False
        (dropped,) = Pipeline.repositories(make("some/dropped-model").params).values()
        with pytest.raises(CheckpointError, match="the connection to"):
            Pipeline.assets(make(str(dropped)).params)
        hub.down = True
        with pytest.raises(CheckpointError, match="some/dropped-model: not a local folder"):
            Pipeline.assets(make(str(dropped)).params)


class Takes(Stub):
    """Notes what it is called with."""

    def __call__(self, *, prompt: str, image: Any, strength: float = 1.0, source_prompt: str = "", **_: Any) -> Any:
        self.taken = {"prompt": prompt, "image": image, "source_prompt": source_prompt}
        return SimpleNamespace(images=self.output[None])


def test_pictures_in_a_list_and_the_source_text_are_passed(
    tiny_folder: Path, masked: EditTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StableDiffusionImg2ImgPipeline, "__call__", Takes.__call__)
    stub = Takes(np.zeros((64, 64, 3)))
    editor = stubbed(tiny_folder, monkeypatch, stub, image_as="list", source_argument="source_prompt")
    editor.render(editor.prepare(masked), (1.0,))
    (picture,) = stub.taken["image"]
    assert np.array_equal(np.asarray(picture), masked.image)
    assert stub.taken["source_prompt"] == masked.source_text
    with pytest.raises(MissingInput, match="source_prompt wants a source text, the task has none: add source_text"):
        editor.prepare(replace(masked, source_text=None))
    monkeypatch.undo()
    with pytest.raises(EditorError, match=r"source_argument: .*takes no argument 'source_prompt'"):
        Pipeline.assets(make(tiny_folder, source_argument="source_prompt").params)


@pytest.mark.slow
def test_a_pipeline_is_let_go_with_its_last_editor(tiny_folder: Path, task: EditTask, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "own"))
    editor, same = make(folder), make(folder)
    editor.prepare(task)
    same.prepare(task)
    assert editor._hosted is same._hosted
    gone = weakref.ref(editor._hosted.pipeline.unet)
    del editor
    gc.collect()
    assert gone() is not None
    del same
    gc.collect()
    assert gone() is None


@pytest.mark.slow
def test_where_memory_is_full_the_other_pipelines_make_room(tiny_folder: Path, task: EditTask, tmp_path: Path) -> None:
    first, second = make(tiny_folder), make(shutil.copytree(tiny_folder, tmp_path / "second"))
    expected = first.render(first.prepare(task), (1.0,))[0]
    second.prepare(task)
    held = weakref.ref(first._hosted.pipeline.unet)
    forward, full = second._hosted.pipeline.unet.forward, [True]

    def crowded(*given: Any, **named: Any) -> Any:
        if full.pop() if full else False:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(*given, **named)

    second._hosted.pipeline.unet.forward = crowded
    state = second.prepare(task)
    picture = second.render(state, (1.0,))[0]
    assert np.array_equal(picture, expected), "tried again from the same noise"
    assert second.facts(state)["network_evaluations"] == 2 * 5
    assert held() is None
    assert np.array_equal(first.render(first.prepare(task), (1.0,))[0], expected), "and back when it is called"
    full[:] = [True, True]
    first._hosted.unload()
    with pytest.raises(torch.OutOfMemoryError):
        second.render(second.prepare(task), (1.0,))


@pytest.mark.parametrize(("offload", "used"), [("none", "to"), ("model", "enable_model"), ("sequential", "enable_sequential")])
def test_offload_is_that_of_diffusers(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, offload: str, used: str) -> None:
    called: list[tuple[str, Any]] = []

    def note(name: str) -> Any:
        return lambda pipeline, device: called.append((name, device)) or pipeline

    monkeypatch.setattr(StableDiffusionImg2ImgPipeline, "to", note("to"))
    for each in ("enable_model", "enable_sequential"):
        monkeypatch.setattr(StableDiffusionImg2ImgPipeline, f"{each}_cpu_offload", note(each))
    for device in ("cuda:1", "cpu"):
        params = make(tiny_folder, offload=offload, device=device).params
        pipelines._load(pipelines.Wanted(tiny_folder, params.pipeline, params.dtype, params.device, offload=params.offload))
    assert called == [(used, "cuda:1"), ("to", "cpu")]
