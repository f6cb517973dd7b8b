"""Feature extractors: pictures to one feature row each, with all that identifies the features.

Four kinds, named by a prefix; weights are read from this machine and never downloaded, except where an open_clip tag asks for it:

    folder:/path                   a transformers ResNet, spatial mean of the last hidden state
    inception:/path/to/weights.pth the network of FID, see `metrics.inception`
    dinov2:/path                   a transformers DINOv2, class token after the last norm
    clip:<open_clip spec>          image embedding: clip:local-dir:/path or clip:<architecture>:<tag or weight file>
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from metrics.base import Image, MetricError
from metrics.images import (
    BATCH_SIZE,
    RESIZE_POLICY,
    open_device,
    resize_square,
    to_tensor,
)
from metrics.networks.base import Extractor, Identity
from metrics.resnet import PREFIX as FOLDER_PREFIX
from metrics.resnet import open_resnet
from metrics.weights import digest_of_state, open_pretrained, require_folder

__all__ = ["DINOv2Extractor", "FolderExtractor", "open_extractor"]

DINOV2_PREFIX, CLIP_PREFIX = "dinov2:", "clip:"
DINOV2_SIDE = 224
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class FolderExtractor(Extractor):
    """Spatial mean of the last hidden state of a transformers ResNet.

    Args:
        spec: "folder:/path", see `metrics.resnet.open_resnet`.
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


class DINOv2Extractor(Extractor):
    """Class token of a transformers DINOv2 after the last norm: the features of FD-DINOv2 (Stein et al. 2023, arXiv 2306.04675).

    As in their evaluation the whole picture is squashed to 224 x 224 (bicubic, no crop) and normalised by ImageNet's mean and
    deviation, whatever a preprocessor file in the folder says.

    Args:
        spec: "dinov2:/path", a folder with config.json and model.safetensors of a `Dinov2Model`.
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: something is missing or unreadable, or the file lacks weights that would otherwise be left random.
    """

    def __init__(self, spec: str, device: str = "cpu", batch_size: int = BATCH_SIZE) -> None:
        super().__init__(device, batch_size)
        folder = require_folder(spec.removeprefix(DINOV2_PREFIX), "features", ("config.json", "model.safetensors"))
        from transformers import Dinov2Model

        model = open_pretrained(Dinov2Model, folder, "features")
        self._model = model.to(device=self._device, dtype=torch.float32).eval().requires_grad_(False)
        config = model.config
        self.dimensions = int(config.hidden_size)
        self.identity = Identity(
            network=(
                f"transformers DINOv2 layers={config.num_hidden_layers} heads={config.num_attention_heads} "
                f"width={config.hidden_size} patch={config.patch_size}, class token after the last norm"
            ),
            weights=digest_of_state(model.state_dict()),
            resolution=f"{DINOV2_SIDE}x{DINOV2_SIDE}",
            resize=RESIZE_POLICY,
            value_range=f"uint8 0..255 -> (x/255 - {list(IMAGENET_MEAN)}) / {list(IMAGENET_STD)}",
        )

    def _features(self, images: list[Image]) -> NDArray[np.float32]:
        pixels = to_tensor([resize_square(image, DINOV2_SIDE) for image in images], self._device).float() / 255
        mean, std = (pixels.new_tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        features: NDArray[np.float32] = self._model((pixels - mean) / std).pooler_output.float().cpu().numpy()
        return features


def _open_clip_images(spec: str, device: str, batch_size: int) -> Extractor:
    """Image embedding of an open_clip model by its own preprocessing; not normalised.

    Of a weight file whose architecture exists with two activations the name decides: "clip:ViT-B-32-quickgelu:/path" for OpenAI's and
    DFN's weights; for the others a folder with its open_clip_config.json.
    """
    from metrics.clip_towers import ClipImages
    from metrics.openclip import open_clip_network

    named = spec.removeprefix(CLIP_PREFIX)
    model, _, pretrained = (named, "", "") if named.startswith("local-dir:") else named.partition(":")
    return ClipImages(open_clip_network(model, pretrained or None, None, open_device(device)), device, batch_size)


def open_extractor(features: str, device: str = "cpu", batch_size: int = BATCH_SIZE, resize: str = "default") -> Extractor:
    """The extractor named by `features`; `resize` is for Inception only, see `metrics.inception.Resize`.

    Raises:
        MetricError: no such kind, its weights cannot be used, or a parity mode for another network.
    """
    from metrics import inception

    spec = str(features)
    if spec.startswith(inception.PREFIX):
        return inception.InceptionExtractor(spec, device, batch_size, resize)  # type: ignore[arg-type]  # checked there
    if resize != "default":
        raise MetricError(f"resize: {resize!r} is a parity mode of inception:, got features {features!r}; leave resize out")
    kinds: dict[str, Callable[[str, str, int], Extractor]] = {
        FOLDER_PREFIX: FolderExtractor,
        DINOV2_PREFIX: DINOv2Extractor,
        CLIP_PREFIX: _open_clip_images,
    }
    for prefix, kind in kinds.items():
        if spec.startswith(prefix):
            return kind(spec, device, batch_size)
    raise MetricError(
        f"features: expected 'folder:/path' (transformers ResNet), 'inception:/path/to/{inception.FILE}', 'dinov2:/path' or "
        f"'clip:<open_clip spec>', got {features!r}; name the network that the metric should see through"
    )
