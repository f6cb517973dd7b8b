"""Feature extractors: pictures to one feature row each, with all that identifies the features.

Four kinds, named by a prefix; weights are read from this machine and never downloaded, except where an open_clip tag asks for it:

    folder:/path                   a transformers ResNet, spatial mean of the last hidden state
    inception:/path/to/weights.pth the network of FID, see `metrics.networks.inception`
    dinov2:/path                   a transformers DINOv2, class token after the last norm
    clip:<open_clip spec>          image embedding: clip:local-dir:/path or clip:<architecture>:<tag or weight file>
"""

from __future__ import annotations

from collections.abc import Callable

from metrics.base import MetricError
from metrics.networks.base import Extractor
from metrics.networks.clip_towers import CLIP_PREFIX, open_clip_images
from metrics.networks.dinov2 import DINOV2_PREFIX, DINOv2Extractor
from metrics.networks.images import BATCH_SIZE
from metrics.networks.resnet import PREFIX as FOLDER_PREFIX
from metrics.networks.resnet import FolderExtractor

__all__ = ["open_extractor"]


def open_extractor(features: str, device: str = "cpu", batch_size: int = BATCH_SIZE, resize: str = "default") -> Extractor:
    """The extractor named by `features`; `resize` is for Inception only, see `metrics.networks.inception.Resize`.

    Raises:
        MetricError: no such kind, its weights cannot be used, or a parity mode for another network.
    """
    from metrics.networks import inception

    spec = str(features)
    if spec.startswith(inception.PREFIX):
        return inception.InceptionExtractor(spec, device, batch_size, resize)  # type: ignore[arg-type]  # checked there
    if resize != "default":
        raise MetricError(f"resize: {resize!r} is a parity mode of inception:, got features {features!r}; leave resize out")
    kinds: dict[str, Callable[[str, str, int], Extractor]] = {
        FOLDER_PREFIX: FolderExtractor,
        DINOV2_PREFIX: DINOv2Extractor,
        CLIP_PREFIX: open_clip_images,
    }
    for prefix, kind in kinds.items():
        if spec.startswith(prefix):
            return kind(spec, device, batch_size)
    raise MetricError(
        f"features: expected 'folder:/path' (transformers ResNet), 'inception:/path/to/{inception.FILE}', 'dinov2:/path' or "
        f"'clip:<open_clip spec>', got {features!r}; name the network that the metric should see through"
    )
