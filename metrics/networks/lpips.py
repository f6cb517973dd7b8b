"""Networks for LPIPS: feature maps of two pictures, compared layer by layer.

The lpips package's alex, vgg and squeeze with a trunk from a local file, and a ResNet folder with a weight for each hidden state.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from metrics.base import Image, MetricError
from metrics.networks.base import Maps
from metrics.networks.images import check_sides
from metrics.networks.resnet import PREFIX as FOLDER_PREFIX
from metrics.networks.resnet import open_resnet
from metrics.networks.weights import read_state, require_file

__all__ = ["LPIPSNetwork", "open_lpips"]

TRUNKS = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth", "squeeze": "squeezenet1_1-b8a52dc0.pth"}
"""Trunk of each network, under the name that torchvision gives its weight file."""

LEAST = {"alex": 31, "vgg": 16, "squeeze": 17}
"""Pixels per side of the smallest picture that reaches each network's last layer."""

DEFAULT_RESOLUTION = 256
EPSILON = 1e-10


class LPIPSNetwork(torch.nn.Module):
    """A network whose channel-normalised feature maps are compared layer by layer.

    Attributes:
        size: pixels per side at which it looks unless told otherwise.
        least: pixels per side below which it has nothing to look at.
        value_range: its input in the words of a card.
        description: architecture in words, without paths.
        unit: brings feature maps (n, c, h, w) to length 1 over channels.
    """

    size: int
    least: int = 1
    value_range: str
    description: str
    unit: Callable[[torch.Tensor], torch.Tensor] = staticmethod(
        lambda state: state / (state.square().sum(dim=1, keepdim=True).sqrt() + EPSILON)
    )

    def check_size(self, images: Sequence[Image], name: str, advice: str) -> None:
        """Nothing, if the network can look at pictures of these sizes.

        Raises:
            MetricError: a picture is too small; `name` and the row number begin the message, `advice` ends it.
        """
        check_sides(images, self.least, name, advice)

    def maps(self, pixels: torch.Tensor) -> Maps:
        """Normalised feature maps, each (n, c, h, w), of uint8 pixels (n, 3, H, W)."""
        raise NotImplementedError

    def differences(self, one: Maps, two: Maps) -> Maps:
        """Weighted squared differences, each (n, 1, h, w); their spatial means add up to the distance."""
        raise NotImplementedError


class _FolderLPIPS(LPIPSNetwork):
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

    def maps(self, pixels: torch.Tensor) -> Maps:
        states = self._network.hidden_states(self._network.normalise(pixels))
        return [self.unit(state) for state in states]

    def differences(self, one: Maps, two: Maps) -> Maps:
        layers = zip(self.layer_weights, one, two, strict=True)
        return [weight * (first - second).square().sum(dim=1, keepdim=True) for weight, first, second in layers]


class _PackagedLPIPS(LPIPSNetwork):
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
        advice = (
            f"put torchvision's {TRUNKS[net]} at {cached} or name it with weights=/path/to/it (`etabench fetch SPEC` brings it)"
        )
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
        self.least = LEAST[net]
        self.description = f"lpips v0.1 {net}: {TRUNKS[net].rpartition('-')[0]} trunk, calibrated heads"

    def maps(self, pixels: torch.Tensor) -> Maps:
        states = self.network.net(self.network.scaling_layer(pixels.float() / 127.5 - 1))
        return [self.unit(state) for state in states]

    def differences(self, one: Maps, two: Maps) -> Maps:
        heads = zip(self.network.lins, one, two, strict=True)
        return [head((first - second).square()) for head, first, second in heads]


def open_lpips(net: str, weights: str, device: torch.device) -> LPIPSNetwork:
    """The network that `net` names, see `LPIPS`.

    Raises:
        MetricError: unknown network, or weights missing or not fitting.
    """
    if not net.startswith(FOLDER_PREFIX):
        return _PackagedLPIPS(net, weights, device)
    if weights:
        raise MetricError(f"lpips weights: expected none beside net {net!r}, got {weights!r}; the folder holds its own")
    return _FolderLPIPS(net, device)
