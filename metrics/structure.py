"""DINO structure distance: do the parts of the picture still relate to each other as they did?

Origin: Tumanyan et al., "Splicing ViT Features for Semantic Appearance Transfer", arXiv 2201.00424, equation 2; as a metric of editing
Ju et al., "Direct Inversion" (PIE-Bench), arXiv 2310.01506, with DINO ViT-B/8. Reference code feeds the network 0..255 where it expects
0..1; this metric does not, and `pie_bench_structure` does.

Definition: the keys of the last attention layer, all heads joined, class token included, give a matrix of cosine similarities between
places; the value is the mean squared difference of the matrices of edit and source. 0 for equal pictures.

Fingerprint: architecture, layer, weights, resolution, resize, normalisation.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from metrics.base import Card, Image, MetricError, PairBatch, PairMetric
from metrics.networks.images import (
    BATCH_SIZE,
    IMAGENET_MEAN,
    IMAGENET_STD,
    RESIZE_POLICY,
    check_batch_size,
    check_images,
    check_whole,
    open_device,
    resize_square,
    to_tensor,
)
from metrics.networks.positions import interpolate_as_hub
from metrics.networks.resnet import PREFIX
from metrics.networks.weights import digest_of_state, open_pretrained, require_folder
from metrics.toolbox.pairs import Maps, compare_pairs

__all__ = ["DINOStructure", "KeyNetwork"]

RESOLUTION = 224


class KeyNetwork:
    """A transformers ViT of which the last layer's keys are read.

    Args:
        spec: "folder:/path" with config.json and model.safetensors of a `ViTModel` (facebook/dino-vitb8 is one).
        what: beginning of messages.
        device: torch device.
        hub_positions: at other sizes than the network's own, interpolate positions as DINO's hub code does, not as transformers.

    Attributes:
        patch: pixels per side of a patch.
        description: architecture in words, without paths.
        weights: SHA-256 hex of its tensors.

    Raises:
        MetricError: something is missing or unreadable, or weights would be left random.
    """

    def __init__(self, spec: str, what: str, device: torch.device, *, hub_positions: bool = False) -> None:
        folder = require_folder(spec.removeprefix(PREFIX), what, ("config.json", "model.safetensors"))
        from transformers import ViTModel

        model = open_pretrained(ViTModel, folder, what, add_pooling_layer=False)
        if hub_positions:
            interpolate_as_hub(model.embeddings)
        self._model = model.to(device=device, dtype=torch.float32).eval().requires_grad_(False)
        config = model.config
        self.patch = int(config.patch_size)
        self.description = (
            f"transformers ViT layers={config.num_hidden_layers} heads={config.num_attention_heads} width={config.hidden_size} "
            f"patch={config.patch_size}, keys of the last layer"
            + (", positions interpolated as the hub code does (offset 0.1)" if hub_positions else "")
        )
        self.weights = digest_of_state(model.state_dict())
        self._keys: torch.Tensor | None = None
        last = [module for name, module in model.named_modules() if name.endswith("k_proj")][-1]
        last.register_forward_hook(self._keep)

    def _keep(self, _module: torch.nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        self._keys = output

    def similarities(self, pixels: torch.Tensor) -> torch.Tensor:
        """Cosine similarities (n, t, t) between the keys of n normalised pictures float32 (n, 3, h, w); t is places + 1."""
        self._model(pixel_values=pixels, interpolate_pos_encoding=True)
        keys, self._keys = self._keys, None
        assert keys is not None
        length = keys.norm(dim=2, keepdim=True)
        return keys @ keys.transpose(1, 2) / (length @ length.transpose(1, 2)).clamp(min=1e-8)


class DINOStructure(PairMetric):
    """Mean squared difference of key self-similarities of edit and source; 0 is identity, lower is better.

    Args:
        net: "folder:/path" of a ViT in transformers' format, DINO ViT-B/8 for the usual number.
        resolution: pixels per side at which both pictures are compared, a multiple of the network's patch.
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: the folder cannot be read, or a parameter is out of bounds.
    """

    name: ClassVar[str] = "dino_structure"
    reads = frozenset({"sources"})
    bounds = (0.0, 4.0)

    def __init__(self, net: str, *, resolution: int = RESOLUTION, device: str = "cpu", batch_size: int = BATCH_SIZE) -> None:
        self._device = open_device(device)
        self._batch_size = check_batch_size(batch_size)
        self._size = check_whole(resolution, f"{self.name} resolution", 8, f"{RESOLUTION} is the default")
        self._network = KeyNetwork(net, f"{self.name} net", self._device)
        if self._size % self._network.patch:
            raise MetricError(
                f"{self.name} resolution: expected a multiple of the patch size {self._network.patch}, got {self._size}; "
                "the rest of the picture would not be seen"
            )
        self.card = Card(
            name=self.name,
            version="1",
            network=self._network.description,
            weights=self._network.weights,
            resolution=f"{self._size}x{self._size}",
            resize=RESIZE_POLICY,
            value_range=f"uint8 0..255 -> (x/255 - {list(IMAGENET_MEAN)}) / {list(IMAGENET_STD)}",
            scale="mean squared difference of cosines",
            masking="whole picture",
            nan_rule="never",
            higher_is_better=False,
            definition="Mean squared difference of the self-similarities of attention keys of edit and source.",
            source="Tumanyan et al. 2022, arXiv 2201.00424; Ju et al. 2023, arXiv 2310.01506",
        )

    def score(self, batch: PairBatch) -> NDArray[np.float64]:
        edits, sources = check_images(batch.edits, "edits"), check_images(batch.sources, "sources")
        fitted = {id(image): resize_square(image, self._size) for image in (*edits, *sources)}
        one, two = ([fitted[id(image)] for image in images] for images in (edits, sources))
        return compare_pairs(self._encode, _distance, one, two, self._batch_size)

    def _encode(self, images: list[Image]) -> Maps:
        pixels = to_tensor(images, self._device).float() / 255
        mean, std = (pixels.new_tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        return [self._network.similarities((pixels - mean) / std)]


def _distance(one: Maps, two: Maps, _rows: list[int]) -> torch.Tensor:
    return (one[0] - two[0]).square().mean(dim=(1, 2))
