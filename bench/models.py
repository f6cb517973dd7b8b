"""Model references of a spec to checkpoints, their identity, and loaded diffusion models."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import ModelError, SpecError
from bench.toybox import embedded

if TYPE_CHECKING:
    from bench.spec import ModelRef, Spec
    from editors.toolbox.diffusion import DiffusionModel

__all__ = ["Checkpoint", "inspect", "load", "reference", "tokenizer"]


@dataclass(frozen=True)
class Checkpoint:
    """A Stable-Diffusion-family folder on disk. `digest` (64 hex) covers the files that are read; `resolution` is in pixels."""

    folder: Path
    digest: str
    resolution: int


def reference(spec: Spec, *editors: str) -> ModelRef:
    """The model of a spec whose `editors` cannot do without. Raises SpecError where it names none."""
    if spec.model is None:
        wanted = f"{', '.join(editors)} cannot do without" if editors else "an editor cannot do without"
        raise SpecError(f"model: missing, and {wanted}; name toybox, {{path: FOLDER}} or {{hub: ID}}")
    return spec.model


def inspect(ref: ModelRef) -> Checkpoint:
    """The checkpoint that `ref` names, without loading it; a hub id is fetched first. Raises ModelError or CheckpointError."""
    from editors.toolbox.checkpoint import digest

    folder = _folder(ref)
    return Checkpoint(folder, digest(folder, ref.allow_pickle), _resolution(folder))


def load(ref: ModelRef, *, device: str, dtype: str, max_batch: int) -> DiffusionModel:
    """The model on `device` in `dtype` (a torch dtype's name), its networks taking `max_batch` items in a call at the most.

    Raises ModelError or CheckpointError.
    """
    import torch
    from transformers.utils import logging

    from editors.toolbox.diffusion import DiffusionModel

    folder, bars = _folder(ref), logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        return DiffusionModel.load(
            folder, device=device, dtype=getattr(torch, dtype), allow_pickle=ref.allow_pickle, max_batch=max_batch
        )
    except (RuntimeError, OSError) as error:
        raise ModelError(f"model {folder} cannot be loaded on {device}: {' '.join(str(error).split())[:300]}") from error
    finally:
        if bars:
            logging.enable_progress_bar()


def tokenizer(ref: ModelRef) -> Any:
    """The model's tokenizer alone. Raises ModelError or CheckpointError."""
    import transformers

    folder = _folder(ref)
    try:
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
        return getattr(transformers, index["tokenizer"][1]).from_pretrained(folder / "tokenizer")
    except (OSError, ValueError, KeyError, AttributeError, TypeError, IndexError) as error:
        raise ModelError(f"model {folder}: its tokenizer cannot be loaded ({type(error).__name__}: {error})") from error


def _folder(ref: ModelRef) -> Path:
    from editors.toolbox.checkpoint import locate

    if ref.hub is not None:
        return locate(ref.hub, ref.revision, ref.allow_pickle)
    if ref.path is not None:
        folder = Path(ref.path).expanduser()
        if not folder.is_dir():
            raise ModelError(f"model folder {folder} does not exist; give a diffusers folder, or {{hub: owner/name}}")
        return locate(folder, None, ref.allow_pickle)
    if not embedded.is_embedded(ref):
        raise ModelError(f"unknown model {ref.name!r}: the embedded one is {embedded.NAME!r}; others need `path:` or `hub:`")
    return locate(embedded.generator(), None, False)


def _resolution(folder: Path) -> int:
    try:
        unet = json.loads((folder / "unet" / "config.json").read_text(encoding="utf-8"))
        vae = json.loads((folder / "vae" / "config.json").read_text(encoding="utf-8"))
        size = unet["sample_size"]
        return int(size[0] if isinstance(size, list) else size) * 2 ** (len(vae["block_out_channels"]) - 1)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ModelError(f"model {folder}: unet/config.json and vae/config.json do not tell the resolution ({reason})") from error
