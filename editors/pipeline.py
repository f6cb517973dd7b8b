"""Any image-and-text pipeline of diffusers as an editor, by class name and checkpoint."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow
from pydantic import Field, field_validator

from editors.base import Editor, EditorError, EditTask, FairPlay, Image, Knob, MissingInput, NotFinite
from editors.base import Params as AnyParams
from editors.toolbox.checkpoint import CheckpointError, first_folder, origin, tree_digest
from editors.toolbox.diffusion import seeded
from editors.toolbox.grid import Fit, to_grid
from editors.toolbox.mask import mask_of
from editors.toolbox.untrusted import check_tree

__all__ = ["Pipeline", "PipelineParams", "PipelineState"]

OURS = ("generator", "output_type", "return_dict", "num_images_per_prompt")
GRID = (0.5, 0.75, 1.0, 1.5, 2.0)
"""Of the pipeline's default value of the knob's argument."""


class PipelineParams(AnyParams):
    """Which pipeline, and how it is called."""

    checkpoint: str = Field("", description="pipeline folder or hub id; several, separated by commas, are tried in order")
    revision: str = Field("", description="commit or tag of a hub checkpoint; empty for its newest")
    pipeline: str = Field("", description="class of diffusers, such as FluxKontextPipeline; empty for the checkpoint's own")
    knob: str = Field("strength", description="argument of the pipeline that gets the knob's value")
    knob_as: Literal["value", "inverse"] = Field(
        "value", description="inverse passes 1 / value, for an argument of which more means less edit (image_guidance_scale)"
    )
    call: dict[str, Any] = Field(default_factory=dict, description="further arguments of the pipeline, by name")
    text: Literal["target", "instruction"] = Field(
        "target", description="the target text, or the instruction (the target text where the task has none)"
    )
    text_argument: str = Field("prompt", description="argument that gets the text")
    image_argument: str = Field("image", description="argument that gets the source picture")
    mask_argument: str = Field("", description="argument that gets the manifest's mask, white where to edit; empty for none")
    fit: Fit = Field("center-crop", description="how an output of another aspect ratio comes to the source's grid")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="dtype of the weights")
    device: str = Field("auto", description="torch device; auto is CUDA where there is one, else the CPU")
    allow_pickle: bool = Field(False, description="load pickle weights too, which can run code")

    @field_validator("call")
    @classmethod
    def _not_ours(cls, value: dict[str, Any]) -> dict[str, Any]:
        taken = [name for name in value if name in OURS]
        if taken:
            raise ValueError(f"{taken[0]} is set by the editor and cannot be given")
        return value


@dataclass(eq=False)
class PipelineState:
    """A task, and what became known about the pipeline's output."""

    task: EditTask
    text_from: str
    evaluations: int = 0
    """Samples sent through the denoising network for this task."""
    transforms: set[str] = field(default_factory=set)
    """What brought the pipeline's outputs to the source's grid; it tells their own size."""


