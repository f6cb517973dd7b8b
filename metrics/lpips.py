"""LPIPS: distance of two pictures in the feature maps of a network.

Origin: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", arXiv 1801.03924; reference
code: the lpips package 0.1.4, which runs here. The networks: alex, vgg, squeeze (ImageNet trunk and the package's v0.1 heads),
or "folder:/path", a transformers ResNet with one weight per hidden state in `lpips.safetensors`.

Definition: sum over layers of a weighted sum over channels of the squared difference of channel-normalised feature maps,
averaged over positions; between the edit and its source. 0 for equal pictures.

Fingerprint: network, weights of trunk and heads, resolution, resize, range.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from metrics.base import Card, Image, MetricError, PairBatch, PairMetric
from metrics.images import (
    BATCH_SIZE,
    RESIZE_POLICY,
    check_batch_size,
    check_images,
    in_batches,
    open_device,
    resize_square,
    to_tensor,
)
from metrics.resnet import PREFIX as FOLDER_PREFIX
from metrics.resnet import open_resnet
from metrics.weights import digest_of_state, read_state, require_file

__all__ = ["LPIPS"]

TRUNKS = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth", "squeeze": "squeezenet1_1-b8a52dc0.pth"}
"""Trunk of each network, under the name that torchvision gives its weight file."""

DEFAULT_RESOLUTION = 256
EPSILON = 1e-10


class LPIPS(PairMetric):
    """LPIPS between each edit and its source; 0 is identity, lower is better.

    Args:
        net: "alex", "vgg", "squeeze" or "folder:/path" (ResNet folder with `lpips.safetensors`: tensor `weights` (layers,)).
        weights: file with torchvision's weights of the trunk (.pth or .safetensors); "" looks in torch's hub cache. Not for
            folders.
        resolution: pixels per side at which both pictures are compared; "native" compares them as they are; None means 256, or
            the network's own size for folders.
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: unknown network, weights missing (the message says which file to put where), or a parameter out of bounds.
    """

    name: ClassVar[str] = "lpips"

    def __init__(
        self,
        net: str = "alex",
        *,
        weights: str = "",
        resolution: int | str | None = None,
        device: str = "cpu",
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self._device = open_device(device)
        self._batch_size = check_batch_size(batch_size)
        self._network = _open_network(net, weights, self._device)
        self._size = _resolution(resolution, self._network.size)
        self.card = Card(
            name=self.name,
            version="1",
            network=self._network.description,
            weights=digest_of_state(self._network.state_dict()),
            resolution="native" if self._size is None else f"{self._size}x{self._size}",
            resize="none" if self._size is None else RESIZE_POLICY,
            value_range=self._network.value_range,
            scale="plain distance, unclamped",
            masking="whole picture",
            nan_rule="never",
            higher_is_better=False,
            definition="Weighted squared difference of channel-normalised feature maps of edit and source.",
            source="Zhang et al. 2018, arXiv 1801.03924; lpips 0.1.4",
        )

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        edits, sources = check_images(batch.edits, "edits"), check_images(batch.sources, "sources")
        if self._size is None:
            for row, (edit, source) in enumerate(zip(edits, sources, strict=True)):
                if edit.shape != source.shape:
                    raise MetricError(
                        f"lpips: edits[{row}] is {edit.shape[:2]}, its source {source.shape[:2]}; "
                        "at native resolution both must have one size: set a resolution"
                    )
        return in_batches(self._distances, edits, sources, batch_size=self._batch_size).astype(np.float64)

    def _distances(self, edits: list[Image], sources: list[Image]) -> NDArray[np.float64]:
        distances: NDArray[np.float64] = self._network(self._pixels(edits), self._pixels(sources)).double().cpu().numpy()
        return distances

    def _pixels(self, images: list[Image]) -> torch.Tensor:
        size = self._size
        return to_tensor(images if size is None else [resize_square(image, size) for image in images], self._device)


class _FolderLPIPS(torch.nn.Module):
    """LPIPS over the hidden states of a ResNet folder, one weight per hidden state."""

    layer_weights: torch.Tensor

    def __init__(self, spec: str, device: torch.device) -> None:
        super().__init__()
        network = open_resnet(spec, device, "lpips net", extra_files=("lpips.safetensors",))
        file = network.folder / "lpips.safetensors"
        weights = read_state(file, "lpips net").get("weights")
        layers = len(network.model.config.hidden_sizes) + 1
        if weights is None or weights.shape != (layers,) or not bool((torch.isfinite(weights) & (weights >= 0)).all()):
            got = "none" if weights is None else f"{tuple(weights.shape)} {weights.tolist()}"
            raise MetricError(
                f"lpips net: {file} should hold a tensor 'weights' of shape ({layers},), finite and >= 0, got {got}; "
                "give one weight per hidden state"
            )
        self.register_buffer("layer_weights", weights.to(device=device, dtype=torch.float32))
        self.resnet = network.model.resnet
        self._network = network
        self.size = network.size
        self.value_range = network.value_range
        self.description = f"{network.description}, all hidden states, one weight each"

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Distances (n,) of uint8 pixels (n, 3, h, w)."""
        total = torch.zeros(len(first), device=first.device)
        for weight, one, two in zip(self.layer_weights, self._states(first), self._states(second), strict=True):
            total = total + weight * (one - two).square().sum(dim=1).mean(dim=(1, 2))
        return total

    def _states(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        states = self._network.hidden_states(self._network.normalise(pixels))
        return [state / (state.norm(dim=1, keepdim=True) + EPSILON) for state in states]


class _PackagedLPIPS(torch.nn.Module):
    """The lpips package's network with a trunk read from a local file."""

    size = DEFAULT_RESOLUTION
    value_range = "uint8 0..255 -> x/127.5 - 1, then the package's scaling layer"

    def __init__(self, net: str, weights: str, device: torch.device) -> None:
        super().__init__()
        if net not in TRUNKS:
            raise MetricError(
                f"lpips net: expected alex, vgg, squeeze or 'folder:/path', got {net!r}; 'alex' is the usual choice"
            )
        cached = Path(torch.hub.get_dir()) / "checkpoints" / TRUNKS[net]
        advice = f"put torchvision's {TRUNKS[net]} at {cached} or name it with weights=/path/to/it"
        file = require_file(weights or cached, f"lpips {net}", advice)
        state = read_state(file, f"lpips {net}")
        import lpips

        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="torchvision")  # the package passes torchvision's old `pretrained=`
            self.network: Any = lpips.LPIPS(net=net, version="0.1", pnet_rand=True, verbose=False)
        trunk = self.network.net
        try:
            trunk.load_state_dict({name: state[f"features.{name.partition('.')[2]}"] for name in trunk.state_dict()})
        except (KeyError, RuntimeError) as error:
            raise MetricError(f"lpips {net}: {file} does not hold the {net} trunk ({type(error).__name__}); {advice}") from error
        self.to(device).eval().requires_grad_(False)
        self.description = f"lpips v0.1 {net}: {TRUNKS[net].rpartition('-')[0]} trunk, calibrated heads"

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Distances (n,) of uint8 pixels (n, 3, h, w)."""
        distances: torch.Tensor = self.network(first.float() / 127.5 - 1, second.float() / 127.5 - 1)
        return distances.reshape(-1)


def _open_network(net: str, weights: str, device: torch.device) -> _FolderLPIPS | _PackagedLPIPS:
    if not net.startswith(FOLDER_PREFIX):
        return _PackagedLPIPS(net, weights, device)
    if weights:
        raise MetricError(f"lpips weights: expected none beside net {net!r}, got {weights!r}; the folder holds its own")
    return _FolderLPIPS(net, device)


def _resolution(given: int | str | None, default: int) -> int | None:
    if given is None:
        return default
    if given == "native":
        return None
    if isinstance(given, bool) or not isinstance(given, int) or given < 16:
        raise MetricError(
            f"lpips resolution: expected pixels per side (at least 16) or 'native', got {given!r}; the default is {default}"
        )
    return given
