"""Any image-and-text pipeline of diffusers as an editor, by class name and checkpoint."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from pydantic import Field, field_validator

from editors.base import Editor, EditorError, EditTask, FairPlay, Image, Knob, MissingInput, NotFinite
from editors.base import Params as AnyParams
from editors.toolbox.checkpoint import tree_digest
from editors.toolbox.grid import Fit, to_grid
from editors.toolbox.hub import Repository
from editors.toolbox.mask import mask_of
from editors.toolbox.pipelines import (
    Hosted,
    Offload,
    Wanted,
    argument_default,
    hosted,
    local_pipeline,
    pipeline_class,
    pipeline_place,
)

__all__ = ["Pipeline", "PipelineParams", "PipelineState"]

OURS = ("generator", "output_type", "return_dict", "num_images_per_prompt")
GRID = (0.5, 0.75, 1.0, 1.5, 2.0)
"""Of the pipeline's default value of the knob's argument."""
QWEN_PLUS: Mapping[str, Any] = {
    "pipeline": "QwenImageEditPlusPipeline",
    "knob": "true_cfg_scale",
    "text": "instruction",
    "image_as": "list",
    "call": {"num_inference_steps": 40, "negative_prompt": " "},
    "dtype": "bfloat16",
}


class PipelineParams(AnyParams):
    """Which pipeline, and how it is called."""

    checkpoint: str = Field("", description="pipeline folder or hub id; several, separated by commas, are tried in order")
    revision: str = Field("", description="branch, tag or commit of a hub checkpoint; empty for its newest")
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
    image_as: Literal["picture", "list"] = Field(
        "picture", description="list for a pipeline that takes a list of pictures there, of which the source is the only one"
    )
    source_argument: str = Field("", description="argument that gets the source text, such as source_prompt; empty for none")
    mask_argument: str = Field("", description="argument that gets the manifest's mask, white where to edit; empty for none")
    fit: Fit = Field("center-crop", description="how an output of another aspect ratio comes to the source's grid")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="dtype of the weights")
    device: str = Field("auto", description="torch device; auto is CUDA where there is one, else the CPU")
    offload: Offload = Field(
        "none",
        description="model or sequential: its parts, or their layers, wait on the CPU until they are needed, as diffusers does it",
    )
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

    The pipeline is looked up once per editor and loaded once per process, apart from the model of the run, whose cancel hook and
    counter it does not know: an edit ends when the pipeline ends, and the samples sent through its ``unet`` or ``transformer`` are
    counted into ``facts["network_evaluations"]``. Several pipelines of a run are kept while they fit; where the device's memory is full
    the others are unloaded. The digest of its files is part of a unit's identity, with the commit where they are the hub's. A pipeline
    that ignores its generator draws from the global one, which is seeded for the call and restored after it.

    Editors of this kind choose their own output size (about one megapixel for FLUX Kontext and Qwen-Image-Edit). What comes back
    is brought to the source's grid (``editors.toolbox.grid``); ``facts`` holds the native size and the transform. A shift or zoom within the
    picture, which these models are known for, is not undone.
    Where a safety filter replaces a picture, that is a failure and not an edit.

    Presets have the authors' settings, and the knob's grid holds their value of it or the pipeline's default: FLUX Kontext 28 steps, the
    pipeline's default (its example has guidance 2.5, the default is 3.5); Qwen-Image-Edit 50 steps, 2509 and 2511 40, true guidance 4
    against the prompt of one space (QwenLM/Qwen-Image 0a83598, README; its ``guidance_scale`` of 1 is one that the pipeline ignores, and
    its rewriting of prompts by a language model is not done). Step1X-Edit, OmniGen2 and BAGEL have no preset: diffusers 0.42 has no
    pipeline of theirs. The first is in a fork of diffusers, the others are in packages of their authors'; their edits come in through
    the editor ``folder`` or `etabench import`.
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
        "qwen_image_edit_2509": {**QWEN_PLUS, "checkpoint": "Qwen/Qwen-Image-Edit-2509"},
        "qwen_image_edit_2511": {**QWEN_PLUS, "checkpoint": "Qwen/Qwen-Image-Edit-2511"},
    }

    @classmethod
    def assets(cls, params: AnyParams) -> Mapping[str, str]:
        assert isinstance(params, PipelineParams)
        folder, _ = _found(params)
        return {"checkpoint": tree_digest(folder, params.allow_pickle)}

    @classmethod
    def repositories(cls, params: AnyParams) -> Mapping[str, Repository]:
        assert isinstance(params, PipelineParams)
        place = _place(params)
        return {"checkpoint": place} if isinstance(place, Repository) else {}

    @classmethod
    def knob_of(cls, params: AnyParams) -> Knob | None:
        """The knob under the name of the pipeline's argument, with a grid that suits it."""
        assert isinstance(params, PipelineParams)
        if params.knob == "strength":
            return Knob("strength", 0.0, 1.0, cls.knob.grid, "share of the schedule that is noised and denoised")
        _, called = _found(params)
        default = argument_default(called.__call__, params.knob)
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
        if self.params.source_argument and task.source_text is None:
            raise MissingInput(f"pipeline: {self.params.source_argument} wants a source text, the task has none: add source_text")
        _ = self._hosted.pipeline
        told = self.params.text == "instruction" and task.instruction
        return PipelineState(task, "instruction" if told else "target_text")

    def render(self, state: PipelineState, values: Sequence[float]) -> list[Image]:
        return [self._edit(state, value) for value in values]

    @cached_property
    def _hosted(self) -> Hosted:
        """Found once, so that all edits of an editor come from the same files, whatever the hub says meanwhile."""
        p = self.params
        folder, _ = _found(p)
        return hosted(Wanted(folder, p.pipeline, p.dtype, p.device, p.allow_pickle, p.offload))

    def _edit(self, state: PipelineState, value: float) -> Image:
        hosted, task = self._hosted, state.task
        before = hosted.evaluations
        try:
            result = hosted(task.seed, self._arguments(state, value))
        except (ValueError, TypeError) as error:
            where = f"{type(hosted.pipeline).__name__} with {self.params.knob} = {value:g}"
            raise EditorError(f"pipeline: {where} refuses: {' '.join(str(error).split())[:300]}") from error
        state.evaluations += hosted.evaluations - before
        if any(getattr(result, "nsfw_content_detected", None) or ()):
            raise EditorError("pipeline: its safety filter replaced the picture; load it without the filter to score its edits")
        return self._returned(state, np.asarray(result.images[0], dtype=np.float64))

    def _arguments(self, state: PipelineState, value: float) -> dict[str, Any]:
        p, task = self.params, state.task
        picture = Pillow.fromarray(task.image.copy())
        given = {**p.call, p.image_argument: [picture] if p.image_as == "list" else picture}
        given[p.text_argument] = task.instruction if state.text_from == "instruction" else task.target_text
        if p.source_argument:
            given[p.source_argument] = task.source_text
        if p.mask_argument:
            given[p.mask_argument] = Pillow.fromarray(mask_of(task).astype(np.uint8) * 255)
        if p.knob_as == "inverse" and value == 0:
            raise EditorError(f"pipeline: {p.knob} gets the inverse of the knob, which must be above 0")
        setting = 1 / value if p.knob_as == "inverse" else value
        default = argument_default(self._hosted.pipeline.__call__, p.knob)
        whole = type(default) is int and setting == int(setting)
        given[p.knob] = int(setting) if whole else setting
        return given

    def _returned(self, state: PipelineState, output: NDArray[np.float64]) -> Image:
        """The output (H', W', 3) in 0..1 on the grid of the source."""
        if not np.isfinite(output).all():
            raise NotFinite("NaN or infinity in the pipeline's output")
        height, width = state.task.image.shape[:2]
        picture, transform = to_grid((output * 255).round().astype(np.uint8), height, width, self.params.fit)
        state.transforms.add(transform)
        return np.ascontiguousarray(picture)

    def facts(self, state: PipelineState) -> dict[str, str | float | bool]:
        return {
            "pipeline": type(self._hosted.pipeline).__name__,
            "checkpoint": self._hosted.origin,
            "knob": self.params.knob if self.params.knob_as == "value" else f"1 / {self.params.knob}",
            "text": state.text_from,
            "network_evaluations": state.evaluations,
            "transform": "; ".join(sorted(state.transforms)),
        }