class Pipeline(Editor[PipelineState]):
    """Call a pipeline once per knob value, with a generator seeded by the unit each time, so that values share their noise.

    The parameter ``knob`` names the argument that the knob's value goes to. The grid of ``strength`` is that of every editor with
    such a knob; of any other argument it is half to twice the pipeline's own default, which need not be where the edits are: better
    give a ``grid``.

    The pipeline is loaded once per process, apart from the model of the run, whose cancel hook and counter it does not know: an
    edit ends when the pipeline ends, and the samples sent through its ``unet`` or ``transformer`` are counted into
    ``facts["network_evaluations"]``. The digest of its files is part of a unit's identity. A pipeline that ignores its
    generator draws from the global one, which is seeded for the call and restored after it.

    Editors of this kind choose their own output size (about one megapixel for FLUX Kontext and Qwen-Image-Edit). What comes back
    is brought to the source's grid (``editors.toolbox.grid``); ``facts`` holds the native size and the transform. A shift or zoom within the
    picture, which these models are known for, is not undone.
    Where a safety filter replaces a picture, that is a failure and not an edit.
    """

    name = "pipeline"
    version = "1"
    knob = Knob("value", 0.0, 1000.0, (0.2, 0.4, 0.6, 0.8, 1.0), "value of the pipeline's argument that the parameter knob names")
    needs_model = False
    checkpoint = (
        "parameter checkpoint: any image-and-text pipeline in diffusers' format, such as black-forest-labs/FLUX.1-Kontext-dev "
        "(non-commercial) or Qwen/Qwen-Image-Edit (Apache-2.0)"
    )
    Params = PipelineParams
    params: PipelineParams
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "flux_kontext": {
            "checkpoint": "black-forest-labs/FLUX.1-Kontext-dev",
            "pipeline": "FluxKontextPipeline",
            "knob": "guidance_scale",
            "text": "instruction",
            "call": {"num_inference_steps": 28},
            "dtype": "bfloat16",
        },
        "qwen_image_edit": {
            "checkpoint": "Qwen/Qwen-Image-Edit",
            "pipeline": "QwenImageEditPipeline",
            "knob": "true_cfg_scale",
            "text": "instruction",
            "call": {"num_inference_steps": 50, "negative_prompt": " "},
            "dtype": "bfloat16",
        },
    }

    @classmethod
    def assets(cls, params: AnyParams) -> Mapping[str, str]:
        assert isinstance(params, PipelineParams)
        folder = _locate(params.checkpoint, params.revision, params.allow_pickle)
        _check_arguments(_class(params.pipeline, folder), params)
        return {"checkpoint": tree_digest(folder, params.allow_pickle)}

    @classmethod
    def knob_of(cls, params: AnyParams) -> Knob | None:
        """The knob under the name of the pipeline's argument, with a grid that suits it."""
        assert isinstance(params, PipelineParams)
        if params.knob == "strength":
            return Knob("strength", 0.0, 1.0, cls.knob.grid, "share of the schedule that is noised and denoised")
        folder = _locate(params.checkpoint, params.revision, params.allow_pickle)
        called = _class(params.pipeline, folder)
        _check_arguments(called, params)
        default = inspect.signature(called.__call__).parameters[params.knob].default
        grid = tuple(default * share for share in GRID) if isinstance(default, int | float) and default > 0 else cls.knob.grid
        if params.knob_as == "inverse":
            return Knob(f"1/{params.knob}", 1e-3, 1000.0, tuple(1 / value for value in reversed(grid)), cls.knob.description)
        return Knob(params.knob, cls.knob.low, cls.knob.high, grid, cls.knob.description)

    def fair_play(self) -> FairPlay:
        return FairPlay(uses_mask=bool(self.params.mask_argument))

    def prepare(self, task: EditTask) -> PipelineState:
        self.check(task)
        if self.params.mask_argument and task.mask is None:
            raise MissingInput(f"pipeline: {self.params.mask_argument} wants a mask, the task has none: add it to the manifest")
        self._loaded()
        told = self.params.text == "instruction" and task.instruction
        return PipelineState(task, "instruction" if told else "target_text")

    def render(self, state: PipelineState, values: Sequence[float]) -> list[Image]:
        return [self._edit(state, value) for value in values]

    def _loaded(self) -> _Loaded:
        p = self.params
        folder = _locate(p.checkpoint, p.revision, p.allow_pickle)
        _check_arguments(_class(p.pipeline, folder), p)
        return _load(folder, p.pipeline, p.dtype, p.device, p.allow_pickle)

    def _edit(self, state: PipelineState, value: float) -> Image:
        loaded, task = self._loaded(), state.task
        before = loaded.evaluations
        try:
            with torch.random.fork_rng(devices=loaded.cuda):
                torch.manual_seed(task.seed & 0xFFFFFFFF)
                result = loaded.pipeline(**self._arguments(loaded, state, value))
        except (ValueError, TypeError) as error:
            where = f"{type(loaded.pipeline).__name__} with {self.params.knob} = {value:g}"
            raise EditorError(f"pipeline: {where} refuses: {' '.join(str(error).split())[:300]}") from error
        state.evaluations += loaded.evaluations - before
        if any(getattr(result, "nsfw_content_detected", None) or ()):
            raise EditorError("pipeline: its safety filter replaced the picture; load it without the filter to score its edits")
        return self._returned(state, np.asarray(result.images[0], dtype=np.float64))

    def _arguments(self, loaded: _Loaded, state: PipelineState, value: float) -> dict[str, Any]:
        p, task = self.params, state.task
        given = {**p.call, p.image_argument: Pillow.fromarray(task.image.copy())}
        given[p.text_argument] = task.instruction if state.text_from == "instruction" else task.target_text
        if p.mask_argument:
            given[p.mask_argument] = Pillow.fromarray(mask_of(task).astype(np.uint8) * 255)
        if p.knob_as == "inverse" and value == 0:
            raise EditorError(f"pipeline: {p.knob} gets the inverse of the knob, which must be above 0")
        setting = 1 / value if p.knob_as == "inverse" else value
        default = inspect.signature(loaded.pipeline.__call__).parameters[p.knob].default
        whole = type(default) is int and setting == int(setting)
        given[p.knob] = int(setting) if whole else setting
        return {**given, "generator": seeded(task.seed), "output_type": "np"}

    def _returned(self, state: PipelineState, output: NDArray[np.float64]) -> Image:
        """The output (H', W', 3) in 0..1 on the grid of the source."""
        if not np.isfinite(output).all():
            raise NotFinite("NaN or infinity in the pipeline's output")
        height, width = state.task.image.shape[:2]
        picture, transform = to_grid((output * 255).round().astype(np.uint8), height, width, self.params.fit)
        state.transforms.add(transform)
        return np.ascontiguousarray(picture)

    def facts(self, state: PipelineState) -> dict[str, str | float | bool]:
        loaded = self._loaded()
        return {
            "pipeline": type(loaded.pipeline).__name__,
            "checkpoint": loaded.origin,
            "knob": self.params.knob if self.params.knob_as == "value" else f"1 / {self.params.knob}",
            "text": state.text_from,
            "network_evaluations": state.evaluations,
            "transform": "; ".join(sorted(state.transforms)),
        }


