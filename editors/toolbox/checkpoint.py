"""Checkpoints of the Stable Diffusion family on disk: where they are, what they hold, and their identity."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from editors.task import EditorError
from editors.toolbox.digests import files_digest
from editors.toolbox.hub import HubError, Repository, first_place

__all__ = [
    "CheckpointError",
    "Components",
    "digest",
    "load_components",
    "local_folder",
    "locate",
    "locate_network",
    "model_repository",
    "network_digest",
    "network_repository",
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


def model_repository(names: str, revision: str | None = None, allow_pickle: bool = False) -> Repository | None:
    """The repository that ``locate`` would read, at its commit; None where it would be a local folder. Raises ``CheckpointError``."""
    place = _place(names, revision, allow_pickle)
    return place if isinstance(place, Repository) else None


def locate(folder_or_hub_id: str | Path, revision: str | None = None, allow_pickle: bool = False) -> Path:
    """The local folder of a checkpoint; a hub id is fetched into the hub's cache first, only the files that are read.

    Several folders or ids (``owner/name`` or ``owner/name@revision``) may be given, separated by commas, since hub ids come and go: the
    first that can be had is taken. Raises ``CheckpointError`` where none can be found, or what is found is not a pipeline folder or has
    pickles only.
    """
    folder = local_folder(_place(str(folder_or_hub_id), revision, allow_pickle))
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


def _place(names: str, revision: str | None, allow_pickle: bool) -> Path | Repository:
    wanted = Repository("", revision or "main", tuple(_patterns(allow_pickle)), index="model_index.json")
    try:
        return first_place(names, wanted)
    except HubError as error:
        raise CheckpointError(str(error)) from None


def local_folder(place: Path | Repository) -> Path:
    """A folder as it is, a repository fetched. Raises ``CheckpointError``."""
    try:
        return place if isinstance(place, Path) else place.fetch()
    except HubError as error:
        raise CheckpointError(str(error)) from None


def network_repository(names: str, role: str, wanted: str) -> Mapping[str, Repository]:
    """``role`` and the repository that ``locate_network`` would read, at its commit; nothing where it would be a local folder."""
    place = _network_place(names, role, wanted)
    return {role: place} if isinstance(place, Repository) else {}


def _network_place(names: str, role: str, wanted: str) -> Path | Repository:
    try:
        return first_place(names, Repository("", files=tuple(_NETWORK), index=_NETWORK[0]))
    except HubError as error:
        raise CheckpointError(f"{role}: {error}; it takes {wanted}") from None


def locate_network(names: str, role: str, wanted: str) -> Path:
    """The local folder of one network, ``config.json`` and ``diffusion_pytorch_model.safetensors``.

    ``names`` is a folder or a hub id, or several separated by commas of which the first that can be had is taken. Raises
    ``CheckpointError`` that names ``role``, the parameter, and ``wanted``, the weights that belong there.
    """
    place = _network_place(names, role, wanted)
    try:
        folder = local_folder(place)
        absent = [file for file in _NETWORK if not (folder / file).is_file()]
        if absent:
            raise CheckpointError(f"{folder}: no {' and no '.join(absent)}")
    except CheckpointError as error:
        raise CheckpointError(f"{role}: {error}; it takes {wanted}") from None
    return folder


def network_digest(folder: Path) -> str:
    """sha256 (64 hex) over configuration and weights of one network."""
    return files_digest(folder, [folder / file for file in _NETWORK])


def tree_digest(folder: Path, allow_pickle: bool = False) -> str:
    """sha256 (64 hex) over every weight and configuration file below a pipeline folder of any family."""
    read = {*_TEXTS, ".safetensors", *([".bin"] if allow_pickle else [])}
    return files_digest(folder, [file for file in folder.rglob("*") if file.suffix in read])


def origin(folder: Path) -> str:
    """Where a folder came from, for a record: ``owner/name@revision`` in the hub's cache, else the folder's name."""
    cached = next((parent for parent in folder.parents if parent.name.startswith("models--")), None)
    if cached is None:
        return folder.resolve().name
    return f"{cached.name.removeprefix('models--').replace('--', '/', 1)}@{folder.name[:12]}"


def digest(folder: Path, allow_pickle: bool = False) -> str:
    """sha256 (64 hex) over the name and content of every file of the checkpoint that is read."""
    return files_digest(folder, _files(folder, allow_pickle))


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
