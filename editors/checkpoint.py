"""Checkpoints of the Stable Diffusion family on disk: where they are, what they hold, and their identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from editors.base import EditorError

__all__ = ["CheckpointError", "Components", "digest", "load_components", "locate"]

_STEMS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
_PICKLES = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "pytorch_model"}


class CheckpointError(EditorError):
    """A checkpoint is missing, incomplete, of another family, or in a format that is refused."""


@dataclass
class Components:
    """The parts of a pipeline that editors use."""

    vae: Any
    unet: Any
    text_encoder: Any
    tokenizer: Any
    scheduler_config: dict[str, Any]


def _patterns(allow_pickle: bool) -> list[str]:
    """Glob patterns of every file that is read, relative to the pipeline folder."""
    patterns = ["model_index.json", "scheduler/*.json", "tokenizer/*.json", "tokenizer/*.txt"]
    for part, stem in _STEMS.items():
        patterns += [f"{part}/config.json", f"{part}/{stem}.safetensors", f"{part}/{stem}-*-of-*.safetensors"]
        patterns += [f"{part}/{stem}.safetensors.index.json"]
        if allow_pickle:
            pickle = _PICKLES[part]
            patterns += [f"{part}/{pickle}.bin", f"{part}/{pickle}-*-of-*.bin", f"{part}/{pickle}.bin.index.json"]
    return patterns


def locate(folder_or_hub_id: str | Path, revision: str | None = None, allow_pickle: bool = False) -> Path:
    """The local folder of a checkpoint; a hub id is fetched into the hub's cache first, only the files that are read.

    Raises ``CheckpointError`` where it cannot be found, is not a pipeline folder, or has pickles only.
    """
    folder = Path(folder_or_hub_id)
    if not folder.is_dir():
        folder = _fetch(str(folder_or_hub_id), revision, allow_pickle)
    if not (folder / "model_index.json").is_file():
        raise CheckpointError(f"{folder}: no model_index.json, so not a diffusers pipeline folder")
    for part, stem in _STEMS.items():
        if any((folder / part).glob(f"{stem}*.safetensors")):
            continue
        pickles = sorted((folder / part).glob("*.bin"))
        if not pickles:
            raise CheckpointError(f"{folder / part}: expected {stem}.safetensors, found no weights")
        if not allow_pickle:
            raise CheckpointError(
                f"{pickles[0]}: pickle weights can run code when loaded and are refused; convert them to safetensors, "
                "or set allow_pickle if you trust their origin"
            )
    return folder


def _fetch(hub_id: str, revision: str | None, allow_pickle: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    if hub_id.count("/") != 1 or hub_id.startswith((".", "/", "~")):
        raise CheckpointError(f"{hub_id}: no such folder, and not a hub id of the form owner/name")
    try:
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=_patterns(allow_pickle)))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"{hub_id}: not a local folder, and the hub does not give it: {reason}") from None


def digest(folder: Path, allow_pickle: bool = False) -> str:
    """sha256 (64 hex) over the name and content of every file of the checkpoint that is read."""
    total = hashlib.sha256()
    for file in sorted(_files(folder, allow_pickle)):
        total.update(file.relative_to(folder).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


def _files(folder: Path, allow_pickle: bool) -> Iterator[Path]:
    for pattern in _patterns(allow_pickle):
        yield from folder.glob(pattern)


def load_components(folder: Path, dtype: torch.dtype = torch.float32, allow_pickle: bool = False) -> Components:
    """Load the parts with their own libraries' loaders, on the CPU. Raises ``CheckpointError`` on another family."""
    import diffusers
    import transformers

    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    for part, expected in (("vae", "AutoencoderKL"), ("unet", "UNet2DConditionModel")):
        found = (index.get(part) or [None, None])[1]
        if found != expected:
            raise CheckpointError(f"{folder}: {part} is {found}, expected {expected} (Stable Diffusion family)")
    if index.get("text_encoder_2"):
        raise CheckpointError(f"{folder}: two text encoders (Stable Diffusion XL) are not supported")
    encoder, tokenizer = (getattr(transformers, index[part][1]) for part in ("text_encoder", "tokenizer"))
    safe = None if allow_pickle else True
    with torch.random.fork_rng(devices=[]):
        try:
            return Components(
                vae=diffusers.AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=dtype, use_safetensors=safe),
                unet=diffusers.UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=dtype, use_safetensors=safe),
                text_encoder=encoder.from_pretrained(folder / "text_encoder", dtype=dtype, use_safetensors=safe),
                tokenizer=tokenizer.from_pretrained(folder / "tokenizer"),
                scheduler_config=dict(diffusers.DDIMScheduler.load_config(folder / "scheduler")),
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise CheckpointError(f"{folder}: cannot be loaded: {reason}") from error
