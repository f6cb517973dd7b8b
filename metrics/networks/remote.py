"""Weights that metrics read and that are not on this machine: where their libraries have them from, and how to bring them.

Nothing here is called by a metric, which downloads nothing (but for open_clip's tags): a user asks for it.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from metrics.networks import inception
from metrics.networks.clip_towers import CLIP_PREFIX
from metrics.networks.weights import HUB, expanded

__all__ = ["RemoteWeights", "absent_weights"]

TRUNKS = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}
"""Torchvision's names of the trunks of LPIPS."""


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

    Weights in folders, and those of other packages, are the user's to bring. What the hub has is always listed: it knows what is here.
    """
    parameters = inspect.signature(metric).parameters
    given = {name: parameter.default for name, parameter in parameters.items()} | dict(params)
    found = [
        _trunk(given) if "weights" in parameters else None,
        _inception(str(given.get("features", ""))),
        _open_clip(given.get("model"), given.get("pretrained")),
        _clip_features(str(given.get("features", ""))),
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


def _clip_features(features: str) -> RemoteWeights | None:
    model, _, pretrained = features.removeprefix(CLIP_PREFIX).partition(":")
    return _open_clip(model, pretrained) if features.startswith(CLIP_PREFIX) else None


def _open_clip(model: object, pretrained: object) -> RemoteWeights | None:
    if not isinstance(model, str) or not isinstance(pretrained, str):
        return None
    import open_clip

    tag = open_clip.get_pretrained_cfg(model, pretrained)
    if not tag:
        return None
    hub_id, file = os.path.split(tag.get("hf_hub", ""))
    files = (file,) if file else ("open_clip_model.safetensors",)
    return RemoteWeights(
        f"open_clip {model} {pretrained}",
        hub_id or tag["url"],
        None,
        files if hub_id else (),
        partial(open_clip.download_pretrained, tag),
    )


def _repository(name: str, value: object) -> RemoteWeights | None:
    if not isinstance(value, str) or not value.startswith(HUB):
        return None
    from huggingface_hub import snapshot_download

    place, _, revision = value.removeprefix(HUB).partition("@")
    files = ("*.json", "*.txt", *([] if name == "processor" else ["model.safetensors"]))
    fetch = partial(snapshot_download, place, revision=revision or None, allow_patterns=list(files))
    return RemoteWeights(place, place, None, files, fetch)


def _download(url: str, file: Path) -> None:
    """Bring a file whose name ends in the first digits of its SHA-256; a file with other content is not kept."""
    import torch

    promised = file.stem.rpartition("-")[2]
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.hub.download_url_to_file(url, str(file), hash_prefix=promised)
