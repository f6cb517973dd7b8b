"""Feature extractors: pictures to one feature row each, with all that identifies the features.

Two kinds, named by a prefix: "folder:/path" (a transformers ResNet) and "inception:/path/to/weights.pth" (torch-fidelity's port
of the 2015-12-05 TensorFlow graph). Weights are read from this machine and never downloaded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrics.base import Image, MetricError, SetMetric, fingerprint
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
from metrics.weights import digest_of_file, read_state, require_file

__all__ = ["Extractor", "ExtractorMetric", "FolderExtractor", "Identity", "InceptionExtractor", "open_extractor"]

INCEPTION_PREFIX = "inception:"
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"


@dataclass(frozen=True)
class Identity:
    """The part of a card that an extractor determines; the fields are those of `metrics.base.Card`."""

    network: str
    weights: str
    resolution: str
    resize: str
    value_range: str

    @property
    def key(self) -> str:
        """12 hex digits; extractors with equal keys give equal features."""
        return fingerprint(asdict(self))


class Extractor(ABC):
    """Pictures to features, float32 (n, d); a row does not depend on its batch-mates (see `metrics.images`)."""

    identity: Identity

    def __init__(self, device: str, batch_size: int) -> None:
        self._device = open_device(device)
        self._batch_size = check_batch_size(batch_size)

    def __call__(self, images: list[Image]) -> NDArray[np.float32]:
        """Features of n >= 1 pictures, in order.

        Raises:
            MetricError: no pictures, or one that is not uint8 (H, W, 3).
        """
        if not images:
            raise MetricError("images: expected at least one picture, got none; leave out editors that have no finished edits")
        return in_batches(self._features, check_images(images, "images"), batch_size=self._batch_size)

    @abstractmethod
    def _features(self, images: list[Image]) -> NDArray[np.float32]:
        """Features of one full batch of pictures of one size."""


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


class InceptionExtractor(Extractor):
    """Pool3 (2048) features of torch-fidelity's InceptionV3: the "FID" network with its TensorFlow 1 resize.

    Args:
        spec: "inception:/path/to/weights-inception-2015-12-05-6726825d.pth".
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: no such file, a file whose SHA-256 its name denies, or one with other contents.
    """

    def __init__(self, spec: str, device: str = "cpu", batch_size: int = BATCH_SIZE) -> None:
        super().__init__(device, batch_size)
        advice = (
            f"put {INCEPTION_FILE} (torch-fidelity release v0.2.0) on this machine and name it as features: inception:/path/to/it"
        )
        file = require_file(spec.removeprefix(INCEPTION_PREFIX), "features", advice)
        read_state(file, "features")  # torch-fidelity unpickles without restriction: nothing but tensors may reach it
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        try:
            network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(file))
        except RuntimeError as error:
            raise MetricError(f"features: {file} does not hold torch-fidelity's InceptionV3 weights; {advice}") from error
        self._network: Any = network.to(self._device).eval()
        self.identity = Identity(
            network="torch-fidelity inception-v3-compat, layer 2048",
            weights=digest_of_file(file),
            resolution="299x299",
            resize="squash, TensorFlow 1 bilinear without antialias, in float32",
            value_range="uint8 0..255 -> (x - 128) / 128",
        )

    def _features(self, images: list[Image]) -> NDArray[np.float32]:
        features: NDArray[np.float32] = self._network(to_tensor(images, self._device))[0].float().cpu().numpy()
        return features


def open_extractor(features: str, device: str = "cpu", batch_size: int = BATCH_SIZE) -> Extractor:
    """The extractor named by `features`.

    Raises:
        MetricError: no such kind, or its weights cannot be used.
    """
    if isinstance(features, str):
        if features.startswith(FOLDER_PREFIX):
            return FolderExtractor(features, device, batch_size)
        if features.startswith(INCEPTION_PREFIX):
            return InceptionExtractor(features, device, batch_size)
    raise MetricError(
        f"features: expected 'folder:/path' (transformers ResNet) or 'inception:/path/to/{INCEPTION_FILE}', got {features!r}; "
        "name the network that the distance should see through"
    )


class ExtractorMetric(SetMetric):
    """A set metric whose features come from an extractor opened by :func:`open_extractor` and kept as ``_extract``."""

    _extract: Extractor

    @property
    def extractor(self) -> Hashable:
        return self._extract.identity.key

    def features(self, images: list[Image]) -> NDArray[np.floating[Any]]:
        return self._extract(images)
