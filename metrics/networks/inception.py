"""The Inception network of FID, with one right way of feeding it and the ways of other packages as parity modes.

Network: torch-fidelity's InceptionV3, a port of the 2015-12-05 TensorFlow graph; layer pool3, 2048 values a picture.

Resizing to 299 is where published FIDs differ although they share this network; a card says which one was used:

    default       torch-fidelity, as the TensorFlow graph: bilinear without antialias, TensorFlow 1 grid
    clean-fid     Pillow bicubic on each channel as float, not rounded back to uint8, clipped to 0..255
    pytorch-fid   torch bilinear without antialias on 0..1, then 2 x - 1
    torchmetrics  torch bilinear with antialias (torchmetrics since 1.8)
    flexit        FlexIT's eval.py: short side to 256 (Pillow bilinear), centre crop 256, then as pytorch-fid

The parity modes reproduce numbers made by others and are never the default.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from metrics.base import Image, MetricError
from metrics.networks.base import Extractor, Identity
from metrics.networks.images import BATCH_SIZE, resize_and_crop, to_tensor
from metrics.networks.weights import digest_of_file, read_state, require_file

__all__ = ["FILE", "PREFIX", "InceptionExtractor", "Resize"]

PREFIX = "inception:"
FILE = "weights-inception-2015-12-05-6726825d.pth"
SIDE, CROP = 299, 256

Resize = Literal["default", "clean-fid", "pytorch-fid", "torchmetrics", "flexit"]

UNIT = "uint8 0..255 -> 2 x/255 - 1"
TENSORFLOW = "uint8 0..255 -> (x - 128) / 128"
WORDS: dict[Resize, tuple[str, str]] = {
    "default": ("squash, TensorFlow 1 bilinear without antialias, in float32", TENSORFLOW),
    "clean-fid": ("parity clean-fid: squash, Pillow bicubic per channel in float32, clipped to 0..255, not rounded", TENSORFLOW),
    "pytorch-fid": ("parity pytorch-fid: squash, torch bilinear without antialias, in float32", UNIT),
    "torchmetrics": ("parity torchmetrics: squash, torch bilinear with antialias, in float32", TENSORFLOW),
    "flexit": ("parity flexit: short side to 256 (Pillow bilinear), centre crop, torch bilinear without antialias", UNIT),
}
"""Resize and value range of each mode in the words of a card."""


class InceptionExtractor(Extractor):
    """Pool3 features (n, 2048) of torch-fidelity's InceptionV3.

    Args:
        spec: "inception:/path/to/weights-inception-2015-12-05-6726825d.pth".
        device: torch device.
        batch_size: rows per forward pass.
        resize: one of `Resize`, see the module.

    Raises:
        MetricError: no such file or mode, a file whose SHA-256 its name denies, or one with other contents.
    """

    dimensions = 2048

    def __init__(self, spec: str, device: str = "cpu", batch_size: int = BATCH_SIZE, resize: Resize = "default") -> None:
        super().__init__(device, batch_size)
        if resize not in get_args(Resize):
            raise MetricError(f"resize: expected one of {', '.join(get_args(Resize))}, got {resize!r}; leave it out if unsure")
        advice = f"put {FILE} (torch-fidelity release v0.2.0) on this machine and name it as features: inception:/path/to/it"
        file = require_file(spec.removeprefix(PREFIX), "features", advice)
        read_state(file, "features")  # torch-fidelity unpickles without restriction: nothing but tensors may reach it
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        try:
            network: Any = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(file))
        except RuntimeError as error:
            raise MetricError(f"features: {file} does not hold torch-fidelity's InceptionV3 weights; {advice}") from error
        network = network.to(self._device).eval()
        self._resize: Resize = resize
        self._network = network
        self._trunk = torch.nn.Sequential(OrderedDict((name, part) for name, part in network.named_children() if name != "fc"))
        words, value_range = WORDS[resize]
        self.identity = Identity(
            network="torch-fidelity inception-v3-compat, layer 2048",
            weights=digest_of_file(file),
            resolution=f"{SIDE}x{SIDE}",
            resize=words,
            value_range=value_range,
        )

    def _features(self, images: list[Image]) -> NDArray[np.float32]:
        if self._resize == "default":
            found = self._network(to_tensor(images, self._device))[0]
        else:
            found = self._trunk(FEEDS[self._resize](images, self._device)).flatten(1)
        features: NDArray[np.float32] = found.float().cpu().numpy()
        return features


def _clean_fid(images: list[Image], device: torch.device) -> torch.Tensor:
    resized = [np.stack([_bicubic(image[:, :, channel]) for channel in range(3)]) for image in images]
    return (torch.from_numpy(np.stack(resized)).clamp(0, 255).to(device) - 128) / 128


def _bicubic(channel: NDArray[np.uint8]) -> NDArray[np.float32]:
    picture = PIL.Image.fromarray(channel.astype(np.float32))
    return np.asarray(picture.resize((SIDE, SIDE), PIL.Image.Resampling.BICUBIC), dtype=np.float32)


def _pytorch_fid(images: list[Image], device: torch.device) -> torch.Tensor:
    pixels = to_tensor(images, device).float() / 255
    return 2 * interpolate(pixels, size=(SIDE, SIDE), mode="bilinear", align_corners=False) - 1


def _torchmetrics(images: list[Image], device: torch.device) -> torch.Tensor:
    pixels = to_tensor(images, device).float()
    return (interpolate(pixels, size=(SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True) - 128) / 128


def _flexit(images: list[Image], device: torch.device) -> torch.Tensor:
    return _pytorch_fid([resize_and_crop(image, CROP) for image in images], device)


FEEDS: dict[Resize, Callable[[list[Image], torch.device], torch.Tensor]] = {
    "clean-fid": _clean_fid,
    "pytorch-fid": _pytorch_fid,
    "torchmetrics": _torchmetrics,
    "flexit": _flexit,
}
"""Pictures of one size to the network's input (n, 3, 299, 299), float32."""
