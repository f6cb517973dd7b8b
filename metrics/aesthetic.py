"""LAION's aesthetic predictor: a linear head on CLIP embeddings, fitted to people's ratings of 1 to 10 and trained on no edit.

Reference code: github.com/LAION-AI/aesthetic-predictor (MIT; one linear layer, `sa_0_4_vit_l_14_linear.pth`) and
github.com/christophschuhmann/improved-aesthetic-predictor (Apache-2.0; `sac+logos+ava1-l14-linearMSE.pth`, five linear layers with nothing
between them but dropout, which is off: one linear map again, which is why both are the same code here). BrushBench's "aesthetic score" is
of this kind. The embedding is that of OpenAI's CLIP ViT-L/14, brought to length 1.

It looks at the edit alone: it cannot know what was asked for, and a copy of a beautiful source scores well. Ratings are not bounded.

Fingerprint: that of the CLIP network, and the digest of the head.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from metrics.base import Card, Embedded, MetricError, sight_of
from metrics.networks.clip_towers import open_image_tower, unit
from metrics.networks.images import BATCH_SIZE
from metrics.networks.weights import digest_of_state, read_state, require_file
from metrics.toolbox.features import FeatureMetric, PairFeatures

__all__ = ["Aesthetic"]

ADVICE = "give LAION's sa_0_4_vit_l_14_linear.pth or sac+logos+ava1-l14-linearMSE.pth"
LAYER = re.compile(r"(?:layers\.)?(\d+\.)?(weight|bias)")


class Aesthetic(FeatureMetric):
    """Predicted aesthetic rating of the edit, about 1 to 10; higher is better.

    Args:
        head: file with the linear weights, see above.
        model: an open_clip model name, or "local-dir:/path"; ViT-L-14 for both published heads.
        pretrained: an open_clip tag (openai for both) or a weight file; "" for local-dir.
        quick_gelu: activation of the weights, where a weight file alone does not tell.
        device: torch device.
        batch_size: rows per forward pass.

    Raises:
        MetricError: the model cannot be had, the head is no chain of linear layers down to one number, or the two do not fit.
    """

    name: ClassVar[str] = "aesthetic"
    reads: frozenset[str] = frozenset()
    embedded: ClassVar[Embedded] = {"model": "judge"}

    def __init__(
        self,
        head: str,
        model: str = "ViT-L-14",
        pretrained: str | None = None,
        *,
        quick_gelu: bool | None = None,
        device: str = "cpu",
        batch_size: int = BATCH_SIZE,
    ) -> None:
        file = require_file(head, "aesthetic head", ADVICE)
        state = read_state(file, "aesthetic head")
        self._slope, self._offset, layers = _linear(state, str(file))
        self.image_extractor = open_image_tower(model, pretrained, quick_gelu, device, batch_size)
        if self.image_extractor.dimensions != len(self._slope):
            raise MetricError(
                f"aesthetic head: {file} reads {len(self._slope)} features, {model} gives {self.image_extractor.dimensions}; "
                "both published heads are for ViT-L-14"
            )
        sight = self.image_extractor.identity
        both = hashlib.sha256(f"{sight.weights} {digest_of_state(state)}".encode()).hexdigest()
        self.card = Card(
            name=self.name,
            version="1",
            **sight_of(sight) | {"weights": both, "network": f"{sight.network}, {layers}"},
            scale="rating as the head gives it, not clamped",
            masking="whole picture",
            nan_rule="never",
            higher_is_better=True,
            definition="Linear function of the CLIP image embedding of the edit at length 1; the source is not looked at.",
            source="LAION-AI/aesthetic-predictor (MIT); christophschuhmann/improved-aesthetic-predictor (Apache-2.0)",
        )

    def score_features(self, features: PairFeatures) -> NDArray[np.float64]:
        return np.asarray(unit(features.edits) @ self._slope + self._offset, dtype=np.float64)


def _linear(state: Mapping[str, torch.Tensor], file: str) -> tuple[NDArray[np.float64], float, str]:
    """Slope (d,), offset and a word of the one map that a chain of linear layers is. Raises MetricError."""
    layers: dict[int, dict[str, NDArray[np.float64]]] = {}
    for name, tensor in state.items():
        found = LAYER.fullmatch(name)
        if found is None:
            raise MetricError(f"aesthetic head: {file} holds {name}, which is no weight of a linear layer; {ADVICE}")
        layers.setdefault(int((found[1] or "0").rstrip(".")), {})[found[2]] = tensor.double().numpy()
    slope, offset = np.eye(1), np.zeros(1)
    for number in sorted(layers, reverse=True):
        layer = layers[number]
        if layer.keys() != {"weight", "bias"} or layer["weight"].ndim != 2 or len(layer["weight"]) != slope.shape[1]:
            raise MetricError(f"aesthetic head: layer {number} of {file} does not lead to one number; {ADVICE}")
        slope, offset = slope @ layer["weight"], slope @ layer["bias"] + offset
    words = f"head of {len(layers)} linear layer{'s' if len(layers) > 1 else ''} without activations"
    return slope[0], float(offset[0]), words
