"""LPIPS: distance of two pictures in the feature maps of a network.

Origin: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", arXiv 1801.03924; reference
code: the lpips package 0.1.4, which runs here. The networks: alex, vgg, squeeze (ImageNet trunk and the package's v0.1 heads),
or "folder:/path", a transformers ResNet with one weight per hidden state in `lpips.safetensors`.

Definition: sum over layers of a weighted sum over channels of the squared difference of channel-normalised feature maps,
averaged over positions; between the edit and its source. 0 for equal pictures.

Over a region: outside it the edit's pixels are first replaced by the source's, in place and before any resize; then the package's
spatial map (every layer brought to the picture's size, bilinear) is averaged with the region's pixels as weights. No pixel is
blackened. A position of the map sees its surroundings, so without the replacement a change inside the mask would be counted in the
background: half of the whole score with alex. Now a background that is kept is at 0 exactly, whatever happened inside, and what
happened outside the mask has no part in the edited region's value. `surroundings="edit"` leaves the edit as it is, the package's map
averaged over the region as others compute it.

Fingerprint: network, weights of trunk and heads, resolution, resize, range, region, surroundings.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from metrics.base import Card, Embedded, Image, MetricError, PairBatch, PairMetric
from metrics.networks.images import (
    BATCH_SIZE,
    RESIZE_POLICY,
    check_batch_size,
    check_images,
    check_sides,
    open_device,
    resize_square,
    to_tensor,
)
from metrics.networks.resnet import PREFIX as FOLDER_PREFIX
from metrics.networks.resnet import open_resnet
from metrics.networks.weights import digest_of_state, read_state, require_file
from metrics.toolbox.pairs import Maps, compare_pairs
from metrics.toolbox.regions import MASKING, NO_REGION, READS, check_pairs, check_region, only_in, regions, weights_of

__all__ = ["LPIPS", "LPIPSNetwork", "open_lpips"]

TRUNKS = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth", "squeeze": "squeezenet1_1-b8a52dc0.pth"}
"""Trunk of each network, under the name that torchvision gives its weight file."""

LEAST = {"alex": 31, "vgg": 16, "squeeze": 17}
"""Pixels per side of the smallest picture that reaches each network's last layer."""

DEFAULT_RESOLUTION = 256
EPSILON = 1e-10


class LPIPS(PairMetric):
    """LPIPS between each edit and its source; 0 is identity, lower is better.

    Args:
        net: "alex", "vgg", "squeeze" or "folder:/path" (ResNet folder with `lpips.safetensors`: tensor `weights` (layers,)).
        region: "whole", "background" (outside the sample's mask) or "edited" (inside it); the latter need edit and source of one
            size.
        surroundings: what the network sees outside the region: "source" (the source's pixels) or "edit" (parity: the edit's own,
            which leak into the region).
        weights: file with torchvision's weights of the trunk (.pth or .safetensors); "" looks in torch's hub cache. Not for
            folders.
        resolution: pixels per side at which both pictures are compared; "native" compares them as they are; None means 256, or
            the network's own size for folders.
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: unknown network or region, weights missing (the message says which file to put where), or a parameter out of
            bounds.
    """

    name: ClassVar[str] = "lpips"
    bounds = (0.0, None)
    embedded: ClassVar[Embedded] = {"net": "features"}

    def __init__(
        self,
        net: str = "alex",
        region: str = "whole",
        *,
        surroundings: str = "source",
        weights: str = "",
        resolution: int | str | None = None,
        device: str = "cpu",
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self._device = open_device(device)
        self._batch_size = check_batch_size(batch_size)
        self._region = check_region(region, self.name)
        if surroundings not in ("source", "edit"):
            raise MetricError(f"lpips surroundings: expected source or edit, got {surroundings!r}; 'source' is the default")
        self.reads = frozenset({"sources"}) | READS[self._region]
        self._replace = self._region != "whole" and surroundings == "source"
        self._network = open_lpips(net, weights, self._device)
        self._size = _resolution(resolution, self._network)
        self.card = Card(
            name=self.name,
            version="2" if self._replace else "1",
            network=self._network.description,
            weights=digest_of_state(self._network.state_dict()),
            resolution="native" if self._size is None else f"{self._size}x{self._size}",
            resize="none" if self._size is None else RESIZE_POLICY,
            value_range=self._network.value_range,
            scale="plain distance, unclamped",
            masking=MASKING[self._region]
            + ("" if self._region == "whole" else " of the spatial map")
            + ("; outside the region the edit shows the source" if self._replace else ""),
            nan_rule=NO_REGION[self._region] or "never",
            higher_is_better=False,
            definition="Weighted squared difference of channel-normalised feature maps of edit and source.",
            source="Zhang et al. 2018, arXiv 1801.03924; lpips 0.1.4",
        )

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        return self.distances(batch, "sources")

    def distances(self, batch: PairBatch, other: Literal["sources", "truths"]) -> NDArray[np.float64]:
        """`score` against another list of the batch; what that list holds is computed once per distinct picture."""
        edits, others = check_images(batch.edits, "edits"), check_images(getattr(batch, other), other)
        if self._size is None:
            check_pairs(batch, f"{self.name} at native resolution", other)
            self._network.check_size(edits, "edits", "enlarge the pictures or give a resolution; 256 is the default")
        pixels = regions(batch, self._region)
        if self._replace:
            check_pairs(batch, f"{self.name} of a region", other)
            triples = zip(edits, others, pixels, strict=True)
            edits = [edit if here is None else only_in(here, edit, kept) for edit, kept, here in triples]
        rows = [row for row, chosen in enumerate(pixels) if chosen is not None]
        fitted = {id(image): image if self._size is None else resize_square(image, self._size) for image in (*edits, *others)}
        weights = [] if self._region == "whole" else [weights_of(chosen, self._size) for chosen in pixels if chosen is not None]

        def compare(one: Maps, two: Maps, here: list[int]) -> torch.Tensor:
            if not weights:
                return sum((layer.mean(dim=(1, 2, 3)) for layer in self._network.differences(one, two)), torch.tensor(0.0))
            weight = torch.from_numpy(np.stack([weights[row] for row in here]))[:, None].to(self._device)
            layers = self._network.differences(one, two)
            size = weight.shape[2:]
            spatial = torch.stack([interpolate(x, size, mode="bilinear", align_corners=False) for x in layers]).sum(dim=0)
            return (spatial * weight).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3))

        scores = np.full(len(edits), np.nan, dtype=np.float64)
        one, two = ([fitted[id(images[row])] for row in rows] for images in (edits, others))
        scores[rows] = compare_pairs(self._encode, compare, one, two, self._batch_size)
        return scores

    def _encode(self, images: list[Image]) -> Maps:
        return self._network.maps(to_tensor(images, self._device))


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


def _resolution(given: int | str | None, network: LPIPSNetwork) -> int | None:
    if given is None:
        return network.size
    if given == "native":
        return None
    least = max(network.least, 16)
    if isinstance(given, bool) or not isinstance(given, int) or given < least:
        raise MetricError(
            f"lpips resolution: expected pixels per side (at least {least}) or 'native', got {given!r}; "
            f"the default is {network.size}"
        )
    return given
