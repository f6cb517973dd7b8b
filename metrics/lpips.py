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

Its map, over the whole picture: every layer brought to a grid of at most 64 cells a side (bilinear, antialiased) and scaled to the mean
that it had, summed; so that the mean of the map is the score, which bilinear resizing alone does not keep.

Fingerprint: network, weights of trunk and heads, resolution, resize, range, region, surroundings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from metrics.base import Card, Embedded, Image, MetricError, PairBatch, ScoreMap, SpatialMetric
from metrics.networks.base import Maps
from metrics.networks.images import (
    BATCH_SIZE,
    RESIZE_POLICY,
    check_batch_size,
    check_images,
    open_device,
    resize_square,
    to_tensor,
)
from metrics.networks.lpips import LPIPSNetwork, open_lpips
from metrics.networks.weights import digest_of_state
from metrics.toolbox.pairs import compare_pairs
from metrics.toolbox.regions import MASKING, NO_REGION, READS, check_pairs, check_region, only_in, regions, weights_of

__all__ = ["LPIPS"]

MAP_SIDE = 64
"""Cells on the longer side of a map, where the network looks at no fewer pixels."""


class LPIPS(SpatialMetric):
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
        self.spatial = self._region == "whole"
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

    def score_maps(self, batch: PairBatch) -> tuple[NDArray[np.float64], list[ScoreMap]]:
        if not self.spatial:
            raise MetricError(f"{self.name} of a region has no maps; 'whole' has")
        found = [np.zeros(self._grid(edit), dtype=np.float32) for edit in batch.edits]

        def keep(layers: Maps, rows: list[int]) -> None:
            cells = spread(layers, found[rows[0]].shape).float().cpu().numpy()
            for row, one in zip(rows, cells, strict=True):
                found[row] = one

        return self.distances(batch, "sources", keep), found

    def distances(
        self, batch: PairBatch, other: Literal["sources", "truths"], keep: Callable[[Maps, list[int]], None] | None = None
    ) -> NDArray[np.float64]:
        """`score` against another list of the batch; what that list holds is computed once per distinct picture.

        `keep` is given the layers' differences, over the whole picture, and the rows these are of, none of them equal pictures.
        """
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
            layers = self._network.differences(one, two)
            if not weights:
                if keep is not None:
                    keep(layers, here)
                return sum((layer.mean(dim=(1, 2, 3)) for layer in layers), torch.tensor(0.0))
            weight = torch.from_numpy(np.stack([weights[row] for row in here]))[:, None].to(self._device)
            size = weight.shape[2:]
            spatial = torch.stack([interpolate(x, size, mode="bilinear", align_corners=False) for x in layers]).sum(dim=0)
            return (spatial * weight).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3))

        scores = np.full(len(edits), np.nan, dtype=np.float64)
        one, two = ([fitted[id(images[row])] for row in rows] for images in (edits, others))
        scores[rows] = compare_pairs(self._encode, compare, one, two, self._batch_size)
        return scores

    def _encode(self, images: list[Image]) -> Maps:
        return self._network.maps(to_tensor(images, self._device))

    def _grid(self, image: Image) -> tuple[int, int]:
        height, width = image.shape[:2] if self._size is None else (self._size, self._size)
        share = min(1.0, MAP_SIDE / max(height, width))
        return max(1, round(height * share)), max(1, round(width * share))


def spread(layers: Maps, size: tuple[int, ...]) -> torch.Tensor:
    """Where non-negative layers (n, 1, h, w) are how large: their sum (n, height, width), whose mean is the sum of their means."""

    def brought(layer: torch.Tensor) -> torch.Tensor:
        sized = interpolate(layer, size, mode="bilinear", align_corners=False, antialias=True)
        had, has = (each.mean(dim=(2, 3), keepdim=True) for each in (layer, sized))
        return sized * torch.where(has > 0, had / has, 0.0)

    return torch.stack([brought(layer) for layer in layers]).sum(dim=0)[:, 0]


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
