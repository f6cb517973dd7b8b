"""Weight files: found on this machine or refused with advice, read without running code, and named by their SHA-256."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from metrics.base import MetricError

__all__ = [
    "HUB",
    "OFFLINE",
    "digest_of_file",
    "digest_of_state",
    "expanded",
    "first_line",
    "open_pretrained",
    "read_json",
    "read_state",
    "read_text",
    "readable",
    "require_file",
    "require_folder",
]

OFFLINE = {"local_files_only": True, "trust_remote_code": False}
"""For every `from_pretrained`: nothing is fetched, no code of a folder is run, nobody is asked."""
HUB = "hub:"
"""Before `owner/name` or `owner/name@revision`: the folder that the model hub's cache has of it."""
MOST_BYTES = 64 << 20
"""Largest file of text or JSON that is read; tokenizers have a few million bytes."""
MOST_SIDE = 4096
"""Largest side in pixels that a network may ask its pictures to be brought to."""
_SIDES = ("size", "image_size", "crop_size", "shortest_edge", "longest_edge", "height", "width")
_CODE = ("auto_map", "trust_remote_code")
HASH_IN_NAME = re.compile(r"-([0-9a-f]{8})\.(?:pth|pt|safetensors)$")


def digest_of_file(path: Path) -> str:
    """SHA-256 hex of the file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_of_state(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 hex over name, dtype, shape and bytes of all tensors in name order: the same weights in any file format agree."""
    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        total.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def expanded(path: str | Path) -> Path:
    """The path with `~` or `~user` written out; as it is where there is no such user or no home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def require_file(path: str | Path, what: str, advice: str) -> Path:
    """The path of an existing file whose name, where it carries eight hex digits of a hash, tells the truth.

    Raises:
        MetricError: no such file, or a file that is damaged or renamed; nothing is ever downloaded.
    """
    file = expanded(path)
    if not file.is_file():
        raise MetricError(f"{what}: no file at {file}; nothing is downloaded: {advice}")
    promised = HASH_IN_NAME.search(file.name)
    if promised:
        digest = digest_of_file(file)
        if not digest.startswith(promised.group(1)):
            raise MetricError(
                f"{what}: {file} should have a SHA-256 that begins with {promised.group(1)}, got {digest[:8]}; "
                "the file is damaged or misnamed: fetch it again"
            )
    return file


def require_folder(path: str | Path, what: str, files: tuple[str, ...]) -> Path:
    """The path of an existing folder that holds `files`; "hub:owner/name" is the one in the hub's cache.

    Raises:
        MetricError: folder or file is missing; nothing is ever downloaded.
    """
    folder = _cached(str(path), what) if str(path).startswith(HUB) else expanded(path)
    if not folder.is_dir():
        raise MetricError(f"{what}: no folder at {folder}; nothing is downloaded: give a folder that holds {', '.join(files)}")
    for name in files:
        if not (folder / name).is_file():
            raise MetricError(f"{what}: {folder} lacks {name}; expected {', '.join(files)}: save the network there again")
    if (folder / "adapter_config.json").exists():
        raise MetricError(f"{what}: {folder} holds an adapter, which names a network elsewhere; merge it into the weights")
    for file in sorted(folder.glob("*config.json")):
        _check_settings(read_json(file, what), what, file, sides=file.name != "tokenizer_config.json")
    return folder


def _cached(place: str, what: str) -> Path:
    """The folder of a repository in the hub's cache, which is asked alone."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    name, _, revision = place.removeprefix(HUB).partition("@")
    try:
        return Path(snapshot_download(name, revision=revision or None, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise MetricError(
            f"{what}: {name} of the hub is not on this machine; `etabench fetch SPEC` brings it, or name a folder: folder:/path"
        ) from error


def read_text(file: Path, what: str) -> str:
    """A text in UTF-8 of at most `MOST_BYTES`.

    Raises:
        MetricError: the file is no regular one, is larger, or is not UTF-8.
    """
    try:
        if not file.is_file():
            raise OSError("no regular file")
        with file.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise OSError(f"it is larger than {MOST_BYTES >> 20} MiB")
        return data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MetricError(f"{what}: {file} cannot be read as UTF-8 text: {error}") from error


def read_json(file: Path, what: str) -> Any:
    """The content of a JSON file, see `read_text`."""
    try:
        return json.loads(read_text(file, what))
    except (ValueError, RecursionError) as error:
        raise MetricError(f"{what}: {file} is not JSON: {first_line(error)}") from error


def _check_settings(settings: Any, what: str, file: Path, *, sides: bool, key: str = "") -> None:
    """Refuse settings that ask for code of the folder to be run, or for pictures without measure."""
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            if name in _CODE and value:
                raise MetricError(f"{what}: {file}: {name} asks for code of the folder, which is never run; remove it")
            _check_settings(value, what, file, sides=sides, key=str(name))
    elif isinstance(settings, list):
        for value in settings:
            _check_settings(value, what, file, sides=sides, key=key)
    elif sides and key in _SIDES and (isinstance(settings, str) or (settings is not None and not 0 < settings <= MOST_SIDE)):
        raise MetricError(f"{what}: {file}: {key} is {str(settings)[:40]}, expected 1 to {MOST_SIDE} pixels")


def open_pretrained(cls: Any, folder: Path, what: str, *, needs: str = "", **options: Any) -> Any:
    """A transformers model of class `cls` from safetensors in `folder`, quietly and without the hub.

    `needs` is the beginning of the names of the weights that must be in the file; "" asks for all.

    Raises:
        MetricError: the folder is unreadable, or the file lacks weights that would otherwise be left random.
    """
    options |= OFFLINE | {"use_safetensors": True, "output_loading_info": True}
    with readable(f"{what}: {folder} is not a readable {cls.__name__} folder"):
        model, loading = cls.from_pretrained(folder, **options)
    missing = sorted(key for key in loading["missing_keys"] if key.startswith(needs))
    if missing:
        raise MetricError(
            f"{what}: {folder}/model.safetensors lacks {missing[0]} and {len(missing) - 1} more; save the whole model again"
        )
    return model


@contextmanager
def readable(problem: str) -> Iterator[None]:
    """Without a progress bar; what goes wrong is a MetricError that begins with `problem`."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    except Exception as error:
        raise MetricError(f"{problem} ({first_line(error)}); save it with save_pretrained") from error
    finally:
        if shown:
            logging.enable_progress_bar()


def first_line(error: Exception) -> str:
    """The first line of a message, or the error's class where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def read_state(path: Path, what: str) -> dict[str, torch.Tensor]:
    """Tensors of a .safetensors file, or of a torch file read with `weights_only=True`, which runs no code.

    Raises:
        MetricError: the file is unreadable, holds more than tensors, or holds none.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise MetricError(
            f"{what}: cannot read {path} as plain tensors ({first_line(error)}); give a state dict or a .safetensors file"
        ) from error
    if not isinstance(state, dict) or not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise MetricError(f"{what}: {path} should hold a state dict of tensors; save model.state_dict() or a .safetensors file")
    return state
