"""DreamSim: distance of two pictures in an embedding tuned to human similarity judgements.

Origin: Fu et al., "DreamSim", arXiv 2306.09344; reference code: the dreamsim package, which runs here where it is installed
(`pip install dreamsim`) and where its weights are given. The package would download what it lacks into the working directory; this
metric looks first, and names what is missing instead.

Definition: 1 - cosine of the embeddings of edit and source; 0 for equal pictures.

Fingerprint: kind, weights of all its files, resolution, resize, range.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from metrics.base import Card, Image, MetricError, sight_of
from metrics.networks.base import Extractor, Identity
from metrics.networks.clip_towers import cosines
from metrics.networks.images import BATCH_SIZE, RESIZE_POLICY, check_whole, resize_square, to_tensor
from metrics.networks.weights import digest_of_state, expanded
from metrics.toolbox.features import FeatureMetric, PairFeatures

__all__ = ["FILES", "DreamSim"]

RESOLUTION = 224
DINO_CODE = "facebookresearch_dino_main"

FILES: dict[str, tuple[str, ...]] = {
    "ensemble": (
        "dino_vitb16_pretrain.pth",
        "clip_vitb16_pretrain.pth.tar",
        "open_clip_vitb16_pretrain.pth.tar",
        "ensemble_lora",
        DINO_CODE,
    ),
    "dino_vitb16": ("dino_vitb16_pretrain.pth", "dino_vitb16_single_lora", DINO_CODE),
    "clip_vitb32": ("clip_vitb32_pretrain.pth.tar", "clip_vitb32_single_lora"),
    "open_clip_vitb32": ("open_clip_vitb32_pretrain.pth.tar", "open_clip_vitb32_single_lora"),
}
"""What each kind needs in its folder: the unpacked checkpoint of the package's release, and for DINO torch hub's copy of its code."""


class DreamSim(FeatureMetric):
    """DreamSim distance between each edit and its source; 0 is identity, lower is better.

    Args:
        weights: folder with what `FILES` lists for the kind.
        kind: "ensemble" (the paper's), "dino_vitb16", "clip_vitb32" or "open_clip_vitb32".
        device: torch device.
        batch_size: rows per forward pass, at least 2 (the package drops the axis of a batch of one).

    Raises:
        MetricError: unknown kind, the package is not installed, or a file is missing; nothing is downloaded.
    """

    name: ClassVar[str] = "dreamsim"
    reads = frozenset({"sources"})
    bounds = (0.0, 2.0)

    def __init__(self, weights: str, *, kind: str = "ensemble", device: str = "cpu", batch_size: int = BATCH_SIZE) -> None:
        check_whole(batch_size, "dreamsim batch_size", 2, f"{BATCH_SIZE} is the default")
        self.image_extractor = extractor = _Embedding(weights, kind, device, batch_size)
        identity = extractor.identity
        self.card = Card(
            name=self.name,
            version="1",
            **sight_of(identity),
            scale="1 - cosine",
            masking="whole picture",
            nan_rule="never",
            higher_is_better=False,
            definition="Cosine distance between embeddings of edit and source that were tuned to human judgements.",
            source="Fu et al. 2023, arXiv 2306.09344; dreamsim 0.2",
        )

    def score_features(self, features: PairFeatures) -> NDArray[np.float64]:
        assert features.sources is not None
        return 1 - cosines(features.edits, features.sources)


class _Embedding(Extractor):
    def __init__(self, weights: str, kind: str, device: str, batch_size: int) -> None:
        super().__init__(device, batch_size)
        if kind not in FILES:
            raise MetricError(f"dreamsim kind: expected one of {', '.join(FILES)}, got {kind!r}; 'ensemble' is the paper's")
        folder = expanded(weights)
        lacking = [name for name in FILES[kind] if not (folder / name).exists()]
        if lacking:
            raise MetricError(
                f"dreamsim weights: {folder} lacks {', '.join(lacking)}; nothing is downloaded: "
                f"unpack the {kind} checkpoint of the package's release there"
            )
        if importlib.util.find_spec("dreamsim") is None:
            raise MetricError("dreamsim: the dreamsim package is not installed; pip install dreamsim, or leave the metric out")
        dreamsim = importlib.import_module("dreamsim").dreamsim
        hub = torch.hub.get_dir()
        try:
            model, _ = dreamsim(pretrained=True, device=str(self._device), cache_dir=str(folder), dreamsim_type=kind)
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise MetricError(
                f"dreamsim weights: {folder} cannot be used ({reason}); unpack the checkpoint there again"
            ) from error
        finally:
            torch.hub.set_dir(hub)  # the package points torch hub at its own folder
        self._model: Any = model.to(self._device).eval().requires_grad_(False)
        self.identity = Identity(
            network=f"dreamsim {kind}, normalised embeddings",
            weights=digest_of_state(model.state_dict()),
            resolution=f"{RESOLUTION}x{RESOLUTION}",
            resize=RESIZE_POLICY,
            value_range="uint8 0..255 -> x/255, then the package's own normalisation",
        )
        self.dimensions = int(self([np.zeros((8, 8, 3), dtype=np.uint8)]).shape[1])

    def _features(self, images: list[Image]) -> NDArray[np.float32]:
        pixels = to_tensor([resize_square(image, RESOLUTION) for image in images], self._device).float() / 255
        features: NDArray[np.float32] = self._model.embed(pixels).float().cpu().numpy()
        return features
