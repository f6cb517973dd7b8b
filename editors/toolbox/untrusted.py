"""What of a checkpoint is read, whoever made it: regular files that lie in its folder, the same ones that are hashed, no code, and a
configuration that asks for no more than a network needs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from editors.task import EditorError
from editors.toolbox.files import read_regular

__all__ = ["CheckpointError", "check_config", "check_tree", "indexed", "only", "read_config", "regular"]

_MOST_BYTES = 64 << 20
"""Largest JSON file that is read; tokenizers have a few million bytes."""
_MOST = {
    "sample_size": 8192,
    "image_size": 8192,
    "size": 8192,
    "context_length": 16_384,
    "pos_embed_max_size": 1024,
    "layers": 256,
    "layers_per_block": 64,
    "transformer_layers_per_block": 64,
    "num_train_timesteps": 100_000,
    **dict.fromkeys(("num_hidden_layers", "num_layers", "num_single_layers"), 256),
    **dict.fromkeys(("num_attention_heads", "num_key_value_heads", "num_heads"), 512),
    **dict.fromkeys(("attention_head_dim", "head_dim", "d_kv", "latent_channels", "z_dim"), 1024),
    **dict.fromkeys(
        ("width", "embed_dim", "hidden_size", "d_model", "block_out_channels", "in_channels", "out_channels"), 16_384
    ),
    **dict.fromkeys(("projection_dim", "pooled_projection_dim", "caption_projection_dim"), 16_384),
    **dict.fromkeys(("cross_attention_dim", "joint_attention_dim", "projection_class_embeddings_input_dim"), 65_536),
    **dict.fromkeys(("intermediate_size", "d_ff"), 131_072),
}
"""Whole numbers of a configuration that a network's memory grows with, in pixels, layers and features, and the most that is taken: some
four times what the largest published editors have (FLUX.2 reads texts 15,360 wide, language models of 70 billion parameters are 8,192 wide)."""
_MOST_ITEMS = {"trained_betas": 100_000}
_MOST_ITEMS_OTHERWISE = 1024
_CODE = ("auto_map", "trust_remote_code")
_SIZED = ("config.json", "scheduler_config.json")
_LIBRARIES = ("diffusers", "transformers")
_FOREIGN = "weights must lie beside their index"


class CheckpointError(EditorError):
    """A checkpoint is missing, incomplete, of another family, or in a format that is refused."""


def regular(files: Iterable[Path]) -> list[Path]:
    """The files, sorted and each once. Raises ``CheckpointError`` where one is a folder, a pipe or a device."""
    found = sorted(set(files))
    for file in found:
        if not file.is_file():
            raise CheckpointError(f"{file}: not a regular file; remove it or save the checkpoint again")
    return found


def read_config(file: Path) -> dict[str, Any]:
    """The mapping in a JSON file of a checkpoint. Raises ``CheckpointError`` where there is none, or one that names code to be run."""
    try:
        content = json.loads(read_regular(file, _MOST_BYTES).decode("utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{file}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file}: cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{file}: expected a JSON object, got {type(content).__name__}")
    if key := _code_in(content):
        raise CheckpointError(f"{file}: {key} asks for code of the checkpoint, which is never run; remove it")
    return content


def _code_in(content: Any) -> str:
    """The first key, at any depth, that tells a library to run code that comes with the checkpoint."""
    if isinstance(content, Mapping):
        return next((key for key in _CODE if content.get(key)), "") or next(filter(None, map(_code_in, content.values())), "")
    return next(filter(None, map(_code_in, content)), "") if isinstance(content, list) else ""


def indexed(index: Path) -> Iterator[Path]:
    """The weight files that the index of a sharded network names. Raises ``CheckpointError`` for one of another folder or format."""
    suffix = Path(index.name.removesuffix(".index.json")).suffix
    names = read_config(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise CheckpointError(f"{index}: expected a weight_map of tensors to files")
    for name in names.values():
        if not isinstance(name, str) or Path(name).name != name or Path(name).suffix != suffix:
            raise CheckpointError(f"{index}: names {str(name)[:80]!r}; {_FOREIGN} and end in {suffix}")
        yield index.parent / name


def check_config(config: Any, place: object, key: str = "", most: int = 1 << 20) -> None:
    """Raise ``CheckpointError`` naming ``place`` and the key where a configuration asks for more than a network of its kind needs.

    ``most`` bounds the whole numbers that have no bound of their own; the largest vocabularies have a quarter of the default.
    """
    if isinstance(config, Mapping):
        for name, value in config.items():
            check_config(value, place, str(name), most)
    elif isinstance(config, list):
        if len(config) > (items := _MOST_ITEMS.get(key, _MOST_ITEMS_OTHERWISE)):
            raise CheckpointError(f"{place}: {key} has {len(config)} items; at most {items} are taken")
        for value in config:
            check_config(value, place, key, most)
    elif isinstance(config, int) and abs(config) > (limit := _MOST.get(key, most)):
        shown = config if abs(config) < 10**18 else "a number of more than 18 digits"
        raise CheckpointError(f"{place}: {key} is {shown}; at most {limit} is taken")


@contextmanager
def only(folder: Path, files: Iterable[Path]) -> Iterator[Path]:
    """A folder for a library to load from, which holds these files of ``folder`` and no others, as links.

    What a library would find and read beside them (a second set of weights, an adapter and the network that it names, code) is not there.
    """
    with TemporaryDirectory(prefix="etabench-") as scratch:
        view = Path(scratch)
        for file in files:
            link = view / file.relative_to(folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.resolve())
        yield view


def check_tree(folder: Path, allow_pickle: bool = False) -> None:
    """Check the folder of a pipeline of any family before a library loads it whole.

    Raises ``CheckpointError`` where a component's class is not one of diffusers or transformers, where a component brings code or an
    adapter, where an index names weights elsewhere, or pickles that are not allowed, and where a configuration asks for too much.
    """
    import diffusers

    index = read_config(folder / "model_index.json")
    for part, entry in index.items():
        if not isinstance(entry, list) or part.startswith("_"):
            continue
        library = entry[0] if entry else None
        if (
            library is not None
            and library not in _LIBRARIES
            and not (isinstance(library, str) and library.isidentifier() and hasattr(diffusers.pipelines, library))
        ):
            raise CheckpointError(
                f"{folder}: {part} is of {str(library)[:80]!r}; only classes of {' and '.join(_LIBRARIES)} are loaded"
            )
        for code in sorted((folder / part).glob("*.py")):
            raise CheckpointError(f"{code}: code of the checkpoint is never run; remove it if the checkpoint works without")
        if (folder / part / "adapter_config.json").exists():
            raise CheckpointError(f"{folder / part}: an adapter, which names a network elsewhere; merge it into the weights")
        for settings in sorted((folder / part).glob("*config.json")):
            content = read_config(settings)
            if settings.name in _SIZED:
                check_config(content, settings, most=1 << 31)
    for file in sorted(folder.rglob("*.index.json")):
        if allow_pickle or not file.name.endswith(".bin.index.json"):
            regular(indexed(file))
