"""Pipelines of diffusers as wholes: where their files are, their class, and one that is loaded once for all who use it."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, cast
from weakref import WeakValueDictionary

import torch

from editors.task import EditorError
from editors.toolbox.checkpoint import CheckpointError, origin
from editors.toolbox.diffusion import seeded
from editors.toolbox.hub import HubError, Repository, explained, first_place

__all__ = ["Hosted", "Offload", "Wanted", "argument_default", "hosted", "local_pipeline", "pipeline_class", "pipeline_place"]

Offload = Literal["none", "model", "sequential"]
NETWORKS = ("unet", "transformer", "transformer_2")
FILES = ("model_index.json", "*/*.json", "*/*.txt", "*/*.model", "*/*.jinja", "*/*.safetensors")
VARIANTS = ("*.fp16.*", "*.bf16.*", "*.fp16-*", "*.bf16-*", "*.non_ema.*")

_HOSTED: WeakValueDictionary[Wanted, Hosted] = WeakValueDictionary()
"""Pipelines in use, by all that tells them apart; one that no editor holds any more is gone, and its memory with it."""


def pipeline_place(names: str, revision: str = "") -> Path | Repository:
    """The first of several pipeline folders or hub ids that can be had, an id at its commit. Raises ``CheckpointError``.

    The patterns of the repository tell its size; what diffusers fetches of it can be a little more or less.
    """
    try:
        return first_place(names, Repository("", revision or "main", FILES, VARIANTS, index="model_index.json"))
    except HubError as error:
        raise CheckpointError(f"pipeline: {error}") from None


def local_pipeline(place: Path | Repository, allow_pickle: bool) -> Path:
    """The folder of a pipeline of any family; a repository is fetched by diffusers, which knows the files of its parts.

    Raises ``CheckpointError``.
    """
    try:
        folder = place if isinstance(place, Path) else _fetched(place.pinned(), allow_pickle)
    except HubError as error:
        raise CheckpointError(f"pipeline: {error}") from None
    if not (folder / "model_index.json").is_file():
        raise CheckpointError(f"pipeline: {folder}: no model_index.json, so not a diffusers pipeline folder")
    return folder


def _fetched(at: Repository, allow_pickle: bool) -> Path:
    """The folder of a repository at a commit. The hub is not asked where all is here, which diffusers tells by the commit's listing."""
    from diffusers import DiffusionPipeline

    how: dict[str, Any] = {"revision": at.revision, "use_safetensors": None if allow_pickle else True}
    with suppress(OSError):
        if at.is_listed():
            return Path(DiffusionPipeline.download(at.name, local_files_only=True, **how))
    with explained(at):
        return Path(DiffusionPipeline.download(at.name, **how))


