"""Weights that metrics read and that are not on this machine: where their libraries have them from, and how to bring them.

Nothing here is called by a metric, which downloads nothing: a user asks for it, or the run that says so first.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from metrics.networks import inception
from metrics.networks.clip_towers import CLIP_PREFIX
from metrics.networks.openclip import is_cached, place_of
from metrics.networks.weights import HUB, expanded

__all__ = ["RemoteWeights", "absent_weights"]

TRUNKS = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}
"""Torchvision's names of the trunks of LPIPS."""
TEXTS = ("*.json", "*.txt", "*.model")
"""Files of tokenizers and configurations."""


@dataclass(frozen=True)
class RemoteWeights:
    """Weights to bring.

    Attributes:
        name: what they are.
        place: a URL, or ``owner/name`` on the model hub.
        size: bytes, as the library tells them, to its three decimals of a MiB; None where it does not.
        files: what is read of a place on the hub; empty for a URL.
        bring: downloads them to where the metric looks, and checks the digest that their name promises.
    """

    name: str
    place: str
    size: int | None
    files: tuple[str, ...]
    bring: Callable[[], object]


def absent_weights(metric: type[Any], params: Mapping[str, Any]) -> list[RemoteWeights]:
    """What a metric with these parameters would miss, of torchvision's trunks, torch-fidelity's Inception, open_clip's tags and "hub:"s.

    Weights in folders, and those of other packages, are the user's to bring. What is here of a branch of the hub stays what it is, wherever
    the branch has gone; the hub is not asked.
    """
    parameters = inspect.signature(metric).parameters
    given = {name: parameter.default for name, parameter in parameters.items()} | dict(params)
    found = [
        _trunk(given) if "weights" in parameters else None,
        _inception(str(given.get("features", ""))),
        *_open_clip(given.get("model"), given.get("pretrained")),
        *_clip_features(str(given.get("features", ""))),
        *(_repository(name, value) for name, value in given.items()),
    ]
    return [each for each in found if each is not None]


def _trunk(given: Mapping[str, Any]) -> RemoteWeights | None:
    net = given.get("net")
    if given["weights"] or net not in TRUNKS:
        return None
    import torch
    import torchvision  # type: ignore[import-untyped]

    weights = torchvision.models.get_model_weights(TRUNKS[net])["IMAGENET1K_V1"]
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    size = round(weights.meta["_file_size"] * 2**20)
    return None if file.is_file() else RemoteWeights(file.name, weights.url, size, (), partial(_download, weights.url, file))


def _inception(features: str) -> RemoteWeights | None:
    file = expanded(features.removeprefix(inception.PREFIX))
    if not features.startswith(inception.PREFIX) or file.is_file() or file.name != inception.FILE:
        return None
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    return RemoteWeights(file.name, URL_INCEPTION_V3, None, (), partial(_download, URL_INCEPTION_V3, file))


def _clip_features(features: str) -> Iterator[RemoteWeights]:
    model, _, pretrained = features.removeprefix(CLIP_PREFIX).partition(":")
    yield from _open_clip(model, pretrained) if features.startswith(CLIP_PREFIX) else ()


def _open_clip(model: object, pretrained: object) -> Iterator[RemoteWeights]:
    """The weights of a tag, and what the text tower reads of another repository: its tokenizer, its configuration."""
    if not isinstance(model, str) or not isinstance(pretrained, str):
        return
    import open_clip

    tag = open_clip.get_pretrained_cfg(model, pretrained)
    if not tag:
        return
    place, files = place_of(tag)
    if not is_cached(tag):
        fetch = partial(_first, place, files) if place else partial(open_clip.download_pretrained, tag)
        yield RemoteWeights(f"open_clip {model} {pretrained}", place or tag["url"], None, files[:1], fetch)
    text = open_clip.get_model_config(model)["text_cfg"]
    for name in dict.fromkeys(filter(None, (text.get("hf_tokenizer_name"), text.get("hf_model_name")))):
        if not _is_here(name, None, TEXTS):
            yield RemoteWeights(name, name, None, TEXTS, partial(_texts, name, model))


def _is_here(place: str, revision: str | None, files: tuple[str, ...]) -> bool:
    """Whether this machine has these files of a repository, all that its listing names; without a listing nobody knows."""
    from huggingface_hub import get_cached_repo_tree, snapshot_download
    from huggingface_hub.errors import CachedRepoTreeNotFoundError, HFValidationError, LocalEntryNotFoundError

    with suppress(CachedRepoTreeNotFoundError, HFValidationError, LocalEntryNotFoundError):
        folder = snapshot_download(place, revision=revision, local_files_only=True, allow_patterns=list(files))
        return bool(get_cached_repo_tree(place, revision=Path(folder).name))
    return False


def _first(place: str, files: tuple[str, ...]) -> str:
    """The first of several files of a repository that it has, as open_clip takes them."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    for file in files[:-1]:
        with suppress(RemoteEntryNotFoundError):
            return hf_hub_download(place, file)
    return hf_hub_download(place, files[-1])


def _texts(place: str, model: str) -> None:
    """Files of a text tower, opened once while the hub can be asked: transformers remembers which files there are none of."""
    import open_clip
    from huggingface_hub import snapshot_download

    snapshot_download(place, allow_patterns=list(TEXTS))
    open_clip.get_tokenizer(model)


def _repository(name: str, value: object) -> RemoteWeights | None:
    if not isinstance(value, str) or not value.startswith(HUB):
        return None
    from huggingface_hub import snapshot_download

    place, _, revision = value.removeprefix(HUB).partition("@")
    files = ("*.json", "*.txt", *([] if name == "processor" else ["model.safetensors"]))
    if _is_here(place, revision or None, files):
        return None
    fetch = partial(snapshot_download, place, revision=revision or None, allow_patterns=list(files))
    return RemoteWeights(place, place, None, files, fetch)


def _download(url: str, file: Path) -> None:
    """Bring a file whose name ends in the first digits of its SHA-256; a file with other content is not kept."""
    import torch

    promised = file.stem.rpartition("-")[2]
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.hub.download_url_to_file(url, str(file), hash_prefix=promised)
