"""Checkpoints on disk: where they are, what they hold, and their identity."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from editors.toolbox.backbones import BACKBONES, Backbone, Part, family_of
from editors.toolbox.digests import files_digest
from editors.toolbox.hub import HubError, Repository, first_place
from editors.toolbox.untrusted import CheckpointError, check_config, check_tree, indexed, only, read_config, regular

__all__ = [
    "CheckpointError",
    "digest",
    "family",
    "load_backbone",
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

_NETWORK = ["config.json", "diffusion_pytorch_model.safetensors"]
_TOKENIZER = ("*.json", "*.txt", "*.model")
_TEXTS = {".json", ".txt", ".model", ".jinja"}


def _patterns(parts: Collection[tuple[str, Part]], allow_pickle: bool) -> list[str]:
    """Glob patterns of every file that is read, relative to the pipeline folder."""
    patterns = ["model_index.json", "scheduler/*.json"]
    for name, part in parts:
        if not part.stem:
            patterns += [f"{name}/{pattern}" for pattern in _TOKENIZER]
            continue
        patterns += [f"{name}/config.json", f"{name}/{part.stem}.safetensors", f"{name}/{part.stem}-*-of-*.safetensors"]
        patterns += [f"{name}/{part.stem}.safetensors.index.json"]
        if allow_pickle:
            patterns += [f"{name}/{part.pickle}.bin", f"{name}/{part.pickle}-*-of-*.bin", f"{name}/{part.pickle}.bin.index.json"]
    return patterns


def family(folder: Path) -> type[Backbone]:
    """Of which family the checkpoint in ``folder`` is. Raises ``CheckpointError``."""
    return family_of(read_config(folder / "model_index.json"))


def _parts(folder: Path) -> dict[str, Part]:
    """The parts that a checkpoint has, by name: those of its family, but for optional ones that it says it lacks."""
    index = read_config(folder / "model_index.json")
    return {name: part for name, part in family_of(index).parts.items() if not (part.optional and _class(index, name) is None)}


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
    for name, part in _parts(folder).items():
        if not part.stem or any((folder / name).glob(f"{part.stem}*.safetensors")):
            continue
        pickles = sorted((folder / name).glob("*.bin"))
        if not pickles:
            raise CheckpointError(f"{folder / name}: expected {part.stem}.safetensors, found no weights")
        if not allow_pickle:
            raise CheckpointError(
                f"{pickles[0]}: pickle weights can run code when loaded and are refused; convert them to safetensors, "
                "or set allow_pickle if you trust their origin"
            )
    return folder


def _place(names: str, revision: str | None, allow_pickle: bool) -> Path | Repository:
    everyone = {item for each in BACKBONES.values() for item in each.parts.items()}
    files = dict.fromkeys(_patterns(sorted(everyone, key=lambda item: item[0]), allow_pickle))
    wanted = Repository("", revision or "main", tuple(files), index="model_index.json")
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
    found = _found(folder, _patterns(_parts(folder).items(), allow_pickle))
    return regular([*found, *(file for index in found if index.name.endswith(".index.json") for file in indexed(index))])


def _found(folder: Path, patterns: list[str]) -> list[Path]:
    return regular(file for pattern in patterns for file in folder.glob(pattern))


def load_backbone(folder: Path, dtype: torch.dtype = torch.float32, allow_pickle: bool = False) -> Backbone:
    """Load the parts with their own libraries' loaders, on the CPU, from the files that ``digest`` covers.

    The VAE stays float32 where its configuration says ``force_upcast``: in half precision it would overflow. A configuration that does not
    say so is taken at its word, though diffusers' default is to upcast, which Stable Diffusion 1 and 2 do without.

    Raises ``CheckpointError`` on an unknown family, and on what is refused of any.
    """
    import diffusers

    files, parts = _files(folder, allow_pickle), _parts(folder)
    index = read_config(folder / "model_index.json")
    names = {name: _class_of(folder, index, name) for name in parts}
    sized = (folder / name / "config.json" for name, part in parts.items() if part.stem)
    for file in (*sized, folder / "scheduler" / "scheduler_config.json"):
        check_config(read_config(file), file)
    upcast = read_config(folder / "vae" / "config.json").get("force_upcast", False)
    with torch.random.fork_rng(devices=[]), _loading(folder, files) as view:
        loaded: dict[str, Any] = {}
        for name, part in parts.items():
            own = torch.float32 if name == "vae" and upcast else dtype
            loaded[name] = _part(view / name, part, names[name], own, allow_pickle)
        return family_of(index)(loaded, diffusers.DDIMScheduler.load_config(view / "scheduler"), index)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer that decides where texts are cut, alone; ``model_max_length`` is at how many tokens. Raises ``CheckpointError``."""
    index, known = read_config(folder / "model_index.json"), family(folder)
    part, length = known.reads
    name = _class_of(folder, index, part)
    with _loading(folder, _found(folder, [f"{part}/{pattern}" for pattern in _TOKENIZER])) as view:
        found = _part(view / part, known.parts[part], name, torch.float32, False)
    found.model_max_length = length or found.model_max_length
    return found


def _class(index: Mapping[str, Any], part: str) -> Any:
    """What an index says a part is; None where it has none."""
    entry = index.get(part)
    return entry[1] if isinstance(entry, list) and len(entry) == 2 else None


def _class_of(folder: Path, index: Mapping[str, Any], part: str) -> str:
    """The class of a part, one of those that are known."""
    found, known = _class(index, part), family_of(index)
    if found not in known.parts[part].classes:
        raise CheckpointError(
            f"{folder}: {part} is {str(found)[:80]}, expected {' or '.join(known.parts[part].classes)} ({known.title()})"
        )
    return str(found)


def _part(folder: Path, part: Part, name: str, dtype: torch.dtype, allow_pickle: bool) -> Any:
    """A part of the class ``name``, loaded by its library."""
    import diffusers
    import transformers

    if not part.stem:
        return getattr(transformers, name).from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    safe = None if allow_pickle else True
    if part.library == "diffusers":
        return getattr(diffusers, name).from_pretrained(folder, torch_dtype=dtype, use_safetensors=safe)
    return getattr(transformers, name).from_pretrained(
        folder, dtype=dtype, use_safetensors=safe, local_files_only=True, trust_remote_code=False
    )


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