def pipeline_class(name: str, folder: Path) -> type[Any]:
    """The pipeline class called ``name``, or that of the folder. Raises ``EditorError`` where diffusers has none such."""
    import diffusers

    name = name or diffusers.DiffusionPipeline.load_config(folder)["_class_name"]
    found = getattr(diffusers, name, None) if name.endswith("Pipeline") else None
    if not (isinstance(found, type) and issubclass(found, diffusers.DiffusionPipeline)):
        close = get_close_matches(name, [each for each in dir(diffusers) if each.endswith("Pipeline")], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise EditorError(f"pipeline: diffusers has no pipeline class {name!r}{hint}")
    return cast(type[Any], found)


def argument_default(called: Callable[..., Any], argument: str) -> Any:
    """The default of an argument of a pipeline, or of its class's ``__call__``."""
    return inspect.signature(called).parameters[argument].default


@dataclass(frozen=True)
class Wanted:
    """All that tells one loaded pipeline from another.

    ``class_name`` is empty for the folder's own; ``dtype`` is torch's name of it. ``offload`` keeps the parts (``model``), or their
    layers (``sequential``), on the CPU until they are needed; without an accelerator it has no effect.
    """

    folder: Path
    class_name: str
    dtype: str
    device: str
    allow_pickle: bool = False
    offload: Offload = "none"


class Hosted:
    """A pipeline on its device, shared by all editors that ask for the same, and a count of what goes through its denoising network.

    Several are kept while they fit. Where the device's memory is full the others are let go, to be loaded again when they are called.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._wanted, self.origin, self.evaluations = wanted, origin(wanted.folder), 0
        self.devices = [torch.device(wanted.device)] if wanted.device.startswith("cuda") else []
        self._pipeline: Any = None

    @property
    def pipeline(self) -> Any:
        """The pipeline, loaded if it is not. Raises ``CheckpointError``."""
        if self._pipeline is None:
            self._pipeline = self._with_room(lambda: _load(self._wanted))
            for name in NETWORKS:
                network = getattr(self._pipeline, name, None)
                if isinstance(network, torch.nn.Module):
                    network.register_forward_pre_hook(self._count, with_kwargs=True)
        return self._pipeline

    def __call__(self, seed: int, arguments: Mapping[str, Any]) -> Any:
        """What the pipeline gives; its generator, and the global one for the time of the call, are seeded."""
        pipeline = self.pipeline

        def call() -> Any:
            with torch.random.fork_rng(devices=self.devices):
                torch.manual_seed(seed & 0xFFFFFFFF)
                return pipeline(**arguments, generator=seeded(seed), output_type="np")

        return self._with_room(call)

    def unload(self) -> bool:
        """Let the networks go; the next call loads them again. Returns whether there were any."""
        held, self._pipeline = self._pipeline is not None, None
        return held

    def _with_room(self, work: Callable[[], Any]) -> Any:
        counted = self.evaluations
        try:
            return work()
        except torch.OutOfMemoryError:
            if not sum(each.unload() for each in list(_HOSTED.values()) if each is not self):
                raise
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.evaluations = counted
        return work()

    def _count(self, _module: Any, given: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        first = given[0] if given else named.get("sample", named.get("hidden_states"))
        self.evaluations += 1 if first is None else len(first)


def hosted(wanted: Wanted) -> Hosted:
    """The pipeline that is wanted, loaded when it is first called; on device ``auto`` that is CUDA where there is one, else the CPU."""
    if wanted.device == "auto":
        wanted = replace(wanted, device="cuda" if torch.cuda.is_available() else "cpu")
    found = _HOSTED.get(wanted)
    if found is None:
        found = _HOSTED[wanted] = Hosted(wanted)
    return found


@contextmanager
def _without_bars() -> Iterator[None]:
    from diffusers.utils import logging
    from transformers.utils import logging as of_parts

    shown = [each for each in (logging, of_parts) if each.is_progress_bar_enabled()]
    for each in shown:
        each.disable_progress_bar()
    try:
        yield
    finally:
        for each in shown:
            each.enable_progress_bar()


def _load(wanted: Wanted) -> Any:
    cls, dtype, device = pipeline_class(wanted.class_name, wanted.folder), getattr(torch, wanted.dtype), wanted.device
    try:
        with torch.random.fork_rng(devices=[]), _without_bars():
            pipeline = cls.from_pretrained(
                wanted.folder, dtype=dtype, use_safetensors=None if wanted.allow_pickle else True, local_files_only=True
            )
        if pipeline.dtype != dtype:  # before `dtype` was the argument's name, it was passed over
            pipeline = pipeline.to(dtype)
        pipeline.set_progress_bar_config(disable=True)
        if wanted.offload == "none" or device == "cpu":
            return pipeline.to(device)
        offload = pipeline.enable_model_cpu_offload if wanted.offload == "model" else pipeline.enable_sequential_cpu_offload
        offload(device=device)
        return pipeline
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"pipeline: {wanted.folder} cannot be loaded as {cls.__name__}: {reason}") from error
