"""A transformers ResNet saved in a folder, as a network whose hidden states metrics read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from metrics.base import Image, MetricError
from metrics.networks.base import Extractor, Identity
from metrics.networks.images import BATCH_SIZE, RESIZE_POLICY, resize_square, to_tensor
from metrics.networks.weights import digest_of_state, first_line, open_pretrained, read_json, require_folder

__all__ = ["PREFIX", "FolderExtractor", "FolderNetwork", "open_resnet"]

PREFIX = "folder:"
DEFAULTS: dict[str, Any] = {"size": 64, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}


@dataclass(frozen=True)
class FolderNetwork:
    """A ResNet in eval mode and how it wants to be fed.

    Attributes:
        model: `transformers.ResNetForImageClassification`.
        folder: where it came from (not part of its identity).
        description: architecture in words, without paths.
        weights: SHA-256 hex of its tensors.
        size: input pixels per side.
        mean: channel means in 0..1.
        std: channel deviations in 0..1.
    """

    model: Any
    folder: Path
    description: str
    weights: str
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def value_range(self) -> str:
        """The input normalisation in the words of a card."""
        return f"uint8 0..255 -> (x/255 - {list(self.mean)}) / {list(self.std)}"

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 (n, 3, H, W) to float32 in the network's range."""
        mean = pixels.new_tensor(self.mean, dtype=torch.float32).view(1, 3, 1, 1)
        std = pixels.new_tensor(self.std, dtype=torch.float32).view(1, 3, 1, 1)
        return (pixels.to(torch.float32) / 255 - mean) / std

    def hidden_states(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Float32 (n, c, h, w) after the embedder and after each stage."""
        states: tuple[torch.Tensor, ...] = self.model.resnet(inputs, output_hidden_states=True).hidden_states
        return states


def open_resnet(spec: str, device: torch.device, what: str, extra_files: tuple[str, ...] = ()) -> FolderNetwork:
    """Load "folder:/path" (config.json, model.safetensors, optionally preprocessor_config.json).

    Size, mean and deviation come from `preprocessor_config.json`; without one they are 64 pixels and 0.5.

    Raises:
        MetricError: something is missing or unreadable, or the file lacks weights that would otherwise be left random.
    """
    folder = require_folder(spec.removeprefix(PREFIX), what, ("config.json", "model.safetensors", *extra_files))
    from transformers import ResNetForImageClassification

    model = open_pretrained(ResNetForImageClassification, folder, what, needs="resnet.")
    model = model.to(device=device, dtype=torch.float32).eval().requires_grad_(False)
    config = model.config
    preprocessing = _preprocessing(folder, what)
    return FolderNetwork(
        model=model,
        folder=folder,
        description=(
            f"transformers ResNet {config.layer_type} depths={list(config.depths)} "
            f"widths={[config.embedding_size, *config.hidden_sizes]} act={config.hidden_act}"
        ),
        weights=digest_of_state(model.resnet.state_dict()),
        size=preprocessing["size"],
        mean=tuple(preprocessing["image_mean"]),
        std=tuple(preprocessing["image_std"]),
    )


def _preprocessing(folder: Path, what: str) -> dict[str, Any]:
    file = folder / "preprocessor_config.json"
    if not file.is_file():
        return DEFAULTS
    try:
        given = {**DEFAULTS, **read_json(file, what)}
        size = given["size"]
        if isinstance(size, dict):
            size = size["shortest_edge"] if "shortest_edge" in size else size["height"]
        return {"size": int(size), **{key: [float(x) for x in given[key]] for key in ("image_mean", "image_std")}}
    except (ValueError, KeyError, TypeError) as error:
        raise MetricError(
            f"{what}: {file} should name size, image_mean and image_std ({first_line(error)}); mend or remove it"
        ) from error


class FolderExtractor(Extractor):
    """Spatial mean of the last hidden state of a transformers ResNet.

    Args:
        spec: "folder:/path", see `metrics.networks.resnet.open_resnet`.
        device: torch device.
        batch_size: rows per forward pass.
    """

    def __init__(self, spec: str, device: str = "cpu", batch_size: int = BATCH_SIZE) -> None:
        super().__init__(device, batch_size)
        self._network = open_resnet(spec, self._device, "features")
        self.dimensions = int(self._network.model.config.hidden_sizes[-1])
        size = self._network.size
        self.identity = Identity(
            network=f"{self._network.description}, last hidden state, spatial mean",
            weights=self._network.weights,
            resolution=f"{size}x{size}",
            resize=RESIZE_POLICY,
            value_range=self._network.value_range,
        )

    def _features(self, images: list[Image]) -> NDArray[np.float32]:
        pixels = to_tensor([resize_square(image, self._network.size) for image in images], self._device)
        last = self._network.hidden_states(self._network.normalise(pixels))[-1]
        features: NDArray[np.float32] = last.mean(dim=(2, 3)).float().cpu().numpy()
        return features
