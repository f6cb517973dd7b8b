"""Model references of a spec to checkpoints, their identity, and loaded diffusion models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import ModelError, SpecError
from bench.toybox import embedded

if TYPE_CHECKING:
    from bench.spec import ModelRef, Spec
    from editors.toolbox.diffusion import DiffusionModel
    from editors.toolbox.hub import Repository

__all__ = ["Checkpoint", "inspect", "load", "reference", "repository", "tokenizer"]

SIDES = (8, 8192)
"""Least and largest side in pixels of the pictures that a run edits, as in a manifest's `size`."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk. `digest` (64 hex) covers the files that are read; `resolution` is in pixels; `family` is one of
    `editors.task.FAMILIES`.
    """

    folder: Path
    digest: str
    resolution: int
    family: str


def reference(spec: Spec, *editors: str) -> ModelRef:
    """The model of a spec whose `editors` cannot do without. Raises SpecError where it names none."""
    if spec.model is None:
        wanted = f"{', '.join(editors)} cannot do without" if editors else "an editor cannot do without"
        raise SpecError(f"model: missing, and {wanted}; name toybox, {{path: FOLDER}} or {{hub: ID}}")
    return spec.model


def repository(ref: ModelRef) -> Repository | None:
    """The repository of the hub that `ref` names, at its commit; None where it names a folder. Raises CheckpointError."""
    from editors.toolbox.checkpoint import model_repository

    return None if ref.hub is None else model_repository(ref.hub, ref.revision, ref.allow_pickle)


def inspect(ref: ModelRef) -> Checkpoint:
    """The checkpoint that `ref` names, without loading it; a hub id is fetched first. Raises ModelError or CheckpointError."""
    from editors.toolbox.checkpoint import digest, family

    folder = _folder(ref)
    return Checkpoint(folder, digest(folder, ref.allow_pickle), _resolution(folder), family(folder).family)


def load(
    ref: ModelRef,
    *,
    device: str,
    dtype: str,
    max_batch: int | None = None,
    side: int | None = None,
    channels_last: bool = False,
    compile_mode: str | None = None,
) -> DiffusionModel:
    """The model on `device` in `dtype` (a torch dtype's name), its networks taking `max_batch` items in a call at the most, for pictures of
    `side` pixels. None is as many as a measured call says that the device has room for, at most 64. For the rest see
    `editors.toolbox.speed`.

    Raises ModelError, CheckpointError, or EditorError where there is no compiler.
    """
    import torch
    from transformers.utils import logging

    from editors.toolbox.diffusion import DiffusionModel
    from editors.toolbox.speed import faster, fitting

    folder, bars = _folder(ref), logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model = DiffusionModel.load(folder, device=device, dtype=getattr(torch, dtype), allow_pickle=ref.allow_pickle, side=side)
        faster(model, channels_last=channels_last, compile_mode=compile_mode)
        model.max_batch = fitting(model) if max_batch is None else max_batch
        return model
    except (RuntimeError, OSError) as error:
        raise ModelError(f"model {folder} cannot be loaded on {device}: {' '.join(str(error).split())[:300]}") from error
    finally:
        if bars:
            logging.enable_progress_bar()


def tokenizer(ref: ModelRef) -> Any:
    """The model's tokenizer alone. Raises ModelError or CheckpointError."""
    from editors.toolbox.checkpoint import load_tokenizer

    return load_tokenizer(_folder(ref))


def _folder(ref: ModelRef) -> Path:
    from editors.toolbox.checkpoint import locate
    from editors.toolbox.files import expanded

    if ref.hub is not None:
        return locate(ref.hub, ref.revision, ref.allow_pickle)
    if ref.path is not None:
        folder = expanded(ref.path)
        if not folder.is_dir():
            raise ModelError(f"model folder {folder} does not exist; give a diffusers folder, or {{hub: owner/name}}")
        return locate(folder, None, ref.allow_pickle)
    if not embedded.is_embedded(ref):
        raise ModelError(f"unknown model {ref.name!r}: the embedded one is {embedded.NAME!r}; others need `path:` or `hub:`")
    return locate(embedded.generator(), None, False)


def _resolution(folder: Path) -> int:
    from editors.toolbox.checkpoint import family
    from editors.toolbox.untrusted import check_config, read_config

    known = family(folder)
    files = [folder / part / "config.json" for part in (known.denoiser, "vae")]
    network, vae = map(read_config, files)
    try:
        for config, file in zip((network, vae), files, strict=True):
            check_config(config, file)
        side = known.side_of(network, vae)
    except (ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
        reason = f"{type(error).__name__}: {error}"
        where = f"{known.denoiser}/config.json and vae/config.json"
        raise ModelError(f"model {folder}: {where} do not tell the resolution ({reason})") from error
    if not SIDES[0] <= side <= SIDES[1]:
        asked = f"{side} pixels" if side < 10**9 else "more than a billion pixels"
        raise ModelError(
            f"model {folder}: its configuration asks for pictures of {asked} a side; {SIDES[0]} to {SIDES[1]} are made"
        )
    return side
