"""Checkpoints of the Stable Diffusion family on disk: where they are, what they hold, and their identity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from editors.toolbox.digests import files_digest
from editors.toolbox.hub import HubError, Repository, first_place
from editors.toolbox.untrusted import CheckpointError, check_config, check_tree, indexed, only, read_config, regular

__all__ = [
    "CheckpointError",
    "Components",
    "digest",
    "load_components",
    "load_tokenizer",
    "local_folder",
    "locate",
    "locate_network",
    "model_repository",
    "network_digest",
    "network_files",
    "network_repository",
    "origin",
    "tree_digest",
]

_STEMS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
_PICKLES = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "pytorch_model"}
_NETWORK = ["config.json", "diffusion_pytorch_model.safetensors"]
_TOKENIZER = ["tokenizer/*.json", "tokenizer/*.txt"]
_TEXTS = {".json", ".txt", ".model", ".jinja"}
_CLASSES = {
    "vae": ("AutoencoderKL",),
    "unet": ("UNet2DConditionModel",),
    "text_encoder": ("CLIPTextModel",),
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
}
"""What the parts of a Stable Diffusion are; nothing else is looked up by a name that a checkpoint gives."""


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
    patterns = ["model_index.json", "scheduler/*.json", *_TOKENIZER]
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


@contextmanager
def network_files(folder: Path) -> Iterator[Path]:
    """A folder with the files that ``network_digest`` covers and no others, to load one network from. Raises ``CheckpointError``."""
    check_config(read_config(folder / "config.json"), folder / "config.json")
    with _loading(folder, regular(folder / file for file in _NETWORK)) as view:
        yield view


def tree_digest(folder: Path, allow_pickle: bool = False) -> str:
    """sha256 (64 hex) over every weight and configuration file below a pipeline folder of any family, which ``check_tree`` has passed.

    Raises ``CheckpointError``.
    """
    check_tree(folder, allow_pickle)
    read = {*_TEXTS, ".safetensors", *([".bin"] if allow_pickle else [])}
    return files_digest(folder, regular(file for file in folder.rglob("*") if file.suffix in read))


def origin(folder: Path) -> str:
    """Where a folder came from, for a record: ``owner/name@revision`` in the hub's cache, else the folder's name."""
    cached = next((parent for parent in folder.parents if parent.name.startswith("models--")), None)
    if cached is None:
        return folder.resolve().name
    return f"{cached.name.removeprefix('models--').replace('--', '/', 1)}@{folder.name[:12]}"


def digest(folder: Path, allow_pickle: bool = False) -> str:
    """sha256 (64 hex) over the name and content of every file of the checkpoint that is read. Raises ``CheckpointError``."""
    return files_digest(folder, _files(folder, allow_pickle))


def _files(folder: Path, allow_pickle: bool) -> list[Path]:
    """Every file that is read, shards that an index names included. Raises ``CheckpointError``."""
    found = _found(folder, _patterns(allow_pickle))
    return regular([*found, *(file for index in found if index.name.endswith(".index.json") for file in indexed(index))])


def _found(folder: Path, patterns: list[str]) -> list[Path]:
    return regular(file for pattern in patterns for file in folder.glob(pattern))


def load_components(folder: Path, dtype: torch.dtype = torch.float32, allow_pickle: bool = False) -> Components:
    """Load the parts with their own libraries' loaders, on the CPU, from the files that ``digest`` covers.

    The VAE stays float32 where its configuration says ``force_upcast``: in half precision it would overflow. A configuration that does not
    say so is taken at its word, though diffusers' default is to upcast, which Stable Diffusion 1 and 2 do without.

    Raises ``CheckpointError`` on another family, and on what is refused of any.
    """
    import diffusers
    import transformers

    files = _files(folder, allow_pickle)
    index = read_config(folder / "model_index.json")
    names = {part: _class_of(folder, index, part) for part in _CLASSES}
    if index.get("text_encoder_2"):
        raise CheckpointError(f"{folder}: two text encoders (Stable Diffusion XL) are not supported")
    for file in (*(folder / part / "config.json" for part in _STEMS), folder / "scheduler" / "scheduler_config.json"):
        check_config(read_config(file), file)
    encoder = getattr(transformers, names["text_encoder"])
    upcast = read_config(folder / "vae" / "config.json").get("force_upcast", False)
    safe = None if allow_pickle else True
    with torch.random.fork_rng(devices=[]), _loading(folder, files) as view:
        return Components(
            vae=diffusers.AutoencoderKL.from_pretrained(
                view / "vae", torch_dtype=torch.float32 if upcast else dtype, use_safetensors=safe
            ),
            unet=diffusers.UNet2DConditionModel.from_pretrained(view / "unet", torch_dtype=dtype, use_safetensors=safe),
            text_encoder=encoder.from_pretrained(
                view / "text_encoder", dtype=dtype, use_safetensors=safe, local_files_only=True, trust_remote_code=False
            ),
            tokenizer=_tokenizer(view, names["tokenizer"]),
            scheduler_config=dict(diffusers.DDIMScheduler.load_config(view / "scheduler")),
        )


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a checkpoint alone. Raises ``CheckpointError``."""
    name = _class_of(folder, read_config(folder / "model_index.json"), "tokenizer")
    with _loading(folder, _found(folder, _TOKENIZER)) as view:
        return _tokenizer(view, name)


def _class_of(folder: Path, index: dict[str, Any], part: str) -> str:
    """The class of a part, one of those that are known."""
    entry = index.get(part)
    found = entry[1] if isinstance(entry, list) and len(entry) == 2 else None
    if found not in _CLASSES[part]:
        raise CheckpointError(
            f"{folder}: {part} is {str(found)[:80]}, expected {' or '.join(_CLASSES[part])} (Stable Diffusion family)"
        )
    return str(found)


def _tokenizer(view: Path, name: str) -> Any:
    import transformers

    return getattr(transformers, name).from_pretrained(view / "tokenizer", local_files_only=True, trust_remote_code=False)


@contextmanager
def _loading(folder: Path, files: list[Path]) -> Iterator[Path]:
    """The files as `only` gives them to a library; what it raises is a ``CheckpointError`` that speaks of ``folder``."""
    view = folder
    try:
        with only(folder, files) as view:
            yield view
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, ImportError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].replace(str(view), str(folder))
        raise CheckpointError(f"{folder}: cannot be loaded: {reason}") from error