class _Loaded:
    """A pipeline on its device, and a count of what goes through its denoising network."""

    def __init__(self, pipeline: Any, origin: str) -> None:
        self.pipeline, self.origin, self.evaluations = pipeline, origin, 0
        self.cuda = [pipeline.device] if pipeline.device.type == "cuda" else []
        for name in ("unet", "transformer", "transformer_2"):
            network = getattr(pipeline, name, None)
            if isinstance(network, torch.nn.Module):
                network.register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, _module: Any, given: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        first = given[0] if given else named.get("sample", named.get("hidden_states"))
        self.evaluations += 1 if first is None else len(first)


@cache
def _load(folder: Path, class_name: str, dtype: str, device: str, allow_pickle: bool) -> _Loaded:
    cls, wanted = _class(class_name, folder), getattr(torch, dtype)
    check_tree(folder, allow_pickle)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        with torch.random.fork_rng(devices=[]):
            pipeline = cls.from_pretrained(
                folder,
                dtype=wanted,
                use_safetensors=None if allow_pickle else True,
                local_files_only=True,
                trust_remote_code=False,
            )
        if pipeline.dtype != wanted:  # before `dtype` was the argument's name, it was passed over
            pipeline = pipeline.to(wanted)
        pipeline.set_progress_bar_config(disable=True)
        return _Loaded(pipeline.to(device), origin(folder))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"pipeline: {folder} cannot be loaded as {cls.__name__}: {reason}") from error


def _locate(names: str, revision: str, allow_pickle: bool) -> Path:
    from diffusers import DiffusionPipeline

    def fetch(name: str) -> Path:
        try:
            return Path(
                DiffusionPipeline.download(name, revision=revision or None, use_safetensors=None if allow_pickle else True)
            )
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{name}: not a local folder, and the hub does not give it: {reason}") from None

    if not names:
        raise MissingInput(f"pipeline: give {Pipeline.checkpoint.removeprefix('parameter ')}")
    folder = first_folder(names, fetch)
    if not (folder / "model_index.json").is_file():
        raise CheckpointError(f"pipeline: {folder}: no model_index.json, so not a diffusers pipeline folder")
    return folder


def _class(name: str, folder: Path) -> type[Any]:
    """The pipeline class called ``name``, or that of the folder."""
    import diffusers

    name = name or diffusers.DiffusionPipeline.load_config(folder)["_class_name"]
    found = getattr(diffusers, name, None) if name.endswith("Pipeline") else None
    if not (isinstance(found, type) and issubclass(found, diffusers.DiffusionPipeline)):
        close = get_close_matches(name, [each for each in dir(diffusers) if each.endswith("Pipeline")], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise EditorError(f"pipeline: diffusers has no pipeline class {name!r}{hint}")
    return cast(type[Any], found)


def _check_arguments(cls: type[Any], params: PipelineParams) -> None:
    """Raise ``EditorError`` where the pipeline does not take an argument that it would get."""
    known = [name for name in inspect.signature(cls.__call__).parameters if name not in ("self", "kwargs")]
    roles = {params.knob: "knob", params.text_argument: "text_argument", params.image_argument: "image_argument"}
    roles |= {params.mask_argument: "mask_argument"} if params.mask_argument else {}
    for name, role in {**dict.fromkeys(params.call, "call"), **roles}.items():
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it takes {', '.join(known)}"
            raise EditorError(f"pipeline: {role}: {cls.__name__} takes no argument {name!r}; {hint}")
    twice = [name for name in params.call if name in roles]
    if twice:
        raise EditorError(f"pipeline: call: {twice[0]} is set by {roles[twice[0]]}; give it once")