def _place(params: PipelineParams) -> Path | Repository:
    if not params.checkpoint:
        raise MissingInput(f"pipeline: give {Pipeline.checkpoint.removeprefix('parameter ')}")
    return pipeline_place(params.checkpoint, params.revision)


def _found(params: PipelineParams) -> tuple[Path, type[Any]]:
    """The folder and the class, once the class takes what it would be given."""
    folder = local_pipeline(_place(params), params.allow_pickle)
    called = pipeline_class(params.pipeline, folder)
    _check_arguments(called, params)
    return folder, called


def _check_arguments(cls: type[Any], params: PipelineParams) -> None:
    """Raise ``EditorError`` where the pipeline does not take an argument that it would get."""
    known = [name for name in inspect.signature(cls.__call__).parameters if name not in ("self", "kwargs")]
    roles = {params.knob: "knob", params.text_argument: "text_argument", params.image_argument: "image_argument"}
    optional = {params.mask_argument: "mask_argument", params.source_argument: "source_argument"}
    roles |= {name: role for name, role in optional.items() if name}
    for name, role in {**dict.fromkeys(params.call, "call"), **roles}.items():
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it takes {', '.join(known)}"
            raise EditorError(f"pipeline: {role}: {cls.__name__} takes no argument {name!r}; {hint}")
    twice = [name for name in params.call if name in roles]
    if twice:
        raise EditorError(f"pipeline: call: {twice[0]} is set by {roles[twice[0]]}; give it once")
