"""Checkpoints of the Stable Diffusion family on disk: where they are, what they hold, and their identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from editors.task import EditorError

__all__ = [
    "CheckpointError",
    "Components",
    "digest",
    "first_folder",
    "load_components",
    "locate",
    "locate_network",
    "network_digest",
    "origin",
    "tree_digest",
]

_STEMS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
_PICKLES = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "pytorch_model"}
_NETWORK = ["config.json", "diffusion_pytorch_model.safetensors"]
_TEXTS = {".json", ".txt", ".model", ".jinja"}


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

    Several folders or ids may be given, separated by commas, since hub ids come and go: the first that can be had is taken.
    Raises ``CheckpointError`` where none can be found, or what is found is not a pipeline folder or has pickles only.
    """
    folder = first_folder(str(folder_or_hub_id), lambda name: _fetch(name, revision, _patterns(allow_pickle)))
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


def first_folder(names: str, fetch: Callable[[str], Path]) -> Path:
    """The first of several folders or hub ids, separated by commas, that is there or that ``fetch`` brings.

    Raises ``CheckpointError`` with every reason where there is none.
    """
    candidates = [name.strip() for name in names.split(",")]
    reasons = []
    for name in filter(None, [names] if Path(names).is_dir() else candidates):
        folder = Path(name).expanduser()
        if folder.is_dir():
            return folder
        try:
            return fetch(name)
        except CheckpointError as error:
            reasons.append(str(error))
    raise CheckpointError("; ".join(reasons) or "no folder and no hub id is given")


def _fetch(hub_id: str, revision: str | None, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    if hub_id.count("/") != 1 or hub_id.startswith((".", "/", "~")):
        raise CheckpointError(f"{hub_id}: no such folder, and not a hub id of the form owner/name")
    try:
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=patterns))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"{hub_id}: not a local folder, and the hub does not give it: {reason}") from None


def locate_network(names: str, role: str, wanted: str) -> Path:
    """The local folder of one network, ``config.json`` and ``diffusion_pytorch_model.safetensors``.

    ``names`` is a folder or a hub id, or several separated by commas of which the first that can be had is taken. Raises
    ``CheckpointError`` that names ``role``, the parameter, and ``wanted``, the weights that belong there.
    """
    try:
        folder = first_folder(names, lambda name: _fetch(name, None, _NETWORK))
        absent = [file for file in _NETWORK if not (folder / file).is_file()]
        if absent:
            raise CheckpointError(f"{folder}: no {' and no '.join(absent)}")
    except CheckpointError as error:
        raise CheckpointError(f"{role}: {error}; it takes {wanted}") from None
    return folder


def network_digest(folder: Path) -> str:
    """sha256 (64 hex) over configuration and weights of one network."""
    return _hash(folder, [folder / file for file in _NETWORK])


def tree_digest(folder: Path, allow_pickle: bool = False) -> str:
    """sha256 (64 hex) over every weight and configuration file below a pipeline folder of any family."""
    read = {*_TEXTS, ".safetensors", *([".bin"] if allow_pickle else [])}
    return _hash(folder, [file for file in folder.rglob("*") if file.suffix in read])


def origin(folder: Path) -> str:
    """Where a folder came from, for a record: ``owner/name@revision`` in the hub's cache, else the folder's name."""
    cached = next((parent for parent in folder.parents if parent.name.startswith("models--")), None)
    if cached is None:
        return folder.resolve().name
    return f"{cached.name.removeprefix('models--').replace('--', '/', 1)}@{folder.name[:12]}"


def digest(folder: Path, allow_pickle: bool = False) -> str:
    """sha256 (64 hex) over the name and content of every file of the checkpoint that is read."""
    return _hash(folder, list(_files(folder, allow_pickle)))


def _hash(folder: Path, files: list[Path]) -> str:
    total = hashlib.sha256()
    for file in sorted(files):
        total.update(file.relative_to(folder).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


def _files(folder: Path, allow_pickle: bool) -> Iterator[Path]:
    for pattern in _patterns(allow_pickle):
        yield from folder.glob(pattern)


def load_components(folder: Path, dtype: torch.dtype = torch.float32, allow_pickle: bool = False) -> Components:
    """Load the parts with their own libraries' loaders, on the CPU. Raises ``CheckpointError`` on another family.

    The VAE stays float32 where its configuration says ``force_upcast``: in half precision it would overflow. A configuration that does not
    say so is taken at its word, though diffusers' default is to upcast, which Stable Diffusion 1 and 2 do without.
    """
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
    upcast = json.loads((folder / "vae" / "config.json").read_text(encoding="utf-8")).get("force_upcast", False)
    safe = None if allow_pickle else True
    with torch.random.fork_rng(devices=[]):
        try:
            return Components(
                vae=diffusers.AutoencoderKL.from_pretrained(
                    folder / "vae", torch_dtype=torch.float32 if upcast else dtype, use_safetensors=safe
                ),
                unet=diffusers.UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=dtype, use_safetensors=safe),
                text_encoder=encoder.from_pretrained(folder / "text_encoder", dtype=dtype, use_safetensors=safe),
                tokenizer=tokenizer.from_pretrained(folder / "tokenizer"),
                scheduler_config=dict(diffusers.DDIMScheduler.load_config(folder / "scheduler")),
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise CheckpointError(f"{folder}: cannot be loaded: {reason}") from error
